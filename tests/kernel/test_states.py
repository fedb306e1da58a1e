"""What conntrack says of crafted packets, seen in the kernel's trace: facts that wait for a test of their own."""

import socket
import struct

import pytest

import ruleaudit
from ruleaudit.model.fields import Family, State
from ruleaudit.results import RuleClass
from ruleaudit.source import SourceFile
from tests.kernel import packets
from tests.kernel.bench import Bench
from tests.kernel.lab import CLIENT, SERVER, VARIANTS, Lab
from tests.kernel.random_iptables import Whole
from tests.kernel.realising import Sent, numbered
from tests.kernel.rewrite import ESTABLISHED, filtered, notrack

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

TRACKS = "table inet t {\nchain forward {\ntype filter hook forward priority 0;\nct state new\n}\n}\n"
ONE, OTHER = "10.9.0.7", "198.51.100.7"
_FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32}


def states(bench: Bench, *asked: bytes, wire: str = "r0", text: str = TRACKS) -> list[State | None]:
    """What conntrack says of each of some packets that come in one after the other."""
    bench.clear("nft", Family.IPV4, exchange=False)
    bench.load("nft", Family.IPV4, Whole(text), exchange=False)
    return sent(bench, *((one, wire) for one in asked))


def sent(bench: Bench, *asked: tuple[bytes, str]) -> list[State | None]:
    made = [Sent(numbered(raw, number), wire, "") for number, (raw, wire) in enumerate(asked, 1)]
    heard = bench.send(Family.IPV4, made)
    found = []
    for number in range(1, len(made) + 1):
        seen = [e.state for e in heard[number] if e.state is not None and e.chain.startswith("tracked_")]
        found.append(seen[0] if seen else None)
    return found


def _handshake(port: int) -> list[tuple[bytes, str]]:
    bits = packets.tcp_with_flags
    return [
        (bits(ONE, port, OTHER, 80, 0x02, 1000, 0), "r0"),
        (bits(OTHER, 80, ONE, port, 0x12, 5000, 1001), "r1"),
        (bits(ONE, port, OTHER, 80, 0x10, 1001, 5001), "r0"),
    ]


def test_flags_inside_an_established_connection() -> None:
    """k07."""
    words = "S SPU A PA UA FA FPAU R RA RPA", "none F FPU SF SR FR SAF U P SA"
    with Bench() as bench:
        states(bench)
        for expected, row in zip((State.ESTABLISHED, State.INVALID), words, strict=True):
            for number, word in enumerate(row.split()):
                port = 4000 + number + (100 if expected is State.INVALID else 0)
                flags = sum(_FLAGS[letter] for letter in word if word != "none")
                numbers = (1000, 0) if word[0] == "S" and "A" not in word else (1001, 5001)
                last = packets.tcp_with_flags(ONE, port, OTHER, 80, flags, *numbers)
                assert sent(bench, *_handshake(port), (last, "r0"))[3] is expected, word


def _sctp(kind: int, tag: int) -> bytes:
    chunk = struct.pack("!BBHIIHHI", kind, 0, 20, 1, 1500, 1, 1, 1)
    head = struct.pack("!HHI", 4000 + kind, 80, tag)
    total = packets.crc32c(head + b"\0\0\0\0" + chunk)
    return packets.ip(ONE, OTHER, 132, head + struct.pack("<I", total) + chunk)


def test_what_opens_a_connection() -> None:
    """k08; and for TCP, with tcp_loose=1, facts section 10."""
    with Bench() as bench:
        echo = b"\0\1\0\0"
        kinds = [k for k in range(19) if k not in (3, 4, 5, 11, 12)]
        found = states(bench, *(packets.icmp(ONE, OTHER, kind, 0, echo) for kind in kinds))
        assert [k for k, state in zip(kinds, found, strict=True) if state is State.NEW] == [8, 13, 15, 17]
        assert {state for state in found if state is not State.NEW} == {State.INVALID}
        protocols = (2, 33, 47, 50, 51, 89)
        raw = [packets.ip(ONE, OTHER, number, b"\0" * 24) for number in protocols]
        assert states(bench, *raw) == [State.NEW] * len(protocols)
        init, data, heartbeat = 1, 0, 4
        found = states(bench, _sctp(init, 0), _sctp(data, 7), _sctp(heartbeat, 7))
        assert found == [State.NEW, State.INVALID, State.NEW]
        flags = range(64)
        found = states(bench, *(packets.tcp_with_flags(ONE, 4000 + bits, OTHER, 80, bits) for bits in flags))
        opening = {bits for bits, state in zip(flags, found, strict=True) if state is State.NEW}
        assert opening == {base | push for base in (0x02, 0x22, 0x10, 0x30) for push in (0, 8)}


