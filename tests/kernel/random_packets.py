"""Crafted packets that are aimed at rules: some meet every test of a rule, some miss one of them by a bit.

The host that they reach is the router of `Lab(router=True)`, with more local addresses and a default route
(`prepare`). What is known of a packet here (its fields, what routing says of its addresses, its state) is known from
how it was made.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from ruleaudit.analysis.trace import Packet
from ruleaudit.model.condition import And, Condition, Direction, Interface, Masked, Not, Or, States, Values
from ruleaudit.model.fields import PORT_PROTOCOLS, TCP, AddressType, Family, Field, Fragment, Hook, State
from tests.kernel import packets
from tests.kernel.lab import OUTSIDE, OUTSIDE6, ROUTER, ROUTER6, Lab

Address = IPv4Address | IPv6Address
Tuple = tuple[int, ...]  #: protocol, source, port, destination, port

#: bits of the type of service by which rules know our packets: all of them, the last one sent, those to notrack, the
#: number of a mark; what a kernel sends by itself has neither of the first two
OURS, LAST, NOTRACK, MARK_SHIFT, MARK_BITS = 0x01, 0x02, 0x40, 2, 0x3C

_NEAR, _NEAR6 = IPv4Network("10.9.0.0/24"), IPv6Network("fd09::/64")
_LOCAL, _LOCAL6 = IPv4Network("10.64.0.0/10"), IPv6Network("fd64::/16")
_BROADCASTS = ("255.255.255.255", "0.0.0.0", "10.9.0.255", "10.9.1.255", "10.9.0.255", "127.255.255.255")
_EVERYDAY = {
    Family.IPV4: (
        *("10.9.0.1", "10.9.0.7", "10.9.1.2", "198.51.100.7", "203.0.113.9", "172.16.5.4", "240.0.0.1", "192.0.2.9"),
        *(ROUTER, OUTSIDE, "10.64.3.7", "10.100.200.1", "224.0.0.1", "239.1.2.3", "10.9.0.255", "255.255.255.255"),
    ),
    Family.IPV6: (
        *("fd09::1", "fd09::7", "fd09:1::2", "2001:db8::7", "2001:db8:9::9", "3fff::1", ROUTER6, OUTSIDE6),
        *("fd64::3:7", "fd64:1:2::8", "ff02::1", "ff05::1:3", "fd64::1"),
    ),
}
_PORTS = (0, 53, 80, 443, 1024, 4242, 65535)
_ACK, _BAD = (0x10, 0x18, 0x30, 0x50, 0x90), (0x00, 0x01, 0x03, 0x06, 0x29, 0x04, 0x12, 0x3F)
_WIDTHS = {Field.MARK: 32, Field.SPORT: 16, Field.DPORT: 16} | dict.fromkeys(
    (Field.TCP_FLAGS, Field.PROTOCOL, Field.ICMP_TYPE, Field.ICMP_CODE), 8
)
_HEADERS = (0, 43, 44, 51, 60)  #: no protocols in IPv6: headers in front of one


@dataclass(frozen=True)
class Scene:
    """Where rules are asked: the chain that they are called from, and whether conntrack looks at packets."""

    family: Family
    table: str
    hook: Hook
    tracked: bool

    @property
    def six(self) -> bool:
        return self.family is Family.IPV6

    @property
    def path(self) -> str:
        return {Hook.OUTPUT: "out", Hook.FORWARD: "forward"}.get(self.hook, "in")

    @property
    def pieces(self) -> bool:
        """Fragments come this far in one piece each (facts section 6)."""
        return not self.tracked and (self.six or self.hook is not Hook.INPUT)


@dataclass
class Crafted:
    """A packet on the wire, or on its way out, and what is known of it."""

    raw: bytes
    packet: Packet
    scene: Scene
    tos: int
    link: bytes | None  #: the Ethernet destination; None: the interface's own
    to: str
    about: Tuple  #: of the packet that an ICMP error is about


@dataclass
class Entries:
    """The entries of the connection table that packets are about: of each tuple, whether it is the original one."""

    tuples: dict[Tuple, bool] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def add(self, protocol: int, source: Address, sport: int, to: Address, dport: int) -> bool:
        """False: there is one already that this would clash with."""
        one = (protocol, int(source), sport, int(to), dport)
        other = (protocol, int(to), dport, int(source), sport)
        if one == other or one in self.tuples or other in self.tuples:
            return False
        self.tuples |= {one: True, other: False}
        names = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmpv6"}
        line = f"-A -t 600 -u SEEN_REPLY,ASSURED -s {source} -d {to} -r {to} -q {source} -p {names[protocol]}"
        if protocol in (1, 58):
            kind = "icmpv6" if protocol == 58 else "icmp"
            line += f" --{kind}-type {128 if protocol == 58 else 8} --{kind}-code 0 --{kind}-id {sport}"
        else:
            line += f" --sport {sport} --dport {dport} --reply-port-src {dport} --reply-port-dst {sport}"
        self.lines.append(line + (" --state ESTABLISHED" if protocol == TCP else ""))
        return True


def prepare(lab: Lab) -> None:
    """The router takes packets from and to nearly everywhere, and says nothing by itself."""
    router = lab.hosts["router"]
    # the kernel takes the checksum of any UDP-Lite packet for wrong, also of its own (Linux 6.18)
    router.sysctl("net.netfilter.nf_conntrack_checksum", 0)
    for device in ("all", "r0", "r1"):
        for name, value in (("rp_filter", 0), ("accept_local", 1), ("send_redirects", 0)):
            router.sysctl(f"net.ipv4.conf.{device}.{name}", value)
    for words in ("route add default via 10.9.1.2", f"route add local {_LOCAL} dev lo"):
        lab.run("router", "ip", *words.split())
    for words in ("route add default via fd09:1::2", f"route add local {_LOCAL6} dev lo"):
        lab.run("router", "ip", "-6", *words.split())


def address_type(address: Address) -> AddressType:
    """What the router's routing table says of an address."""
    if address.is_multicast:
        return AddressType.MULTICAST
    if isinstance(address, IPv4Address):
        if str(address) in _BROADCASTS:
            return AddressType.BROADCAST
        own = address.is_loopback or address in _LOCAL or str(address) in (ROUTER, OUTSIDE)
        return AddressType.LOCAL if own else AddressType.UNICAST
    if str(address) in ("::", "fd09::", "fd09:1::", "fe80::"):
        return AddressType.OTHER  # unspecified, and the anycast addresses of a router's networks
    own = address.is_loopback or address in _LOCAL6 or str(address) in (ROUTER6, OUTSIDE6)
    return AddressType.LOCAL if own else AddressType.UNICAST


