"""`--kernel`: what was reasoned is held against the kernel, and what is wrong with it is noticed and said."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import ruleaudit
from ruleaudit import cli
from ruleaudit.analysis import follow
from ruleaudit.kernel import judging, loading, observation
from ruleaudit.kernel.observation import Side, observe
from ruleaudit.model.fields import State
from ruleaudit.results.observation import Observation
from ruleaudit.source import SourceFile

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT.parent / "examples" / "haproxy-host" / "rules.v4"
FIXTURES = ROOT / "fixtures"
SCHEMA = json.loads((ROOT.parent / "src" / "ruleaudit" / "ruleaudit-1.schema.json").read_text())


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = cli.run([str(a) for a in arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def written(tmp_path: Path, text: str, name: str = "rules.v4") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


# -- it agrees ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rules",
    [
        EXAMPLE,
        FIXTURES / "hosts" / "web.v6",
        FIXTURES / "hosts" / "ufw.v4",
        FIXTURES / "nft" / "haproxy-host" / "fw4.nft",
    ],
    ids=lambda path: path.name,
)
def test_a_suggestion_is_held_against_the_kernel(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "suggest", "--kernel", "--format", "json", rules)
    document = json.loads(out)
    jsonschema.validate(document, {**SCHEMA, "$ref": "#/$defs/suggest"})
    assert (code, document["outcome"]) == (0, "rewrite")
    kernel = document["kernel"]
    assert kernel["version"] == os.uname().release
    assert [one["path"] for one in kernel["loaded"]] == [str(rules), f"{rules} (new)"]
    assert kernel["disagreements"] == []
    assert kernel["packets"] > 18
    assert kernel["witnesses"] >= 3


def test_the_text_says_what_was_proved_and_what_was_observed(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "suggest", "--kernel", EXAMPLE)
    assert code == 0
    assert f"packets in the kernel ({os.uname().release}, nft " in out
    assert out.index("  proved ") < out.index("  observed ") < out.index("RIGHT NOW")
    assert err == f"{EXAMPLE}: 7 rules read, all understood.\n"


def test_a_change_is_held_against_the_kernel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = written(tmp_path, EXAMPLE.read_text().replace("--dport 22 ", "--dport 23 "))
    code, out, _ = run(capsys, "verify", "--kernel", "--format", "json", EXAMPLE, new)
    document = json.loads(out)
    jsonschema.validate(document, {**SCHEMA, "$ref": "#/$defs/verify"})
    assert (code, document["result"]) == (1, "different")
    assert document["kernel"]["witnesses"] == 2
    assert document["kernel"]["disagreements"] == []
    assert "observed   " in run(capsys, "verify", "--kernel", EXAMPLE, new)[1]


def test_two_languages_are_compared_in_the_kernel(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    four = written(tmp_path, "*filter\n:INPUT DROP [0:0]\n-A INPUT -p udp --dport 53 -j ACCEPT\nCOMMIT\n")
    nft = "table ip f {\nchain i {\ntype filter hook input priority 0; policy drop;\nudp dport 53 accept\n}\n}\n"
    code, out, _ = run(capsys, "verify", "--kernel", "--format", "json", four, written(tmp_path, nft, "rules.nft"))
    document = json.loads(out)
    assert (code, document["result"]) == (0, "equivalent")
    assert [one["program"] for one in document["kernel"]["loaded"]] == ["iptables-nft-restore", "nft"]
    assert document["kernel"]["packets"] >= 3


#: what the model once had otherwise than the kernel, and what is special on the way there
AGREED = {
    "of two chains with one priority the last one is called first": """
table ip a {
    chain one {
        type filter hook input priority 0; policy drop;
        ip saddr 10.0.0.1 accept
    }
    chain two {
        type filter hook input priority 0; policy drop;
        ip saddr 10.0.0.0/30 accept
    }
}
table ip b {
    chain three {
        type filter hook input priority 0;
        ip saddr 10.0.0.2 drop
    }
}
""",
    "a map that has no element for a packet ends the rule": """