def test_what_the_originator_sends_is_new_until_somebody_answers() -> None:
    """Behind a SYN its RST; behind a segment that was picked up in mid-stream all that may follow in a connection."""
    later = {"A": 0x10, "FA": 0x11, "R": 0x04, "RA": 0x14}
    seen: dict[str, set[str]] = {"S": set(), "A": set()}
    with Bench() as bench:
        for number, (first, word) in enumerate((first, word) for first in seen for word in later):
            sizes = (
                ((0x02, 1000, 0), (later[word], 1001, 0)) if first == "S" else ((0x10, 1000, 1), (later[word], 1000, 1))
            )
            found = states(bench, *(packets.tcp_with_flags(ONE, 4000 + number, OTHER, 80, *size) for size in sizes))
            assert found[0] is State.NEW
            if found[1] is State.NEW:
                seen[first].add(word)
    assert seen == {"S": {"R", "RA"}, "A": {"A", "FA", "R", "RA"}}
    # ... and so a rule that asks for it is no dead one
    rules = (
        "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp --tcp-flags RST RST -m conntrack --ctstate NEW -j DROP\nCOMMIT\n"
    )
    (judgement,) = ruleaudit.explain(SourceFile("rules.v4", rules)).judgements
    assert judgement.kind is not RuleClass.DEAD


def test_every_low_type_of_icmpv6_is_an_error() -> None:
    """About a packet of a connection each is RELATED, also those that nobody has defined."""
    one, other = "2001:db8::7", "2001:db8:77::1"
    about = packets.udp(one, 5000, other, 53)
    kinds = {0: State.RELATED, 1: State.RELATED, 100: State.RELATED, 127: State.RELATED, 137: State.INVALID}
    with Bench() as bench:
        bench.clear("nft", Family.IPV6, exchange=False)
        bench.load("nft", Family.IPV6, Whole(TRACKS), exchange=False)
        errors = [packets.icmp(other, one, kind, 0, payload=about) for kind in kinds]
        made = [Sent(numbered(raw, n), "r1" if n > 1 else "r0", "") for n, raw in enumerate((about, *errors), 1)]
        heard = bench.send(Family.IPV6, made)
        found = [next(e.state for e in heard[n] if e.chain.startswith("tracked_")) for n in range(2, len(made) + 1)]
        assert found == list(kinds.values())


def test_a_concatenation_compares_the_whole_state() -> None:
    """k10c."""
    text = TRACKS + (
        "table ip c {\nchain forward {\ntype filter hook forward priority 10;\n"
        "ct state . tcp dport { new . 80 } meta mark set mark | 1\n"
        "ct state . tcp dport { new | established . 80 } meta mark set mark | 2\n"
        "ct state new,established tcp dport 80 meta mark set mark | 4\n}\n}\n"
    )
    with Bench() as bench:
        states(bench, text=text)
        heard = bench.send(Family.IPV4, [Sent(numbered(packets.tcp(ONE, 4000, OTHER, 80, "S"), 1), "r0", "")])
        assert heard[1][-1].mark == 1 | 4


def test_looped_copies_come_by_the_real_interface_with_their_tag() -> None:
    """k09, k30: what the host says to a group comes in as if by the cable, and is not looked up again."""
    for tag, expected in (("notrack", "untracked"), ("counter", "new")):
        text = TRACKS + (
            f"table ip loop {{\nchain out {{\ntype filter hook output priority raw;\n{tag}\n}}\n"
            "chain pre {\ntype filter hook prerouting priority raw;\n"
            f'iifname "r1" ct state {expected} mark set 7\n}}\n}}\n'
        )
        with Bench() as bench:
            states(bench, text=text)
            out = bench.wires.out[False]
            out.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.9.1.254"))
            raw = numbered(packets.udp("10.9.1.254", 5353, "224.0.0.1", 5353), 1)
            heard = bench.send(Family.IPV4, [Sent(raw, "", "224.0.0.1")])
            assert any(e.table == "ip loop" and e.chain == "pre" and e.mark == 7 for e in heard[1]), heard[1]


