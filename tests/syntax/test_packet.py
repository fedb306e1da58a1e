"""The packet language: what is read, what is left open, and what is wrong with a packet that cannot be."""

import pytest

from ruleaudit.model.fields import Family, Fragment, State
from ruleaudit.model.packet import AskedPacket
from ruleaudit.syntax.packet import asked_packet
from ruleaudit.syntax.refusal import Refused

V4, V6 = Family.IPV4, Family.IPV6


def test_the_packets_of_the_manual() -> None:
    first = "in tcp 198.51.100.7:4242 > 10.9.0.2:443 flags S iif eth0"
    assert asked_packet(first) == AskedPacket(
        first, "in", 6, V4, 0xC6336407, 4242, 0x0A090002, 443, iif="eth0", flags=2
    )
    second = "forward tcp [2001:db8::7]:4242 > [2001:db8:1::2]:80 flags A iif eth0 oif eth1 state established"
    found = asked_packet(second)
    assert (found.family, found.sport, found.dport, found.flags) == (V6, 4242, 80, 16)
    assert (found.iif, found.oif, found.states) == ("eth0", "eth1", (State.ESTABLISHED,))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("in tcp * > *", AskedPacket("", "in", 6)),
        ("in tcp > :443", AskedPacket("", "in", 6, dport=443)),
        ("in tcp *:1024 > 192.0.2.1:*", AskedPacket("", "in", 6, V4, None, 1024, 0xC0000201)),
        ("out udp > 2001:db8::1", AskedPacket("", "out", 17, V6, target=(0x20010DB8 << 96) + 1)),
        ("in tcp > :https", AskedPacket("", "in", 6, dport=443)),
        ("in 47 > *", AskedPacket("", "in", 47)),
        ("in icmp > * type 3/4", AskedPacket("", "in", 1, V4, icmp=(3, 4))),
        ("in icmpv6 > * type packet-too-big", AskedPacket("", "in", 58, V6, icmp=(2, None))),
        ("in tcp > * flags none", AskedPacket("", "in", 6, flags=0)),
        ("in tcp > * flags SA", AskedPacket("", "in", 6, flags=18)),
        ("in udp > * fragment later mark 0x10", AskedPacket("", "in", 17, fragment=Fragment.LATER, mark=16)),
        ("in udp > * state any", AskedPacket("", "in", 17)),
    ],
)
def test_what_is_left_open(text: str, expected: AskedPacket) -> None:
    found = asked_packet(text)
    assert [getattr(found, f) for f in AskedPacket.__slots__ if f != "text"] == [
        getattr(expected, f) for f in AskedPacket.__slots__ if f != "text"
    ]


@pytest.mark.parametrize(
    ("text", "word", "message", "hint"),
    [
        ("", "", "a packet looks like: in tcp 198.51.100.7:4242 > 10.9.0.2:443 flags S", ""),
        ("inn tcp * > *", "inn", '"inn" is no path: in, out or forward', "did you mean in?"),
        ("in", "", "the protocol is missing: tcp, udp, icmp, icmpv6 or a number", ""),
        ("input tcp * > *", "input", '"input" is no path: in, out or forward', "did you mean in?"),
        ("OUTPUT tcp * > *", "OUTPUT", '"OUTPUT" is no path: in, out or forward', "did you mean out?"),
        ("in tcpp * > *", "tcpp", 'unknown protocol "tcpp"', "did you mean tcp?"),
        ("in > *:80", "", "the protocol is missing: tcp, udp, icmp, icmpv6 or a number", ""),
        ("in 10.0.0.1 > *:80", "10.0.0.1", ('"10.0.0.1" stands where the protocol belongs: tcp, udp, icmp, icmpv6 or'
         " a number"), ""),
        ("in tcp,udp > *:53", "tcp,udp", '"tcp,udp": one protocol at a time, such as tcp', ""),
        ("in tcp * *", "*", '" > " is missing between source and destination', "in tcp * > *:443"),
        ("in tcp *>*:80", "*>*:80", '"*>*:80": a blank stands before and behind the ">"', ""),
        ("in tcp 10.0.0.0/8 > *", "10.0.0.0/8", '"10.0.0.0/8" is no IPv4 address',
         "one packet has one address, not a network"),
        ("in tcp > :htps", "htps", 'unknown port or service "htps"', "did you mean https?"),
        ("in tcp > :70000", "70000", 'bad port "70000": at most 65535', ""),
        ("in tcp > * flags syn,ack", "syn,ack", 'bad flags "syn,ack": letters of FSRPAU, or none', "did you mean SA?"),
        ("in tcp > * flags s", "s", 'bad flags "s": letters of FSRPAU, or none', "did you mean S?"),
        ("in tcp > * dport 80", "dport", 'unknown key "dport"', "here it is written address:port"),
        ("in tcp > * iifname eth0", "iifname", 'unknown key "iifname"', "here it is written iif"),
        ("in tcp > * zzz 1", "zzz", 'unknown key "zzz"', "known: iif, oif, flags, type, mark, fragment, state"),
        ("in icmp > * type echo-requst", "echo-requst", 'bad ICMP type "echo-requst": 8, 3/4 or a name',
         "did you mean echo-request?"),
        ("in tcp 10.0.0.1 10.0.0.2 > *", "10.0.0.2", 'unexpected "10.0.0.2": one address stands before the ">"', ""),
        ("in tcp 10.0.0 > *", "10.0.0", '"10.0.0" is no IPv4 address', ""),
        ("in tcp 10.0.0.1:8:9 > *", "10.0.0.1:8:9", ('"10.0.0.1:8:9" is no address: 192.0.2.1:80, [2001:db8::1]:80'
         " or *:80"), ""),
        ("in tcp 10.0.0.1 > [::1]:80", "[::1]:80", "it is IPv4 and IPv6 at once", ""),
        ("in icmp > 2001:db8::1", "2001:db8::1", "it is IPv4 and IPv6 at once", ""),
        ("in gre > *:80", "*:80", "this protocol has no ports", ""),
        ("in udp > * flags S", "flags", "flags are for tcp only", ""),
        ("in tcp > * flags X", "X", 'bad flags "X": letters of FSRPAU, or none', ""),
        ("in tcp > * flgs S", "flgs", 'unknown key "flgs"', "did you mean flags?"),
        ("in tcp > * iif", "iif", "iif needs a value: the name of an interface, such as eth0", ""),
        ("in tcp > * iif a iif b", "iif", "iif is given twice", ""),
        ("in tcp > * type 8", "type", "type is for icmp and icmpv6 only", ""),
        ("in icmp > * type ²", "²", 'bad ICMP type "²": 8, 3/4 or a name', ""),
        ("in icmp > * type 3/256", "3/256", 'bad ICMP type "3/256": 8, 3/4 or a name', ""),
        ("in icmp > * type 256", "256", 'bad ICMP type "256": 8, 3/4 or a name', ""),
        ("in tcp > * state NEW", "NEW",
         'unknown state "NEW": new, established, related, invalid, untracked, any', "did you mean new?"),
        ("in tcp > * mark x", "x", 'bad mark "x": a number, such as 0x1, below 0x100000000', ""),
        ("in udp > * fragment middle", "middle", 'bad fragment "middle": first or later', ""),
    ],
)  # fmt: skip
def test_what_is_wrong(text: str, word: str, message: str, hint: str) -> None:
    with pytest.raises(Refused) as error:
        asked_packet(text)
    assert (error.value.word, error.value.message, error.value.hint) == (word, message, hint)
