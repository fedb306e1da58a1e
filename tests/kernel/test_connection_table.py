"""Connection tables as conntrack and the kernel print them, in every form."""

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

import ruleaudit
from tests.kernel.lab import Lab

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
        tcp = sum(c.entries for c in use.table.classes if c.state == state and c.protocol == "tcp")
        assert tcp == len(shown), state
    ours = {c.protocol for c in use.table.classes}
    assert ours == {"tcp", "udp", "icmp", "icmpv6", "gre", "sctp", "udplite", "dccp", "50"}
    assert sum(c.entries for c in use.table.classes if c.translated) == 2
    assert {c.zone for c in use.table.classes} == {0, 3, 7}


def test_what_the_kernel_prints_is_what_the_tool_prints(lab: Lab, tmp_path: Path) -> None:
    tool, kernel, packed = tmp_path / "tool", tmp_path / "kernel", tmp_path / "kernel.gz"
    tool.write_text(_table(lab, "-o extended"))
    kernel.write_text(lab.run("server", "cat", "/proc/net/nf_conntrack"))
    packed.write_bytes(gzip.compress(kernel.read_bytes()))
    one, other, third = (ruleaudit.read_table(str(path)) for path in (tool, kernel, packed))
    assert one.entries == other.entries == third.entries
    assert one.by_state == other.by_state
    assert other == third
