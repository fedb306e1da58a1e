"""What the tool makes of `ipset save` is what the kernel makes of the sets: every type, with crafted packets."""

import random
import re
import struct
import time
from ipaddress import IPv4Address, IPv6Address

import pytest

from ruleaudit.analysis.trace import Packet, trace
from ruleaudit.model.fields import Family, Field, State
from ruleaudit.model.from_ipset import sets_of
from ruleaudit.model.from_iptables import lower
from ruleaudit.model.ruleset import Ruleset
from ruleaudit.source import SourceFile
from ruleaudit.syntax.iptables import read
from tests.kernel import packets
from tests.kernel.lab import VARIANTS, Lab

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

#: the type of service, or traffic class, of our packets; what a kernel sends by itself never has this bit
OURS = 0x01
SETS = """\
create ips hash:ip
add ips 10.0.0.1
add ips 10.0.0.8/30
add ips 10.0.1.3-10.0.1.6
create masked hash:ip netmask 28
add masked 10.0.1.20
create holes hash:ip bitmask 255.255.0.7
add holes 10.0.1.3
create nets hash:net
add nets 10.0.0.0/16
add nets 10.0.1.0/24 nomatch
add nets 10.0.1.4/30
add nets 10.2.0.1-10.2.0.6
create map bitmap:ip range 10.0.0.0/16
add map 10.0.0.8-10.0.0.9
create blocks bitmap:ip range 10.0.0.0/16 netmask 29
add blocks 10.0.1.9
create ports bitmap:port range 0-1023
add ports 53
add ports 80-82
create services hash:ip,port
add services 10.0.0.1,tcp:80-81
add services 10.0.0.1,udp:53
add services 10.0.0.8,icmp:echo-request
add services 10.0.0.8,icmp:port-unreachable
add services 10.0.0.1,gre:0
add services 10.0.0.1,sctp:53
create netports hash:net,port
add netports 10.0.0.0/24,tcp:80
add netports 10.0.0.8/29,tcp:80 nomatch
add netports 0.0.0.0/1,udp:53
create both hash:ip,port,ip
add both 10.0.0.1,tcp:80,10.0.1.3
create mixed hash:ip,port,net
add mixed 10.0.0.1,tcp:80,10.0.1.0/24
add mixed 10.0.0.1,tcp:80,10.0.1.4/30 nomatch
create three hash:net,port,net
add three 10.0.0.0/24,tcp:80,10.0.1.0/24
add three 10.0.0.0/29,tcp:80,10.0.1.4/30 nomatch
create ways hash:net,iface
add ways 10.0.0.0/16,s0
add ways 10.0.1.0/24,s0 nomatch
add ways 10.0.0.8/29,s wildcard
create pairs hash:net,net
add pairs 10.0.0.0/16,10.0.0.0/16
add pairs 10.0.0.0/24,10.0.1.0/30 nomatch
create marked hash:ip,mark markmask 0xff
add marked 10.0.0.1,0x107
create list list:set
add list masked
add list nets
create holders list:set
add holders services
add holders ips
create six hash:net family inet6
add six 2001:db8::/32
add six 2001:db8:1::/48 nomatch
create six6 hash:ip,port family inet6
add six6 2001:db8::1,tcp:80
add six6 2001:db8::1,icmpv6:echo-request
"""
DIRECTIONS = ("src", "dst", "src,src", "src,dst", "dst,dst", "dst,src", "src,dst,dst", "dst,dst,src", "src,dst,src")
ADDRESSES = [
    f"10.0.{x}" for x in ("0.0", "0.1", "0.7", "0.8", "0.9", "0.12", "1.3", "1.4", "1.7", "1.9", "1.20", "1.35", "2.1")
]
ADDRESSES += ["10.2.0.1", "10.2.0.7", "192.0.2.1"]
SIX = ["2001:db8::1", "2001:db8:1::1", "2001:db9::1"]


def _loaded_sets(lab: Lab) -> str:
    """What the kernel takes of SETS, as it saves them; some kernels have fewer types."""
    missing: set[str] = set()
    for line in SETS.splitlines():
        words = line.split()
        if words[1] in missing:
            continue
        try:
            lab.run("server", "ipset", *words)
        except RuntimeError as error:
            if "set type not supported" not in str(error):
                raise
            missing.add(words[1])
    assert missing <= {"pairs", "marked", "three"}
    return lab.run("server", "ipset", "save")


def _rules(names: list[str]) -> list[str]:
    rules = []
    for name in names:
        for sides in DIRECTIONS:
            rules.append(f"-A COUNTED -m set --match-set {name} {sides}")
    for name in names:
        rules.append(f"-A COUNTED -m set ! --match-set {name} src")
        rules.append(f"-A COUNTED -m set --match-set {name} src --return-nomatch")
        rules.append(f"-A COUNTED -m set --match-set {name} src ! --update-counters")
    return rules