table ip n {
    chain p {
        type nat hook prerouting priority -100;
        dnat ip to tcp dport map { 2222 : 10.0.0.5 . 22 }
        tcp dport 80 redirect to :8080
    }
}
""",
    "an address of one family makes only that one tracked": """
table inet n {
    chain p {
        type nat hook prerouting priority -100;
        tcp dport 80 dnat ip to 10.0.0.5
    }
    chain i {
        type filter hook input priority 0;
        tcp dport 22 accept
    }
}
""",
    "a forwarded packet has its input interface to the end": """
table inet f {
    chain p {
        type filter hook postrouting priority 0;
        iifname "lan*" oifname "wan0" drop
        iifname "lo" drop
    }
}
""",
    "ingress comes first": """
table netdev d {
    chain in {
        type filter hook ingress device "eth7" priority 0;
        tcp dport 23 drop
    }
}
table inet f {
    chain i {
        type filter hook input priority 0; policy drop;
        tcp dport { 22, 23 } accept
    }
}
""",
    "marks from the beginning": """
table inet f {
    chain i {
        type filter hook input priority 0;
        meta mark & 0xf0 == 0x30 drop
        meta mark 7 accept
    }
}
""",
}


@pytest.mark.parametrize("name", AGREED)
def test_the_model_agrees(name: str, tmp_path: Path) -> None:
    found = ruleaudit.observe(str(written(tmp_path, AGREED[name], "rules.nft")))
    assert not found.disagreements, found.disagreements[0]
    assert found.agrees, found
    assert not found.left_out
    assert found.packets > 12


def test_sets_are_there_with_what_they_hold_or_empty(tmp_path: Path) -> None:
    text = """*filter
:INPUT DROP [0:0]
-A INPUT -m set --match-set office src -j ACCEPT
-A INPUT -m set --match-set unknown src,dst -j ACCEPT
-A INPUT -p tcp -m set ! --match-set office src -m tcp --dport 80 -j REJECT --reject-with tcp-reset
COMMIT
"""
    rules = written(tmp_path, text)
    sets = written(tmp_path, "create office hash:net family inet\nadd office 10.1.0.0/16\n", "sets")
    for files in ([str(sets)], []):
        found = ruleaudit.observe(str(rules), ipset=files)
        assert found.agrees, found
        assert found.packets >= 5


@pytest.fixture
def without_nf_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system with iptables-legacy alone."""
    real = loading.program
    monkeypatch.setattr(loading, "program", lambda name: None if "-nft-" in name else real(name))


@pytest.mark.usefixtures("without_nf_tables")
@pytest.mark.parametrize("rules", ["user-chains.v4", "web.v6"])
def test_iptables_legacy_is_judged_by_its_counters(rules: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "suggest", "--kernel", "--format", "json", FIXTURES / "hosts" / rules)
    kernel = json.loads(out)["kernel"]
    program = f"ip{'6' if rules.endswith('v6') else ''}tables-legacy-restore"
    assert [one["program"] for one in kernel["loaded"]] == [program] * 2
    assert (code, kernel["disagreements"]) == (0, [])
    assert kernel["packets"] > 25


# -- it does not agree --------------------------------------------------------------------------------

DAMAGES = {
    "a rule less": ("-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT\n", ""),
    "another policy": (":OUTPUT ACCEPT", ":OUTPUT DROP"),
    "another port": ("80,443", "80,444"),
    "another interface": ("-i lo", "-i eth9"),
    "another state": ("--ctstate INVALID", "--ctstate NEW"),
    "a refusal for an acceptance": (
        "--dports 80,443 -m conntrack --ctstate NEW -j ACCEPT",
        "--dports 80,443 -j REJECT",
    ),
    "an acceptance more": ("COMMIT", "-A FORWARD -p udp -j ACCEPT\nCOMMIT"),
    "NOTRACK": ("*filter", "*raw\n-A PREROUTING -p tcp --dport 22 -j NOTRACK\nCOMMIT\n*filter"),
}


