"""What this host opens itself leaves the table too: HAProxy with its backends, a resolver, ssh from a server's port."""

from collections.abc import Iterator
from ipaddress import ip_network

import pytest

import ruleaudit
from ruleaudit.diagnostics import FixClass
from ruleaudit.model.service import Service
from ruleaudit.results.suggestion import Suggestion
from ruleaudit.source import SourceFile
from tests.kernel.haproxy import FRONTENDS, HOST, SERVICES, haproxy_host, proxy_entries, same_as_ever
from tests.kernel.http import page, requests
from tests.kernel.lab import BEHIND, CLIENT, CLIENT6, SERVER, SERVER6, VARIANTS, Lab
from tests.kernel.rewrite import filtered

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

STATEFUL = "-A INPUT -i lo -j ACCEPT\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
NEW = "-A INPUT -p tcp -m tcp --dport {} -m conntrack --ctstate NEW -j ACCEPT\n"
#: a host that anybody may reach by ssh, from whatever port
SSH_FROM_ANYWHERE = filtered(
    "-A INPUT -m conntrack --ctstate INVALID -j DROP\n",
    STATEFUL,
    NEW.format(22),
    "-A INPUT -p tcp -m multiport --dports 80,443 -m conntrack --ctstate NEW -j ACCEPT\n",
)
OUTPUT_DROP = filtered(
    STATEFUL,
    "-A INPUT -s 10.9.1.0/24 -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT\n",
    "-A INPUT -p tcp -m multiport --dports 80,443 -m conntrack --ctstate NEW -j ACCEPT\n",
    "-A OUTPUT -o lo -j ACCEPT\n",
    "-A OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n",
    "-A OUTPUT -d 10.9.2.0/24 -p tcp -m multiport --dports 8080,8081 -m conntrack --ctstate NEW -j ACCEPT\n",
    going="DROP",
)
#: the accept of what this host opens is no rule of its own
OUTPUT_BLANKET = filtered(
    STATEFUL,
    "-A INPUT -s 10.9.1.0/24 -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT\n",
    "-A INPUT -p tcp -m multiport --dports 80,443 -m conntrack --ctstate NEW -j ACCEPT\n",
    "-A OUTPUT -m conntrack --ctstate NEW,RELATED,ESTABLISHED -j ACCEPT\n",
    going="DROP",
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with haproxy_host() as made:
        yield made


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("rules", "kind"),
    [
        ((HOST / "rules.v4").read_text(), FixClass.SAME_CONNECTIONS),
        (SSH_FROM_ANYWHERE, FixClass.ASSUMING),
        (OUTPUT_DROP, FixClass.SAME_CONNECTIONS),
        (OUTPUT_BLANKET, FixClass.ASSUMING),
    ],
    ids=["ssh-for-some", "ssh-from-anywhere", "output-drop", "output-blanket"],
)
def test_haproxy_host(lab: Lab, rules: str, kind: FixClass, variant: str) -> None:
    lab.load("server", rules, variant)
    assert requests(lab, "client", FRONTENDS[BEHIND], 100) == 200
    assert len(proxy_entries(lab)) >= 350

    suggestion = ruleaudit.suggest(SourceFile("rules.v4", rules), services=SERVICES)
    assert suggestion.text is not None
    assert suggestion.kind is kind
    assert not suggestion.refused
    lab.load("server", suggestion.text, variant)
    assert requests(lab, "client", FRONTENDS[BEHIND], 250) == 500
    assert proxy_entries(lab) == []
    assert lab.run("server", "conntrack", "-C").strip() == "0"
    if rules is not SSH_FROM_ANYWHERE:
        same_as_ever(lab, BEHIND)


def test_measurement_can_fail(lab: Lab) -> None:
    """Without the reply accept the proxy finds no backend; with one NOTRACK of two the entries stay."""
    text = ruleaudit.suggest(str(HOST / "rules.v4"), services=SERVICES).text
    assert text is not None
    lab.load("server", _without(text, "-A INPUT -s 10.9.2.2/32"), "nft")
    assert page(lab, "client", BEHIND, 80) is None
    lab.load("server", _without(text, "-A OUTPUT ! -o lo -d 10.9.2.2/32"), "nft")
    requests(lab, "client", FRONTENDS[BEHIND], 5)
    assert len(lab.entries("server", "dst=10.9.2.2")) > 0


def _without(text: str, words: str) -> str:
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(words)]
    assert len(kept) == len(lines) - 1
    return "".join(kept)


# -- one server, one host ------------------------------------------------------------------------------------


@pytest.fixture
def plain() -> Iterator[Lab]:
    with Lab() as made:
        yield made


def _to_client(protocol: str, port: int, *addresses: str) -> tuple[Service, ...]:
    return (Service("out", protocol, ((port, port),), tuple(map(ip_network, addresses))),)


def _suggested(rules: str, services: tuple[Service, ...], allow: tuple[str, ...] = ()) -> Suggestion:
    return ruleaudit.suggest(SourceFile("rules.v4", rules), services=services, allow=allow)


