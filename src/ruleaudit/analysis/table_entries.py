"""Which entries of a connection table belong to which rule and flow, and which of them a rewrite frees.

What is asked are classes of connections, as packet sets: the packets that open them, through the rules as they are and
as they would be. An entry is there because its opening packet was let through; so what the table leaves open (which
way it went, by which interface) the rules may tell.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from ruleaudit.analysis.connection import KINDS, PROTOCOL_NAMES, Kind, role_shape, tracked_as
from ruleaudit.analysis.pair import Pair, make_space
from ruleaudit.analysis.space import Frame, Space
from ruleaudit.analysis.stretch import steps
from ruleaudit.analysis.walk import PATHS, Walk, filtering_chains
from ruleaudit.model.condition import And, Condition, Not, Or, Values
from ruleaudit.model.connection_table import Connections
from ruleaudit.model.fields import CLIENT_PORTS, PORT_PROTOCOLS, AddressType, Family, Field, Hook
from ruleaudit.model.from_conntrack import Regions
from ruleaudit.model.ruleset import Rule, Ruleset
from ruleaudit.model.service import Service
from ruleaudit.packets.diagram import PacketSet, is_empty, with_room
from ruleaudit.results.flow import Flow
from ruleaudit.results.suggestion import Suggestion
from ruleaudit.results.table import Relief, ServiceUse, TableUse
from ruleaudit.source import Span

#: so many classes are asked about, those with the most entries
_MOST = 4000

#: a rule, however often it was read: where it stands, and which element of a map it is
Place = tuple[Span, tuple[tuple[int, int], ...]]


@dataclass(frozen=True)
class _Fate:
    """What the rules do with some connections.

    kind     the direction; empty: more than one is possible, or none
    rules    those that let the opening packet through where the direction is filtered
    freed    each of them would be tracked no more
    unclear  some would, or the direction is not known
    """

    kind: str = ""
    rules: tuple[Rule, ...] = ()
    freed: bool = False
    unclear: bool = False
    refused: bool = False
    unasked: bool = False


def regions(rulesets: Iterable[Ruleset]) -> Regions:
    """The addresses that some rules treat alike."""
    borders: set[tuple[Family, int]] = set()
    for ruleset in rulesets:
        for rule in ruleset.rules():
            for low, high in _addresses(rule.condition):
                borders |= {(ruleset.family, low), (ruleset.family, high + 1)}
    return Regions.of(borders)


def _addresses(condition: Condition) -> Iterator[tuple[int, int]]:
    match condition:
        case Values(Field.SADDR | Field.DADDR, intervals):
            yield from intervals
        case And(items) | Or(items):
            for item in items:
                yield from _addresses(item)
        case Not(item):
            yield from _addresses(item)


def with_entries(
    suggestion: Suggestion, use: TableUse, old: Sequence[Ruleset], new: Sequence[Ruleset] | None
) -> Suggestion:
    """A suggestion with the entries of each of its flows, those with the most first, and what it would free.

    `old` and `new` are the rules of each address family before and after; None: there is no rewrite.
    """
    fates = dict(_fates(use.table.classes, old, new or old))
    if suggestion.outcome == "nothing-needs-tracking":
        freed = {some: fate for some, fate in fates.items() if not fate.unasked}
    else:
        freed = {some: fate for some, fate in fates.items() if fate.freed and new is not None}
    left = {some: fate for some, fate in fates.items() if some not in freed}

    flows = list(_counted(suggestion.flows, freed))
    stay = list(_counted([*(c.flow for c in suggestion.could_leave), *(r.flow for r in suggestion.refused)], left))
    could = [replace(c, flow=flow) for c, flow in zip(suggestion.could_leave, stay, strict=False)]
    known = {c.flow: other.flow for c, other in zip(suggestion.could_leave, could, strict=True)}
    return replace(
        suggestion,
        flows=tuple(sorted(flows, key=lambda flow: -(flow.entries or 0))),
        could_leave=tuple(sorted(could, key=lambda c: -(c.flow.entries or 0))),
        offers=tuple(replace(o, frees=tuple(known.get(f, f) for f in o.frees)) for o in suggestion.offers),
        refused=tuple(replace(r, flow=f) for r, f in zip(suggestion.refused, stay[len(could) :], strict=True)),
        relief=Relief(
            use,
            sum(some.entries for some in freed),
            sum(some.entries for some, fate in left.items() if fate.unclear),
            sum(some.entries for some, fate in left.items() if fate.refused),
            sum(some.entries for some, fate in left.items() if fate.unasked),
            tuple(_services(use, fates, freed)),
        ),
    )


def services_of(use: TableUse, rulesets: Sequence[Ruleset]) -> tuple[Service, ...]:
    """What fills a table, by name; which way connections went that it does not tell, the rules may."""
    known = [some for some in use.table.classes if some.direction != "unknown"]
    unknown = [some for some in use.table.classes if some.direction == "unknown"]
    told = [replace(some, direction=fate.kind or "unknown") for some, fate in _fates(unknown, rulesets, rulesets)]
    return tuple(replace(use.table, classes=(*known, *told)).services(use.path))


def _counted(flows: Iterable[Flow], fates: dict[Connections, _Fate]) -> Iterator[Flow]:
    """The flows with their entries; what two of them could claim is the first one's."""
    left = dict(fates)
    for flow in flows:
        mine = [some for some, fate in left.items() if _belongs(some, fate, flow)]
        for some in mine:
            del left[some]
        yield replace(flow, entries=sum(some.entries for some in mine))


