"""Exact sets of bit vectors as binary decision diagrams: the one adapter to oxidd.

A set is canonical: two sets are equal if and only if they are the same diagram. A node table has a fixed size; when it
is full, OutOfRoom is raised, and `with_room` asks the question again with a larger one.
"""

import gc
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import TypeVar, cast

from ruleaudit.packets.compiled import BCDDFunction, BCDDManager, DDMemoryError

PacketSet = BCDDFunction
Interval = tuple[int, int]
Answer = TypeVar("Answer")

OutOfRoom = DDMemoryError

_FIRST, _LAST = itemgetter(0), itemgetter(1)

#: inner nodes of the first and of the last attempt; a node takes 40 bytes
FIRST_ROOM, LAST_ROOM = 1 << 20, 1 << 25
#: how often a table may be full, and cleared of what nobody holds any more
MOST_CLEARINGS = 32

#: entries of the cache of operations: a larger one takes more memory and no less time; for a small ruleset it takes
#: more time to make than it saves
MOST_REMEMBERED, FEW_REMEMBERED = 1 << 20, 1 << 16


class Diagrams:
    """A growing row of boolean variables and the sets over them; variables added first are decided first."""

    def __init__(self, room: int = FIRST_ROOM) -> None:
        self.room = room
        remembered = min(room >> 2, MOST_REMEMBERED) if room > FIRST_ROOM else FEW_REMEMBERED
        self._manager = BCDDManager(room, remembered, 1)
        self.none: PacketSet = self._manager.false()
        self.all: PacketSet = self._manager.true()
        self._literals: list[tuple[PacketSet, PacketSet]] = []

    def check_room(self) -> None:
        """Raises OutOfRoom when the table is full so often that most of the time goes into clearing it."""
        if self._manager.gc_count() > MOST_CLEARINGS:
            raise OutOfRoom(f"the table was full {MOST_CLEARINGS} times")

    def add(self, bits: int) -> range:
        """Add variables; returns their numbers."""
        numbers = self._manager.add_vars(bits)
        for number in numbers:
            positive = self._manager.var(number)
            self._literals.append((positive, ~positive))
        return numbers

    def bit(self, number: int) -> PacketSet:
        """All vectors in which this bit is set."""
        return self._literals[number][0]

    def vector(self, bits: Sequence[int]) -> list[PacketSet]:
        """The bits of a number, most significant first."""
        return [self._literals[b][0] for b in bits]

    def equal(self, bits: Sequence[int], value: int) -> PacketSet:
        """The number in these bits (most significant first) is `value`."""
        return self._prefix(bits, value, len(bits))

    def _prefix(self, bits: Sequence[int], value: int, length: int) -> PacketSet:
        """The number in these bits begins with the first bits of `value`, so many of them."""
        out, literals = self.all, self._literals
        value >>= len(bits) - length
        for number in reversed(bits[:length]):
            out = literals[number][not value & 1] & out
            value >>= 1
        return out

    def masked(self, bits: Sequence[PacketSet], mask: int, value: int) -> PacketSet:
        """(number & mask) == value, for a number whose bits are themselves sets (most significant first)."""
        if value & ~mask:
            return self.none
        out = self.all
        for place, bit in enumerate(reversed(bits)):
            if mask >> place & 1:
                out = out & (bit if value >> place & 1 else ~bit)
        return out

    def within(self, bits: Sequence[int], intervals: Sequence[Interval]) -> PacketSet:
        """The number in these bits lies in one of the sorted, disjoint intervals."""
        literals = self._literals

        def build(depth: int, low: int, start: int, end: int) -> PacketSet:
            size = (1 << len(bits) - depth) - 1
            start = bisect_left(intervals, low, start, end, key=_LAST)
            end = bisect_right(intervals, low + size, start, end, key=_FIRST)
            if start >= end:
                return self.none
            first, last = intervals[start]
            if first <= low and low + size <= last:
                return self.all
            if start + 1 == end and low <= first and last <= low + size:
                free = last - first
                if not free & free + 1 and not first & free:  # a prefix
                    return self._prefix(bits[depth:], first, len(bits) - depth - free.bit_length())
            middle = low + (size >> 1) + 1
            below = build(depth + 1, low, start, end)
            above = build(depth + 1, middle, start, end)
            return literals[bits[depth]][0].ite(above, below)

        return build(0, 0, 0, len(intervals))

    def intervals(self, found: PacketSet, bits: Sequence[int]) -> list[Interval]:
        """The numbers that these bits take in a set which depends on no other bit: sorted, merged intervals."""
        return list(self._intervals(found, bits))

    def few_intervals(self, found: PacketSet, bits: Sequence[int], limit: int) -> list[Interval] | None:
        """The same, or None when they are more than `limit`."""
        out = list(islice(self._intervals(found, bits), limit + 1))
        return out if len(out) <= limit else None

    def _intervals(self, found: PacketSet, bits: Sequence[int]) -> Iterator[Interval]:
        begun: Interval | None = None
        for low, high in self._blocks(found, bits):
            if begun is not None and begun[1] == low - 1:
                begun = (begun[0], high)
                continue
            if begun is not None:
                yield begun
            begun = (low, high)
        if begun is not None:
            yield begun

    def _blocks(self, found: PacketSet, bits: Sequence[int]) -> Iterator[Interval]:
        """The same as blocks of numbers that share their first bits, some beside each other."""
        width = len(bits)
        left = [(found, 0, 0)]
        while left:
            part, depth, low = left.pop()
            halves = part.cofactors()
            if halves is None:
                if part.satisfiable():
                    yield low, low + (1 << width - depth) - 1
                continue
            above, below = halves if part.node_var() == bits[depth] else (part, part)
            left.append((above, depth + 1, low + (1 << width - depth - 1)))
            left.append((below, depth + 1, low))

    def count(self, found: PacketSet, bits: Sequence[int]) -> int:
        """How many numbers these bits take in a set which depends on no other bit."""
        others = self._manager.num_vars() - len(bits)
        return int(found.sat_count(len(bits) + others)) >> others

    def exchange(self, found: PacketSet, pairs: Iterable[tuple[int, int]]) -> PacketSet:
        """The set with the bits of each pair exchanged."""
        swaps: list[tuple[int, PacketSet]] = []
        for a, b in pairs:
            swaps += ((a, self.bit(b)), (b, self.bit(a)))
        return found.substitute(BCDDFunction.make_substitution(swaps))

    def cube(self, numbers: Iterable[int]) -> PacketSet:
        """The conjunction of variables, as `forget` takes it."""
        out = self.all
        for number in sorted(numbers, reverse=True):
            out = self._literals[number][0] & out
        return out

    def support(self, found: PacketSet, off: Container[int] = ()) -> dict[int, bool]:
        """One vector of a set: the bits that matter, by number. Raises ValueError where there is none.

        The bits `off` are not set. However many variables there are, only the nodes on the way to the first vector are
        looked at.
        """
        way: list[tuple[PacketSet, bool]] = []
        dead: set[PacketSet] = set()  # nodes that lead to no such vector
        here = found
        while True:
            below = here.cofactor_false() if here not in dead else None
            if below is not None:
                way.append((here, False))
                here = below
                continue
            if here not in dead and here.satisfiable():
                return {cast(int, node.node_var()): value for node, value in way}
            while way:
                node, value = way.pop()
                if not value and node.node_var() not in off:
                    way.append((node, True))
                    here = cast(PacketSet, node.cofactor_true())
                    break
                dead.add(node)
            else:
                raise ValueError("an empty set has no member")


def is_empty(found: PacketSet) -> bool:
    """The set has no member."""
    return not found.satisfiable()


def with_room(question: Callable[[int], Answer], steps: int = 0) -> Answer | None:
    """Ask a question with growing room for diagrams, first with what walks of so many steps usually take.

    None when it does not fit at all: undecided, never a guess.
    """
    room = FIRST_ROOM
    while room < steps << 12 and room < LAST_ROOM:
        room <<= 1
    while room <= LAST_ROOM:
        try:
            return question(room)
        except OutOfRoom:
            room = LAST_ROOM if room < LAST_ROOM <= room << 3 else room << 3
        gc.collect()  # the diagrams of one attempt are gone before the next one begins
    return None
