"""Traffic in words: what is read, and what is wrong with a text that names no packets."""

import pytest

from ruleaudit.model.fields import Family, Fragment, State
from ruleaudit.model.traffic import Traffic
from ruleaudit.syntax.refusal import Refused
from ruleaudit.syntax.traffic import traffic

V4, V6 = Family.IPV4, Family.IPV6
TEN = ((10 << 24, (11 << 24) - 1),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("in", Traffic("", "in")),
        ("in *", Traffic("", "in")),
        ("in all", Traffic("", "in")),
        ("forward tcp", Traffic("", "forward", 6)),
        ("in tcp dport 443", Traffic("", "in", 6, dports=((443, 443),))),
        ("in tcp dport 80,443,8000-8010", Traffic("", "in", 6, dports=((80, 80), (443, 443), (8000, 8010)))),
        ("in tcp dport https,http-alt", Traffic("", "in", 6, dports=((443, 443), (8080, 8080)))),
        ("in udp sport 1024-65535 dport 53", Traffic("", "in", 17, sports=((1024, 65535),), dports=((53, 53),))),
        ("in from 10.0.0.0/8", Traffic("", "in", None, V4, source=TEN)),
        ("in tcp from 10.0.0.0/255.0.0.0 to 192.0.2.1", Traffic("", "in", 6, V4, source=TEN,
         target=((0xC0000201, 0xC0000201),))),
        ("in tcp from 10.0.0.0-10.255.255.255", Traffic("", "in", 6, V4, source=TEN)),
        ("in tcp to 2001:db8::/32", Traffic("", "in", 6, V6, target=((0x20010DB8 << 96, (0x20010DB9 << 96) - 1),))),
        ("in icmp type 3/4", Traffic("", "in", 1, V4, icmp=(3, 4))),
        ("in icmpv6 type packet-too-big", Traffic("", "in", 58, V6, icmp=(2, None))),
        ("out tcp dport 80 oif eth0 state established", Traffic("", "out", 6, dports=((80, 80),), oif="eth0",
         states=(State.ESTABLISHED,))),
        ("in udp fragment first mark 0x1", Traffic("", "in", 17, mark=1, fragment=Fragment.FIRST)),
        ("in tcp 10.0.0.1:4242 > *:443 flags S", Traffic("", "in", 6, V4, ((0x0A000001, 0x0A000001),),
         ((4242, 4242),), dports=((443, 443),), flags=2)),
    ],
)  # fmt: skip
def test_what_is_read(text: str, expected: Traffic) -> None:
    found = traffic(text)
    assert found.text == text
    assert [getattr(found, f) for f in Traffic.__slots__ if f != "text"] == [
        getattr(expected, f) for f in Traffic.__slots__ if f != "text"
    ]


@pytest.mark.parametrize(
    ("text", "word", "message", "hint"),
    [
        ("", "", "traffic looks like: in tcp dport 443", ""),
        ("inn tcp", "inn", '"inn" is no path: in, out or forward', "did you mean in?"),
        ("in tpc dport 443", "tpc", 'unknown protocol "tpc"', "did you mean tcp?"),
        ("in tcp,udp dport 53", "tcp,udp", '"tcp,udp": one protocol at a time, such as tcp', ""),
        ("in dport 443", "dport", "dport needs a protocol: in tcp dport 443", ""),
        ("in gre dport 443", "dport", "this protocol has no ports", ""),
        ("in tcp dprt 443", "dprt", 'unknown key "dprt"', "did you mean dport?"),
        ("in tcp saddr 10.0.0.1", "saddr", 'unknown key "saddr"', "did you mean from?"),
        ("in tcp 443", "443", 'unknown key "443"', ("known: from, to, sport, dport, iif, oif, flags, type, mark,"
         " fragment, state")),
        ("in tcp dport", "dport", "dport needs a value: a port, a range or a name: 443, 8000-8010, https", ""),
        ("in tcp dport 80 dport 81", "dport", "dport is given twice", ""),
        ("in tcp dport 70000", "70000", 'bad port "70000": at most 65535', ""),
        ("in tcp dport 90-80", "90-80", 'bad port range "90-80": 90 is greater than 80', ""),
        ("in tcp dport htps", "htps", 'unknown port or service "htps"', "did you mean https?"),
        ("in from 10.0.0.0/33", "33", 'bad prefix length "33": at most 32', ""),
        ("in from 10/8", "10/8", '"10/8" is no IPv4 address or network', ""),
        ("in from example.org", "example.org", '"example.org" is a name; write its address', ""),
        ("in from 10.0.0.0/255.0.255.0", "10.0.0.0/255.0.255.0",
         '"10.0.0.0/255.0.255.0": a mask with a gap; write a prefix length', ""),
        ("in from 10.0.0.1,2001:db8::1", "2001:db8::1", "it is IPv4 and IPv6 at once", ""),
        ("in from 10.0.0.1 to 2001:db8::1", "2001:db8::1", "it is IPv4 and IPv6 at once", ""),
        ("in icmp from 2001:db8::1", "2001:db8::1", "it is IPv4 and IPv6 at once", ""),
        ("in udp flags S", "flags", "flags are for tcp only", ""),
        ("in tcp state newish", "newish", 'unknown state "newish": new, established, related, invalid, untracked, any',
         "did you mean new?"),
        ("in tcp > :htps", "htps", 'unknown port or service "htps"', "did you mean https?"),
    ],
)  # fmt: skip
def test_what_is_wrong(text: str, word: str, message: str, hint: str) -> None:
    with pytest.raises(Refused) as error:
        traffic(text)
    assert (error.value.word, error.value.message, error.value.hint) == (word, message, hint)
