"""`suggest --haproxy`: what is said of HAProxy's configuration, in every format and whatever comes of the rules."""

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import ruleaudit
from ruleaudit import cli

HOST = Path(__file__).parent / "fixtures" / "haproxy-host"
SCHEMA = json.loads((files("ruleaudit") / "ruleaudit-1.schema.json").read_text())
CONFIGURATION = """\
global
    stats socket ipv4@127.0.0.1:9999
    log 10.9.3.3 local0
frontend web
    bind :443
    bind :::443 v6only
    bind :8000-8001 transparent
    bind ":$PORT"
    default_backend pages
backend pages
    server one 10.9.2.2:8080 check port 8081
    server two pages.example:8080
"""
LISTENERS = [
    ("127.0.0.1", 9999, "tcp"),
    ("0.0.0.0", 443, "tcp"),
    ("::", 443, "tcp"),
    ("0.0.0.0", 8000, "tcp"),
    ("0.0.0.0", 8001, "tcp"),
]
SERVERS = [
    ("10.9.3.3", 514, "udp"),
    ("10.9.2.2", 8080, "tcp"),
    ("10.9.2.2", 8081, "tcp"),
    ("pages.example", 8080, "tcp"),
]
NEEDLESS = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp --dport 25 -j DROP\nCOMMIT\n"
CLOSED = "*filter\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -m state --state ESTABLISHED -j ACCEPT\nCOMMIT\n"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.delenv("PORT", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "haproxy.cfg").write_text(CONFIGURATION)
    (tmp_path / "rules.v4").write_bytes((HOST / "rules.v4").read_bytes())
    (tmp_path / "needless.v4").write_text(NEEDLESS)
    (tmp_path / "closed.v4").write_text(CLOSED)

    def ran(*arguments: str) -> tuple[int, str, str]:
        code = cli.run(["suggest", *arguments])
        said = capfd.readouterr()
        return code, said.out, said.err

    return ran


def ends(found: list[dict[str, Any]]) -> list[tuple[str | None, int | None, str]]:
    return [(one["address"], one["port"], one["protocol"]) for one in found]


@pytest.mark.parametrize(
    ("rules", "outcome"),
    [("rules.v4", "rewrite"), ("closed.v4", "nothing-to-free"), ("needless.v4", "nothing-needs-tracking")],
)
def test_json_holds_sockets_and_servers_whatever_the_outcome(run: Run, rules: str, outcome: str) -> None:
    # to a log, a server that is one address and one that is a name: the last two free nothing in closed.v4
    code, out, _ = run("--haproxy", "haproxy.cfg", "--except", "514,8080,8081", "--format", "json", "--", rules)
    document = json.loads(out)
    jsonschema.validate(document, SCHEMA)
    assert (code, document["outcome"]) == (0, outcome)
    assert ends(document["haproxy"]["listeners"]) == LISTENERS
    assert ends(document["haproxy"]["servers"]) == SERVERS
    assert [note.split(": ")[0] for note in document["notes"]] == [f"haproxy.cfg:{line}" for line in (7, 8, 12)]


def test_without_the_option_nothing_is_said_of_haproxy(run: Run) -> None:
    assert "haproxy" not in json.loads(run("rules.v4", "--format", "json")[1])
    assert "HAPROXY  (" not in run("rules.v4")[1]


def test_the_options_may_stand_before_or_behind_the_ruleset(run: Run) -> None:
    wanted = run("rules.v4", "--haproxy", "haproxy.cfg")
    assert run("--haproxy", "haproxy.cfg", "rules.v4") == wanted
    assert run("--haproxy", "haproxy.cfg", "--", "rules.v4") == wanted
    assert run("--haproxy=haproxy.cfg", "rules.v4") == wanted


def test_rulesets_behind_haproxy_are_told_by_their_text(run: Run) -> None:
    wanted = run("rules.v4", "closed.v4", "--haproxy", "haproxy.cfg")
    assert wanted[0] == 0
    assert run("--haproxy", "haproxy.cfg", "rules.v4", "closed.v4") == wanted
    assert run("--haproxy", "haproxy.cfg", "--haproxy", "rules.v4", "closed.v4") == wanted
    assert run("rules.v4", "--haproxy", "haproxy.cfg", "closed.v4") == wanted


def test_a_haproxy_cfg_is_no_ruleset(run: Run) -> None:
    code, out, errors = run("--haproxy", "haproxy.cfg", "--", "haproxy.cfg")
    assert (code, out) == (2, "")
    assert "haproxy.cfg is a haproxy.cfg, no ruleset; write: ruleaudit suggest RULES --haproxy" in errors
    code, out, errors = run("rules.v4", "--haproxy", "closed.v4")
    assert (code, out) == (2, "")
    assert "write: ruleaudit suggest closed.v4 --haproxy haproxy.cfg" in errors


