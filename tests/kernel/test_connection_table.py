"""Connection tables as conntrack and the kernel print them, in every form."""

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ruleaudit
from ruleaudit.source import SourceFile
from tests.kernel.haproxy import FRONTENDS, HOST, haproxy_host
from tests.kernel.http import requests
from tests.kernel.lab import BEHIND, SERVER, SERVER6, VARIANTS, Lab

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

STATES = ("SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE")
FORMS = (
    "",
    "-o extended",
    "-o id",
    "-o extended,id,timestamp,ktimestamp,labels",
    "-o save",
    "-o xml",
    "-o extended,id,timestamp,ktimestamp,labels,xml",
)


@pytest.fixture(scope="module", params=[0, 1], ids=["plain", "accounting"])
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A table of all states and many protocols; `use`: how many entries it has of each state."""
    with Lab() as lab:
        server = lab.hosts["server"]
        for setting in ("acct", "timestamp"):
            server.sysctl(f"net.netfilter.nf_conntrack_{setting}", request.param)
        lab.run("server", "iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "NEW", "-j", "ACCEPT")
        for number, state in enumerate(STATES, 1):
            for client in range(number):
                for a, b in (("203.0.113.", "10.9.0.2"), ("2001:db8::", "fd09::2")):
                    _insert(
                        lab,
                        f"-s {a}{client + 1} -d {b} -p tcp --sport {1000 + number} --dport 443 --state {state} -t 300"
                        " -u SEEN_REPLY,ASSURED",
                    )
        _insert(lab, "-s 203.0.113.9 -d 10.9.0.2 -p tcp --sport 9 --dport 80 --state SYN_SENT -t 300 -w 7")
        _insert(lab, "-s 203.0.113.9 -d 10.9.0.2 -p tcp --sport 9 --dport 80 --state SYN_SENT -t 300 --orig-zone 3")
        _insert(lab, "-s 203.0.113.9 -d 10.9.0.2 -p udp --sport 9 --dport 53 -t 300")
        _insert(lab, "-s 203.0.113.9 -d 10.9.0.2 -p udp --sport 8 --dport 53 -t 300 -u SEEN_REPLY,ASSURED")
        _insert(lab, "-s 203.0.113.9 -d 10.9.0.2 -p udp --sport 7 --dport 53 -t 300 --dst-nat 10.9.3.3")
        _insert(lab, "-s 10.9.3.3 -d 203.0.113.9 -p udp --sport 7 --dport 53 -t 300 --src-nat 10.9.0.2")
        _insert(lab, "-s 203.0.113.9 -d 10.9.0.2 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 7 -t 300")
        _insert(lab, "-s fd09::9 -d fd09::2 -p icmpv6 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 7 -t 300")
        _insert(lab, "-s 203.0.113.9 -d 10.9.0.2 -p gre --srckey 1 --dstkey 2 -t 300")
        sctp = "--orig-port-src 5 --orig-port-dst 6 --orig-vtag 1 --reply-vtag 2 --state ESTABLISHED"
        _insert(lab, f"-s 203.0.113.9 -d 10.9.0.2 -p sctp {sctp} -t 300")
        _insert(lab, "-s 203.0.113.9 -d 10.9.0.2 -p udplite --sport 5 --dport 6 -t 300")
        _insert(lab, "-s 203.0.113.9 -d 10.9.0.2 -p dccp --sport 5 --dport 6 --state REQUEST --role server -t 300")
        _insert(lab, "-s 203.0.113.9 -d 10.9.0.2 -p 50 -t 300")
        yield lab


def _insert(lab: Lab, options: str) -> None:
    lab.run("server", "conntrack", "-I", *options.split())


def _table(lab: Lab, form: str) -> str:
    return lab.run("server", "conntrack", "-L", *form.split())


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_every_entry(lab: Lab, form: str, tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text(_table(lab, form))
    use = ruleaudit.read_table(str(path))
    assert use.unread == ()
    assert use.entries == int(lab.run("server", "conntrack", "-C"))
    for state in STATES:
        shown = lab.run("server", "conntrack", "-L", "-p", "tcp", "--state", state).splitlines()
        tcp = sum(c.entries for c in use.table.held if c.state == state and c.protocol == "tcp")
        assert tcp == len(shown), state
    ours = {c.protocol for c in use.table.held}
    assert ours == {"tcp", "udp", "icmp", "icmpv6", "gre", "sctp", "udplite", "dccp", "50"}
    assert sum(c.entries for c in use.table.held if c.translated) == 2
    assert {c.zone for c in use.table.held} == {0, 3, 7}


def test_what_the_tool_says_of_its_own_may_be_in_the_file(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text(lab.run("server", "sh", "-c", "conntrack -L -o extended 2>&1"))
    use = ruleaudit.read_table(str(path))
    assert use.unread == ()
    assert use.entries == use.table.announced == int(lab.run("server", "conntrack", "-C"))


def test_what_the_kernel_prints_is_what_the_tool_prints(lab: Lab, tmp_path: Path) -> None:
    tool, kernel, packed = tmp_path / "tool", tmp_path / "kernel", tmp_path / "kernel.gz"
    tool.write_text(_table(lab, "-o extended"))
    kernel.write_text(lab.run("server", "cat", "/proc/net/nf_conntrack"))
    packed.write_bytes(gzip.compress(kernel.read_bytes()))
    one, other, third = (ruleaudit.read_table(str(path)) for path in (tool, kernel, packed))
    assert one.entries == other.entries == third.entries
    assert one.by_state == other.by_state
    assert other.table == third.table


RULES4 = """\
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A INPUT -s 10.9.0.11 -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -s 10.9.0.12 -p tcp -m tcp --dport 8443 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -p tcp -m multiport --dports 80,443 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -p udp -m udp --dport 53 -m conntrack --ctstate NEW -j ACCEPT
COMMIT
"""
NFT = """\
table inet filter {
  chain input {
    type filter hook input priority 0; policy drop;
    iif "lo" accept
    ct state invalid drop
    ct state established,related accept
    meta l4proto icmp accept
    icmpv6 type { echo-request, nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
    ip saddr 10.9.0.11 tcp dport 22 accept
    ip saddr 10.9.0.12 tcp dport 8443 accept
    tcp dport { 80, 443 } accept
    udp dport 53 accept
  }
}
"""
CLIENTS6 = ("fd09::1", "fd09::11", "fd09::12")
CLIENTS = ("10.9.0.1", "10.9.0.11", "10.9.0.12", "10.9.0.13")


@pytest.fixture
def host() -> Iterator[Lab]:
    with Lab() as lab:
        for client in CLIENTS[1:]:
            lab.run("client", "ip", "address", "add", f"{client}/24", "dev", "c0")
        for client in CLIENTS6[1:]:
            lab.run("client", "ip", "address", "add", f"{client}/64", "dev", "c0", "nodad")
        for port in (80, 443, 22, 8443, 25):
            lab.serve_tcp("server", port)
            lab.serve_tcp("server", port, six=True)
        lab.serve_udp("server", 53)
        lab.serve_tcp("client", 8080)
        yield lab


def _traffic(lab: Lab, six: bool) -> None:
    """The same connections each time: to this host's services, some of them closed or restricted, and its own."""
    for number in range(6):
        for client in CLIENTS:
            assert lab.tcp("client", SERVER, (80, 443)[number % 2], source=client) == "ok"
        # from ports that are told, so that no two of them are one entry
        assert lab.udp("client", SERVER, 53, sport=20000 + number) == "ok"
    for client in CLIENTS:
        assert (lab.tcp("client", SERVER, 22, source=client, patience=0.1) == "ok") == (client == "10.9.0.11")
        assert (lab.tcp("client", SERVER, 8443, source=client, patience=0.1) == "ok") == (client == "10.9.0.12")
        assert lab.tcp("client", SERVER, 25, source=client, patience=0.1) == "silence"
    for client in CLIENTS6 if six else ():
        assert [lab.tcp("client", SERVER6, port, source=client) for port in (80, 443, 443)] == ["ok"] * 3
    for client in CLIENTS:
        for _ in range(4):
            assert lab.tcp("server", client, 8080) == "ok"


@pytest.mark.parametrize("language", ["iptables-nft", "iptables-legacy", "nft"])
@pytest.mark.parametrize("options", [{}, {"everything": True}, {"ports": ("443",)}], ids=["default", "all", "port"])
def test_what_is_said_to_be_freed_is_freed(host: Lab, language: str, options: dict[str, Any], tmp_path: Path) -> None:
    text = NFT if language == "nft" else RULES4

    def load(rules: str) -> None:
        if language == "nft":
            host.load_nft("server", rules)
        else:
            host.load("server", rules, language.removeprefix("iptables-"))

    load(text)
    _traffic(host, language == "nft")
    table = tmp_path / "table"
    table.write_text(host.run("server", "conntrack", "-L"))
    before = len(host.entries("server"))

    source = SourceFile("rules", text)
    read = ruleaudit.lower(source)
    use = ruleaudit.read_table(str(table), regions=ruleaudit.regions(read.rulesets))
    suggestion = ruleaudit.suggest(source, table=use, **options)
    relief = suggestion.relief
    assert relief is not None and suggestion.text is not None
    assert use.entries == before
    assert [str(address) for address in use.table.own] == ([SERVER, SERVER6] if language == "nft" else [SERVER])
    assert relief.unclear == relief.refused == relief.unasked == 0

    load(suggestion.text)
    _traffic(host, language == "nft")
    after = len(host.entries("server"))
    assert relief.freed > 0
    assert before - after == relief.freed
    assert sum(flow.entries or 0 for flow in suggestion.flows) == relief.freed
    if not options:
        assert {(flow.direction, port) for flow in suggestion.flows for port in flow.ports} >= {
            ("in", "443"),
            ("out", "8080"),
        }
        assert relief.freed == before - 2
    for could in suggestion.could_leave:
        left = [host.entries("server", f"dport={port}", f"dst={SERVER}") for port in could.flow.ports]
        assert could.flow.entries == sum(map(len, left))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("form", ["", "-o save", "-o xml"])
def test_haproxy_and_its_backends(variant: str, form: str, tmp_path: Path) -> None:
    """Half of the table are the proxy's own connections: the table alone tells, and all of them leave."""
    rules = (HOST / "rules.v4").read_text()

    def traffic(lab: Lab) -> list[str]:
        for client in ("client", "router"):
            assert requests(lab, client, FRONTENDS[BEHIND], 50) == 100
        return lab.run("server", "conntrack", "-L").splitlines()

    with haproxy_host() as lab:
        lab.load("server", rules, variant)
        traffic(lab)
        table = tmp_path / "table"
        table.write_text(lab.run("server", "conntrack", "-L", *form.split()))
        before = ruleaudit.read_table(str(table))
        source = SourceFile("rules.v4", rules)
        suggestion = ruleaudit.suggest(source, table=before)
        assert suggestion.text is not None and suggestion.relief is not None
        assert {str(address) for address in before.table.own} >= {BEHIND}
        assert suggestion.relief.freed == before.entries > 300
        lab.load("server", suggestion.text, variant)
        assert traffic(lab) == []
