"""Packets that cover rulesets: one of each kind that the rules treat alike, and those that somebody named.

They are packets that can be made and sent to, from or through a lone host, and their state is the one that they have
there: nobody has seen a packet of their connection before.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from ruleaudit.analysis.connection import of_no_entry, path_domain
from ruleaudit.analysis.follow import meant
from ruleaudit.analysis.pair import Pair, Side, spoken_of
from ruleaudit.analysis.space import Frame, Space, View
from ruleaudit.analysis.trace import Packet
from ruleaudit.analysis.walk import PATHS, Block, steps
from ruleaudit.analysis.witness import describe, sample
from ruleaudit.model.fields import ICMP, ICMPV6, TCP, UDP, AddressType, Family, Field, PacketType, State
from ruleaudit.model.packet import AskedPacket
from ruleaudit.model.ruleset import Ruleset
from ruleaudit.packets.diagram import PacketSet, is_empty, with_room

#: the paths of packets that are sent; `local` goes from the host to itself
_PATHS = ("in", "out", "forward", "local")
#: of neighbouring rules that refuse alike, so many are asked; the packets of a path are divided into so many parts
_OF_BLOCK, _PARTS = 8, 80
#: addresses between which nobody sends: of no host, of the host itself, of a link, of a group
_ODD = {
    Family.IPV4: ((0, (1 << 24) - 1), (127 << 24, (128 << 24) - 1), (224 << 24, (1 << 32) - 1)),
    Family.IPV6: ((0, (1 << 96) - 1), (0xFE80 << 112, (0xFEC0 << 112) - 1), (0xFF << 120, (1 << 128) - 1)),
}
#: what every host takes for its own: 255.255.255.255, 224.0.0.1, ff02::1
_EVERYBODY = {Family.IPV4: ((1 << 32) - 1, 224 << 24 | 1), Family.IPV6: (0xFF02 << 112 | 1,)}
#: the other family's ICMP; numbers that stand for a header in front of another one in IPv6
_NOT_MADE = {Family.IPV4: (ICMPV6,), Family.IPV6: (ICMP, 0, 43, 44, 51, 59, 60, 135, 139, 140)}


@dataclass(frozen=True, eq=False)
class CoveringPacket:
    """A packet, and the state that it has when it comes alone and no rule leaves it untracked."""

    packet: Packet
    path: str
    state: State

    @property
    def text(self) -> str:
        return describe(self.packet, self.path)

    @property
    def is_to_host(self) -> bool:
        """Its destination is an address of the host, not of everybody's."""
        return self.packet.values[Field.DST_TYPE] == AddressType.LOCAL


@dataclass(frozen=True, slots=True)
class Cover:
    """Packets, of which the first `named` stand for those that were named.

    unsendable  how many of those that were named cannot be sent to, from or through a lone host
    left        how many kinds of packets were left out when there were enough, or the time was over
    """

    packets: tuple[CoveringPacket, ...] = ()
    named: int = 0
    unsendable: int = 0
    left: int = 0


def cover(rulesets: Sequence[Ruleset], named: Iterable[AskedPacket], most: int, seconds: float) -> Cover:
    """At most so many packets for rulesets of one family, in so many seconds; none if they do not fit into memory."""
    asked = [one for one in named if one.family in (None, rulesets[0].family)]

    def answer(room: int) -> Cover:
        return _Covering(rulesets, asked, room, seconds).cover(most)

    return with_room(answer, sum(steps(r) for r in rulesets)) or Cover(unsendable=len(asked))


