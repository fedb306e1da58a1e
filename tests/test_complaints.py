"""The complaints of docs/complaints.md that no other test is about, and that the page names tests which are there."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ruleaudit
from ruleaudit.model.ruleset import Hook
from ruleaudit.source import SourceFile

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "haproxy-host" / "rules.v4"
RULES = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 25 -j {}\nCOMMIT\n"


def _ruleaudit(*arguments: str | Path, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ruleaudit", *map(str, arguments)]
    environment = {**os.environ, **more}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_the_page_names_tests_that_are_there() -> None:
    rows = re.findall(r"^\| (\d+) \| .* \| (.*) \|$", (ROOT / "docs" / "complaints.md").read_text(), re.M)
    assert [int(number) for number, _ in rows] == list(range(1, 14))
    for _, tests in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", tests)
        assert named
        for path, name in named:
            tree = ast.parse((ROOT / "tests" / path).read_text())
            assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name


def test_where_it_is_started_does_not_matter(tmp_path: Path) -> None:
    etc = tmp_path / "hosts" / "web" / "etc"
    etc.mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (etc / "rules.v4").write_text(RULES.format("NOWHERE"))
    (tmp_path / "ruleaudit.toml").write_text(
        'fail-on = "error"\n[severity]\nRA301 = "note"\n[per-file-ignores]\n"hosts/db/*" = ["RA3"]\n'
    )
    found = []
    for folder, path in (
        (tmp_path, "hosts/web/etc/rules.v4"),
        (tmp_path, "."),
        (etc, "rules.v4"),
        (etc, "../../.."),
        (Path("/"), str(etc / "rules.v4")),
    ):
        done = _ruleaudit("check", path, "--format", "jsonl", cwd=folder)
        (line,) = (json.loads(line) for line in done.stdout.splitlines())
        found.append((done.returncode, line["code"], line["severity"]))
    assert found == [(0, "RA301", "note")] * 5
    (tmp_path / "empty").mkdir()
    nothing = _ruleaudit("check", cwd=tmp_path / "empty")
    assert (nothing.returncode, nothing.stdout) == (2, "")
    assert "no ruleset below this folder" in nothing.stderr


def test_the_totals_say_what_was_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "rough.v4").write_text(RULES.format("DROP").replace("-m tcp", "-m tcp -m nonesuch --what 3"))
    (tmp_path / "ignored.v4").write_text("# ruleaudit: ignore-file[RA301] at boot\n" + RULES.format("NOWHERE"))
    (tmp_path / "known.v4").write_text(RULES.format("ELSEWHERE"))
    (tmp_path / "template.v4").write_text(RULES.format("{{ target }}"))
    _ruleaudit("check", "known.v4", "--write-baseline", "known.json", cwd=tmp_path)
    names = ("rough.v4", "ignored.v4", "known.v4", "template.v4")
    done = _ruleaudit("check", *names, "--baseline", "known.json", cwd=tmp_path)
    lines = [line for line in done.stderr.splitlines() if re.match(r"[\w.]+: \d|[\w.]+: not|\d+ files", line)]
    assert [line.split(". ")[0] for line in lines] == [
        "rough.v4: 1 rule read, 0 understood exactly; line 3 may or may not match",
        "ignored.v4: 1 rule read, all understood",
        "known.v4: 1 rule read, all understood",
        "template.v4: not read",
        "4 files: 3 rules read, 2 understood exactly; 1 file not read",
    ]
    assert lines[1].endswith("1 ignored, 0 baselined.")
    assert lines[2].endswith("0 ignored, 1 baselined.")
    assert lines[4].endswith("1 ignored, 1 baselined.")
    # a clean file has its line, too
    (tmp_path / "clean.v4").write_text(RULES.format("DROP"))
    clean = _ruleaudit("check", "clean.v4", cwd=tmp_path)
    said = "clean.v4: 1 rule read, all understood. 0 errors, 0 warnings, 0 ignored, 0 baselined.\n"
    assert (clean.stdout, clean.stderr) == ("", said)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes nobody")
def test_nobody_can_run_it_without_a_kernel_to_ask(tmp_path: Path) -> None:
    code = (
        "import sys, os, socket, subprocess\n"
        "from ruleaudit import cli\n"
        "told = sys.stdout, sys.stderr\n"
        "sys.stdout = sys.stderr = open(os.devnull, 'w')\n"
        "cli.run(sys.argv[1:])  # nobody may be unable to read Python's own library\n"
        "sys.stdout, sys.stderr = told\n"
        "def refused(*a, **k): raise AssertionError('asked the system')\n"
        "socket.socket = subprocess.Popen = refused\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    rules = tmp_path / "rules.v4"
    rules.write_bytes(EXAMPLE.read_bytes())
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        folder.chmod(0o755)
    for command in (["check"], ["suggest", "--diff"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *command, str(rules)],
            env={**os.environ, "PATH": "/nowhere"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, "Traceback" in done.stderr) == ((1 if command == ["check"] else 0), False), done.stderr
        assert "INPUT" in done.stdout


def test_nft_is_read_and_not_searched() -> None:
    text = """\
