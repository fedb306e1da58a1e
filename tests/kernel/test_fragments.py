"""Without a conntrack user IPv6 datagrams larger than the MTU meet INPUT in pieces, and only the first has ports."""

import socket
import time

import pytest

import ruleaudit
from ruleaudit.results import DifferenceKind
from ruleaudit.source import SourceFile
from tests.kernel import packets
from tests.kernel.lab import BEHIND, CLIENT, SERVER6, VARIANTS, Lab

_RULES = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p ipv6-icmp -j ACCEPT
{state}-A INPUT -p udp -m udp --dport 7 -j ACCEPT
COMMIT
"""
TRACKED = _RULES.format(state="-A INPUT -m conntrack --ctstate INVALID -j DROP\n")
STATELESS = _RULES.format(state="")


@pytest.mark.kernel
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("text", "arrives"), [(TRACKED, True), (STATELESS, False)], ids=["tracked", "stateless"])
def test_a_large_datagram(variant: str, text: str, arrives: bool) -> None:
    with Lab() as lab:
        lab.load("server", text, variant, six=True)
        with (
            lab.open_socket("server", socket.SOCK_DGRAM, six=True) as receiver,
            lab.open_socket("client", socket.SOCK_DGRAM, six=True) as sender,
        ):
            receiver.bind(("::", 7))
            receiver.settimeout(1)
            sender.sendto(b"x" * 16, (SERVER6, 7))
            assert len(receiver.recv(65535)) == 16
            sender.sendto(b"x" * 3000, (SERVER6, 7))
            try:
                size = len(receiver.recv(65535))
            except TimeoutError:
                size = 0
    assert (size == 3000) is arrives


@pytest.mark.kernel
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("variant", VARIANTS)
def test_ports_of_a_later_fragment(variant: str) -> None:
    """It has none, we say; iptables-nft takes the data at their place for ports, in its own tests of tcp and udp."""
    rules = ("-p udp --dport 80", "-p udp ! --dport 80", "-p udp -m multiport --dports 80", "-p udp")
    lines = "".join(f"-A FORWARD {rule} -m comment --comment r{n}\n" for n, rule in enumerate(rules))
    with Lab(router=True) as lab:
        lab.load("router", f"*mangle\n{lines}COMMIT\n", variant)
        for port in (80, 81):
            later = packets.fragment(packets.udp(CLIENT, 4242, BEHIND, port), 24, False)
            lab.send("client", "c0", ("router", "r0"), later)
        deadline = time.monotonic() + 10
        while lab.hits("router", "r3") < 2 and time.monotonic() < deadline:
            pass
        seen = [lab.hits("router", f"r{n}") for n in range(len(rules))]
    assert seen == ([1, 1, 0, 2] if variant == "nft" else [0, 0, 0, 2])


def test_the_comparison_says_so() -> None:
    found = ruleaudit.verify(SourceFile("rules.v6", TRACKED), SourceFile("rules.v6", STATELESS))
    broken = [d for d in found.differences if d.kind is DifferenceKind.BREAKS]
    assert {d.loosens for d in broken} == {None}
    assert all(" fragment later" in d.witness.packet for d in broken)
    assert broken