def otherwise(damage: str) -> tuple[Observation, Observation]:
    """What is seen when the rules are loaded as they were read, and when others are."""
    text = EXAMPLE.read_text()
    before, after = DAMAGES[damage]
    assert before in text
    read = ruleaudit.lower(SourceFile("rules.v4", text)).rulesets
    texts = (text, text.replace(before, after))
    same, other = (observe([Side(SourceFile("rules.v4", one), read)], []) for one in texts)
    return same, other


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_kernel_that_does_something_else_is_noticed(damage: str) -> None:
    """The control: what is loaded is not what was read, so the two may not agree."""
    same, other = otherwise(damage)
    assert same.agrees
    assert other.disagreements


@pytest.mark.usefixtures("without_nf_tables")
@pytest.mark.parametrize("damage", ["a rule less", "another policy", "another state", "NOTRACK"])
def test_counters_notice_it_too(damage: str) -> None:
    same, other = otherwise(damage)
    assert same.agrees
    assert other.disagreements


@pytest.fixture
def wrong_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model in which conntrack takes every packet for invalid."""
    right = follow.ways

    def wrong(*given: Any) -> Any:
        ruleset, path, packet, _, active = given
        return right(ruleset, path, packet, State.INVALID, active)

    monkeypatch.setattr(judging, "ways", wrong)


@pytest.mark.usefixtures("wrong_model")
def test_a_wrong_model_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = tmp_path / "new.v4"
    code, out, err = run(capsys, "suggest", "--kernel", "-o", new, EXAMPLE)
    assert code == 2
    assert not new.exists()
    assert out.startswith("NOT GIVEN OUT: the kernel does not do what was reasoned.\n")
    assert "+-A" not in out
    fates = "flags S iif eth0 state new: accept (line 10) in the kernel, drop (line 6) as reasoned"
    assert fates in " ".join(out.split())
    assert err.startswith(
        f"{EXAMPLE}: 7 rules read, all understood.\n{new}: not written, the kernel did not confirm it\n"
    )
    assert "ruleaudit: --kernel: the kernel does not do what was reasoned: " in err
    assert run(capsys, "suggest", "--kernel", "--diff", EXAMPLE)[:2] == (2, "")


@pytest.mark.usefixtures("wrong_model")
def test_a_wrong_model_leaves_everything_undecided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "suggest", "--kernel", "--format", "json", EXAMPLE)
    document = json.loads(out)
    jsonschema.validate(document, {**SCHEMA, "$ref": "#/$defs/error"})
    assert (code, document["outcome"]) == (2, "error")
    found = document["kernel"]["disagreements"]
    assert {(one["kernel"]["verdict"], one["reasoned"]["verdict"]) for one in found} >= {("accept", "drop")}
    assert all(one["reasoned"]["place"]["line"] == 6 for one in found if one["path"] == str(EXAMPLE))
    code, out, _ = run(capsys, "verify", "--kernel", "--format", "json", EXAMPLE, EXAMPLE)
    assert (code, json.loads(out)["result"]) == (2, "undecided")
    assert run(capsys, "verify", "--kernel", EXAMPLE, EXAMPLE)[1].startswith("UNDECIDED: the kernel does not do")


# -- it cannot be done --------------------------------------------------------------------------------


def test_what_the_kernel_refuses_is_not_rewritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A host name is no error for the reader, and nothing that a namespace could look up."""
    rules = written(tmp_path, EXAMPLE.read_text().replace("10.9.1.0/24", "office.invalid"))
    code, out, err = run(capsys, "suggest", "--kernel", rules)
    assert code == 2
    assert out.startswith("NOT GIVEN OUT: the kernel refuses the rules.\n")
    assert f"{rules}:9: iptables-nft-restore refuses it: " in " ".join(out.split())
    assert "+++" not in out
    assert f"ruleaudit: --kernel: {rules}:9: iptables-nft-restore refuses it: " in err
    code, out, _ = run(capsys, "suggest", "--kernel", "--format", "json", rules)
    refused = json.loads(out)["kernel"]["loaded"][0]
    assert (code, refused["path"], refused["line"]) == (2, str(rules), 9)
    assert "office.invalid" in refused["refused"]
    assert run(capsys, "suggest", "--kernel", "--diff", rules)[:2] == (2, "")