def _belongs(some: Connections, fate: _Fate, flow: Flow) -> bool:
    if fate.kind != flow.direction or some.protocol != flow.protocol or some.port is None:
        return False
    ports = [text.partition("-") for text in flow.ports]
    if not any(int(low) <= some.port <= int(high or low) for low, _, high in ports):
        return False
    if not _among(some, flow.addresses if flow.direction == "out" else flow.at):
        return False
    if flow.direction == "out":
        return True  # the rules let it out in whatever words
    return flow.rule is None or not fate.rules or _place(flow.rule) in map(_place, fate.rules)


def _among(some: Connections, addresses: Sequence[str]) -> bool:
    """Whether the serving side has one of these addresses; what is no address says nothing."""
    networks = []
    for text in addresses:
        try:
            networks.append(ip_network(text, strict=False))
        except ValueError:
            return True
    return not networks or some.target is None or any(some.target in network for network in networks)


def _place(rule: Rule) -> Place:
    return rule.span, tuple(match.place for match in rule.matches)


def _services(
    use: TableUse, fates: dict[Connections, _Fate], freed: dict[Connections, _Fate]
) -> Iterator[tuple[ServiceUse, Rule | None, int]]:
    rules: defaultdict[tuple[str, str, int | None], Counter[Rule]] = defaultdict(Counter)
    gone: Counter[tuple[str, str, int | None]] = Counter()
    ways: defaultdict[tuple[str, str, int | None], set[str]] = defaultdict(set)
    for some, fate in fates.items():
        service = some.service
        gone[service] += some.entries if some in freed else 0
        ways[service].add(fate.kind)
        for rule in fate.rules[-1:]:
            rules[service][rule] += some.entries
    for one in use.services:
        service = (one.direction, one.protocol, one.port)
        most = rules[service].most_common(1)
        if one.direction == "unknown" and len(ways[service]) == 1:
            one = replace(one, direction=next(iter(ways[service])) or one.direction)
        yield one, most[0][0] if most else None, gone[service]


def _fates(
    every: Iterable[Connections], old: Sequence[Ruleset], new: Sequence[Ruleset]
) -> Iterator[tuple[Connections, _Fate]]:
    afterwards = {ruleset.family: ruleset for ruleset in new}
    families = {before.family: (before, afterwards.get(before.family, before)) for before in old}
    by_family: defaultdict[Family | None, list[Connections]] = defaultdict(list)
    for some in every:
        by_family[some.family].append(some)
    for family, classes in by_family.items():
        if family not in families:
            yield from ((some, _Fate(unasked=True)) for some in classes)
            continue
        before, after = families[family]
        asked, rest = classes[:_MOST], classes[_MOST:]

        def answer(
            room: int, before: Ruleset = before, after: Ruleset = after, asked: list[Connections] = asked
        ) -> list[tuple[Connections, _Fate]]:
            judge = _Judge(make_space((before, after), room), before, after)
            return [(some, judge.fate(some)) for some in asked]

        known = with_room(answer, steps(before) + steps(after))
        yield from known or ((some, _Fate(unasked=True)) for some in asked)
        yield from ((some, _Fate(unasked=True)) for some in rest)


