"""The flows of a ruleset: the connections that it lets in, grouped by the rule that accepts them, and what may leave.

Design section 6, points 1, 2 and 5: a flow is described in the words of its rule; what fills connection tables leaves
by default, everything else only when it is asked for, and the reason is said.
"""

from bisect import bisect_right
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import itemgetter

from ruleaudit.analysis.connection import KINDS, PROTOCOL_NAMES, Kind
from ruleaudit.analysis.pair import Pair
from ruleaudit.analysis.space import Space
from ruleaudit.analysis.walk import filtering_chains
from ruleaudit.model.condition import And, Condition, Interface, Not, interval_text, merged
from ruleaudit.model.fields import CLIENT_PORTS, PORT_PROTOCOLS, AddressType, Field, Hook
from ruleaudit.model.ruleset import EffectKind, Rule, Ruleset
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.results.flow import Flow
from ruleaudit.rewrite.narrowing import Narrowing, narrowing

Interval = tuple[int, int]
_low = itemgetter(0)

SSH = "ssh: low volume, worth protecting"
#: ports that a default plan leaves alone, and why (single ports or ranges)
LEFT_ALONE: dict[tuple[str, Interval], str] = {
    ("tcp", (22, 22)): SSH,
    ("tcp", (21, 21)): "ftp: its data connections need conntrack's helper",
    ("udp", (67, 68)): "DHCP: answers go to broadcast addresses",
    ("udp", (546, 547)): "DHCPv6: answers go to multicast addresses",
    ("udp", (5353, 5353)): "mDNS: multicast",
    ("udp", (33434, 33534)): "traceroute: a handful of packets",
}
_INSIDE = ("br", "docker", "virbr", "lxc", "lxd", "vmbr", "lan", "veth", "vnet", "cni", "podman", "incus")


@dataclass(frozen=True)
class Candidate:
    """A flow with what a rewrite needs of it: its connections, and the words of its rule that narrow it."""

    flow: Flow
    kind: Kind
    protocol: str
    ports: tuple[Interval, ...]
    narrowed: Narrowing
    rule: Rule | None
    connections: PacketSet
    reason: str  #: why the default leaves it tracked; empty if it leaves
    blanket: bool = False  #: the rule accepts all kinds of things: no test of it may learn UNTRACKED

    def with_ports(self, ports: tuple[Interval, ...]) -> "Candidate":
        """The same flow on some of its ports."""
        if ports == self.ports:
            return self
        return replace(self, ports=ports, flow=replace(self.flow, ports=port_texts(ports)))

    def only(self, *wanted: Interval) -> "Candidate":
        """The flow on those of its ports that lie in one of the ranges."""
        ranges = merged(wanted)
        pieces = {(max(a, low), min(b, high)) for a, b in self.ports for low, high in ranges}
        return self.with_ports(tuple(sorted(p for p in pieces if p[0] <= p[1])))

    def has_any(self, ports: Sequence[Interval]) -> bool:
        """Some port of the flow lies in one of the ranges, which are in order and apart."""
        for low, high in self.ports:
            place = bisect_right(ports, high, key=_low) - 1
            if place >= 0 and ports[place][1] >= low:
                return True
        return False

    def without(self, excluded: Sequence[Interval]) -> "Candidate":
        """The flow on those of its ports that lie in none of the ranges."""
        return self.with_ports(without(self.ports, excluded))


def without(ports: Iterable[Interval], excluded: Iterable[Interval]) -> tuple[Interval, ...]:
    """The ports that lie in none of the ranges."""
    left = list(ports)
    for low, high in excluded:
        pieces = (piece for a, b in left for piece in ((a, min(b, low - 1)), (max(a, high + 1), b)))
        left = [piece for piece in pieces if piece[0] <= piece[1]]
    return tuple(sorted(set(left)))


def port_texts(ports: Iterable[Interval]) -> tuple[str, ...]:
    """Ports as people write them: `80`, `8000-8010`."""
    return tuple(map(interval_text, ports))


def candidates(pair: Pair, among: Container[Rule] | None = None) -> Iterator[Candidate]:
    """Every flow that some rule names by port, or some rule of a few, in the order of the rules."""
    for kind, hook in ((KINDS[0], Hook.INPUT), (KINDS[2], Hook.FORWARD)):
        yield from _of_kind(pair, kind, hook, among)


def _of_kind(pair: Pair, kind: Kind, hook: Hook, among: Container[Rule] | None) -> Iterator[Candidate]:
    space = pair.space
    seen = pair.roles(kind, pair.old).opening
    tracked = seen.accepted & ~seen.untracked
    hooked = filtering_chains(pair.old.ruleset, hook)
    for by, packets in seen.walk.decided.accepts(
        tracked, lambda by: (by.table, by.chain) in hooked and (among is None or by in among)
    ):
        openings = space.connection_part(packets)
        for protocol in PORT_PROTOCOLS[:2]:
            mine = openings & space.is_(Field.PROTOCOL, protocol)
            if is_empty(mine):
                continue
            ports = tuple(space.taken(mine, Field.DPORT))
            if sum(high - low + 1 for low, high in ports) > 30000:
                continue
            for part in _parted(PROTOCOL_NAMES[protocol], ports):
                here = mine & space.diagrams.within(space.bits[Field.DPORT], part)
                yield _candidate(pair, kind, by, PROTOCOL_NAMES[protocol], part, here)