def _some_packets(random: random.Random, six: bool, count: int) -> list[tuple[bytes, Packet]]:
    addresses = SIX if six else ADDRESSES
    family, number = (Family.IPV6, IPv6Address) if six else (Family.IPV4, IPv4Address)
    made: list[tuple[bytes, Packet]] = []
    for _ in range(count):
        source, to = random.choice(addresses), random.choice(addresses)
        values = {Field.SADDR: int(number(source)), Field.DADDR: int(number(to))}
        sport, dport = random.choice((53, 80, 81, 4242)), random.choice((53, 80, 82, 4242))
        ports = {Field.SPORT: sport, Field.DPORT: dport}
        kind = random.choice(("tcp", "tcp", "udp", "icmp", "sctp", "gre"))
        if kind == "tcp":
            raw = packets.tcp(source, sport, to, dport, "S")
            values |= {Field.PROTOCOL: 6, Field.TCP_FLAGS: 2, **ports}
        elif kind == "udp":
            raw = packets.udp(source, sport, to, dport)
            values |= {Field.PROTOCOL: 17, **ports}
        elif kind == "icmp":
            shape = (128, 0) if six else random.choice(((8, 0), (3, 3)))
            raw = packets.icmp(source, to, *shape)
            values |= {Field.PROTOCOL: 58 if six else 1, Field.ICMP_TYPE: shape[0], Field.ICMP_CODE: shape[1]}
        elif kind == "sctp":
            raw = packets.ip(source, to, 132, struct.pack("!HHII", sport, dport, 0, 0) + b"\1\0\0\x14" + b"\0" * 16)
            values |= {Field.PROTOCOL: 132, **ports}
        else:
            raw = packets.ip(source, to, 47, b"\0" * 8)
            values |= {Field.PROTOCOL: 47}
        made.append((raw, Packet(family, values, iif="s0")))
    return made


def _counts(lab: Lab, variant: str, six: bool) -> list[int]:
    """The counters of the rules, and of the DROP behind them, which counts every packet of ours."""
    lines = [line for line in lab.save("server", variant, six=six).splitlines() if "-A COUNTED" in line]
    return [int(line[1 : line.index(":")]) for line in lines]


def _sent(lab: Lab, variant: str, six: bool, raw: bytes, before: list[int]) -> list[int]:
    """The counters when one more packet has met the last rule."""
    lab.send("client", "c0", ("server", "s0"), packets.with_class(raw, OURS))
    deadline = time.monotonic() + 10
    while (after := _counts(lab, variant, six))[-1] == before[-1]:
        assert time.monotonic() < deadline, "the packet never arrived"
    return after


def _model(rules: str, saved: str, six: bool) -> Ruleset:
    sets, problems = sets_of(SourceFile("sets", saved))
    assert problems == ()
    family = Family.IPV6 if six else Family.IPV4
    lowered = lower(read(SourceFile("rules", rules)), family, sets)
    assert lowered.findings == ()
    return lowered.ruleset


@pytest.mark.parametrize("six", [False, True], ids=["v4", "v6"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_membership(variant: str, six: bool) -> None:
    with Lab() as lab:
        saved = _loaded_sets(lab)
        created = [line.split()[1] for line in saved.splitlines() if line.startswith("create")]
        other = "inet" if six else "inet6"
        names = [n for n in created if not re.search(rf"^create {n} .*family {other} ", saved, re.M)]
        names = [n for n in names if not (six and n in ("map", "blocks"))]
        # neighbour discovery and the like are not counted: only our packets have this class
        counted = f"-A PREROUTING -m tos --tos {OURS:#x}/{OURS:#x} -j COUNTED"
        lines = ["*mangle", ":COUNTED - [0:0]", counted, *_rules(names), "-A COUNTED -j DROP", "COMMIT", ""]
        rules = "\n".join(lines)
        ruleset = _model(rules, saved, six)
        lab.load("server", rules, variant, six=six)
        lab.run("server", "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.s0.rp_filter=0")
        before = _counts(lab, variant, six)
        asked = ruleset.tables["mangle"].chains["COUNTED"].rules
        assert len(asked) == len(before)
        matched = 0
        for raw, packet in _some_packets(random.Random(7), six, 60):
            after = _sent(lab, variant, six, raw, before)
            steps = trace(ruleset, "in", packet, State.NEW, lambda test, rule: test.name.startswith("tos ")).steps
            ours = {step.rule: step.matched for step in steps}
            for rule, old, new in zip(asked, before, after, strict=True):
                assert ours[rule] == (new - old == 1), (rule.text, packet, new - old)
                matched += new - old
            before = after
        assert matched > 300