class _Judge:
    """The rules of one family, before and after, and what they do with the packets that open connections."""

    def __init__(self, space: Space, old: Ruleset, new: Ruleset) -> None:
        self.space = space
        unmarked = space.is_(Field.MARK, 0)
        self.old, self.new = (Pair.alone(space, ruleset, unmarked) for ruleset in (old, new))
        self._walks: dict[tuple[str, bool], tuple[PacketSet, Walk]] = {}
        self._deciding: dict[tuple[str, str, int | None], list[tuple[Rule, PacketSet]]] = {}
        self._known: dict[tuple[object, ...], _Fate] = {}

    def fate(self, some: Connections) -> _Fate:
        """What becomes of some connections."""
        key = (some.direction, some.protocol, some.port, some.source, some.target, some.usual_client, some.translated)
        if key not in self._known:
            self._known[key] = self._fate(some)
        return self._known[key]

    def _fate(self, some: Connections) -> _Fate:
        number = _NUMBERS.get(some.protocol) or (int(some.protocol) if some.protocol.isdigit() else None)
        if number is None or number > 255:
            return _Fate(unasked=True)
        packets = self._packets(some, number)
        possible = []
        for kind in KINDS[:4] if some.direction != "unknown" else KINDS[:3]:
            if some.direction in (kind.name, "unknown"):
                accepted, walk = self._walk(kind, self.old)
                openings = packets & self._between(kind, some) & accepted & ~walk.tag
                if not is_empty(openings):
                    possible.append((kind, openings))
        if some.translated:
            return _Fate(some.direction)  # the rules met it under other addresses; NAT keeps it tracked
        parts = [self._part_freed(kind, openings) for kind, openings in possible]
        freed, unclear = bool(parts) and all(part == 1 for part in parts), any(part > 0 for part in parts)
        if len(possible) != 1:
            return _Fate(freed=freed, unclear=unclear, refused=not possible)
        kind, openings = possible[0]
        rules = tuple(rule for rule, decided in self._rules(kind, some, number) if not is_empty(openings & decided))
        return _Fate(kind.name, rules, freed, unclear)

    def _part_freed(self, kind: Kind, openings: PacketSet) -> float:
        """0: all of them stay tracked, 1: none; between: it depends."""
        space, (_, walk) = self.space, self._walk(kind, self.new)
        gone, rest = openings & walk.tag, openings & ~walk.tag
        if is_empty(gone) or is_empty(rest):
            return 0 if is_empty(gone) else 1
        ports, others = (space.forget_all_but(part, (Field.SPORT,)) for part in (gone, rest))
        if not is_empty(ports & others):
            return 0.5
        # connections from the port of a service are none of clients, whose ports are many
        sport = space.bits[Field.SPORT]
        return 1 if space.diagrams.count(ports, sport) > space.diagrams.count(others, sport) else 0

    def _packets(self, some: Connections, protocol: int) -> PacketSet:
        """The packets that open some connections."""
        space = self.space
        found = space.is_(Field.PROTOCOL, protocol)
        if some.port is not None and protocol == space.family.icmp:
            found = found & space.is_(Field.ICMP_TYPE, some.port)
        elif some.port is not None and protocol in PORT_PROTOCOLS:
            usual = space.values(Field.SPORT, (CLIENT_PORTS,))
            found = found & space.is_(Field.DPORT, some.port) & (usual if some.usual_client else ~usual)
        for name, address in ((Field.SADDR, some.source), (Field.DADDR, some.target)):
            if address is not None:
                found = found & space.is_(name, int(ip_address(address)))
        return found

    def _between(self, kind: Kind, some: Connections) -> PacketSet:
        """From another host to this one, or whatever the direction says; whom a broadcast is to, is left open."""
        space = self.space
        found = space.all
        for name, address, at_home in (
            (Field.SRC_TYPE, some.source, kind.name in ("out", "local")),
            (Field.DST_TYPE, some.target, kind.name in ("in", "local")),
        ):
            if address is None or not (address.is_multicast or address.is_unspecified or str(address).endswith(".255")):
                found = found & space.is_(name, AddressType.LOCAL if at_home else AddressType.UNICAST)
        return found

    def _walk(self, kind: Kind, pair: Pair) -> tuple[PacketSet, Walk]:
        key = (kind.name, pair is self.new)
        if key not in self._walks:
            space = self.space
            packets = pair.domain(kind.there, False) & role_shape(space, "opening")
            walk = pair.walk(pair.old, Frame("opening"), tracked_as(space, "opening", space.none), space.all)
            self._walks[key] = (walk.run(PATHS[kind.there], packets), walk)
        return self._walks[key]

    def _rules(self, kind: Kind, some: Connections, protocol: int) -> list[tuple[Rule, PacketSet]]:
        """The rules that accept something of a service where its direction is filtered."""
        key = (kind.name, some.protocol, some.port)
        if key not in self._deciding:
            space, (_, walk) = self.space, self._walk(kind, self.old)
            here = space.is_(Field.PROTOCOL, protocol)
            if some.port is not None and protocol in PORT_PROTOCOLS:
                here = here & space.is_(Field.DPORT, some.port)
            hooked = filtering_chains(self.old.old.ruleset, _HOOKS[kind.name])
            self._deciding[key] = list(walk.decided.accepts(here, lambda by: (by.table, by.chain) in hooked))
        return self._deciding[key]


_NUMBERS = {name: number for number, name in PROTOCOL_NAMES.items()} | {"gre": 47}
_HOOKS = {"in": Hook.INPUT, "out": Hook.OUTPUT, "forward": Hook.FORWARD, "local": Hook.INPUT}
