"""What the lint rules about NOTRACK say of their examples, done to a host on the kernel."""

import contextlib
import socket
import time

import pytest

from ruleaudit.rules import (
    blanket_untracked_accept,
    entry_on_untracked,
    fragments_lost,
    late_notrack,
    limit_behind_new_on_untracked,
    neighbour_discovery_untracked,
    one_way_notrack,
)
from ruleaudit.rules.examples import Example
from tests.kernel.lab import BEHIND, SERVER, SERVER6, VARIANTS, Lab

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]


#: identifier 1, number 1
_ECHO_REQUEST = bytes.fromhex("0800f7fd00010001")


def _load(lab: Lab, example: Example, text: str | None = None) -> None:
    text = example.text if text is None else text
    if "*filter" not in text:
        lab.load_nft("server", text)
    else:
        lab.load("server", text, "nft", six=example.language == "ip6tables-save")


def _titled(examples: tuple[Example, ...], title: str) -> Example:
    return next(e for e in examples if e.title == title)


@pytest.mark.parametrize(
    "example", [e for e in neighbour_discovery_untracked.EXAMPLES if e.title != "the policy would drop it anyway"],
    ids=lambda e: e.title,
)  # fmt: skip
def test_without_neighbour_discovery_there_is_no_ipv6(example: Example) -> None:
    with Lab() as lab:
        lab.serve_tcp("server", 22, six=True)
        _load(lab, example)
        for host, device in (("client", "c0"), ("server", "s0")):
            lab.run(host, "ip", "-6", "neigh", "flush", "dev", device)
        fate = lab.tcp("client", SERVER6, 22, patience=2)
    assert (fate == "ok") is not bool(example.spans)


@pytest.mark.parametrize(
    "example", [e for e in late_notrack.EXAMPLES if "table ip untracked" in e.text], ids=lambda e: e.title
)
def test_a_late_notrack_leaves_nothing_untracked(example: Example) -> None:
    port = 514 if "514" in example.text else 53
    with Lab() as lab:
        _load(lab, example)
        lab.udp("client", SERVER, port)
        tracked = bool(lab.entries("server", f"dport={port}"))
    # a packet through the hook of forwarded ones is no packet to this host, but tracked all the same
    assert tracked is bool(example.spans)


@pytest.mark.parametrize(
    "example", [e for e in one_way_notrack.EXAMPLES if e.title.startswith("pings")], ids=lambda e: e.title
)
def test_the_reply_to_an_untracked_ping_makes_no_entry(example: Example) -> None:
    with Lab() as lab:
        _load(lab, example)
        asking = lab.open_socket("client", socket.SOCK_RAW, protocol=socket.IPPROTO_ICMP)
        asking.sendto(_ECHO_REQUEST, (SERVER, 0))
        answered = False
        with contextlib.suppress(TimeoutError):
            answered = bool(asking.recv(100))
        assert answered is not bool(example.spans)
        assert not lab.entries("server", "type=8")


def test_on_lo_output_decides() -> None:
    for title, tracked in (("packets on lo, tracked when they were sent", True), ("both hooks of lo", False)):
        with Lab() as lab:
            _load(lab, _titled(late_notrack.EXAMPLES, title))
            lab.udp("server", "127.0.0.1", 53)
            assert bool(lab.entries("server", "dport=53")) is tracked


def test_a_blanket_accept_opens_every_port_to_answers() -> None:
    example = _titled(blanket_untracked_accept.EXAMPLES, "answers from port 53, to whatever port")
    with Lab() as lab:
        lab.serve_udp("server", 7)
        _load(lab, example)
        assert lab.udp("client", SERVER, 7, sport=53) == "ok"
        _load(lab, example, example.text.replace(",UNTRACKED", ""))
        assert lab.udp("client", SERVER, 7, sport=53) != "ok"


@pytest.mark.parametrize("variant", VARIANTS)
def test_connlimit_counts_no_open_connection_that_is_untracked(variant: str) -> None:
    example = _titled(entry_on_untracked.EXAMPLES, "no more than 20 connections for each address")
    text = example.text.replace("--connlimit-above 20", "--connlimit-above 2")
    tracked = "".join(line for line in text.splitlines(keepends=True) if "--notrack" not in line)
    for rules, let_in in ((text, 5), (tracked, 2)):
        with Lab() as lab, contextlib.ExitStack() as kept:
            lab.serve_tcp("server", 80)
            lab.load("server", rules, variant)
            fates = []
            for _ in range(5):
                asking = kept.enter_context(lab.open_socket("client", socket.SOCK_STREAM))
                fates.append(asking.connect_ex((SERVER, 80)) == 0)
                time.sleep(0.1)  # what comes in the same instant is counted
            assert fates.count(True) == let_in


@pytest.mark.parametrize(
    "title", ["a flood is dropped while it is NEW", "a list is kept in a chain of its own, for new connections"]
)
def test_a_limit_behind_new_never_acts(title: str) -> None:
    text = _titled(limit_behind_new_on_untracked.EXAMPLES, title).text
    text = text.replace("above 50/sec", "above 1/hour --hashlimit-burst 2").replace("--hitcount 40", "--hitcount 3")
    by_flags = text.replace("--dport 80 -m conntrack --ctstate NEW", "--dport 80 --syn").replace(
        "--dport 80 -m state --state NEW", "--dport 80 --syn"
    )
    assert by_flags != text
    with Lab() as lab:
        lab.serve_tcp("server", 80)
        for rules, let_in in ((text, 5), (by_flags, 2)):
            lab.load("server", rules, "nft")
            assert [lab.tcp("client", SERVER, 80) for _ in range(5)].count("ok") == let_in


def _large(lab: Lab, to: str, port: int) -> bool:
    """A datagram of three fragments arrives."""
    six = ":" in to
    with (
        lab.open_socket("server", socket.SOCK_DGRAM, six=six) as receiver,
        lab.open_socket("client", socket.SOCK_DGRAM, six=six) as sender,
    ):
        receiver.bind(("", port))
        receiver.settimeout(1)
        for size in (16, 3000):
            sender.sendto(b"x" * size, (to, port))
            try:
                got = len(receiver.recv(65535))
            except TimeoutError:
                got = 0
            assert size == 3000 or got == size
    return got == 3000


@pytest.mark.parametrize(
    ("title", "to", "arrives"),
    [
        ("RADIUS over IPv6, untracked; no rule needs conntrack", SERVER6, False),
        ("RADIUS over IPv6, untracked; no rule needs conntrack", SERVER, True),
        ("one rule that needs conntrack has the fragments put together", SERVER6, True),
        ("IPv4 to this host is put together before INPUT", SERVER, True),
        ("fragments are let in", SERVER6, True),
    ],
)
def test_fragments_that_nobody_puts_together(title: str, to: str, arrives: bool) -> None:
    with Lab() as lab:
        _load(lab, _titled(fragments_lost.EXAMPLES, title))
        assert _large(lab, to, 1812) is arrives


def test_fragments_through_a_router_without_state() -> None:
    text = _titled(fragments_lost.EXAMPLES, "a router without state: IPv4 too").text.replace("192.0.2.7", BEHIND)
    with Lab(router=True) as lab:
        lab.load("router", text, "nft")
        assert not _large(lab, BEHIND, 4500)
        lab.load("router", text.replace("-A FORWARD -j DROP", "-A FORWARD -f -j ACCEPT\n-A FORWARD -j DROP"), "nft")
        assert _large(lab, BEHIND, 4500)
