"""Without a conntrack user IPv6 datagrams larger than the MTU meet INPUT in pieces, and only the first has ports."""

import socket

import pytest

import ruleaudit
from ruleaudit.results import DifferenceKind
from ruleaudit.source import SourceFile
from tests.kernel.lab import SERVER6, VARIANTS, Lab

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


def test_the_comparison_says_so() -> None:
    found = ruleaudit.verify(SourceFile("rules.v6", TRACKED), SourceFile("rules.v6", STATELESS))
    broken = [d for d in found.differences if d.kind is DifferenceKind.BREAKS]
    assert {d.loosens for d in broken} == {None}
    assert all(" fragment later" in d.witness.packet for d in broken)
    assert broken