def test_a_missing_program_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observation, "program", lambda name: None if name == "nft" else shutil.which(name))
    code, out, err = run(capsys, "suggest", "--kernel", "-o", tmp_path / "new", EXAMPLE)
    assert code == 2
    assert "  observed nothing: not installed: nft\n" in out
    assert err.endswith("ruleaudit: --kernel: nothing was observed in the kernel: not installed: nft\n")
    assert not (tmp_path / "new").exists()
    assert run(capsys, "verify", "--kernel", EXAMPLE, EXAMPLE)[0] == 2
    code, out, err = run(capsys, "suggest", "--kernel", EXAMPLE, FIXTURES / "hosts" / "web.v6")
    assert (code, out.count("observed nothing"), err.count("ruleaudit: --kernel: nothing")) == (2, 2, 2)


def test_the_command_line_listing_is_not_loaded(tmp_path: Path) -> None:
    found = ruleaudit.observe(str(written(tmp_path, "-P INPUT DROP\n-A INPUT -i lo -j ACCEPT\n")))
    assert found.impossible.endswith("is iptables -S output, which nothing loads")
    assert not found.agrees


def test_so_many_anonymous_sets_are_not_loaded(tmp_path: Path) -> None:
    rules = "\n".join(f"ip saddr {{ 10.0.{n // 250}.{n % 250}, 192.0.2.1 }} drop" for n in range(1001))
    text = f"table ip f {{\nchain i {{\ntype filter hook input priority 0;\n{rules}\n}}\n}}\n"
    found = ruleaudit.observe(str(written(tmp_path, text, "rules.nft")))
    assert "1001 anonymous sets" in found.impossible


#: a process without any privilege but to read this Python's files, which may be root's alone
NOBODY = (
    *("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all,+dac_read_search"),
    *("--inh-caps", "-all,+dac_read_search", "--ambient-caps", "-all,+dac_read_search"),
)


def command(*arguments: str | Path, by: tuple[str, ...] = (), **settings: Any) -> subprocess.CompletedProcess[str]:
    line = (*by, sys.executable, "-m", "ruleaudit", *map(str, arguments))
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, cwd="/tmp", **settings)


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_an_ordinary_user_can_ask() -> None:
    """Whose search path is without the programs of root."""
    search = {**os.environ, "PATH": "/usr/bin:/bin"}
    ran = command("suggest", "--kernel", "--format", "json", EXAMPLE, by=NOBODY, env=search)
    assert (ran.returncode, ran.stderr.count("\n")) == (0, 1), ran
    assert json.loads(ran.stdout)["kernel"]["packets"] > 15


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
@pytest.mark.parametrize("what", ["net", "user"])
def test_forbidden_namespaces_are_said(what: str) -> None:
    forbidding = f'echo 0 > /proc/sys/user/max_{what}_namespaces; exec "$@"'
    # an ordinary user again inside, so that a user namespace is needed
    inner = ("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin") if what == "user" else ()
    by = ("unshare", "-Ur", "sh", "-c", forbidding, "sh", *inner)
    ran = command("suggest", "--kernel", EXAMPLE, by=by)
    assert ran.returncode == 2
    assert "  observed nothing: no network namespace can be made here: " in ran.stdout
    assert (
        "ruleaudit: --kernel: nothing was observed in the kernel: no network namespace can be made here" in ran.stderr
    )


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    slow = written(tmp_path, f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n", "iptables-nft-restore")
    slow.chmod(0o755)
    folder = tmp_path / "temporary"
    folder.mkdir()
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "TMPDIR": str(folder)}
    line = (sys.executable, "-m", "ruleaudit", "suggest", "--kernel", str(EXAMPLE))
    running = subprocess.Popen(
        line,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a test run in the background ignores it
    )
    deadline = time.monotonic() + 20
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    loader = Path("/proc") / (tmp_path / "pid").read_text().strip()
    assert loader.exists()
    running.send_signal(signal.SIGINT)
    assert running.wait(10) == 130
    assert list(folder.iterdir()) == []
    while loader.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_observation_without_packets_confirms_nothing() -> None:
    assert not Observation().agrees
