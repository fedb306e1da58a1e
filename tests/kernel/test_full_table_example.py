"""The demonstration examples/full-table, run as its page says (docs/demonstration.md).

`python -m tests.kernel.test_full_table_example` records what it prints, in its page and in the README.

What it prints must be what the page shows, figures apart; and the figures must be those that the page is about.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "demonstration.md"
_BLOCK = re.compile(r"(?<=^```text\n).*?(?=^```$)", re.M | re.S)
_ROW = re.compile(r"^ +(\S.*?)  +(\d+) of 200  +([\d,]+)  +([\d,]+)  +([\d,]+)  +([\d,]+)$", re.M)


def run() -> "subprocess.CompletedProcess[str]":
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / "src")}
    program = [sys.executable, str(ROOT / "examples" / "full-table" / "run")]
    return subprocess.run(program, env=environment, capture_output=True, text=True, timeout=300)


def figures(text: str) -> dict[str, list[int]]:
    """The last table: what each row is about, requests answered, entries before, after, to the service, drops."""
    return {row[1]: [int(cell.replace(",", "")) for cell in row.groups()[1:]] for row in _ROW.finditer(text)}


def shape(text: str) -> list[str]:
    """The lines, without figures, versions, and what the kernel's log says or does not say."""
    lines = [" ".join(re.sub(r"\d[\w.,+-]*", "N", line).split()) for line in text.splitlines()]
    return [line for line in lines if "kernel" not in line and not line.startswith("HAProxy ")]


@pytest.mark.kernel
@pytest.mark.usefixtures("kernel", "full_table")
def test_nobody_is_served_before_and_everybody_after() -> None:
    if shutil.which("haproxy") is None:
        pytest.skip("kernel tests: not installed: haproxy")
    done = run()
    if "too long to fill" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout + done.stderr
    ordinary, full, after = figures(done.stdout).values()
    assert ordinary[0] == 200 and ordinary[4] == 0
    answered, before, then, service, drops = full
    assert answered == 0 and before == then == service and drops >= 200
    answered, before, then, service, drops = after
    assert (answered, service, drops) == (200, 0, 0)
    assert then < 20
    (recorded,) = _BLOCK.findall(PAGE.read_text())
    assert shape(done.stdout) == shape(recorded)


def test_the_page_and_the_readme_show_the_same_figures() -> None:
    (recorded,) = _BLOCK.findall(PAGE.read_text())
    shown = figures((ROOT / "README.md").read_text())
    assert shown
    assert shown == figures(recorded)


if __name__ == "__main__":
    said = run()
    assert said.returncode == 0, said.stderr
    PAGE.write_text(_BLOCK.sub(lambda _: said.stdout, PAGE.read_text()))
    old, new = (list(_ROW.finditer(text)) for text in ((ROOT / "README.md").read_text(), said.stdout))
    text = (ROOT / "README.md").read_text()
    for before, after in zip(old, new, strict=True):
        text = text.replace(before[0], f"  {after[0]}")
    (ROOT / "README.md").write_text(text)