class Aim:
    """Values that make a condition true or false, tried at random."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.fields: dict[Field, int] = {}
        self.names: dict[Field, str] = {}
        self.state: State | None = None
        self.original = rng.random() < 0.5

    def at(self, condition: Condition, want: bool) -> None:
        rng = self.rng
        match condition:
            case And(items) | Or(items):
                every = isinstance(condition, And) is want
                chosen = rng.randrange(len(items)) if items else 0
                for number, item in enumerate(items):
                    if every or number == chosen:
                        self.at(item, want)
                    elif rng.random() < 0.8:
                        self.at(item, not want)
            case Not(item):
                self.at(item, not want)
            case Values(name, intervals):
                self.fields[name] = self._near(name, intervals, want)
            case Masked(name, mask, value):
                bits = rng.getrandbits(_WIDTHS.get(name, 128))
                number = bits & ~mask | value & mask
                ones = [1 << place for place in range(mask.bit_length()) if mask >> place & 1]
                self.fields[name] = number if want or not ones else number ^ rng.choice(ones)
            case Interface(name, pattern):
                wild = pattern.endswith("+")
                fits = [i for i in ("r0", "r1", "lo") if (i.startswith(pattern[:-1]) if wild else i == pattern)]
                others = [i for i in ("r0", "r1", "lo") if i not in fits]
                self.names[name] = rng.choice((fits if want else others) or ["r0"])
            case States(states):
                self.state = rng.choice([s for s in State if (s in states) is want] or list(State))
            case Direction(original):
                self.original = original is want
            case _:
                pass

    def _near(self, name: Field, intervals: Sequence[tuple[int, int]], want: bool) -> int:
        low, high = self.rng.choice(intervals)
        inside = (low, high, self.rng.randint(low, high))
        top = {Field.SPORT: 65535, Field.DPORT: 65535, Field.SADDR: 1 << 128, Field.DADDR: 1 << 128}.get(name, 255)
        outside = [v for v in (low - 1, high + 1) if 0 <= v <= top and not any(a <= v <= b for a, b in intervals)]
        if want or not outside:
            return self.rng.choice(inside)
        small = name not in (Field.SRC_TYPE, Field.DST_TYPE, Field.FRAGMENT, Field.PKTTYPE, Field.PROTOCOL)
        return self.rng.choice(outside) if small else self.rng.choice([v for v in range(3) if v not in (low, high)])


class Workshop:
    """Makes the packets of one scene."""

    def __init__(self, rng: random.Random, scene: Scene, marks: Sequence[int]) -> None:
        self.rng, self.scene, self.marks = rng, scene, marks
        self.entries = Entries()
        self.bits = scene.family.address_bits
        make = IPv6Address if scene.six else IPv4Address
        self.everyday = [self._address(make(a)) for a in _EVERYDAY[scene.family]]

    def make(self, condition: Condition) -> Crafted:
        """A packet that has to do with a condition."""
        aim = Aim(self.rng)
        aim.at(condition, self.rng.random() < 0.6)
        wish = aim.fields
        source, to = self._ends(aim)
        protocol = self._protocol(wish.get(Field.PROTOCOL))
        sport, dport = (wish.get(f, self.rng.choice(_PORTS)) for f in (Field.SPORT, Field.DPORT))
        flags = wish.get(Field.TCP_FLAGS, self.rng.choice((2, 2, 0x10, 0x12, 0x11, 4, 0xC2))) & 0xFF
        kinds = (128, 129, 1, 2, 135) if self.scene.six else (8, 0, 3, 11, 13)
        kind, code = wish.get(Field.ICMP_TYPE, self.rng.choice(kinds)), wish.get(Field.ICMP_CODE, 0)
        inner: tuple[Tuple, bytes] = (), b""
        if self.scene.tracked:
            state = aim.state or self.rng.choice(list(State))
            if (
                protocol == TCP
                and state is not State.UNTRACKED
                and (Field.TCP_FLAGS not in wish or self.rng.random() < 0.5)
            ):
                flags = self.rng.choice({State.ESTABLISHED: _ACK, State.INVALID: _BAD}.get(state, (2,)))
            if state is State.RELATED and Field.PROTOCOL not in wish:
                protocol = self.scene.family.icmp
            if protocol == self.scene.family.icmp and Field.ICMP_TYPE not in wish:
                echo = (128, 129) if self.scene.six else (8, 0)
                kind = echo[0] if state in (State.NEW, State.ESTABLISHED) and aim.original else echo[1]
                kind = {State.NEW: echo[0], State.RELATED: 1 if self.scene.six else 3}.get(state, kind)
            if state is State.ESTABLISHED:
                self._enter(protocol, source, sport, to, dport, flags, kind, aim.original)
            elif state is State.RELATED and protocol == self.scene.family.icmp:
                inner = self._about(to, aim.original)
        if protocol == TCP:
            raw = packets.tcp_with_flags(str(source), sport, str(to), dport, flags)
        elif protocol in PORT_PROTOCOLS:
            make = {17: packets.udp, 136: packets.udplite, 132: packets.sctp, 33: packets.dccp}[protocol]
            raw = make(str(source), sport, str(to), dport)
        elif protocol == self.scene.family.icmp:
            with_id = kind in ((128, 129) if self.scene.six else (0, 8, 13, 14, 17, 18))
            raw = packets.icmp(str(source), str(to), kind, code, b"\0\1\0\0" if with_id else b"\0" * 4, inner[1])
        else:
            raw = packets.ip(str(source), str(to), protocol, b"\0" * 16)
        values: dict[Field, int] = {f: 0 for f in Field if f not in (Field.IIF, Field.OIF)}
        values |= {Field.SADDR: int(source), Field.DADDR: int(to), Field.PROTOCOL: protocol}
        values |= {Field.SRC_TYPE: int(address_type(source)), Field.DST_TYPE: int(address_type(to))}
        piece = wish.get(Field.FRAGMENT, self.rng.choice((0, 0, 0, 0, 0, 1, 2))) if self.scene.pieces else 0
        if piece:
            raw = packets.fragment(raw, 24 if piece == Fragment.LATER else 0, self.rng.random() < 0.5 or piece == 1)
            values[Field.FRAGMENT] = piece
        if piece != Fragment.LATER and protocol in PORT_PROTOCOLS:
            values |= {Field.SPORT: sport, Field.DPORT: dport}
        if piece != Fragment.LATER and protocol == TCP:
            values[Field.TCP_FLAGS] = flags
        if piece != Fragment.LATER and protocol == self.scene.family.icmp:
            values |= {Field.ICMP_TYPE: kind, Field.ICMP_CODE: code}
        if self.rng.random() < 0.1:
            raw = packets.with_options(raw)
        return self._sent(aim, raw, values, to, inner[0])

    def _sent(self, aim: Aim, raw: bytes, values: dict[Field, int], to: Address, about: Tuple) -> Crafted:
        """With a class that rules know it by, on a link, to an interface."""
        link, hook = None, self.scene.hook
        if hook in (Hook.PREROUTING, Hook.INPUT):
            kind = values[Field.PKTTYPE] = aim.fields.get(Field.PKTTYPE, self.rng.choice((0, 0, 0, 1, 2))) % 3
            group = "333300000001" if self.scene.six else "01005e010203"
            link = None if kind == 0 else b"\xff" * 6 if kind == 1 else bytes.fromhex(group)
        wished = aim.fields.get(Field.MARK)
        number = self.marks.index(wished) if wished in self.marks else self.rng.randrange(len(self.marks))
        untracked = (self.scene.tracked and aim.state is State.UNTRACKED) or self.rng.random() < 0.03
        tos = OURS | number << MARK_SHIFT | (NOTRACK if untracked and self.scene.tracked else 0)
        entry = aim.names.get(Field.IIF, "r0")
        iif = "" if hook is Hook.OUTPUT else entry if entry in ("r0", "r1") else self.rng.choice(("r0", "r1"))
        oif = self._way_out(to) if hook in (Hook.FORWARD, Hook.OUTPUT) else ""
        packet = Packet(self.scene.family, values, iif, oif)
        return Crafted(packets.with_class(raw, tos), packet, self.scene, tos, link, str(to), about)

    # -- addresses

    def _address(self, number: int | Address) -> Address:
        value = int(number) & ((1 << self.bits) - 1)
        return IPv6Address(value) if self.scene.six else IPv4Address(value)

    def _ends(self, aim: Aim) -> tuple[Address, Address]:
        ends = []
        for name, kind, good in (
            (Field.SADDR, Field.SRC_TYPE, self._can_send),
            (Field.DADDR, Field.DST_TYPE, self._can_be_sent_to),
        ):
            pool = [a for a in self.everyday if good(a)]
            if kind in aim.fields:
                pool = [a for a in pool if address_type(a) == aim.fields[kind]] or pool
            elif name is Field.DADDR and self.scene.hook in (Hook.FORWARD, Hook.OUTPUT) and Field.OIF in aim.names:
                pool = [a for a in pool if self._way_out(a) == aim.names[Field.OIF]] or pool
            wished = self._address(aim.fields[name]) if name in aim.fields else None
            ends.append(wished if wished is not None and good(wished) else self.rng.choice(pool))
        return ends[0], ends[1]

    def _can_send(self, address: Address) -> bool:
        """A packet from this address gets as far as the chain."""
        hook, kind = self.scene.hook, address_type(address)
        if self.scene.six:
            bad = address.is_loopback or int(address) >> 32 in (0, 0xFFFF) or kind is AddressType.MULTICAST
            near = hook is Hook.FORWARD and address.is_link_local
            return not (bad or near or (hook is not Hook.PREROUTING and kind is AddressType.OTHER))
        if hook is Hook.PREROUTING:
            return True
        usual = kind in (AddressType.UNICAST, AddressType.LOCAL) and not address.is_loopback
        return (int(address) != 0) if hook is Hook.OUTPUT else usual and int(address) >> 24 not in (0, *range(240, 256))

    def _can_be_sent_to(self, address: Address) -> bool:
        hook, kind = self.scene.hook, address_type(address)
        own = kind is AddressType.LOCAL and not address.is_loopback
        if hook is Hook.PREROUTING:
            if not self.scene.six:
                return True
            return not address.is_loopback and int(address) >> 112 & 0xFF0F not in (0xFF00, 0xFF01)
        if hook is Hook.INPUT:
            return own or str(address) in ("224.0.0.1", "10.9.0.255", "255.255.255.255", "ff02::1")
        if hook is Hook.FORWARD:
            usual = kind is AddressType.UNICAST and not address.is_link_local
            return usual and (self.scene.six or int(address) >> 24 not in (0, *range(240, 256)))
        if self.scene.six:
            scoped = int(address) >> 112 & 0xFF0F in (0xFF00, 0xFF01)
            return not scoped and kind is not AddressType.OTHER and int(address) >> 32 not in (0, 0xFFFF)
        return int(address) >> 24 != 0

    def _way_out(self, address: Address) -> str:
        """The interface by which the router sends to an address."""
        if address_type(address) is AddressType.LOCAL or str(address) == "127.255.255.255":
            return "lo"
        if isinstance(address, IPv4Address):
            return "r0" if address in _NEAR else "r1"
        return "r0" if address in _NEAR6 else "r1"

    # -- protocols and states

    def _protocol(self, wished: int | None) -> int:
        usual = (6, 6, 17, 17, self.scene.family.icmp, 136, 132, 33, 47, 50, 112)
        other = 1 if self.scene.six else 58
        # tests of the ICMP of the other family hold for no packet in the model (docs/semantics.md)
        if wished is None or (self.scene.six and wished in _HEADERS) or wished == other:
            return self.rng.choice(usual)
        return wished

    def _enter(
        self, protocol: int, source: Address, sport: int, to: Address, dport: int, flags: int, kind: int, original: bool
    ) -> None:
        """An entry that the packet belongs to, in one direction or the other."""
        usual = {AddressType.UNICAST, AddressType.LOCAL} >= {address_type(source), address_type(to)}
        if protocol == self.scene.family.icmp and kind in (0, 8, 128, 129):
            sport = dport = 1
            original = kind in (8, 128)
        elif protocol not in (6, 17) or (protocol == TCP and flags not in _ACK) or not (sport and dport):
            return
        if usual and original:
            self.entries.add(protocol, source, sport, to, dport)
        elif usual:
            self.entries.add(protocol, to, dport, source, sport)

    def _about(self, to: Address, original: bool) -> tuple[Tuple, bytes]:
        """The packet that an ICMP error is about: one that `to` sent, in either direction of an entry."""
        peer = self._address(int(IPv6Address("2001:db8:77::1") if self.scene.six else IPv4Address("198.51.100.77")))
        port = self.rng.randint(20000, 30000)
        if address_type(to) not in (AddressType.UNICAST, AddressType.LOCAL):
            return (), b""
        ends = (peer, 777, to, port) if original else (to, port, peer, 777)
        self.entries.add(17, *ends)
        return (17, int(to), port, int(peer), 777), packets.udp(str(to), port, str(peer), 777)


def state_of(crafted: Crafted, entries: Entries) -> tuple[State, bool]:
    """What conntrack says of a packet that no rule leaves alone, and whether it travels in the original direction."""
    values, six = crafted.packet.values, crafted.scene.six
    protocol, kind = values[Field.PROTOCOL], values.get(Field.ICMP_TYPE, 0)
    sport, dport = values.get(Field.SPORT, 0), values.get(Field.DPORT, 0)
    icmp = protocol == crafted.scene.family.icmp
    if icmp and (kind < 128 if six else kind in (3, 4, 5, 11, 12)):
        found = entries.tuples.get(crafted.about)
        return (State.INVALID, True) if found is None else (State.RELATED, not found)
    if icmp:
        sport = dport = 1
    flags = values.get(Field.TCP_FLAGS, 0) & 0x3F & ~8
    known = entries.tuples.get((protocol, values[Field.SADDR], sport, values[Field.DADDR], dport))
    if icmp and values[Field.ICMP_CODE]:
        known = None  # the entries are of code 0
    if known is not None and (not icmp or kind in (((128,), (129,)) if six else ((8,), (0,)))[not known]):
        return State.ESTABLISHED if protocol != TCP or flags in (0x10, 0x30) else State.INVALID, known
    if icmp:
        return State.NEW if kind in ((128, 139) if six else (8, 13, 15, 17)) else State.INVALID, True
    if protocol == TCP:
        return State.NEW if flags in (0x02, 0x22, 0x10, 0x30) else State.INVALID, True
    return State.NEW, True