def test_the_answer_to_a_broadcast_is_new() -> None:
    """k32."""
    with Bench() as bench:
        states(bench)
        bench.wires.out[False].setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        ask = numbered(packets.udp("10.9.0.254", 137, "10.9.0.255", 137), 1)
        answer = numbered(packets.udp(CLIENT, 137, "10.9.0.254", 137), 2)
        heard = bench.send(Family.IPV4, [Sent(ask, "", "10.9.0.255"), Sent(answer, "r0", "")])
        seen = {n: next(e.state for e in heard[n] if e.chain.startswith("tracked_")) for n in (1, 2)}
        assert seen == {1: State.NEW, 2: State.NEW}


BACK = "tcp sport 80 notrack"
REJECTS = """table ip t {{
    chain pre {{
        type filter hook prerouting priority raw;
        tcp dport 80 notrack
    }}
    chain back {{
        type filter hook output priority raw;
        {back}
    }}
    chain refuses {{
        type filter hook {hook} priority {priority};
        tcp dport 80 {reject}
    }}
    chain out {{
        type filter hook output priority 0;
        meta l4proto icmp ct state invalid counter comment "icmp-invalid"
        meta l4proto tcp ct state invalid counter comment "tcp-invalid"
        meta l4proto tcp ct state untracked counter comment "tcp-untracked"
    }}
}}
"""


@pytest.mark.parametrize(
    ("hook", "reject", "back", "seen"),
    [
        ("input", "reject", BACK, "icmp-invalid"),
        ("input", "reject with tcp reset", BACK, "tcp-untracked"),
        ("input", "reject with tcp reset", "", "tcp-invalid"),
        ("prerouting", "reject", BACK, "icmp-invalid"),
        ("prerouting", "reject with tcp reset", BACK, "tcp-untracked"),
    ],
)
def test_what_nft_answers_about_an_untracked_flow(hook: str, reject: str, back: str, seen: str) -> None:
    """k19."""
    # a refusal in prerouting stands before the notrack rule has had its say about the answer
    priority = "-100" if hook == "prerouting" else "0"
    with Lab() as lab:
        lab.load_nft("server", REJECTS.format(hook=hook, priority=priority, reject=reject, back=back))
        assert lab.tcp("client", SERVER, 80) == "refused"
        found = [name for name in ("icmp-invalid", "tcp-invalid", "tcp-untracked") if lab.hits_nft("server", name)]
        assert found == [seen]


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_accept_by_a_mark_of_a_nat_chain_breaks(variant: str) -> None:
    """k41: untracked packets do not come to the chain that sets the mark."""
    marked = "*nat\n-A PREROUTING -p tcp --dport 80 -j MARK --set-mark 7\nCOMMIT\n"
    old = marked + filtered(ESTABLISHED, "-A INPUT -m mark --mark 7 -j ACCEPT\n")
    with Lab() as lab:
        lab.serve_tcp("server", 80)
        answers = []
        for text in (old, notrack(80) + old):
            lab.load("server", text, variant)
            answers.append(lab.tcp("client", SERVER, 80))
        assert answers == ["ok", "silence"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_service_bound_to_an_interface_on_one_way_only(variant: str) -> None:
    """k04: by another interface one connects, and then nothing comes; without -i both sides work."""
    rules = filtered(ESTABLISHED, "-A INPUT -p tcp --dport 80 -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT\n")
    with Lab() as lab:
        lab.link(("lan", "l0", "10.9.5.1", "fd09:5::1"), ("server", "s1", "10.9.5.2", "fd09:5::2"))
        lab.serve_tcp("server", 80, size=0)
        for way_in, seen in (("-i s0 ", ("ok", "silence")), ("", ("ok", "ok"))):
            lab.load("server", notrack(80, way_in=way_in, way_out="") + rules, variant)
            assert lab.talk("client", SERVER, b"hello") == ("ok", "ok")
            assert lab.talk("lan", "10.9.5.2", b"hello") == seen
