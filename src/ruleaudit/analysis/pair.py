"""Two rulesets side by side in one space: their walks by kind of connection and role, inside the region that differs.

Outside the region no packet meets a rule that differs, so there both agree by construction (engine notes, decision 3).
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast
from weakref import WeakKeyDictionary

from ruleaudit.analysis.alignment import Alignment, align
from ruleaudit.analysis.cone import Cone
from ruleaudit.analysis.connection import KINDS, Kind, path_domain, possible_states, role_shape, tracked_as
from ruleaudit.analysis.row import union
from ruleaudit.analysis.space import TRACKED_STATES, Frame, Space, Spoken, View
from ruleaudit.analysis.stretch import Block, blocks
from ruleaudit.analysis.walk import PATHS, Identities, Walk, is_tracking
from ruleaudit.model.condition import And, Condition, Direction, Masked, Not, Opaque, Or, States, Values
from ruleaudit.model.fields import CLIENT_PORTS, PORT_PROTOCOLS, AddressType, Field, State
from ruleaudit.model.ruleset import Chain, Consumer, EffectKind, Rule, Ruleset
from ruleaudit.packets.diagram import PacketSet, is_empty

#: how many changed rules have their packets told apart
MOST_CHANGES = 1000
#: the packets of more changed rules are harder to tell from all others than all packets are to walk
MOST_IN_REGION = 100


@dataclass(frozen=True)
class Side:
    """One ruleset of the two."""

    ruleset: Ruleset
    identities: Identities
    active: bool


@dataclass(frozen=True)
class Seen:
    """The packets of one role of a kind of connection, and what one ruleset does with them."""

    packets: PacketSet
    accepted: PacketSet
    untracked: PacketSet
    walk: Walk


@dataclass(frozen=True)
class Roles:
    """Opening, later and reply packets of a kind of connection under one ruleset."""

    opening: Seen
    later: Seen
    reply: Seen

    def items(self) -> tuple[tuple[str, Seen], ...]:
        return (("opening", self.opening), ("later", self.later), ("reply", self.reply))


def spoken_of(rulesets: Sequence[Ruleset]) -> Spoken:
    """What rulesets of one family speak of: their conditions, and those of a list of refusals taken together."""
    spoken = Spoken()
    for ruleset in rulesets:
        spoken.add(ruleset.family, (rule.condition for rule in ruleset.rules()))
        for chain in (c for table in ruleset.tables.values() for c in table.chains.values()):
            for block in blocks(chain):
                if isinstance(block, Block):
                    for addresses in block.lists.values():
                        spoken.address(addresses)
    return spoken


def make_space(rulesets: Iterable[Ruleset], room: int) -> Space:
    """A space with the interface names of all the rulesets, which are of one family."""
    rulesets = tuple(rulesets)
    return spoken_of(rulesets).space(rulesets[0].family, room)


def is_transparent(ruleset: Ruleset) -> bool:
    """Some rule takes packets to foreign addresses to a local socket (TPROXY)."""
    return any(_acting(chain).is_transparent for chain in ruleset.chains())


def has_helper(ruleset: Ruleset) -> bool:
    """Some rule assigns a conntrack helper, so that RELATED may be a data connection."""
    return any(_acting(chain).has_helper for chain in ruleset.chains())


def has_nat(ruleset: Ruleset) -> bool:
    """Some rule translates addresses or ports."""
    return any(_acting(chain).has_nat for chain in ruleset.chains())


@dataclass(frozen=True)
class _Acting:
    """The same of a single chain: rulesets share those that did not change."""

    is_transparent: bool
    has_helper: bool
    has_nat: bool


_of_chains: WeakKeyDictionary[Chain, _Acting] = WeakKeyDictionary()


def _acting(chain: Chain) -> _Acting:
    found = _of_chains.get(chain)
    if found is None:
        effects = {e for rule in chain.rules for e in rule.effects}
        consumers = {c for rule in chain.rules for c in _consumers(rule)}
        found = _of_chains[chain] = _Acting(
            any("TPROXY" in e.text for e in effects if e.kind is EffectKind.CHANGE),
            any("helper" in c.what.lower() for c in consumers),
            any(e.kind is EffectKind.NAT for e in effects),
        )
    return found


def _consumers(rule: Rule) -> Iterable[Consumer]:
    yield from rule.consumers
    yield from (m.consumer for m in rule.matches if m.consumer is not None)


class Pair:
    """Everything that both walks have in common, and their results, computed when asked for."""

    def __init__(
        self,
        space: Space,
        old: Ruleset,
        new: Ruleset,
        alignment: Alignment | None = None,
        *,
        in_detail: bool = False,
        within: PacketSet | None = None,
    ) -> None:
        self.space = space
        self.within = space.all if within is None else within  #: the packets that there are at all
        self.in_detail = in_detail  #: packets that fare otherwise are told apart by the rules that changed
        self.alignment = alignment or align(old, new)
        self.old = Side(old, self.alignment.old, is_tracking(old))
        self.new = Side(new, self.alignment.new, is_tracking(new))
        self.transparent = is_transparent(old) or is_transparent(new)
        self.helpers = has_helper(old) or has_helper(new)
        self._roles: dict[Hashable, object] = {}
        self._free: dict[tuple[str, int], Walk] = {}
        self._untracked: dict[str, PacketSet] = {}
        self._from_services: dict[str, PacketSet] = {}

    @staticmethod
    def alone(space: Space, ruleset: Ruleset, within: PacketSet | None = None) -> "Pair":
        """A ruleset beside itself: what it does with every packet, or with those that there are at all."""
        return Pair(space, ruleset, ruleset, Alignment.with_itself(ruleset), within=within)

    def walk(
        self,
        side: Side,
        frame: Frame,
        states: Mapping[State, PacketSet],
        original: PacketSet,
        *,
        within_region: bool = False,
    ) -> Walk:
        """A walk through one of the rulesets, not yet begun; `within_region`: of packets of the region only."""
        cone = self.cone if within_region else None
        return Walk(self.space, side.ruleset, side.identities, frame, states, original, side.active, cone=cone)

    def free_walk(self, side: Side, *, within_region: bool = False) -> Walk:
        """A walk of packets in every state and direction, as variables of their own."""
        space = self.space
        states = {state: space.in_state(state) for state in TRACKED_STATES}
        direction = space.diagrams.bit(space.direction_bit)
        return self.walk(side, Frame("any"), states, direction, within_region=within_region)

    def free(self, side: Side, path: str) -> Walk:
        """Every packet of a path, in every state that it can have, sent through one side; those of the region."""
        key = (path, id(side))
        if key not in self._free:
            walk = self.free_walk(side, within_region=True)
            walk.run(PATHS[path], self.region & self.possible(path))
            self._free[key] = walk
        return self._free[key]

    @cached_property
    def region(self) -> PacketSet:
        """The connections of which some packet may meet a rule that differs."""
        space, changed = self.space, self.alignment
        if changed.other or self.old.active != self.new.active:
            return space.all
        rules = {r.key: r for r in (*changed.removed, *changed.added)}.values()
        if len(rules) > MOST_IN_REGION:
            return space.all
        met = [may_match(space, rule, Frame("any", reverse)) for rule in rules for reverse in (False, True)]
        return space.connection_part(union(met, space.none))

    @cached_property
    def cone(self) -> Cone | None:
        """The rules that packets of the region may meet; None: any."""
        return None if self.region == self.space.all else Cone.of(self.space, self.region)

    def by_change(self, found: PacketSet) -> Iterator[PacketSet]:
        """Packets (not mirrored) that fare otherwise, in parts: what may match one changed rule after the other."""
        changed = sorted((*self.alignment.removed, *self.alignment.added), key=lambda r: r.line)
        for rule in changed[:MOST_CHANGES] if self.in_detail else ():
            may = found & may_match(self.space, rule, Frame("any"))
            if not is_empty(may):
                yield may
                found = found & ~may
        if not is_empty(found):
            yield found

    def domain(self, path: str, reverse: bool) -> PacketSet:
        """The packets that can be on a path."""
        return self.within & self.space.domain & path_domain(self.space, path, reverse, self.transparent)

    def possible(self, path: str) -> PacketSet:
        """The same, in every state that they can have."""
        return self.domain(path, False) & possible_states(self.space, self.helpers, path)

    def roles(self, kind: Kind, side: Side) -> Roles:
        """Walk the three roles of a kind of connection."""
        kept = self._roles
        key: Hashable = (kind.name, side is self.new)
        if side is self.old and self.within == self.region == self.space.all:
            # what every packet meets is the same beside whatever the ruleset is compared with
            known = (side.ruleset, side.identities, side.active, self.transparent)
            kept, key = self.space.remembered, ("roles", kind, *known)
        if key not in kept:
            kept[key] = self._in_roles(kind, side)
        return cast(Roles, kept[key])

    def _in_roles(self, kind: Kind, side: Side) -> Roles:
        opening = self._walk(kind, side, "opening", self.space.none)
        # a repeated SYN or a second datagram is a later packet too; what decides is the opening's own direction
        reply = self._walk(kind, side, "reply", self.untracked_only(opening))
        later = self._walk(kind, side, "later", self.untracked_only(reply) & ~self.untracked_only(opening))
        return Roles(opening, later, reply)

    def answered(self, kind: Kind, side: Side) -> PacketSet:
        """The connections of a kind that work, with their originator as side B: what a reply, read from A to B,
        belongs to.
        """
        return self.space.exchanged(self.space.connection_part(self.roles(kind, side).opening.accepted))

    def untracked_only(self, seen: Seen) -> PacketSet:
        """Connections whose packets of this role are untracked, with no tracked one beside them."""
        part = self.space.connection_part
        return part(seen.untracked) & ~part(seen.packets & ~seen.untracked)

    def _walk(self, kind: Kind, side: Side, role: str, other_side_untracked: PacketSet) -> Seen:
        reverse = role == "reply"
        path = kind.back if reverse else kind.there
        packets = self.region & self.domain(path, reverse) & role_shape(self.space, role)
        if kind.name == "looped" and role == "later":
            packets = self.space.none  # nobody answers these, so every one is NEW ([k32])
        states = tracked_as(self.space, role, other_side_untracked)
        original = self.space.none if reverse else self.space.all
        walk = self.walk(side, Frame(role, reverse), states, original, within_region=True)
        accepted = walk.run(PATHS[path], packets)
        return Seen(packets, accepted, walk.tag & packets, walk)

    def newly_untracked(self, kind: Kind) -> dict[str, PacketSet]:
        """N, role by role: what the new ruleset leaves untracked and the old one did not."""
        old, new = self.roles(kind, self.old), self.roles(kind, self.new)
        return {role: seen.untracked & ~dict(old.items())[role].untracked for role, seen in new.items()}

    def untracked_connections(self, kind: Kind) -> PacketSet:
        """The connections with some packet in N."""
        if kind.name not in self._untracked:
            out = self.space.none
            for found in self.newly_untracked(kind).values():
                if not is_empty(found):
                    out = out | self.space.connection_part(found)
            self._untracked[kind.name] = out
        return self._untracked[kind.name]

    def _of_named_hosts(self, service: Kind, replies: PacketSet) -> PacketSet:
        """The hosts and ports of which every client's connection is in N: services, not clients that share a port."""
        space = self.space
        client = [b for side in (Field.SADDR, Field.SPORT, Field.SRC_TYPE) for b in space.bits[side]]
        every = space.connection_part(self.domain(service.there, False) & role_shape(space, "opening"))
        tracked = every & ~space.connection_part(replies)
        return ~tracked.exists(space.diagrams.cube(client))

    def _from_any_port(self, service: Kind, replies: PacketSet) -> PacketSet:
        """Connections that are in N whatever port their client takes: to services, not from the port of a server."""
        space = self.space
        every = space.connection_part(self.domain(service.there, False) & role_shape(space, "opening"))
        tracked = every & space.values(Field.SPORT, (CLIENT_PORTS,)) & ~space.connection_part(replies)
        return ~tracked.exists(space.diagrams.cube([*space.bits[Field.SPORT]]))

    def tracked_again(self, kind: Kind) -> PacketSet:
        """The connections with some packet that the old ruleset leaves untracked and the new one does not."""
        out = self.space.none
        old, new = self.roles(kind, self.old), self.roles(kind, self.new)
        for (_, before), (_, after) in zip(old.items(), new.items(), strict=True):
            found = before.untracked & ~after.untracked & after.packets
            if not is_empty(found):
                out = out | self.space.connection_part(found)
        return out

    def from_service_ports(self, kind: Kind) -> PacketSet:
        """Connections that a host opens from the port of a service of its own that is let in and no longer tracked.

        While a listener holds the port there are none: the assumption `listener-holds-port`. It is made of this host,
        of the hosts of forwarded services that a rule names, and of those that this host opens connections to.
        """
        if kind.name == "in":
            return self._from_servers
        service = {"out": KINDS[0], "forward": KINDS[2]}.get(kind.name)
        if service is None:
            return self.space.none
        if kind.name not in self._from_services:
            self._from_services[kind.name] = self._from_ports_of(service)
        return self._from_services[kind.name]

    def _from_ports_of(self, service: Kind) -> PacketSet:
        space = self.space
        before, after = (self.roles(service, side).opening.accepted for side in (self.old, self.new))
        replies = self.newly_untracked(service)["reply"]
        accepted = space.connection_part(before | after) & space.connection_part(replies)
        named = self._of_named_hosts if service.name == "forward" else self._from_any_port
        accepted = accepted & named(service, replies)
        ports = (Field.DADDR, Field.DST_TYPE, Field.DPORT, Field.PROTOCOL)
        return self.swap(space.forget_all_but(accepted, ports))

    @cached_property
    def _from_servers(self) -> PacketSet:
        """Connections to this host from the ports of servers that it opens connections to, which are no longer tracked.

        The servers are few, and all connections to their ports are in N: from any host, anybody may choose the port.
        """
        space, out = self.space, KINDS[1]
        before, after = (space.connection_part(self.roles(out, side).opening.accepted) for side in (self.old, self.new))
        usual = space.values(Field.SPORT, (CLIENT_PORTS,)) & space.is_(Field.SRC_TYPE, AddressType.LOCAL)
        newly = space.connection_part(self.newly_untracked(out)["opening"] & usual)
        if is_empty(newly):
            return space.none
        every = space.connection_part(self.domain(out.there, False) & role_shape(space, "opening"))
        client = [b for side in (Field.SADDR, Field.SPORT, Field.SRC_TYPE) for b in space.bits[side]]
        tracked = (every & usual & ~newly).exists(space.diagrams.cube(client))
        ports = (Field.DADDR, Field.DST_TYPE, Field.DPORT, Field.PROTOCOL)
        servers = space.forget_all_but((before | after) & newly & ~tracked, ports)
        few = space.none
        for protocol in PORT_PROTOCOLS[:2]:
            for interval in space.taken(servers & space.is_(Field.PROTOCOL, protocol), Field.DPORT):
                here = servers & space.is_(Field.PROTOCOL, protocol) & space.values(Field.DPORT, (interval,))
                if space.number_taken(here, Field.DADDR) <= 1 << (space.family.address_bits // 2):
                    few = few | here
        return self.swap(few)

    def swap(self, connections: PacketSet) -> PacketSet:
        """The same connections with originator and responder exchanged; what is unknown of them is forgotten."""
        return self.space.exchanged(self.space.whatever_is_unknown(connections))

    def send(
        self,
        side: Side,
        path: str,
        packets: PacketSet,
        state: State,
        *,
        role: str,
        reverse: bool = False,
        immune: bool = False,
        original: bool = True,
        within_region: bool = False,
    ) -> Walk:
        """Send packets along a path in one given state; the walk's `outcomes` and `tag` tell what came of them."""
        everything = self.space.all
        direction = everything if original else self.space.none
        walk = self.walk(side, Frame(role, reverse), {state: everything}, direction, within_region=within_region)
        walk.immune = immune
        walk.run(PATHS[path], packets)
        return walk


def may_match(space: Space, rule: Rule, frame: Frame) -> PacketSet:
    """The packets that a rule may match, states, marks and tests that nobody can answer left open."""
    found = space.all
    for match in rule.matches:
        found = found & _may_hold(space, match.condition, frame)[0]
    return found


def _may_hold(space: Space, condition: Condition, frame: Frame) -> tuple[PacketSet, PacketSet]:
    """(packets that may match, packets that may fail to), with every test that is not about the header left open."""
    match condition:
        case States() | Direction() | Opaque() | Masked(Field.MARK) | Values(Field.MARK):
            return space.all, space.all
        case Not(item):
            may, fail = _may_hold(space, item, frame)
            return fail, may
        case And(items):
            may, fail = space.all, space.none
            for item in items:
                m, f = _may_hold(space, item, frame)
                may, fail = may & m, fail | f
            return may, fail
        case Or(items):
            may, fail = space.none, space.all
            for item in items:
                m, f = _may_hold(space, item, frame)
                may, fail = may | m, fail & f
            return may, fail
        case _:
            found = space.condition(condition, frame, View({}, [], space.all))
            return found, ~found