def _parted(protocol: str, ports: tuple[Interval, ...]) -> Iterator[tuple[Interval, ...]]:
    """The ports of one rule that a default plan may take, and those that it leaves alone."""
    left = tuple(port for port in ports if why_left(protocol, (port,)))
    yield from (part for part in (tuple(port for port in ports if port not in left), left) if part)


def why_left(protocol: str, ports: Sequence[Interval]) -> str:
    """Why a default plan leaves ports alone whoever may come to them; empty if it does not."""
    for (name, (low, high)), why in LEFT_ALONE.items():
        if name == protocol and any(a <= high and low <= b for a, b in ports):
            return why
    return ""


def named(pair: Pair, kind: Kind, protocol: str, port: int, rule: Rule | None, connections: PacketSet) -> Candidate:
    """A flow that only an option names: accepted by a policy, or by a rule without ports."""
    flow = Flow(kind.name, protocol, (str(port),), (), (), rule)
    return Candidate(flow, kind, protocol, ((port, port),), Narrowing(), rule, connections, "")


def _candidate(
    pair: Pair,
    kind: Kind,
    rule: Rule,
    protocol: str,
    ports: tuple[Interval, ...],
    openings: PacketSet,
) -> Candidate:
    narrowed = narrowing(rule)
    source = narrowed.source
    interfaces = tuple(dict.fromkeys(_interfaces(rule)))
    addresses = tuple(narrowed.plain(words) for words in (source if kind.name == "in" else (*source, *narrowed.target)))
    flow = Flow(kind.name, protocol, port_texts(ports), addresses, interfaces, rule)
    reason = _left_alone(pair, kind, protocol, ports, source, interfaces, openings)
    return Candidate(flow, kind, protocol, ports, narrowed, rule, openings, reason)


def _interfaces(rule: Rule) -> Iterator[str]:
    for match in rule.matches:
        for item in _conjuncts(match.condition):
            if isinstance(item, Interface) and item.field is Field.IIF:
                yield item.name
            elif isinstance(item, Not) and isinstance(item.item, Interface) and item.item.field is Field.IIF:
                yield f"! {item.item.name}"


def _conjuncts(condition: Condition) -> Iterable[Condition]:
    return condition.items if isinstance(condition, And) else (condition,)


def _left_alone(
    pair: Pair,
    kind: Kind,
    protocol: str,
    ports: Sequence[Interval],
    source: tuple[tuple[str, ...], ...],
    interfaces: tuple[str, ...],
    openings: PacketSet,
) -> str:
    """Why a default plan leaves a flow tracked; empty if it may leave."""
    space = pair.space
    if why := why_left(protocol, ports):
        return why
    for low, high in ports:
        if low != high and low <= CLIENT_PORTS[1] and CLIENT_PORTS[0] <= high:
            return "the range meets the ports that this host uses for its own connections"
    many = space.is_(Field.DST_TYPE, AddressType.MULTICAST) | space.is_(Field.DST_TYPE, AddressType.BROADCAST)
    if is_empty(openings & ~many):
        return "to multicast or broadcast addresses: the answers are connections of their own"
    if kind.name == "in" and (source or _restricted(space, openings)):
        return "restricted to some sources: low volume"
    inside = [n for n in interfaces if n.startswith(_INSIDE) or n in masqueraded_sides(pair.old.ruleset)]
    if inside:
        return f"on an inside interface ({inside[0]})"
    if kind.name == "forward" and not _targeted(openings, space):
        return "forwarded to any host"
    return ""


def _restricted(space: Space, openings: PacketSet) -> bool:
    """Only a small part of all source addresses gets in: less than half of them."""
    return space.number_taken(openings, Field.SADDR) * 2 < 1 << space.family.address_bits


def _targeted(openings: PacketSet, space: Space) -> bool:
    return space.number_taken(openings, Field.DADDR) <= 1 << (space.family.address_bits // 2)


@lru_cache(maxsize=64)
def masqueraded_sides(ruleset: Ruleset) -> frozenset[str]:
    """Input interfaces that are the inside of a masquerading router: named in FORWARD rules towards a masqueraded
    side.
    """
    outside = {
        item.name
        for rule in ruleset.rules()
        if any(e.kind is EffectKind.NAT and e.text.startswith(("MASQUERADE", "SNAT")) for e in rule.effects)
        for match in rule.matches
        for item in _conjuncts(match.condition)
        if isinstance(item, Interface) and item.field is Field.OIF
    }
    if not outside:
        return frozenset()
    named_in = {n for rule in ruleset.rules() for n in _interfaces(rule) if not n.startswith("!")}
    return frozenset(named_in - outside - {"lo"})
