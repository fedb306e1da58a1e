"""The manual page says what the command line takes, renders, and is installed with the package."""

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ruleaudit import arguments

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "man" / "ruleaudit.1"


def _made() -> str:
    found = importlib.util.spec_from_file_location("make", ROOT / "man" / "make.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    text: str = module.page()
    return text


def test_the_page_is_that_of_today() -> None:
    """If not: python man/make.py."""
    assert PAGE.read_text() == _made()


def test_every_option_is_on_the_page() -> None:
    text = PAGE.read_text().replace("\\-", "-")
    commands = next(a for a in arguments.make_parser()._actions if a.dest == "command")
    for name, parser in dict(commands.choices or {}).items():
        assert f".SS ruleaudit {name}\n" in text
        for action in parser._actions:
            assert all(
                f"\\fB{option}\\fR" in text for option in action.option_strings if option not in ("-h", "--help")
            )


@pytest.mark.parametrize(
    "command",
    [["man", "--warnings=w", "-l"], ["groff", "-ww", "-man", "-Tutf8"], ["mandoc", "-T", "lint", "-W", "warning"]],
    ids=lambda command: command[0],
)
def test_it_renders_without_a_warning(command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} here")
    environment = {**os.environ, "MANPAGER": "cat", "LC_ALL": "C.UTF-8"}
    done = subprocess.run([*command, str(PAGE)], capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    if command[0] == "mandoc":
        assert done.stdout == ""
    else:
        assert "iptables-save > rules.v4" in done.stdout


def test_it_is_installed_with_the_package(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if "No matching distribution" in done.stdout + done.stderr:
        pytest.skip("no package index in reach")
    assert done.returncode == 0, done.stdout
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.endswith("data/share/man/man1/ruleaudit.1")]
    assert "ruleaudit/grammars/nftables.lark" in names