class _Covering:
    def __init__(self, rulesets: Sequence[Ruleset], asked: Sequence[AskedPacket], room: int, seconds: float) -> None:
        self.rulesets, self.asked = rulesets, asked
        began = time.monotonic()
        #: when sets are no longer divided, and when no packet is taken any more
        self.divided, self.over = began + seconds / 2, began + seconds
        spoken = spoken_of(rulesets)
        spoken.names |= {n for one in asked for n in (one.iif, one.oif) if n}
        self.space = spoken.space(rulesets[0].family, room)
        self.domains = {path: sendable(self.space, path) for path in _PATHS}
        self.states = of_no_entry(self.space)
        of = [self.space.is_(Field.PROTOCOL, number) for number in (TCP, UDP, rulesets[0].family.icmp)]
        self.protocols = (*of, ~(of[0] | of[1] | of[2]))

    def cover(self, most: int) -> Cover:
        found: dict[object, CoveringPacket] = {}
        unsendable = left = 0
        for one in self.asked:
            path = _path(one)
            region = meant(self.space, one) & self.domains[path]
            if is_empty(region):
                unsendable += 1
            else:
                self._take(region, path, found)
        named = len(found)
        for path, region in self._in_turns():
            if len(found) < most and time.monotonic() < self.over:
                self._take(region, path, found)
            else:
                left += 1
        return Cover(tuple(found.values()), named, unsendable, left)

    def _take(self, region: PacketSet, path: str, found: dict[object, CoveringPacket]) -> None:
        for state, packets in self.states.items():
            packet = self._packet(region & packets, path)
            if packet is not None:
                made = CoveringPacket(packet, path, state)
                found.setdefault((path, packet.iif, packet.oif, *packet.values.items()), made)
                return

    def _packet(self, region: PacketSet, path: str) -> Packet | None:
        """One packet of a set, from one address to another."""
        while not is_empty(region):
            packet = sample(self.space, region, path, Frame("any")).packet
            source = packet.values[Field.SADDR]
            if source != packet.values[Field.DADDR]:
                return packet
            region = region & ~(self.space.is_(Field.SADDR, source) & self.space.is_(Field.DADDR, source))
        return None

    def _in_turns(self) -> Iterator[tuple[str, PacketSet]]:
        """A set from each path and state in turn, so that none is left out when there is no time for all."""
        rows = [self._regions(path, state) for path in _PATHS for state in self.states]
        return (one for one in chain.from_iterable(zip_longest(*rows)) if one is not None)

    def _regions(self, path: str, state: State) -> Iterator[tuple[str, PacketSet]]:
        """The packets of a path and a protocol that all rulesets treat alike: who decides, and which rules match."""
        here = self.domains[path] & self.states[state]
        parts = [part for one in self.protocols if not is_empty(part := here & one)]
        rest: list[PacketSet] = []
        for found in (one for ruleset in self.rulesets for one in self._decided(ruleset, path, state, here)):
            if len(parts) > _PARTS or time.monotonic() > self.divided:
                rest.append(found)
                continue
            halves = [half for part in parts for half in (part & found, part & ~found)]
            parts = [half for half in halves if not is_empty(half)]
        return ((path, region) for region in (*parts, *rest))

    def _decided(self, ruleset: Ruleset, path: str, state: State, here: PacketSet) -> Iterator[PacketSet]:
        pair = Pair.alone(self.space, ruleset)
        walk = pair.walk(pair.old, Frame("any"), {state: self.space.all}, self.space.all)
        walk.run(PATHS[path], here)
        for by, _, decided in walk.decided:
            yield from self._of_block(by, decided, pair.old) if isinstance(by, Block) else (decided,)
        yield from walk.matched.values()

    def _of_block(self, block: Block, decided: PacketSet, side: Side) -> Iterator[PacketSet]:
        left, view = decided, View({}, [], self.space.all)
        for rule in block.rules[:_OF_BLOCK]:
            hit = left & self.space.condition(rule.condition, Frame("any"), view, side.identities.numbers[rule])
            if not is_empty(hit):
                yield hit
            left = left & ~hit
        if not is_empty(left):
            yield left


def _path(asked: AskedPacket) -> str:
    return "local" if asked.path == "out" and asked.oif == "lo" else asked.path


def sendable(space: Space, path: str) -> PacketSet:
    """The packets of a path that can be made, and that the kernel by itself lets through to the end of it."""
    kind, many = AddressType, space.none
    source, target = (~space.values(end, _ODD[space.family]) for end in (Field.SADDR, Field.DADDR))
    if path == "in":
        for address in _EVERYBODY[space.family]:
            many = many | (space.is_(Field.DADDR, address) & ~space.is_(Field.DST_TYPE, kind.LOCAL))
    target = target & space.is_(Field.DST_TYPE, kind.LOCAL if path in ("in", "local") else kind.UNICAST)
    source = source & space.is_(Field.SRC_TYPE, kind.LOCAL if path in ("out", "local") else kind.UNICAST)
    usual = space.all if path == "in" else space.is_(Field.PKTTYPE, PacketType.UNICAST)
    for protocol in _NOT_MADE[space.family]:
        usual = usual & ~space.is_(Field.PROTOCOL, protocol)
    return space.domain & path_domain(space, path, False, False) & usual & source & (target | many)