@pytest.mark.parametrize("six", [False, True])
def test_ssh_from_the_port_of_the_server(plain: Lab, six: bool) -> None:
    """It works as before, since only this host's usual ports leave; without these words it would be lost."""
    here, there = (SERVER6, CLIENT6) if six else (SERVER, CLIENT)
    rules = filtered(STATEFUL, "-A INPUT -p ipv6-icmp -j ACCEPT\n" if six else "", NEW.format(22))
    plain.serve_tcp("server", 22, six=six)
    suggestion = _suggested("# v6\n" + rules if six else rules, _to_client("tcp", 8080, CLIENT, CLIENT6))
    assert suggestion.text is not None
    assert "ephemeral-ports" in dict(suggestion.assumptions)
    assert suggestion.kind is FixClass.ASSUMING
    assert [flow.addresses for flow in suggestion.flows] == [(there,)]
    plain.load("server", suggestion.text, "nft", six=six)
    assert plain.tcp("client", here, 22, sport=8080) == "ok"
    plain.forget("server")
    plain.serve_tcp("client", 8080, six=six)
    assert plain.tcp("server", there, 8080) == "ok"
    assert plain.entries("server", "dport=8080") == []
    # from a port that is none of the usual ones: tracked, and it works
    assert plain.tcp("server", there, 8080, sport=1024) == "ok"
    assert len(plain.entries("server", "sport=1024", "dport=8080")) == 1


def test_without_the_usual_ports_ssh_would_be_lost(plain: Lab) -> None:
    plain.serve_tcp("server", 22)
    text = _suggested(filtered(STATEFUL, NEW.format(22)), _to_client("tcp", 8080, CLIENT)).text
    assert text is not None
    assert text.count(" --dport 32768:60999") == 2
    plain.load("server", text.replace(" --dport 32768:60999", "").replace(" --sport 32768:60999", ""), "nft")
    assert plain.tcp("client", SERVER, 22, sport=8080) == "silence"


def test_path_mtu_to_a_server_stays_known(plain: Lab) -> None:
    """ICMP errors about what this host opens pass as before."""
    suggestion = _suggested(filtered(STATEFUL, NEW.format(22)), _to_client("tcp", 8080, CLIENT))
    assert suggestion.text is not None
    added = {line for line in suggestion.text.splitlines() if "--icmp-type" in line}
    assert added == {f"-A INPUT -p icmp -m icmp --icmp-type {kind} -j ACCEPT" for kind in (3, 11, 12)}


def test_a_resolver(plain: Lab) -> None:
    """Untracked UDP replies are let in from the resolver's port, so that it could open too: reversed, when asked."""
    rules = filtered(STATEFUL, NEW.format(80))
    services = _to_client("udp", 53, CLIENT)
    plain.serve_udp("client", 53)
    plain.load("server", rules, "nft")
    assert plain.udp("server", CLIENT, 53) == "ok"
    assert len(plain.entries("server", "dport=53")) == 1

    cautious = _suggested(rules, services)
    assert [(r.flow.words, bool(r.witness), bool(r.cure)) for r in cautious.refused] == [
        ("udp/53 to 10.9.0.1", True, True)
    ]
    assert [(o.options, o.kind) for o in cautious.offers if o.options[0] == "--allow"] == [
        (("--allow", "reversed"), FixClass.REVERSED)
    ]
    allowed = _suggested(rules, services, ("reversed",))
    assert allowed.text is not None
    assert allowed.kind is FixClass.REVERSED
    assert "listener-holds-port" in dict(allowed.assumptions)
    plain.load("server", allowed.text, "nft")
    assert plain.udp("server", CLIENT, 53) == "ok"
    assert plain.entries("server", "dport=53") == []


def test_what_the_reversed_class_opens(plain: Lab) -> None:
    """Where nothing holds the resolver's port, its host can send to the usual client ports of this one."""
    rules = filtered(STATEFUL, NEW.format(80))
    text = _suggested(rules, _to_client("udp", 53, CLIENT), ("reversed",)).text
    assert text is not None
    plain.serve_udp("server", 40000)
    plain.serve_udp("server", 9000)
    plain.load("server", rules, "nft")
    assert plain.udp("client", SERVER, 40000, sport=53) == "silence"
    plain.load("server", text, "nft")
    assert plain.udp("client", SERVER, 40000, sport=53) == "ok"
    assert plain.udp("client", SERVER, 40000, sport=54) == "silence"
    assert plain.udp("client", SERVER, 9000, sport=53) == "silence"


MASQUERADE = "*nat\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o s0 -j MASQUERADE\nCOMMIT\n"


def test_masquerade_is_in_the_way(plain: Lab) -> None:
    plain.serve_tcp("client", 8080)
    rules = MASQUERADE + filtered(STATEFUL, NEW.format(80))
    suggestion = _suggested(rules, _to_client("tcp", 8080, CLIENT))
    refused = [r for r in suggestion.refused if r.flow.direction == "out"]
    assert [r.rule.line for r in refused if r.rule] == [3]
    assert all(r.witness for r in refused)
    assert suggestion.text is not None
    plain.load("server", suggestion.text, "nft")
    assert plain.tcp("server", CLIENT, 8080) == "ok"
    assert len(plain.entries("server", "dport=8080")) == 1


@pytest.mark.parametrize("rules", [SSH_FROM_ANYWHERE, OUTPUT_DROP, OUTPUT_BLANKET])
def test_the_kernel_sees_the_same_packets(rules: str) -> None:
    """Packets of both rulesets, those of the report among them, fare in the kernel as the proof says."""
    suggestion = _suggested(rules, SERVICES)
    assert suggestion.text is not None
    assert suggestion.comparison is not None
    packets = [d.witness.packet for d in suggestion.comparison.differences]
    seen = ruleaudit.observe(suggestion.source, SourceFile("new.v4", suggestion.text), packets=packets)
    assert seen.agrees, (seen.impossible, seen.refused, seen.disagreements)
    assert seen.witnesses
