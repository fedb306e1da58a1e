"""The command line: exit codes, streams, formats, and input that is no ruleset."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import ruleaudit
from ruleaudit import cli
from ruleaudit.report import FORMATS
from ruleaudit.report.style import wants_colour
from tests.report import made

EXAMPLE = Path(__file__).parent.parent / "examples" / "haproxy-host" / "rules.v4"
SCHEMA = json.loads((files("ruleaudit") / "ruleaudit-1.schema.json").read_text())
BROKEN = "*filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate ESTBLISHED -j ACCEPT\nCOMMIT\n"
NEEDLESS = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp --dport 25 -j DROP\nCOMMIT\n"


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process; `stdin` is what it may read."""

    def ran(*arguments: str | Path, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = cli.run([str(a) for a in arguments])
        captured = capfdbinary.readouterr()
        return Ran(code, captured.out.decode(), captured.err.decode())

    return ran


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.v4"
    path.write_bytes(EXAMPLE.read_bytes())
    return path


# -- exit codes ---------------------------------------------------------------------------------------


def test_suggest_is_done_when_there_is_a_rewrite_and_says_so_with_exit_code(run: Run, rules: Path) -> None:
    assert run("suggest", rules).code == 0
    assert run("suggest", "--exit-code", rules).code == 1
    assert run("suggest", "--exit-code", "--format", "json", rules).code == 1
    assert run("suggest", "--exit-code", "--diff", rules).code == 1


def test_the_script_is_of_one_ruleset_or_of_both_families(run: Run, tmp_path: Path) -> None:
    four, six = tmp_path / "rules.v4", tmp_path / "rules.v6"
    four.write_bytes(EXAMPLE.read_bytes())
    six.write_text(
        EXAMPLE.read_text().replace("-p icmp -m icmp --icmp-type 8", "-p ipv6-icmp").replace("10.9.1.0", "fd09::")
    )
    new = run("suggest", "--script", four, "-o", tmp_path / "apply.sh")
    assert (new.code, new.out) == (0, "")
    assert run("suggest", "--script", four).out == (tmp_path / "apply.sh").read_text()
    assert run("suggest", "--script", four, six).out == run("suggest", "--script", six, four).out
    assert run("suggest", "--script", "--exit-code", four).code == 1
    for refused in ([four, four], [four, six, six], [four, "--diff"], [four, "--format", "json"]):
        ran = run("suggest", "--script", *refused)
        assert (ran.code, ran.out) == (2, "")


def test_no_script_without_a_rewrite(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rules.v4").write_text(NEEDLESS)
    ran = run("suggest", "--script", tmp_path / "rules.v4", "-o", tmp_path / "apply.sh")
    assert (ran.code, ran.out) == (2, "")
    assert "there is no rewrite, and nothing to apply" in ran.err
    assert not (tmp_path / "apply.sh").exists()


def test_what_the_script_does_not_carry(run: Run, tmp_path: Path) -> None:
    hook = "type filter hook input priority 0; policy drop;"
    text = f'table inet filter {{\n chain input {{\n  {hook}\n  include "./web"\n }}\n}}\n'
    (tmp_path / "r.nft").write_text(text)
    (tmp_path / "web").write_text("ct state established accept\ntcp dport 443 ct state new accept\n")
    ran = run("suggest", "--script", tmp_path / "r.nft")
    assert (ran.code, ran.out) == (2, "")
    assert "nft -s list ruleset > ruleset.nft" in ran.err


def test_suggest_with_exit_code_is_content_with_its_own_result(run: Run, rules: Path, tmp_path: Path) -> None:
    new = tmp_path / "new.v4"
    assert run("suggest", rules, "-o", new).code == 0
    again = run("suggest", "--exit-code", "--format", "json", new)
    assert (again.code, json.loads(again.out)["outcome"]) == (0, "nothing-to-free")


@pytest.mark.parametrize("form", ["full", "concise", "json"])
def test_check_has_the_same_exit_code_in_every_format(run: Run, tmp_path: Path, form: str) -> None:
    broken = tmp_path / "broken.v4"
    broken.write_text(BROKEN)
    assert run("check", "--format", form, broken).code == 1
    assert run("check", "--format", form, "--exit-zero", broken).code == 0
    assert run("check", "--format", form, tmp_path / "gone.v4").code == 2
    assert run("check", "--format", form, "--exit-zero", tmp_path / "gone.v4").code == 2


def test_fail_on_moves_the_bar(run: Run, rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ruleaudit, "check", lambda sources, **_: (made.REPORT,))
    assert run("check", "--no-cache", rules).code == 1
    assert run("check", "--no-cache", "--fail-on", "warning", rules).code == 1
    assert run("check", "--no-cache", "--fail-on", "error", rules).code == 0
    monkeypatch.setattr(ruleaudit, "check", lambda sources, **_: (replace(made.REPORT, findings=(made.NOTE,)),))
    assert run("check", "--no-cache", rules).code == 0
    assert run("check", "--no-cache", "--fail-on", "note", rules).code == 1


def test_verify_tells_equivalent_different_allowed_and_undecided_apart(
    run: Run, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(comparison: object) -> None:
        monkeypatch.setattr(ruleaudit, "verify", lambda old, new, **_: comparison)

    answer(replace(made.COMPARISON, differences=()))
    assert run("verify", rules, rules).code == 0
    answer(made.COMPARISON)
    assert run("verify", rules, rules).code == 1
    assert run("verify", "--allow", "strays", rules, rules).code == 0
    assert run("verify", "--allow", "same-connections", rules, rules).code == 0
    assert run("verify", "--allow", "opens,breaks", rules, rules).code == 1
    answer(replace(made.BROKEN, differences=()))
    assert run("verify", rules, rules).code == 2
    answer(made.BROKEN)
    assert run("verify", rules, rules).code == 1
    assert run("verify", "--allow", "strays", rules, rules).code == 1
    assert run("verify", "--allow", "strays,breaks", rules, rules).code == 2


def test_no_class_of_rewrites_allows_what_breaks(run: Run, rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = replace(made.BROKEN, differences=(made.BREAKS,), undecided=())
    monkeypatch.setattr(ruleaudit, "verify", lambda old, new, **_: comparison)
    assert run("verify", "--allow", "relaxing", rules, rules).code == 1


def test_verify_of_a_file_and_itself_is_equivalent(run: Run, rules: Path) -> None:
    ran = run("verify", rules, rules)
    assert (ran.code, ran.out.split("\n")[0]) == (0, "EQUIVALENT: every packet fares as before.")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["chekc", "x"],
        ["suggest"],
        ["suggest", "--port", "http", str(EXAMPLE)],
        ["suggest", "--format", "yaml", str(EXAMPLE)],
        ["suggest", "--allow", "everything", str(EXAMPLE)],
        ["verify", str(EXAMPLE)],
        ["verify", "-", "-"],
        ["suggest", "-o", "x", str(EXAMPLE), str(EXAMPLE)],
    ],
)
def test_wrong_usage_is_2_with_a_message_and_no_output(run: Run, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("ruleaudit: ")


# -- what is no ruleset -------------------------------------------------------------------------------

BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "line 1: the file is empty"),
    "only blanks": (b"\n  \n", "line 1: the file is empty"),
    "binary": (b"*filter\n\x7fELF\x00\x01\x02\n", "line 2: binary data"),
    "not a ruleset": (b"Dear all,\nplease find the rules below.\n", "line 1: not a firewall ruleset"),
    "truncated in a line": (EXAMPLE.read_bytes()[:400], "10"),
    "10 MB in one line": (b"a" * 10_000_000, "line 1: not a firewall ruleset"),
    "10 MB in one rule": (
        b"*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp " + b"x" * 10_000_000 + b" -j ACCEPT\n",
        "3",
    ),
    "a shell script": (b"#!/bin/sh\niptables -A INPUT -j DROP\n", "line 1: a shell script"),
}
COMMANDS = [["check"], ["suggest"], ["suggest", "--diff"], ["explain"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_with_its_line_and_exits_with_2(
    run: Run, tmp_path: Path, command: list[str], case: str
) -> None:
    data, message = BAD[case]
    bad = tmp_path / "rules.v4"
    bad.write_bytes(data)
    started = time.monotonic()
    ran = run(*command, bad)
    assert time.monotonic() - started < 20
    assert ran.code == 2
    said = ran.err + ran.out
    assert f"{bad}: {message}" in said or f"{bad}:{message}:" in said
    assert "Traceback" not in said
    assert len(said) < 5000
    if command[0] != "check":
        assert ran.out == ""
    assert [p.name for p in tmp_path.iterdir()] == ["rules.v4"]


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_json_object_too(run: Run, tmp_path: Path, case: str) -> None:
    bad = tmp_path / "rules.v4"
    bad.write_bytes(BAD[case][0])
    for command in ("check", "suggest", "explain"):
        ran = run(command, "--format", "json", bad)
        assert ran.code == 2
        document = json.loads(ran.out)
        if command == "check":
            jsonschema.validate(document, {**SCHEMA, "$ref": "#/$defs/check"})
        else:
            jsonschema.validate(document, {**SCHEMA, "$ref": "#/$defs/error"})


def test_bad_input_leaves_an_output_file_alone(run: Run, tmp_path: Path) -> None:
    bad, out = tmp_path / "rules.v4", tmp_path / "new.v4"
    bad.write_text("*filter\n-A INP")
    out.write_text("precious")
    assert run("suggest", bad, "-o", out).code == 2
    assert out.read_text() == "precious"


def test_a_directory_is_refused(run: Run, tmp_path: Path) -> None:
    ran = run("suggest", tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"ruleaudit: {tmp_path}: is a directory; name the ruleset files in it\n"


def test_a_missing_file_is_named(run: Run, tmp_path: Path) -> None:
    ran = run("explain", tmp_path / "gone.v4")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"ruleaudit: {tmp_path}/gone.v4: cannot be read: no such file or directory\n"


def test_a_file_without_permission_is_refused(run: Run, rules: Path, tmp_path: Path) -> None:
    run("suggest", rules)  # so that everything is imported
    rules.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        ran = run("suggest", rules)
    finally:
        os.seteuid(user)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"ruleaudit: {rules}: cannot be read: permission denied\n"


def test_a_template_is_noted_by_check_and_refused_by_suggest(run: Run, tmp_path: Path) -> None:
    template = tmp_path / "rules.v4"
    template.write_text("*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp --dport {{ port }} -j ACCEPT\nCOMMIT\n")
    checked = run("check", "--format", "concise", template)
    assert checked.code == 0
    assert checked.out.startswith(f"{template}:3:25: RA005 note ")
    ran = run("suggest", template)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"ruleaudit: {template}: line 3: a template;")


def test_one_unreadable_file_does_not_hide_the_findings_of_the_others(run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "broken.v4"
    broken.write_text(BROKEN)
    ran = run("check", "--format", "concise", tmp_path / "gone.v4", broken)
    assert ran.code == 2
    assert ran.out.startswith(f"{broken}:3:33: RA001 error ")
    assert f"ruleaudit: {tmp_path}/gone.v4: cannot be read" in ran.err
    quiet = run("check", "-q", tmp_path / "gone.v4", broken)
    assert quiet.err == f"ruleaudit: {tmp_path}/gone.v4: cannot be read: no such file or directory\n"


# -- streams, formats, files --------------------------------------------------------------------------


def test_the_diff_is_all_that_is_printed_and_it_applies(
    run: Run, rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("suggest", "--diff", "rules.v4")
    run("suggest", "rules.v4", "-o", "new.v4")
    done = subprocess.run(["patch", "-p1"], input=ran.out, text=True, capture_output=True, timeout=20, check=False)
    assert done.returncode == 0, done.stdout
    assert rules.read_bytes() == Path("new.v4").read_bytes()


def test_without_a_rewrite_nothing_is_written_and_the_diff_is_empty(run: Run, tmp_path: Path) -> None:
    source, out = tmp_path / "rules.v4", tmp_path / "new.v4"
    source.write_text(NEEDLESS)
    ran = run("suggest", "--diff", source, "-o", out)
    assert (ran.code, ran.out) == (0, "")
    assert not out.exists()


def test_the_input_is_never_edited(run: Run, rules: Path) -> None:
    before = rules.read_bytes()
    run("suggest", rules)
    run("suggest", "--diff", rules)
    assert rules.read_bytes() == before


def test_standard_input_is_read_and_named(run: Run) -> None:
    ran = run("suggest", "--diff", "-", "--stdin-filename", "etc/rules.v4", stdin=EXAMPLE.read_bytes())
    assert ran.code == 0
    assert ran.out.startswith("--- a/etc/rules.v4\n+++ b/etc/rules.v4\n")


@pytest.mark.parametrize(("name", "said", "family"), [("v4", "ip6tables-save", "ip6"), ("v6", "iptables-save", "ip")])
def test_from_overrides_the_sniffing(run: Run, rules: Path, name: str, said: str, family: str) -> None:
    path = rules.rename(rules.with_name(f"rules.{name}"))
    ran = run("show", "--from", said, path)
    assert (ran.code, json.loads(ran.out)["families"][0]["family"]) == (0, family)


def test_show_prints_the_source_byte_for_byte(tmp_path: Path) -> None:
    data = b"# caf\xe9\r\n*filter\r\n:INPUT ACCEPT [0:0]\r\nCOMMIT"
    path = tmp_path / "x.rules"
    path.write_bytes(data)
    command = [sys.executable, "-m", "ruleaudit", "show", "--as", "source", str(path)]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, data)


def test_summaries_go_to_standard_error_and_quiet_silences_them(run: Run, rules: Path) -> None:
    loud, quiet = run("explain", rules), run("explain", "-q", rules)
    assert loud.err.startswith(f"{rules}: ")
    assert (quiet.out, quiet.err) == (loud.out, "")


def test_explain_of_a_line_shows_that_line_alone(run: Run, rules: Path) -> None:
    ran = run("explain", "--format", "json", f"{rules}:7")
    assert [(r["line"], r["class"]) for r in json.loads(ran.out)["rules"]] == [(7, "required")]
    assert run("explain", f"{rules}:7").out.startswith(
        f"{rules}:7  table filter, chain INPUT\n"
        "  -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
        "\n"
        "WHAT IT DOES  accept\n"
        "  in       established  packets to this host\n"
        "                        e.g. in tcp 198.51.100.7:4242 > 10.9.0.2:443 flags S iif eth0 state established\n"
        "  in       related      icmp\n"
        "                        e.g. in icmp 198.51.100.7 > 10.9.0.2 type 3/0 iif eth0 state related\n"
        "WHO COMES BY AND GOES ON\n"
        "  in       new          packets to this host\n"
        "                        e.g. in tcp 198.51.100.7:4242 > 10.9.0.2:443 flags S iif eth0 state new\n"
        "  looped   new          this host's own multicasts and broadcasts\n"
        "                        e.g. out udp 10.9.0.2:4242 > 198.51.100.7:443 oif eth0 state new\n"
        "CONNECTION TRACKING\n"
        "  required\n"
        "    without the rule these are refused: later packets of connections that come in (tcp to 22,80,443)"
    )
    missing = run("explain", f"{rules}:1")
    assert (missing.code, missing.out) == (2, "")
    assert 'no rule, but "*filter"; the nearest rule is in line 5: -A INPUT -i lo -j ACCEPT' in missing.err


def test_explain_of_a_line_that_does_not_mention_conntrack(run: Run, rules: Path) -> None:
    answer = json.loads(run("explain", "--format", "json", f"{rules}:5").out)
    assert answer["rules"] == []
    (found,) = answer["reach"]
    assert (found["rule"]["line"], found["action"], found["barred"], found["class"]) == (5, "accept", None, None)
    seen = [(v["path"], v["state"]) for v in found["reached_by"] if v["match"]]
    assert seen == [("local", "new"), ("local", "established"), ("local", "related"), ("local", "invalid")]
    jsonschema.validate(answer, {**SCHEMA, "$ref": "#/$defs/explain"})


def test_o_writes_the_report_of_other_commands(run: Run, rules: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    ran = run("explain", "--format", "json", rules, "-o", out)
    assert (ran.code, ran.out) == (0, "")
    jsonschema.validate(json.loads(out.read_text()), {**SCHEMA, "$ref": "#/$defs/explain"})


def test_an_unwritable_output_is_2(run: Run, rules: Path, tmp_path: Path) -> None:
    ran = run("suggest", rules, "-o", tmp_path / "no" / "such" / "folder.v4")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"ruleaudit: {tmp_path}/no/such/folder.v4: cannot be written: no such file or directory\n"


def test_several_files_are_answered_one_by_one(run: Run, rules: Path, tmp_path: Path) -> None:
    ran = run("suggest", "--format", "json", "--exit-code", rules, tmp_path / "gone.v4")
    first, second = json.loads(ran.out)["files"]
    assert (ran.code, first["outcome"], second["outcome"]) == (2, "rewrite", "error")


def test_check_finds_the_rulesets_below_the_folder(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rules: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alert.rules").write_text("groups: []\n")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "rules.v4").write_text("x")
    ran = run("check", "--format", "json")
    assert [f["path"] for f in json.loads(ran.out)["files"]] == ["rules.v4"]
    rules.unlink()
    assert run("check").code == 2


@pytest.mark.parametrize("command", ["check", "suggest", "explain", "show"])
def test_json_is_the_one_thing_on_standard_output(run: Run, rules: Path, command: str) -> None:
    ran = run(command, "--format", "json", rules)
    jsonschema.validate(json.loads(ran.out), {**SCHEMA, "$ref": f"#/$defs/{command}"})


# -- colour -------------------------------------------------------------------------------------------


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("choice", "environment", "terminal", "expected"),
    [
        ("auto", {"TERM": "xterm"}, True, True),
        ("auto", {"TERM": "xterm"}, False, False),
        ("auto", {"TERM": "dumb"}, True, False),
        ("auto", {"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ("auto", {"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ("auto", {"FORCE_COLOR": "1"}, False, True),
        ("auto", {"FORCE_COLOR": "0"}, False, False),
        ("auto", {"CLICOLOR_FORCE": "1"}, False, True),
        ("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True, False),
        ("always", {"NO_COLOR": "1"}, False, True),
        ("never", {"FORCE_COLOR": "1", "TERM": "xterm"}, True, False),
    ],
)
def test_when_to_colour(choice: str, environment: dict[str, str], terminal: bool, expected: bool) -> None:
    assert wants_colour(choice, environment, _Terminal() if terminal else io.StringIO()) is expected


def test_a_diff_is_never_coloured(run: Run, rules: Path) -> None:
    assert "\x1b" not in run("suggest", "--diff", "--color", "always", rules).out
    assert "\x1b" in run("suggest", "--color", "always", rules).out


# -- when things go wrong -----------------------------------------------------------------------------


def _explode(*_: Any, **__: Any) -> None:
    raise ZeroDivisionError("division by zero")


def test_an_internal_error_is_2_with_a_hint_and_a_traceback_only_when_asked(
    run: Run, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ruleaudit, "suggest", _explode)
    ran = run("suggest", "--format", "json", rules)
    assert (ran.code, json.loads(ran.out)["error"]) == (2, "internal error: ZeroDivisionError: division by zero")
    assert ran.err.startswith("ruleaudit: internal error: ZeroDivisionError: division by zero\nThis is a bug")
    assert "Traceback" not in ran.err
    assert "Traceback" in run("suggest", "-v", rules).err


def test_a_closed_pipe_is_quiet() -> None:
    command = f"{sys.executable} -m ruleaudit show {EXAMPLE} | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30, check=False)
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_ctrl_c_is_130_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    code = (
        "import sys, time, ruleaudit, ruleaudit.cli as cli\n"
        "def slow(*a, **k):\n    print('ready', file=sys.stderr, flush=True); time.sleep(30)\n"
        "ruleaudit.suggest = slow\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    out = tmp_path / "new.v4"
    arguments = [sys.executable, "-c", code, "suggest", str(EXAMPLE), "-o", str(out)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout, stderr) == (130, "", "")
    assert list(tmp_path.iterdir()) == []


# -- start-up -----------------------------------------------------------------------------------------


def _imported(*arguments: str) -> set[str]:
    code = (
        "import sys\nfrom ruleaudit import cli\ntry:\n    cli.main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=30, check=True
    )
    return set(done.stderr.split("\n"))


def test_the_version_is_printed_without_loading_the_engine() -> None:
    modules = _imported("--version")
    assert not {"rich", "lark", "oxidd", "ruleaudit.analysis.compare", "ruleaudit.matches"} & modules


def test_nothing_loads_rich_but_the_help_of_a_terminal() -> None:
    assert "rich" not in _imported("suggest", str(EXAMPLE))
    assert "rich" not in _imported("--help")


def test_the_version_is_that_of_the_package() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ruleaudit", "--version"], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == f"ruleaudit {ruleaudit.__version__}\n"


# -- the hooks ----------------------------------------------------------------------------------------


def test_the_hooks_take_the_files_that_check_would_find() -> None:
    from ruleaudit.discovery import RULESET

    hooks = (Path(__file__).parent.parent / ".pre-commit-hooks.yaml").read_text()
    block = hooks.split("files: &rulesets |\n")[1].split("  types:")[0]
    assert "".join(block.split()) == "".join(RULESET.pattern.split())


@pytest.mark.parametrize(
    "name",
    [
        "rules.v4",
        "etc/iptables/rules.v6",
        "iptables.rules",
        "etc/sysconfig/iptables",
        "etc/sysconfig/ip6tables-save",
        "etc/iptables.up.rules",
        "etc/iptables/iptables.rules",
        "etc/ufw/before6.rules",
        "etc/nftables.conf",
        "etc/nftables.d/web.conf",
        "firewall.nft",
    ],
)
def test_a_ruleset_is_taken(name: str) -> None:
    from ruleaudit.discovery import RULESET

    assert RULESET.search(name)


@pytest.mark.parametrize(
    "name",
    ["snort.rules", "prometheus/alert.rules", "udev/70-net.rules", "iptables.sh", "rules.v4.j2", "nftables.conf.j2"],
)
def test_something_else_is_left_alone(name: str) -> None:
    from ruleaudit.discovery import RULESET

    assert not RULESET.search(name)


# -- ipsets -------------------------------------------------------------------------------------------

_SET_RULES = """\
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m set --match-set webports dst -m conntrack --ctstate NEW -j ACCEPT
COMMIT
"""


def test_what_a_set_holds_says_which_service_may_leave(run: Run, tmp_path: Path) -> None:
    rules, saved = tmp_path / "rules.v4", tmp_path / "sets"
    rules.write_text(_SET_RULES)
    saved.write_text("create webports bitmap:port range 0-65535\nadd webports 80\nadd webports 443\n")
    assert json.loads(run("suggest", rules, "--format", "json").out)["flows"] == []
    answer = json.loads(run("suggest", rules, "--ipset", saved, "--format", "json").out)
    assert [(f["protocol"], f["ports"]) for f in answer["flows"]] == [("tcp", ["80", "443"])]
    assert answer["class"] == "assuming"
    assert any(a.startswith("known-sets") for a in answer["assumptions"])


def test_a_file_of_sets_that_is_none_is_named_with_its_line(run: Run, rules: Path, tmp_path: Path) -> None:
    saved = tmp_path / "sets"
    saved.write_text("create webports bitmap:port range 0-65535\nadd webports http-\n")
    for command in ("check", "suggest", "explain"):
        ran = run(command, rules, "--ipset", saved)
        assert (ran.code, ran.out) == (2, "")
        assert f"{saved}:2: bad element" in ran.err


def test_a_notrack_that_one_family_lacks_is_found_when_both_files_are_given(run: Run, tmp_path: Path) -> None:
    services = "-A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT\n"
    filtered = f"*filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n{services}COMMIT\n"
    raw = (
        "*raw\n-A PREROUTING ! -i lo -p tcp -m multiport --dports 80,443 -j CT --notrack\n"
        "-A OUTPUT ! -o lo -p tcp -m multiport --sports 80,443 -j CT --notrack\nCOMMIT\n"
    )
    four, six = tmp_path / "rules.v4", tmp_path / "rules.v6"
    four.write_text(raw + filtered)
    six.write_text(filtered)
    assert "RA207" not in run("check", "--format", "concise", four).out
    ran = run("check", "--format", "concise", four, six)
    (line,) = [x for x in ran.out.splitlines() if "RA207" in x]
    assert line.startswith(f"{four}:2:")
    assert "tcp/80,443 is untracked over IPv4, but tracked over IPv6" in line
    six.write_text(raw + filtered)
    assert "RA207" not in run("check", "--format", "concise", four, six).out


# -- the way of packets -------------------------------------------------------------------------------


def test_packets_come_back_in_the_order_given(run: Run, rules: Path, tmp_path: Path) -> None:
    listed = tmp_path / "packets"
    listed.write_text("# two of them\nin tcp > :443 flags S state new\n\nin udp > :53 state new\n")
    first = "in icmp > * type 8 state new"
    answer = json.loads(run("explain", rules, "--packet", first, "--packets", listed, "--format", "json").out)
    found = [(p["packet"], p["state"], p["verdict"], p["tracked"], p["decided_by"]["line"]) for p in answer["packets"]]
    assert found == [
        (first, "new", "accept", True, 8),
        ("in tcp > :443 flags S state new", "new", "accept", True, 10),
        ("in udp > :53 state new", "new", "drop", True, None),
    ]
    policy = answer["packets"][2]["decided_by"]
    assert (policy["chain"], policy["policy"]) == ("INPUT", "drop")
    assert {step["match"] for p in answer["packets"] for step in p["path"]} == {True, False, "unknown"}
    text = run("explain", rules, "--packet", first).out
    assert "ACCEPTED by line 8" in text


def test_every_packet_that_cannot_be_read_is_named(run: Run, rules: Path) -> None:
    ran = run("explain", rules, "--packet", "in tpc > *", "--packet", "in tcp > *", "--packet", "up tcp > *")
    assert (ran.code, ran.out) == (2, "")
    assert 'in tpc > *: unknown protocol "tpc"; did you mean tcp?' in ran.err
    assert 'up tcp > *: "up" is no path' in ran.err


def test_a_whole_connection(run: Run, rules: Path) -> None:
    packet = "in tcp > :443 iif eth0"
    ran = run("explain", rules, "--packet", packet, "--connection")
    assert ran.code == 0
    assert ran.out.splitlines()[:6] == [
        "WORKS: every packet of it passes; it is tracked",
        "",
        "  opening      in tcp 198.51.100.7:4242 > 10.9.0.2:443 flags S iif eth0 state new",
        "               ACCEPTED by line 10; tracked",
        "  reply        out tcp 10.9.0.2:443 > 198.51.100.7:4242 flags SA oif eth0 state established",
        "               ACCEPTED by the policy of OUTPUT; tracked",
    ]
    assert "yes  -A INPUT -p tcp" in run("explain", rules, "--packet", packet, "--connection", "-v").out
    closed = "in tcp > :81 iif eth0"
    answer = json.loads(
        run("explain", rules, "--packet", packet, "--packet", closed, "--connection", "--format", "json").out
    )
    jsonschema.validate(answer, {**SCHEMA, "$ref": "#/$defs/packets"})
    assert [(c["packet"], c["works"]) for c in answer["connections"]] == [(packet, True), (closed, False)]
    assert answer["connections"][1]["broken_by"]["chain"] == "INPUT"
    assert answer["connections"][1]["reason"] == "the policy of INPUT drops its opening packet"
    roles = [(p["packet"], p["role"], p["verdict"]) for p in answer["packets"]]
    assert roles == [
        *((packet, role, "accept") for role in ("opening", "reply", "later", "later-reply", "icmp-error")),
        (closed, "opening", "drop"),
    ]
    assert "DOES NOT WORK" in run("explain", rules, "--packet", closed, "--connection").out


def test_a_connection_needs_a_packet_that_opens_it(run: Run, rules: Path) -> None:
    ran = run("explain", rules, "--connection")
    assert (ran.code, ran.out) == (2, "")
    assert "--connection needs the packet that opens it" in ran.err
    ran = run("explain", rules, "--packet", "in tcp > :443 flags A", "--connection")
    assert (ran.code, "this opens no connection" in ran.err) == (2, True)


# -- formats ------------------------------------------------------------------------------------------


def test_several_formats_each_to_its_file(
    run: Run, rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name: tmp_path / f"out.{name}" for name in ("sarif", "junit", "gitlab", "json", "html")}
    ran = run("check", rules, *(f"--format={name}:{path}" for name, path in files.items()))
    assert ran.code == 1
    assert ran.out.startswith("warning[RA101]")
    assert all(path.read_text() for path in files.values())
    assert json.loads(files["json"].read_text())["summary"]["warnings"] == 1
    assert "only one --format" in run("check", rules, "--format", "json", "--format", "sarif").err
    assert "none of full" in run("check", rules, "--format", "yaml").err
    monkeypatch.setenv("RULEAUDIT_FORMAT", "concise")
    assert run("check", rules).out.startswith(f"{rules}:10:46: RA101")
    monkeypatch.setenv("RULEAUDIT_FORMAT", "yaml")
    assert run("check", rules).code == 2


def test_the_page_of_suggest_holds_every_file_and_the_new_one_is_written_beside(
    run: Run, rules: Path, tmp_path: Path
) -> None:
    gone, new = tmp_path / "gone.v4", tmp_path / "new.v4"
    ran = run("suggest", "--format", "html", rules, gone, EXAMPLE)
    assert (ran.code, ran.out.count("<h2"), ran.out.count("<strong>YES:</strong>")) == (2, 3, 2)
    assert f'<h2 id="name-2">{gone}</h2>' in ran.out and f"ruleaudit: {gone}: cannot be read" in ran.err
    ran = run("suggest", "--format", "html", "--exit-code", "-o", new, rules)
    assert (ran.code, ran.out.count("<h2"), "--notrack" in new.read_text()) == (1, 1, True)
    assert f"{new}: written" in ran.err


@pytest.mark.parametrize("form", FORMATS["check"])
def test_the_exit_code_is_the_same_in_every_format(run: Run, rules: Path, tmp_path: Path, form: str) -> None:
    clean = tmp_path / "clean.v4"
    clean.write_text("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n")
    gone = tmp_path / "gone.v4"
    assert [run("check", "--format", form, file).code for file in (clean, rules, gone)] == [0, 1, 2]


TABLE = "".join(
    f"tcp      6 60 TIME_WAIT src=198.51.100.{n} dst=203.0.113.10 sport=40000 dport={port}"
    f" src=203.0.113.10 dst=198.51.100.{n} sport={port} dport=40000 [ASSURED] mark=0 use=1\n"
    for n in range(1, 50)
    for port in (443, 443, 22)
)


def test_suggest_counts_what_it_would_free_of_a_connection_table(run: Run, rules: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.txt"
    table.write_text(TABLE + "nonsense\n")
    ran = run("suggest", rules, "--conntrack", table)
    assert "would free 98 of 147 entries (67 %)" in ran.out
    assert "147 entries read; 1 line is none, line 148: nonsense." in ran.err
    assert f"--conntrack {table}" in ran.out  # in the command that writes the new rules
    said = json.loads(run("suggest", rules, "--conntrack", table, "--format", "json").out)
    jsonschema.validate(said, SCHEMA)
    assert said["table"]["freed"] == {"entries": 98, "share": 0.6667}
    assert [flow["entries"] for flow in said["flows"]] == [98]
    assert [(s["port"], s["entries"], s["freed"]) for s in said["table"]["services"]] == [(443, 98, 98), (22, 49, 0)]
    assert [could["entries"] for could in said["could_leave"]] == [0]  # ssh of others than 10.9.1.0/24
    assert said["table"]["refused"] == 49


def test_a_connection_table_may_come_from_standard_input_and_be_packed(run: Run, rules: Path) -> None:
    packed = gzip.compress(TABLE.encode())
    for text in (TABLE.encode(), packed):
        said = json.loads(run("suggest", rules, "--conntrack", "-", "--format", "json", stdin=text).out)
        assert said["table"]["freed"]["entries"] == 98
        assert said["table"]["path"] == "<stdin>"
    cut = json.loads(run("suggest", rules, "--conntrack", "-", "--format", "json", stdin=packed[:-40]).out)
    assert 0 < cut["table"]["entries"] <= 147
    assert cut["table"]["not_read"] >= 1


def test_several_files_share_one_connection_table(run: Run, rules: Path, tmp_path: Path) -> None:
    six = tmp_path / "rules.v6"
    six.write_text(
        rules.read_text().replace("10.9.1.0/24", "fd00::/64").replace("-p icmp -m icmp --icmp-type 8", "-p ipv6-icmp")
    )
    said = json.loads(run("suggest", rules, six, "--conntrack", "-", "--format", "json", stdin=TABLE.encode()).out)
    assert [one["table"]["freed"]["entries"] for one in said["files"]] == [98, 0]
    assert [one["table"]["unasked"] for one in said["files"]] == [0, 147]


def test_what_is_no_connection_table_is_named_with_its_first_line(run: Run, rules: Path, tmp_path: Path) -> None:
    ran = run("suggest", rules, "--conntrack", rules)
    assert ran.code == 2
    assert ran.out == ""
    assert f"{rules}: line 1: no entry of a connection table" in ran.err
    assert run("suggest", rules, "--conntrack", tmp_path / "none").code == 2
    assert run("suggest", "-", "--conntrack", "-", stdin=TABLE.encode()).code == 2
    damaged = tmp_path / "table.gz"
    damaged.write_bytes(gzip.compress(TABLE.encode())[:20] + b"\xff" * 900)
    assert "damaged gzip data" in run("suggest", rules, "--conntrack", damaged).err
    empty = run("suggest", rules, "--conntrack", "-")
    assert empty.code == 0
    assert "would free" not in empty.out
