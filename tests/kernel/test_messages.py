"""What the programs and the kernel say, as far as `ruleaudit.kernel` reads it; these tests ask nobody."""

import struct

import pytest

import ruleaudit
from ruleaudit.kernel import packets, placeholders
from ruleaudit.kernel.counters import DROPS, counted, counters
from ruleaudit.kernel.loading import refused_line
from ruleaudit.kernel.trace import Event, Passage, event, passages
from ruleaudit.model.fields import Family, Field
from ruleaudit.source import SourceFile


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("iptables-nft-restore v1.8.9 (nf_tables): host/network `x' not found\nError occurred at line: 9\n", 9),
        ("iptables-restore: line 12 failed\n", 12),
        ("/dev/stdin:7:9-12: Error: Interface does not exist\n  iif eth3 accept\n", 7),
        ("internal:0:0-0: Error: Could not process rule", None),
        ("ip6tables-restore: unable to initialize table 'filter'", None),
    ],
)
def test_the_line_of_a_refusal(said: str, line: int | None) -> None:
    assert refused_line(said) == line


def test_a_rule_that_goes_on_decides_nothing() -> None:
    head = b"E" + b"\0" * 19
    story = [
        Event(7, "inet", "f", "input", 4, "", head),  # a jump
        Event(7, "inet", "f", "web", 9, "accept", b""),
        Event(7, "inet", "g", "late", 0, "", head),  # the end of the rules
        Event(7, "inet", "g", "late", 0, "drop", b""),
    ]
    assert passages(story) == [
        Passage("inet", "f", "input", "web", 9, "accept"),
        Passage("inet", "g", "late", "late", 0, "drop"),
    ]


def test_messages_about_a_packet() -> None:
    accept, go_on = (struct.pack("=HH", 8, 1) + struct.pack("!i", code) for code in (1, -1))
    about = {1: b"f\0", 2: b"input\0", 3: struct.pack("!Q", 6), 6: struct.pack("!I", 77)}
    rule, policy = struct.pack("!I", 3), struct.pack("!I", 1)
    assert event(1, {**about, 4: rule, 5: accept}) == Event(77, "inet", "f", "input", 6, "accept", b"")
    assert event(10, {**about, 4: rule, 5: go_on}) == Event(77, "ip6", "f", "input", 6, "", b"")
    decided = event(2, {**about, 4: policy, 16: struct.pack("!I", 0), 8: b"E"})
    assert decided == Event(77, "ip", "f", "input", 0, "drop", b"E")


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("protocol", [6, 17, 136, 132, 33, 1, 58, 47])
def test_a_packet_is_known_by_its_number(family: Family, protocol: int) -> None:
    values = dict.fromkeys(Field, 0) | {Field.PROTOCOL: protocol, Field.SADDR: 0xC6336407, Field.DADDR: 0x0A090002}
    made = packets.of(family, values, 0x1234)
    assert packets.number_of(made) == 0x1234
    if family is Family.IPV4:
        assert packets.checksum(made[:20]) == 0


def test_counters_of_rules_and_policies() -> None:
    text = "*filter\n:INPUT DROP [{0}:60]\n:WEB - [0:0]\n[{1}:40] -A INPUT -j WEB\n[{2}:0] -A WEB -j ACCEPT\nCOMMIT\n"
    before, after = (counters([text.format(*numbers)]) for numbers in ((3, 4, 1), (3, 5, 2)))
    assert list(before) == [
        ("filter", "INPUT", DROPS),
        ("filter", "INPUT", 1),
        ("filter", "WEB", 1),
    ]
    assert counted(before, after) == [("filter", "INPUT", 1), ("filter", "WEB", 1)]


def test_sets_are_created_as_they_are_used() -> None:
    text = """*filter
-A INPUT -m set --match-set office src -j ACCEPT
-A INPUT -m set --match-set pairs src,dst -j ACCEPT
-A INPUT -m set --match-set known src -j SET --add-set seen src,dst,dst
COMMIT
"""
    ruleset = ruleaudit.lower(SourceFile("rules.v6", text), "ip6tables-save").rulesets[0]
    assert placeholders.sets(ruleset, "create known hash:ip family inet6") == (
        "create known hash:ip family inet6\n"
        "create office hash:ip family inet6\n"
        "create pairs hash:ip,port family inet6\n"
        "create seen hash:ip,port,ip family inet6\n"
    )
    no_sets = ruleaudit.lower(SourceFile("rules.v4", "*filter\n-A INPUT -j DROP\nCOMMIT\n")).rulesets[0]
    assert placeholders.sets(no_sets, "create known hash:ip") == ""


def test_interfaces_that_nft_looks_up() -> None:
    text = """table inet f {
    flowtable fast {
        hook ingress priority 0
        devices = { wan0, "lan-1.7" }
    }
    chain i {
        type filter hook input priority 0
        iif "dmz" accept
        iifname "ppp*" drop
        oif != { vpn0, vpn1 } drop
        iifname "/never/" drop
    }
}
"""
    rulesets = ruleaudit.lower(SourceFile("rules.nft", text)).rulesets
    assert placeholders.interfaces(rulesets, ["eth0", "", "lo"]) == ["eth0", "dmz", "lan-1.7", "vpn0", "vpn1", "wan0"]
