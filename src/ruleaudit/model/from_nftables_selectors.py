"""What each nft selector reads of a packet: the table to extend for a new one (nft(8), EXPRESSIONS).

A selector is exact (a field of the model), constant within one address family, or opaque. Its `guard` is what a packet
needs to have it at all: `tcp dport != 80` matches TCP only.
"""

from dataclasses import dataclass
from functools import cache

from ruleaudit.model import from_nftables_values as words
from ruleaudit.model.condition import (
    ALWAYS,
    HAS_ENTRY,
    Condition,
    Not,
    Opaque,
    Scope,
    Values,
    all_of,
)
from ruleaudit.model.fields import (
    DCCP,
    ICMP,
    ICMPV6,
    PORT_PROTOCOLS,
    SCTP,
    TCP,
    UDP,
    UDPLITE,
    Family,
    Field,
    Fragment,
)
from ruleaudit.model.ruleset import Consumer, Use

#: no transport header in a later fragment
NOT_LATER = Not(Values(Field.FRAGMENT, ((int(Fragment.LATER), int(Fragment.LATER)),)))
WHOLE = Values(Field.FRAGMENT, ((int(Fragment.WHOLE), int(Fragment.WHOLE)),))
WITH_PORTS = Values(Field.PROTOCOL, tuple((p, p) for p in sorted(PORT_PROTOCOLS)))
#: an IPv6 packet has headers in front of its transport header; and which these may be (RFC 8200, section 4)
EXTENDED = Opaque("ip6 extension headers", Scope.PACKET)
EXTENSIONS = (0, 43, 44, 51, 60, 135, 139, 140)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The packets in which something else stands where a selector looks: one of some numbers, or anything."""

    packets: Condition
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Exact:
    """A field of the model.

    bits    its width; `flags`: a lone value asks whether one of its bits is set
    """

    field: Field
    read: words.Read
    bits: int
    guard: Condition = ALWAYS
    flags: bool = False
    elsewhere: Elsewhere | None = None


@dataclass(frozen=True, slots=True)
class Constant:
    """The same for every packet of one address family."""

    value: int
    read: words.Read
    bits: int
    guard: Condition = ALWAYS


@dataclass(frozen=True, slots=True)
class InterfaceName:
    """The name of the interface; or, with `numbers`, its number as well."""

    field: Field
    numbers: bool = False


@dataclass(frozen=True, slots=True)
class CtState:
    """`ct state`."""


@dataclass(frozen=True, slots=True)
class Unknowable:
    """A test of it is a boolean with a name (model.condition.Opaque).

    exact    it cannot be known from a ruleset, and that is all there is to say; else: it is not understood
    """

    scope: Scope
    guard: Condition = ALWAYS
    reads: tuple[Field, ...] = ()
    consumer: Consumer | None = None
    understood: bool = True


Looked = Exact | Constant | InterfaceName | CtState | Unknowable


def _is(name: Field, value: int) -> Condition:
    return Values(name, ((value, value),))


def _of(protocol: int) -> Condition:
    """The packets with a header of this transport protocol."""
    return all_of([_is(Field.PROTOCOL, protocol), NOT_LATER])


_TRANSPORTS = {"tcp": TCP, "udp": UDP, "udplite": UDPLITE, "sctp": SCTP, "dccp": DCCP}
_SIDES = {"sport": Field.SPORT, "dport": Field.DPORT}
_OTHER_HEADERS = {"ah": 51, "esp": 50, "comp": 108, "gre": 47, "igmp": 2, "gretap": 47, "vxlan": UDP, "geneve": UDP}

#: selectors whose tests remember, look at a clock, or at a socket
_MEMORY = (
    "numgen", "meta time", "meta day", "meta hour", "meta random", "meta cpu", "meta skuid", "meta skgid",
    "meta cgroup", "socket", "meta rtclassid", "osf",
)  # fmt: skip
#: selectors of the connection's entry that are consumers: what they ask for exists for tracked connections only
_READERS = ("ct helper", "ct mark", "ct label", "ct bytes", "ct packets", "ct avgpkt",
            "ct original bytes", "ct original packets",
            "ct original avgpkt", "ct reply bytes", "ct reply packets", "ct reply avgpkt", "ct secmark")  # fmt: skip


@cache
def looked_at(selector: str, family: Family) -> Looked | None:
    """What a selector reads in packets of one family; None where packets of that family have no such header."""
    v4 = family is Family.IPV4
    header, _, rest = selector.partition(" ")
    mine, other = ("ip", "ip6") if v4 else ("ip6", "ip")
    if header == other or (header == "icmp" and not v4) or (header == "icmpv6" and v4) or header in ("arp",):
        return None
    if header == mine and rest in ("saddr", "daddr"):
        side = Field.SADDR if rest == "saddr" else Field.DADDR
        return Exact(side, words.address(family.address_bits), family.address_bits)
    if header in _TRANSPORTS and rest in _SIDES:
        of = _TRANSPORTS[header]
        return Exact(_SIDES[rest], words.port, 16, _of(of))
    match selector:
        case "th sport" | "th dport":
            # nft does not ask for the protocol: of ICMP, it takes the checksum for a port
            other_data = Elsewhere(all_of([Not(WITH_PORTS), NOT_LATER]))
            return Exact(_SIDES[rest], words.port, 16, all_of([WITH_PORTS, NOT_LATER]), elsewhere=other_data)
        case "meta l4proto" | "ip protocol":
            return Exact(Field.PROTOCOL, words.transport, 8)
        case "ip6 nexthdr":
            # the first header, which may be one in front of the transport header
            first = all_of([WHOLE, Not(EXTENDED)])
            return Exact(Field.PROTOCOL, words.transport, 8, first, elsewhere=Elsewhere(Not(first), EXTENSIONS))
        case "tcp flags":
            return Exact(Field.TCP_FLAGS, words.named(words.TCP_FLAGS), 8, _of(TCP), flags=True)
        case "icmp type":
            return Exact(Field.ICMP_TYPE, words.named(words.ICMP_TYPES), 8, _of(ICMP))
        case "icmp code":
            return Exact(Field.ICMP_CODE, words.named(words.ICMP_CODES), 8, _of(ICMP))
        case "icmpv6 type":
            return Exact(Field.ICMP_TYPE, words.named(words.ICMPV6_TYPES), 8, _of(ICMPV6))
        case "icmpv6 code":
            return Exact(Field.ICMP_CODE, words.named(words.ICMPV6_CODES), 8, _of(ICMPV6))
        case "meta mark":
            return Exact(Field.MARK, words.mark, 32)
        case "meta pkttype":
            return Exact(Field.PKTTYPE, words.named(words.PACKET_TYPES), 8)
        case "fib saddr type" | "fib daddr type":
            side = Field.SRC_TYPE if "saddr" in selector else Field.DST_TYPE
            return Exact(side, words.address_type, 8)
        case "meta iifname" | "meta iif":
            return InterfaceName(Field.IIF, selector == "meta iif")
        case "meta oifname" | "meta oif":
            return InterfaceName(Field.OIF, selector == "meta oif")
        case "meta nfproto":
            return Constant(words.NFPROTO["ipv4" if v4 else "ipv6"], words.named(words.NFPROTO), 8)
        case "meta protocol" | "ether type":
            # a link header is asked for by the interface that a packet came in by
            guard = ALWAYS if header == "meta" else Opaque("ethernet header", Scope.PACKET)
            return Constant(words.ETHER_TYPES[mine], words.named(words.ETHER_TYPES), 16, guard)
        case "ip version" | "ip6 version":
            return Constant(4 if v4 else 6, words.plain, 4)
        case "ct state":
            return CtState()
        case "ether saddr":
            # a neighbour keeps its own, so the source address says whose
            return Unknowable(Scope.CONNECTION, reads=(Field.SADDR,))
    if header == "ct":
        consumer = Consumer(Use.READS, selector) if selector in _READERS else None
        return Unknowable(Scope.ENTRY, HAS_ENTRY, consumer=consumer)
    if selector.startswith(_MEMORY):
        return Unknowable(Scope.MEMORY)
    if header in _TRANSPORTS or header in _OTHER_HEADERS:
        return Unknowable(Scope.PACKET, _of(_TRANSPORTS.get(header) or _OTHER_HEADERS[header]))
    if header in ("icmp", "icmpv6"):
        return Unknowable(Scope.PACKET, _of(family.icmp))
    if header in ("frag", "hbh", "dst", "mh", "srh") and v4:
        return None
    if header == "frag":
        return Unknowable(Scope.PACKET, IS_FRAGMENT)
    return Unknowable(Scope.PACKET)


#: the packets of which `exthdr frag exists` holds
IS_FRAGMENT = Values(Field.FRAGMENT, ((int(Fragment.FIRST), int(Fragment.LATER)),))
IS_LATER = Values(Field.FRAGMENT, ((int(Fragment.LATER), int(Fragment.LATER)),))
