"""Packets that cover a whole ruleset: for each rule and path, one that comes to it and meets it, and one that does not.

They are drawn from the packet sets of the analysis, narrowed to what the router of `Lab(router=True)` can be sent, or
can send, after `random_packets.prepare`.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from ruleaudit.analysis.connection import of_no_entry, possible_states, resets
from ruleaudit.analysis.pair import spoken_of
from ruleaudit.analysis.space import TRACKED_STATES, Frame
from ruleaudit.analysis.trace import Packet
from ruleaudit.analysis.walk import PATHS, Identities, Walk, is_tracking
from ruleaudit.model.fields import PORT_PROTOCOLS, TCP, AddressType, Family, Field, PacketType, State
from ruleaudit.model.ruleset import Continue, Rule, Ruleset, Table
from ruleaudit.packets.diagram import PacketSet, is_empty
from tests.kernel.lab import OUTSIDE, OUTSIDE6, ROUTER, ROUTER6
from tests.kernel.random_rules import ADDRESSES, PORTS

WAYS = ("in", "out", "forward", "local")
_LOCAL = {
    Family.IPV4: ("10.64.0.0/10", f"{ROUTER}/32", f"{OUTSIDE}/32"),
    Family.IPV6: ("fd64::/16", f"{ROUTER6}/128", f"{OUTSIDE6}/128"),
}
#: a host may have them; less is what no host has: broadcasts, reserved and link-local networks
_REMOTE = {
    Family.IPV4: ("1.0.0.0/8", "10.0.0.0/8", "64.0.0.0/4", "128.0.0.0/3", "172.16.0.0/12", "192.0.0.0/4"),
    Family.IPV6: ("2000::/3", "fd00::/8"),
}
_NOBODY = {
    Family.IPV4: ("10.9.0.0/32", "10.9.0.255/32", "10.9.1.0/32", "10.9.1.255/32", "169.254.0.0/16"),
    Family.IPV6: (),
}
NEAR = {Family.IPV4: "10.9.0.0/24", Family.IPV6: "fd09::/64"}  #: behind r0; the rest is behind r1
_GROUPS = {Family.IPV4: ("224.0.0.1/32",), Family.IPV6: ("ff02::1/128",)}
_BROADCASTS = ("10.9.0.255/32", "255.255.255.255/32")
#: headers in front of the protocol, and what is never a protocol of this family
_NO_PROTOCOLS = {Family.IPV4: (58,), Family.IPV6: (0, 1, 43, 44, 51, 59, 60)}
_FLAGS = (0x02, 0x02, 0x10, 0x12, 0x11, 0x04, 0x14, 0x18, 0xC2, 0x00, 0x01, 0x29)


@dataclass(frozen=True)
class Wanted:
    """A packet, the state that conntrack should give it, and the rule that it should match, or miss."""

    packet: Packet
    path: str
    state: State
    rule: Rule
    match: bool


class Covering:
    """The packet sets of one ruleset; raises OutOfRoom where they do not fit."""

    def __init__(self, ruleset: Ruleset, rng: random.Random, room: int = 1 << 20) -> None:
        self.ruleset, self.rng = ruleset, rng
        spoken = spoken_of((ruleset,))
        spoken.names |= {"r0", "r1", "lo"}
        spoken.address_sets = None  # packets are drawn by the bits of their addresses
        self.space = spoken.space(ruleset.family, room)
        self.active = is_tracking(ruleset)
        self.probed, self.probes = _with_probes(ruleset)

    def possible(self, path: str) -> PacketSet:
        """The packets of a path, in the states that they can have."""
        return possible_states(self.space, helpers=False, path=path)

    def _alone(self, path: str) -> PacketSet:
        """Those of them that need no other one of their own kind before."""
        space = self.space
        later = space.in_state(State.NEW) & ~of_no_entry(space)[State.NEW]
        return self.possible(path) & ~later & ~(space.in_state(State.RELATED) & resets(space))

    def wanted(self, count: int) -> Iterator[Wanted]:
        """Packets for every rule that some packet comes to, `count` in all; in each state that can be."""
        targets = [target for path in WAYS for target in self._targets(path)]
        self.rng.shuffle(targets)
        for number in range(count if targets else 0):
            path, rule, match, found = targets[number % len(targets)]
            yield self._sample(path, rule, match, found)

    def _targets(self, path: str) -> Iterator[tuple[str, Rule, bool, PacketSet]]:
        space = self.space
        region = self.lab_packets(path) & self._alone(path)
        if not self.active:
            region = region & space.in_state(State.NEW)
        region = region & (space.in_state(State.ESTABLISHED) | space.in_state(State.RELATED) | self._forward_bit)
        states = {state: space.in_state(state) for state in TRACKED_STATES}
        walk = Walk(
            space, self.probed, Identities.of(self.probed), Frame("any"), states, self._forward_bit, active=self.active
        )
        walk.run(PATHS[path], region)
        for rule, probe in self.probes.items():
            come = walk.matched.get(probe)
            if come is None:
                continue
            hit = walk.matched.get(rule, space.none)
            for match, found in ((True, hit), (False, come & ~hit)):
                parts = [found & states[s] & ~walk.tag for s in TRACKED_STATES] + [found & walk.tag]
                yield from ((path, rule, match, part) for part in parts if not is_empty(part))

    @property
    def _forward_bit(self) -> PacketSet:
        return self.space.diagrams.bit(self.space.direction_bit)

    # -- what the lab can send

    def lab_packets(self, path: str) -> PacketSet:
        """The whole packets, without a mark, that can be on a path of the router."""
        space, family = self.space, self.space.family
        own = self._networks(_LOCAL[family])
        not_others = [*own, *self._networks(_NOBODY[family])]
        sides = ((Field.SADDR, Field.SRC_TYPE), (Field.DADDR, Field.DST_TYPE))
        from_us, to_us = (self._any(own, side) & space.is_(kind, AddressType.LOCAL) for side, kind in sides)
        others = self._networks(_REMOTE[family])
        from_others, to_others = (
            self._any(others, side) & ~self._any(not_others, side) & space.is_(kind, AddressType.UNICAST)
            for side, kind in sides
        )
        wires = space.interface(Field.IIF, "r0") | space.interface(Field.IIF, "r1")
        near = self._any(self._networks((NEAR[family],)), Field.DADDR)
        routed = (near & space.interface(Field.OIF, "r0")) | (~near & space.interface(Field.OIF, "r1"))
        to_host = space.is_(Field.PKTTYPE, PacketType.UNICAST)
        lo = space.interface(Field.IIF, "lo") & space.interface(Field.OIF, "lo")
        match path:
            case "in":
                found = wires & from_others & (to_us | self._to_many())
            case "out":
                found = from_us & to_others & routed & to_host
            case "forward":
                found = wires & from_others & to_others & routed & to_host
            case _:
                found = from_us & to_us & lo & to_host
        return found & space.domain & self._shapes() & space.is_(Field.MARK, 0) & space.is_(Field.FRAGMENT, 0)

    def _to_many(self) -> PacketSet:
        """Datagrams to a group, or to everybody."""
        space, family = self.space, self.space.family
        many = self._any(self._networks(_GROUPS[family]), Field.DADDR) & space.is_(Field.PKTTYPE, PacketType.MULTICAST)
        many = many & space.is_(Field.DST_TYPE, AddressType.MULTICAST)
        if family is Family.IPV4:
            everybody = self._any(self._networks(_BROADCASTS), Field.DADDR) & space.interface(Field.IIF, "r0")
            everybody = everybody & space.is_(Field.DST_TYPE, AddressType.BROADCAST)
            many = many | (everybody & space.is_(Field.PKTTYPE, PacketType.BROADCAST))
        return many & space.is_(Field.PROTOCOL, 17)

    def _shapes(self) -> PacketSet:
        """Fields that a protocol does not have are 0."""
        space, family = self.space, self.space.family
        out = space.all
        for number in _NO_PROTOCOLS[family]:
            out = out & ~space.is_(Field.PROTOCOL, number)
        for protocols, names in (
            (PORT_PROTOCOLS, (Field.SPORT, Field.DPORT)),
            ((TCP,), (Field.TCP_FLAGS,)),
            ((family.icmp,), (Field.ICMP_TYPE, Field.ICMP_CODE)),
        ):
            has = space.values(Field.PROTOCOL, tuple((p, p) for p in sorted(protocols)))
            for name in names:
                out = out & (has | space.is_(name, 0))
        if family is Family.IPV6:
            for side in (Field.SADDR, Field.DADDR):  # the anycast address of a network
                out = out & ~space.diagrams.equal(space.bits[side][64:], 0)
        return out

    def _networks(self, texts: tuple[str, ...]) -> list[tuple[int, int]]:
        make = IPv4Network if self.space.family is Family.IPV4 else IPv6Network
        nets = [make(text) for text in texts]
        return sorted((int(n.network_address), int(n.broadcast_address)) for n in nets)

    def _any(self, intervals: list[tuple[int, int]], side: Field) -> PacketSet:
        out = self.space.none
        for low, high in intervals:
            out = out | self.space.values(side, ((low, high),))
        return out

    # -- one packet of a set

    def _sample(self, path: str, rule: Rule, match: bool, found: PacketSet) -> Wanted:
        """A packet with values that rules speak of, as far as they are in the set; the rest is drawn at random."""
        space = self.space
        for wish in self._wishes():
            narrowed = found & wish
            if not is_empty(narrowed):
                found = narrowed
        bits = space.diagrams.support(found)

        def number(places: range) -> int:
            value = 0
            for bit in places:
                drawn = bits.get(bit)
                value = value << 1 | (self.rng.random() < 0.5 if drawn is None else drawn)
            return value

        values = {name: number(space.bits[name]) for name in Field if name not in (Field.IIF, Field.OIF)}
        iif = "" if path == "out" else self._interface(bits, Field.IIF)
        oif = "" if path == "in" else self._interface(bits, Field.OIF)
        state = TRACKED_STATES[number(space.state_bits)]
        packet = Packet(space.family, values, iif, oif, bool(bits.get(space.direction_bit, True)))
        return Wanted(packet, path, state, rule, match)

    def _interface(self, bits: dict[int, bool], side: Field) -> str:
        index = 0
        for bit in self.space.bits[side]:
            index = index << 1 | bits.get(bit, False)
        return self.space.alphabet[index]

    def _wishes(self) -> Iterator[PacketSet]:
        space, rng, family = self.space, self.rng, self.space.family
        kinds = (8, 0, 3, 11, 13) if family is Family.IPV4 else (128, 129, 1, 2, 135)

        def be(name: Field, value: int) -> PacketSet:
            return space.diagrams.equal(space.bits[name], value)

        wishes = [be(Field.PROTOCOL, rng.choice((TCP, TCP, 17, 17, family.icmp, 132, 47, 50)))]
        for side in (Field.SADDR, Field.DADDR):
            if rng.random() < 0.4:
                wishes.append(be(side, int(ip_address(rng.choice(ADDRESSES[family])))))
        for side in (Field.SPORT, Field.DPORT):
            if rng.random() < 0.5:
                wishes.append(be(side, rng.choice(PORTS)))
        wishes += [space.flags(0xFF, rng.choice(_FLAGS)), be(Field.ICMP_TYPE, rng.choice(kinds))]
        wishes.append(space.interface(Field.IIF, rng.choice(("r0", "r1"))))
        wishes.append(self._forward_bit if rng.random() < 0.5 else ~self._forward_bit)
        rng.shuffle(wishes)
        yield from wishes
        # what differs in a bit or two from what a rule asks for
        for name in (Field.SADDR, Field.DADDR, Field.DPORT, Field.SPORT):
            place = rng.choice(space.bits[name])
            yield space.diagrams.bit(place) if rng.random() < 0.5 else ~space.diagrams.bit(place)


def _with_probes(ruleset: Ruleset) -> tuple[Ruleset, dict[Rule, Rule]]:
    """The ruleset with a rule before each, which every packet matches that comes to it."""
    probes: dict[Rule, Rule] = {}
    tables: dict[str, Table] = {}
    for name, table in ruleset.tables.items():
        chains = {}
        for chain in table.chains.values():
            rules: list[Rule] = []
            for rule in chain.rules:
                text = f"probe {len(probes)}"
                probes[rule] = Rule(rule.chain, rule.table, rule.line, rule.span, text, (), (), Continue())
                rules += [probes[rule], rule]
            chains[chain.name] = replace(chain, rules=tuple(rules))
        tables[name] = replace(table, chains=chains)
    return replace(ruleset, tables=tables), probes


def address(family: Family, value: int) -> str:
    """An address in words."""
    return str(IPv4Address(value) if family is Family.IPV4 else IPv6Address(value))
