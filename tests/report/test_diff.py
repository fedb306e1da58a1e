"""The diff is a patch: real tools turn the old file into the new one with it."""

import subprocess
from pathlib import Path

import pytest

from ruleaudit.report.diff import unified
from ruleaudit.source import SourceFile

LINES = "".join(f"-A INPUT -s 10.9.{n}.0/24 -j ACCEPT\n" for n in range(40))
CASES = {
    "front and middle": (
        f"*filter\n{LINES}COMMIT\n",
        f"*raw\nCOMMIT\n*filter\n{LINES.replace('9.20.', '9.99.')}COMMIT\n",
    ),
    "the end": (f"*filter\n{LINES}COMMIT\n", f"*filter\n{LINES}-A INPUT -j DROP\nCOMMIT\n"),
    "no newline at the end": ("*filter\nCOMMIT", "*filter\n-A INPUT -j DROP\nCOMMIT"),
    "a newline less": ("*filter\nCOMMIT\n", "*filter\n-A INPUT -j DROP\nCOMMIT"),
    "carriage returns": ("*filter\r\nCOMMIT\r\n", "*filter\r\n-A INPUT -j DROP\r\nCOMMIT\r\n"),
    "other separators inside a line": ("*filter\n# a\x0bb\u2028c\x85d\nCOMMIT\n", "*filter\n# a\x0bb\u2028c\nCOMMIT\n"),
    "bytes that are not UTF-8": ("# caf\udce9\n*filter\nCOMMIT\n", "# caf\udce9\n*filter\n-A INPUT -j DROP\nCOMMIT\n"),
}


@pytest.mark.parametrize("tool", [["patch", "-p1", "--binary"], ["git", "apply"]], ids=["patch", "git-apply"])
@pytest.mark.parametrize("name", ["rules.v4", "etc/my rules.v4"])
@pytest.mark.parametrize("case", CASES)
def test_the_diff_applies(case: str, name: str, tool: list[str], tmp_path: Path) -> None:
    old, new = CASES[case]
    target = tmp_path / name
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(old.encode("utf-8", "surrogateescape"))
    diff = unified(SourceFile(name, old), new).encode("utf-8", "surrogateescape")
    done = subprocess.run(tool, cwd=tmp_path, input=diff, capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert target.read_bytes() == new.encode("utf-8", "surrogateescape")


def test_an_absolute_path_becomes_a_relative_one() -> None:
    diff = unified(SourceFile("/etc/iptables/rules.v4", "a\n"), "b\n")
    assert diff == "--- a/etc/iptables/rules.v4\n+++ b/etc/iptables/rules.v4\n@@ -1 +1 @@\n-a\n+b\n"


def test_equal_texts_have_no_diff() -> None:
    assert unified(SourceFile("x", "a\n"), "a\n") == ""
