"""`suggest --listeners`: what a list of listening sockets changes in the choice, and says of the assumptions."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

import ruleaudit
from ruleaudit import cli
from ruleaudit.model.fields import Family
from ruleaudit.model.from_sockets import services_of
from ruleaudit.results.suggestion import Flow, Suggestion
from ruleaudit.rewrite import listening
from ruleaudit.source import SourceFile

ROOT = Path(__file__).parent.parent
SCHEMA = json.loads((ROOT.parent / "src" / "ruleaudit" / "ruleaudit-1.schema.json").read_text())
OUTPUT_DROP = ROOT / "fixtures" / "hosts" / "output-drop.v4"
NAMED = """\
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m multiport --dports 44,80,443 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -p udp -m multiport --dports 53,443 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 8000:8100 -j ACCEPT
COMMIT
"""
#: who connects to the database is tracked, everything else is let in
OPEN = """\
*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 5432 -m conntrack --ctstate NEW -m connlimit --connlimit-above 20 -j DROP
COMMIT
"""
INET = """\
table inet fw {
	chain in {
		type filter hook input priority 0; policy drop;
		iif "lo" accept
		ct state established,related accept
		tcp dport { 22, 80, 443 } ct state new accept
	}
}
"""


def sockets(*lines: str) -> str:
    """`tcp 0.0.0.0:80 nginx` as ss prints it."""
    out = "Netid State Recv-Q Send-Q Local Address:Port Peer Address:Port Process\n"
    for protocol, local, *program in map(str.split, lines):
        users = f'users:(("{program[0]}",pid=1,fd=3))' if program else ""
        out += f"{protocol} {'LISTEN' if protocol == 'tcp' else 'UNCONN'} 0 128 {local} *:* {users}\n"
    return out


def suggested(text: str, listing: str, name: str = "rules.v4", ports: tuple[str, ...] = ()) -> Suggestion:
    listeners, problems = services_of(SourceFile("ss.txt", listing))
    assert problems == ()
    return ruleaudit.suggest(SourceFile(name, text), listeners=listeners, ports=ports)


def freed(found: Suggestion) -> set[str]:
    return {f"{flow.protocol}/{port}" for flow in found.flows for port in flow.ports}


def left(found: Suggestion) -> dict[str, str]:
    return {f"{c.flow.protocol}/{port}": c.reason for c in found.could_leave for port in c.flow.ports}


IDLE = "the rules let it in, and nothing listens there"
SSH = "ssh: low volume, worth protecting"


def test_what_listens_leaves_and_the_rest_is_said() -> None:
    found = suggested(
        NAMED, sockets("tcp 0.0.0.0:44 sshd", "tcp *:80 nginx", "udp 0.0.0.0:53 named", "tcp [::]:443", "tcp *:3306")
    )
    assert freed(found) == {"tcp/80", "udp/53"}
    ports = {"tcp/44": SSH, "tcp/443": IDLE, "udp/443": IDLE, "tcp/8000-8100": IDLE}
    assert left(found) == ports
    assert found.refused == (), "a socket behind the rules is no news"


def test_a_range_is_one_service() -> None:
    found = suggested(NAMED, sockets("tcp 0.0.0.0:8017 ftpd", "tcp *:80", "udp *:67"))
    assert freed(found) == {"tcp/80", "tcp/8000-8016", "tcp/8017", "tcp/8018-8100"}


def test_a_list_of_one_protocol_says_nothing_of_the_other() -> None:
    """`ss -lnt`: UDP was not asked for."""
    found = suggested(NAMED, sockets("tcp *:80"))
    assert freed(found) == {"tcp/80", "udp/53", "udp/443"}
    assert left(found)["tcp/443"] == IDLE


def test_what_is_asked_for_leaves_all_the_same() -> None:
    found = suggested(NAMED, sockets("tcp 0.0.0.0:44 sshd", "tcp *:80"), ports=("44", "443"))
    assert freed(found) == {"tcp/44", "tcp/443", "udp/443"}


def test_without_a_list_nothing_is_known() -> None:
    found = ruleaudit.suggest(SourceFile("rules.v4", NAMED))
    assert {"tcp/44", "tcp/80", "tcp/443", "udp/53", "udp/443"} <= freed(found)
    assert found.checked == ()


def test_a_socket_of_this_host_alone_is_no_listener() -> None:
    found = suggested(NAMED, sockets("tcp 127.0.0.1:80 nginx", "tcp 0.0.0.0%lo:443", "udp 0.0.0.0:53", "tcp *:22"))
    assert freed(found) == {"udp/53"}


def test_an_open_host_is_known_by_what_listens() -> None:
    silent = ruleaudit.suggest(SourceFile("rules.v4", OPEN))
    assert freed(silent) == set()
    found = suggested(OPEN, sockets("tcp 0.0.0.0:22 sshd", "tcp *:80 nginx", "tcp 0.0.0.0:2200 sshd", "udp *:40000"))
    assert freed(found) == {"tcp/80"}


def test_an_address_family_without_a_listener_is_none_of_a_table_of_both() -> None:
    assert freed(suggested(INET, sockets("tcp [::]:80", "tcp 0.0.0.0:443"), "fw.nft")) == {"tcp/80", "tcp/443"}
    assert left(suggested(INET, sockets("tcp [::]:80"), "fw.nft"))["tcp/443"] == IDLE


@pytest.mark.parametrize(
    ("listing", "ports", "holds"),
    [
        (sockets("tcp 0.0.0.0:80", "tcp *:443"), (), True),
        (sockets("tcp 192.0.2.1:80", "tcp *:443"), (), True),
        (sockets("tcp 0.0.0.0%eth0:80", "tcp *:443"), (), None),
        (sockets("tcp *:443"), ("80", "443"), False),
        (sockets("udp *:80"), (), None),
        (sockets("udp *:80", "tcp *:443"), ("80", "443"), False),
        (sockets("tcp [::]:80", "tcp *:443"), ("80", "443"), False),
    ],
)
def test_who_holds_the_port(listing: str, ports: tuple[str, ...], holds: bool | None) -> None:
    found = suggested(OUTPUT_DROP.read_text(), listing, ports=ports)
    assert found.outcome == "rewrite"
    assert "listener-holds-port" in dict(found.assumptions)
    assert [(c.assumption, c.holds) for c in found.checked] == [("listener-holds-port", holds)]


def test_the_list_knows_no_other_host() -> None:
    """That the servers hold their ports is assumed too, where connections to them leave."""
    listeners, _ = services_of(SourceFile("ss.txt", sockets("tcp *:80", "tcp *:443")))
    found = ruleaudit.suggest(str(OUTPUT_DROP), listeners=listeners)
    assert [c.holds for c in found.checked] == [True]
    more = replace(found, flows=(*found.flows, Flow("out", "tcp", ("8000",), ("192.0.2.7",), (), None)))
    held = listening.held(more, listeners, [Family.IPV4])
    assert held is not None
    assert held.holds is None


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listing = tmp_path / "ss.txt"
    listing.write_text("root@web:~# ss -lntup\n" + sockets("tcp *:443"))
    arguments = ["suggest", str(OUTPUT_DROP), "--listeners", str(listing), "--port", "80,443"]
    assert cli.run(arguments) == 0
    out, errors = capsys.readouterr()
    assert "contradicted: nothing listens on tcp/80" in out
    assert f"--listeners {listing}" in out, "the commands to type ask the same again"
    contradicted = "note: the assumption listener-holds-port is contradicted: nothing listens on tcp/80"
    assert contradicted in errors
    said = f'note: {listing}:1: unexpected "root@web:~# ss -lntup": expected a socket, as ss -lntup prints it\n'
    assert errors.startswith(said)
    assert cli.run([*arguments, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, SCHEMA)
    assert [(c["assumption"], c["holds"]) for c in document["checked"]] == [("listener-holds-port", False)]
    listing.write_text(sockets("tcp web.example:443"))
    assert cli.run(arguments) == 2
    where = f'{listing}:2: "web.example" is not an address; ss -n prints numbers'
    assert capsys.readouterr().err == f"ruleaudit: {where}\n"
    assert cli.run(["suggest", "-", "--listeners", "-"]) == 2