def test_what_it_connects_to_is_freed(run: Run) -> None:
    document = json.loads(run("rules.v4", "--haproxy", "haproxy.cfg", "--format", "json")[1])
    freed = {(f["direction"], f["protocol"], *f["ports"], *f["addresses"]) for f in document["flows"]}
    assert ("out", "tcp", "8080-8081", "10.9.2.2") in freed


def test_the_text_says_what_was_read(run: Run) -> None:
    for rules in ("rules.v4", "closed.v4", "needless.v4"):
        _, out, err = run(rules, "--haproxy", "haproxy.cfg", "--port", "443")
        assert "HAPROXY  (haproxy.cfg)\n  listens       5 sockets: tcp/443,8000-8001,9999\n" in out
        assert "  connects to   4 targets: udp/514, tcp/8080-8081\n" in out
        assert "  not understood  haproxy.cfg:8: PORT is not set in the environment: left out\n" in out
        assert "  in the way      haproxy.cfg:7: transparent" in out
        assert "haproxy.cfg: 5 sockets, 4 targets of connections; line 8 not understood.\n" in err


def test_commands_to_type_hold_the_option(run: Run) -> None:
    assert (
        "ruleaudit suggest rules.v4 --haproxy haproxy.cfg --script > apply.sh"
        in run("rules.v4", "--haproxy", "haproxy.cfg")[1]
    )


def test_the_page_says_it_too(run: Run) -> None:
    assert "5 sockets: tcp/443,8000-8001,9999" in run("rules.v4", "--haproxy", "haproxy.cfg", "--format", "html")[1]


def test_a_diff_is_a_diff(run: Run) -> None:
    assert run("rules.v4", "--haproxy", "haproxy.cfg", "--diff")[1].startswith("--- a/rules.v4\n+++ b/rules.v4\n@@")


def test_folders_and_several_files_are_read_as_haproxy_loads_them(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "haproxy.d"
    folder.mkdir()
    (folder / "b.cfg").write_text("frontend b\n bind :2\n")
    (folder / "a.cfg").write_text("defaults\n disabled\n")
    (folder / "B.cfg").write_text("frontend B\n bind :1\n")
    (folder / ".c.cfg").write_text("frontend c\n bind :3\n")
    (folder / "d.cfg.bak").write_text("frontend d\n bind :4\n")
    (folder / "e.cfg").mkdir()
    (tmp_path / "last.cfg").write_text("frontend last\n enabled\n bind :5\n")
    _, out, _ = run("rules.v4", "--format", "json", "--haproxy", "haproxy.d", "last.cfg", "--haproxy", "haproxy.cfg")
    found = json.loads(out)["haproxy"]["listeners"]
    # those of haproxy.cfg are disabled by the defaults of a.cfg, its statistics are not
    assert [port for _, port, _ in ends(found)] == [1, 5, 9999]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("rules.v4", "--haproxy", "absent.cfg"), "absent.cfg: cannot be read: no such file or directory"),
        (("rules.v4", "--haproxy", "."), "haproxy.d: no *.cfg"),
        (("rules.v4", "--haproxy", "-"), "not standard input"),
        (("--haproxy", "haproxy.cfg"), "the following arguments are required: FILE"),
        ((), "the following arguments are required: FILE"),
    ],
)
def test_what_cannot_be_read_is_an_error(run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    (tmp_path / "haproxy.d").mkdir()
    code, out, err = run(*("haproxy.d" if argument == "." else argument for argument in arguments))
    assert (code, out) == (2, "")
    assert message in err


def test_the_same_by_the_package(run: Run) -> None:
    proxy = ruleaudit.read_haproxy(["haproxy.cfg"])
    assert [(str(one.address), one.port, one.protocol) for one in proxy.listeners] == LISTENERS


def test_flows_that_share_a_reason_stand_beside_it(run: Run, tmp_path: Path) -> None:
    rules = CLOSED.replace(":OUTPUT ACCEPT", ":OUTPUT DROP").removesuffix("COMMIT\n")
    rules += "-A INPUT -p tcp --dport 22 -j ACCEPT\n-A OUTPUT -m state --state ESTABLISHED -j ACCEPT\nCOMMIT\n"
    (tmp_path / "shut.v4").write_text(rules)
    flows = json.loads(run("shut.v4", "--haproxy", "haproxy.cfg", "--format", "json")[1])["refused"]
    reason = "the rules do not let this host open it"
    assert sum(one["reason"] == reason for one in flows) > 1
    assert " ".join(run("shut.v4", "--haproxy", "haproxy.cfg")[1].split()).count(reason) == 1
