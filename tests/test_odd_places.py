"""Paths that lead nowhere or are not ours to read, what is no ordinary file, and streams that are closed or full."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ruleaudit import cli
from ruleaudit.rules import v4_v6_mismatch

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


def test_a_file_with_several_names_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules.v4").write_text("# ruleaudit: ignore[RA301] nothing\n" + RULES)
    Path("link.v4").symlink_to("rules.v4")
    names = ["link.v4", "rules.v4", "./rules.v4", ".", str(tmp_path)]
    assert cli.main(["check", "--show-files", *names]) == 0
    assert capfd.readouterr().out == "link.v4\n"
    assert cli.main(["check", "-q", "--fix", *names]) == 0
    assert capfd.readouterr() == ("", "")
    assert Path("link.v4").is_symlink()
    assert Path("rules.v4").read_text() == RULES


# -- pipes, which can be read only once ------------------------------------------------------------------


@contextmanager
def _pipes(*texts: str) -> Iterator[list[str]]:
    """The paths of pipes with some texts in them, as a shell makes them of `<(iptables-save)`."""
    ends = []
    for text in texts:
        ours, theirs = os.pipe()
        os.write(theirs, text.encode())
        os.close(theirs)
        ends.append(ours)
    try:
        yield [f"/dev/fd/{end}" for end in ends]
    finally:
        for end in ends:
            os.close(end)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_two_pipes_are_checked_as_the_files_of_a_host_are(capfd: pytest.CaptureFixture[str], jobs: str) -> None:
    example = v4_v6_mismatch.EXAMPLES[0]
    six = example.twin.replace(":OUTPUT ACCEPT [0:0]\n", ":OUTPUT ACCEPT [0:0]\n-A INPUT -s 2001:db8::1 -j DROP\n")
    with _pipes(example.text, six) as (first, second):
        options = ["-q", "--format", "concise", "--select", v4_v6_mismatch.CODE, "--jobs", jobs]
        assert cli.main(["check", *options, first, second]) == 1
    (line,) = capfd.readouterr().out.splitlines()
    assert line.startswith(f"{first}:4:")


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_empty_pipe_is_named_beside_the_others(capfd: pytest.CaptureFixture[str], jobs: str) -> None:
    with _pipes("", RULES.replace("DROP", "NOWHERE")) as (empty, other):
        assert cli.main(["check", "-q", "--format", "concise", "--jobs", jobs, empty, other]) == 2
    stdout, stderr = capfd.readouterr()
    assert stdout.startswith(f"{other}:3:")
    assert stderr.startswith(f"ruleaudit: {empty}: line 1: the file is empty")


def test_a_pipe_cannot_be_fixed(tmp_path: Path) -> None:
    pipe = tmp_path / "rules.v4"
    os.mkfifo(pipe)
    text = "# ruleaudit: ignore[RA301] nothing\n" + RULES
    command = [sys.executable, "-m", "ruleaudit", "check", "-q", "--fix", "--select", "RA003", str(pipe)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        pipe.write_text(text)
        try:
            stdout, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, "RA003" in stdout) == (2, True)
    assert stderr == f"ruleaudit: {pipe}: not written: it is no regular file; for a pipe: --fix -, or --diff\n"


def test_a_report_that_cannot_be_written_hides_no_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rules.v4").write_text(RULES.replace("DROP", "NOWHERE"))
    arguments = ["check", "-q", "--format", "concise", "--format", "sarif:nowhere/out.sarif", "rules.v4"]
    assert cli.main([*arguments, "--format", "json:out.json"]) == 2
    stdout, stderr = capfd.readouterr()
    assert stdout.startswith("rules.v4:3:")
    assert stderr.startswith("ruleaudit: nowhere/out.sarif: ")
    assert Path("out.json").read_text().startswith("{")


# -- streams that are closed or full ---------------------------------------------------------------------


@pytest.mark.parametrize("form", ["full", "json", "html"])
@pytest.mark.parametrize(
    ("streams", "code", "stderr"),
    [
        (">/dev/full", 2, "ruleaudit: standard output cannot be written: no space left on device\n"),
        (">&-", 2, "ruleaudit: standard output is closed\n"),
        ("-qq >&-", 1, ""),
        ("-o report >&-", 1, ""),
        ("- <&-", 2, "ruleaudit: <stdin>: cannot be read: it is closed\n"),
    ],
)
def test_what_cannot_be_printed_or_read_is_told(
    tmp_path: Path, form: str, streams: str, code: int, stderr: str
) -> None:
    (tmp_path / "rules.v4").write_text(RULES.replace("DROP", "NOWHERE"))
    command = f"{sys.executable} -m ruleaudit check -q --format {form} rules.v4 {streams}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (code, stderr)


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full"])
def test_the_result_is_printed_where_nobody_hears_the_summary(tmp_path: Path, stderr: str) -> None:
    (tmp_path / "rules.v4").write_text(RULES.replace("DROP", "NOWHERE"))
    command = f"{sys.executable} -m ruleaudit check --format concise rules.v4 {stderr}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (1, 1, "")
