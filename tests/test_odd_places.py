"""Paths that lead nowhere or are not ours to read, what is no ordinary file, and streams that are closed or full."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ruleaudit import cli

RULES = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 25 -j DROP\nCOMMIT\n"


@contextmanager
def _nobody() -> Iterator[None]:
    """Without the right of root to read everything."""
    own = os.geteuid()
    os.seteuid(own or 65534)
    try:
        yield
    finally:
        os.seteuid(own)


@pytest.mark.parametrize(
    ("name", "why"),
    [("loop.v4", "too many levels of symbolic links"), ("a" * 300, "file name too long")],
)
def test_a_path_that_leads_nowhere_is_named_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], name: str, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop.v4").symlink_to("loop.v4")
    Path("rules.v4").write_text(RULES.replace("DROP", "NOWHERE"))
    assert cli.main(["check", "-q", "--format", "concise", name, "rules.v4"]) == 2
    stdout, stderr = capfd.readouterr()
    assert stdout.startswith("rules.v4:3:")
    assert stderr == f"ruleaudit: {name}: cannot be read: {why}\n"


def test_what_is_not_ours_to_read_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for below in ("locked", "project"):
            (folder / below).mkdir()
            (folder / below / "rules.v4").write_text(RULES)
        (folder / "project" / "pyproject.toml").write_text("[project]\n")
        (folder / "project" / "pyproject.toml").chmod(0)
        (folder / "locked").chmod(0)
        with _nobody():
            answers = [cli.main(["check", "-q", f"{name}/{path}"]) for path in ("locked/rules.v4", "locked", "project")]
        stdout, stderr = capfd.readouterr()
    assert (answers, stdout) == ([2, 2, 2], "")
    assert stderr.splitlines() == [
        f"ruleaudit: {name}/locked/rules.v4: cannot be read: permission denied",
        f"ruleaudit: {name}/locked: cannot be looked into: permission denied",
        f"ruleaudit: {name}/project/pyproject.toml: cannot be read: permission denied",
    ]
