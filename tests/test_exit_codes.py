"""The exit codes of `check`: one table, the same in every format."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ruleaudit import cli
from ruleaudit.report import FORMATS

CLEAN = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 25 -j DROP\nCOMMIT\n"
FILES = {
    "clean.v4": CLEAN,
    "note.v4": CLEAN.replace("25", "{{ port }}"),
    "warning.v4": "# ruleaudit: ignore[RA301] nothing\n" + CLEAN,
    "error.v4": CLEAN.replace("-j DROP", "-j NOWHERE"),
    "prose.v4": "Dear all,\n",
    "empty.v4": "",
    "cut.v4": CLEAN.replace("COMMIT\n", ""),
}
#: files, options, and the code
TABLE: tuple[tuple[str, str, int], ...] = (
    ("clean.v4", "", 0),
    ("note.v4", "", 0),
    ("warning.v4", "", 1),
    ("error.v4", "", 1),
    ("clean.v4 error.v4", "", 1),
    ("prose.v4", "", 2),
    ("empty.v4", "", 2),
    ("gone.v4", "", 2),
    ("cut.v4", "", 2),
    ("error.v4 gone.v4", "", 2),
    ("none", "", 2),
    ("clean.v4 none", "", 2),
    ("clean.v4", "--fail-on note", 0),
    ("note.v4", "--fail-on note", 1),
    ("warning.v4", "--fail-on note", 1),
    ("warning.v4", "--fail-on error", 0),
    ("error.v4", "--fail-on error", 1),
    ("gone.v4", "--fail-on error", 2),
    ("warning.v4 error.v4", "--exit-zero", 0),
    ("note.v4", "--exit-zero --fail-on note", 0),
    ("gone.v4", "--exit-zero", 2),
    ("prose.v4", "--exit-zero", 2),
    ("none", "--exit-zero", 2),
    ("error.v4", "-q", 1),
    ("error.v4", "-qq", 1),
    ("gone.v4", "-qq", 2),
    ("error.v4", "-v", 1),
    ("error.v4", "-vv", 1),
    ("error.v4", "--jobs 2", 1),
    ("error.v4 clean.v4", "--jobs 2", 1),
    ("error.v4 gone.v4", "--jobs 2", 2),
    ("error.v4", "--ignore RA301", 0),
    ("error.v4", "--select RA1", 0),
    ("warning.v4", "--no-ignores", 0),
    ("clean.v4", "--select RA9", 2),
    ("clean.v4", "--fail-on never", 2),
    ("clean.v4", "--jobs 0", 2),
    ("clean.v4", "--config gone.toml", 2),
    ("clean.v4", "--baseline gone.json", 2),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "none").mkdir()
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


Codes = Callable[[str], list[int]]


@pytest.mark.parametrize("form", FORMATS["check"])
def test_the_code_is_the_same_in_every_format(folder: Path, form: str, capfd: pytest.CaptureFixture[str]) -> None:
    found = []
    for files, options, _ in TABLE:
        found.append((files, options, cli.run(["check", *files.split(), *options.split(), "--format", form])))
        capfd.readouterr()
    assert found == list(TABLE)


def test_a_format_that_goes_to_a_file_changes_no_code(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for form in FORMATS["check"]:
        assert cli.run(["check", "error.v4", "--format", f"{form}:out"]) == 1
        assert cli.run(["check", "error.v4", "--format", form, "-o", "out"]) == 1
        assert cli.run(["check", "clean.v4", "--format", form, "-o", "out"]) == 0
    capfd.readouterr()


def test_fixes_count_as_nothing_found(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert [cli.run(["check", "warning.v4", *o.split()]) for o in ("--diff", "--fix", "--diff", "")] == [1, 0, 0, 0]
    assert cli.run(["check", "error.v4", "--fix"]) == 1
    assert cli.run(["check", "gone.v4", "--fix"]) == 2
    capfd.readouterr()


@pytest.mark.parametrize("text", [CLEAN, FILES["error.v4"]])
def test_standard_input_has_the_code_of_a_file(
    folder: Path, text: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert cli.run(["check", "-"]) == (text != CLEAN)
    capfd.readouterr()


def test_quiet_leaves_the_findings_and_quieter_leaves_the_code_alone(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cli.run(["check", "error.v4", "-q"])
    out, err = capfd.readouterr()
    assert (out.startswith("error[RA301]"), err) == (True, "")
    cli.run(["check", "error.v4", "-qq"])
    assert tuple(capfd.readouterr()) == ("", "")
    # why nothing could be done is always said
    cli.run(["check", "gone.v4", "-qq"])
    assert tuple(capfd.readouterr()) == ("", "ruleaudit: gone.v4: cannot be read: no such file or directory\n")
    cli.run(["check", "error.v4", "-vv"])
    last = capfd.readouterr().err.splitlines()[-2:]
    assert [line.rsplit(" ", 2)[0] for line in last] == ["error.v4:", "all of it:"]