table inet filter {
\tset closed {
\t\ttype inet_service
\t\telements = { 23,
\t\t\t111 }
\t}
\tchain input {
\t\ttype filter hook input priority 0
\t\tpolicy drop
\t\ttcp dport @closed drop
\t\ttcp dport { 80, 443 } accept
\t\ttcp dport 22 accept
\t}
}
table bridge filter {
\tchain input {
\t\ttype filter hook input priority 0; policy accept;
\t\ttcp dport 25 accept
\t}
}
"""
    rulesets = ruleaudit.lower(SourceFile("x.nft", text)).rulesets
    for ruleset in rulesets:
        (chain,) = ruleset.base_chains(Hook.INPUT)
        assert type(chain.policy).__name__ == "Drop"
        assert [rule.line for rule in chain.rules] == [10, 11, 12]
    packets = [f"in tcp > :{port} flags S state new" for port in (22, 23, 25, 80, 111)]
    followed = ruleaudit.follow(SourceFile("x.nft", text), packets)
    assert [f.verdict for f in followed] == ["accept", "drop", "drop", "accept", "drop"]


def test_nothing_is_painted_in_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "rules.v4").write_text(RULES.format("NOWHERE"))
    for command in (["check"], ["suggest"], ["explain"], ["--help"], ["check", "--help"]):
        arguments = command if "--help" in command else [*command, EXAMPLE]
        done = _ruleaudit(*arguments, TERM="xterm-256color", NO_COLOR="")
        assert done.stdout
        assert "\x1b" not in done.stdout + done.stderr
    assert "\x1b" in _ruleaudit("check", EXAMPLE, FORCE_COLOR="1", NO_COLOR="").stdout
    assert "\x1b" not in _ruleaudit("check", EXAMPLE, FORCE_COLOR="1", NO_COLOR="1").stdout


def _on_a_terminal(folder: Path, *arguments: str, **more: str) -> str:
    """What a command writes to a terminal that is its standard error."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "ruleaudit", "check", "--format", "concise", *arguments, str(folder)]
    environment = {k: v for k, v in os.environ.items() if k != "CI"} | {"TERM": "xterm", **more}
    said = b""
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:
                break  # so Linux says that the other end is closed
            if not part:
                break
            said += part
        process.wait(timeout=120)
    os.close(ours)
    return said.decode(errors="replace")


def test_a_bar_is_shown_to_people_alone(tmp_path: Path) -> None:
    for host in range(20):
        (tmp_path / f"host{host}").mkdir()
        (tmp_path / f"host{host}" / "rules.v4").write_text(RULES.format("DROP"))
    assert "20/20" in _on_a_terminal(tmp_path)
    for arguments, environment in ((["-q"], {}), ([], {"CI": "true"}), ([], {"TERM": "dumb"})):
        assert "20/20" not in _on_a_terminal(tmp_path, *arguments, **environment)
    piped = _ruleaudit("check", tmp_path, TERM="xterm")
    assert "\x1b" not in piped.stderr
    assert "\r" not in piped.stderr


def test_relief_comes_before_the_change() -> None:
    said = _ruleaudit("suggest", EXAMPLE).stdout
    heads = ("RIGHT NOW", "Keep this SSH session open", "THE CHANGE", "APPLY WITH A WAY BACK")
    places = [said.index(head) for head in heads]
    assert places == sorted(places)
    assert "nf_conntrack_max" in said[: said.index("THE CHANGE")]


def test_the_first_line_answers_whether_tracking_is_needed(tmp_path: Path) -> None:
    answers = {
        EXAMPLE.read_text(): "YES: tcp/80,443 can leave connection tracking",
        "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n": "NO: ",
        RULES.format("DROP"): "",
    }
    for text, answer in answers.items():
        (tmp_path / "rules.v4").write_text(text)
        said = _ruleaudit("suggest", tmp_path / "rules.v4").stdout
        first = said.split("\n")[0]
        assert first.startswith(answer)
        # raising the limit is never the first advice
        assert "nf_conntrack_max" not in first
