"""How addresses are written in the bits of a packet set: as they are, or as the class that the rules put them in.

Two addresses are of one class when every set that a ruleset names holds both or neither. A list of 100,000 addresses
that only one rule names is one class, and its packets are a diagram of a few nodes. A question may name a set that no
rule names; the classes that it cuts through are divided then: each has many codes to give away, and what was built
before stays true, because it treats all codes of a class alike.
"""

import random
import sys
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Protocol

from ruleaudit.model.condition import merged
from ruleaudit.packets.diagram import Diagrams, Interval, OutOfRoom, PacketSet

#: so many intervals a test of single bits of an address may stand for; beyond that, addresses are written as they are
MOST_PIECES = 4096
#: a set of more intervals than this is a list: the addresses on the same lists have codes beside each other
_LIST = 8
#: so many sets around an address say where its class stands
_AROUND = 8
#: the codes of a class, as bits: enough to divide it a thousand times
_SPARE_BITS = 48
#: what part of its codes a class gives to many addresses that divide it, as bits; one address takes one code
_PART = 5

_FIRST = itemgetter(0)
#: behind every class
_AFTER = (sys.maxsize, sys.maxsize)


class Codes(Protocol):
    """Numbers for the values of a field: packets that no rule tells apart may have the same.

    The sets of packets that are asked about depend on no other bits than those of the number.
    """

    bits: int  #: the width of a number

    def of(self, values: Sequence[Interval]) -> Sequence[Interval]:
        """The numbers of some values, and of no others: sorted, disjoint intervals. Raises OutOfRoom."""

    def taken(self, diagrams: Diagrams, found: PacketSet, bits: Sequence[int]) -> list[Interval]:
        """The values that a set of packets takes: sorted, merged intervals."""

    def few(self, diagrams: Diagrams, found: PacketSet, bits: Sequence[int], limit: int) -> list[Interval] | None:
        """The same, or None when they are more than `limit` intervals."""

    def count(self, diagrams: Diagrams, found: PacketSet, bits: Sequence[int]) -> int:
        """How many values a set of packets takes."""

    def first(self, number: int) -> int:
        """The lowest value that has a number."""


class Plain:
    """Every value is its own number."""

    def __init__(self, bits: int) -> None:
        self.bits = bits

    def of(self, values: Sequence[Interval]) -> Sequence[Interval]:
        """See Codes."""
        return values

    def taken(self, diagrams: Diagrams, found: PacketSet, bits: Sequence[int]) -> list[Interval]:
        """See Codes."""
        return diagrams.intervals(found, bits)

    def few(self, diagrams: Diagrams, found: PacketSet, bits: Sequence[int], limit: int) -> list[Interval] | None:
        """See Codes; no more of them are looked at than `limit`."""
        return diagrams.few_intervals(found, bits, limit)

    def count(self, diagrams: Diagrams, found: PacketSet, bits: Sequence[int]) -> int:
        """See Codes."""
        return diagrams.count(found, bits)

    def first(self, number: int) -> int:
        """See Codes."""
        return number


class Classes:
    """A number stands for a class of addresses; `sets` are those that no class is cut by.

    All addresses are divided into segments, in order, each of one class; every class owns an interval of codes. The
    classes stand in the order of the sets, and what is inside of one set stands together. Where sets come in the order
    of the rules that name them, the addresses that the first thousand rules refuse are one interval of codes, whatever
    the addresses are; so is a network.
    """

    def __init__(self, address_bits: int, sets: Iterable[Sequence[Interval]]) -> None:
        self._end = 1 << address_bits
        self._starts, signatures, ranks = _segments(self._end, sets)
        first = dict(zip(reversed(signatures), reversed(ranks), strict=True))
        ordered = sorted(dict.fromkeys(signatures), key=first.__getitem__)
        numbers = {signature: number for number, signature in enumerate(ordered)}
        self._class = [numbers[signature] for signature in signatures]  # of each segment
        self.bits = (len(numbers) - 1).bit_length() + _SPARE_BITS
        self._codes = [(n << _SPARE_BITS, (n + 1 << _SPARE_BITS) - 1) for n in range(len(numbers))]  # of each class
        self._codes[-1] = (self._codes[-1][0], (1 << self.bits) - 1)
        self._sizes = [0] * len(numbers)
        for number, low, high in zip(self._class, self._starts, [*self._starts[1:], self._end], strict=True):
            self._sizes[number] += high - low
        self._by_code = [(low, number) for number, (low, _) in enumerate(self._codes)]
        self._parts: list[list[int]] = [[] for _ in numbers]  # where the segments of each class begin
        for number, low in zip(self._class, self._starts, strict=True):
            self._parts[number].append(low)

    def of(self, values: Sequence[Interval]) -> Sequence[Interval]:
        """See Codes; classes of which only some addresses are asked for are divided."""
        if len(values) == 1:  # most often one class
            low, high = values[0]
            place = bisect_left(self._starts, low)
            if place < len(self._starts) and self._starts[place] == low:
                number = self._class[place]
                if self._sizes[number] == high - low + 1 and self._stop(low) == high:
                    return (self._codes[number],)
        inside: dict[int, list[int]] = {}
        for low, high in values:
            first = self._cut(low)
            last = self._cut(high + 1)
            for place in range(first, last):
                inside.setdefault(self._class[place], []).append(place)
        return merged([self._codes[self._part(number, places)] for number, places in inside.items()])

    def _cut(self, address: int) -> int:
        """The segment that begins at an address; one is made where there is none."""
        place = bisect_left(self._starts, address)
        if address < self._end and (place == len(self._starts) or self._starts[place] != address):
            number = self._class[place - 1]
            self._starts.insert(place, address)
            self._class.insert(place, number)
            insort(self._parts[number], address)
        return place

    def _part(self, number: int, places: Sequence[int]) -> int:
        """The class of some segments of a class: itself when they are all of it, else a new one."""
        size = sum((self._starts[p + 1] if p + 1 < len(self._starts) else self._end) - self._starts[p] for p in places)
        if size == self._sizes[number]:
            return number
        low, high = self._codes[number]
        given = 1 if size == 1 else high - low + 1 >> _PART
        if not given or low + given > high:
            raise OutOfRoom
        new = len(self._codes)
        self._codes.append((low, low + given - 1))
        self._codes[number] = (low + given, high)
        self._by_code[bisect_left(self._by_code, (low, number))] = (low, new)
        insort(self._by_code, (low + given, number))
        self._sizes.append(size)
        self._sizes[number] -= size
        for place in places:
            self._class[place] = new
        taken = [self._starts[place] for place in places]
        self._parts.append(taken)
        if len(taken) == 1:
            self._parts[number].remove(taken[0])
        else:
            self._parts[number] = sorted({*self._parts[number]}.difference(taken))
        return new

    def taken(self, diagrams: Diagrams, found: PacketSet, bits: Sequence[int]) -> list[Interval]:
        """See Codes; looks at the classes that have the numbers, or at the others where those are fewer."""
        runs = [self._run(low, high) for low, high in diagrams.intervals(found, bits)]
        if sum(end - start for start, end in runs) * 2 <= len(self._by_code):
            return self._addresses(runs)
        others = self._addresses([(end, start) for (_, end), (start, _) in pairwise([(0, 0), *runs, _AFTER])])
        ends = [(-1, -1), *others, (self._end, self._end)]
        return [(below + 1, above - 1) for (_, below), (above, _) in pairwise(ends) if below + 1 < above]

    def few(self, diagrams: Diagrams, found: PacketSet, bits: Sequence[int], limit: int) -> list[Interval] | None:
        """See Codes."""
        every = self.taken(diagrams, found, bits)
        return every if len(every) <= limit else None

    def count(self, diagrams: Diagrams, found: PacketSet, bits: Sequence[int]) -> int:
        """See Codes."""
        runs = {self._run(low, high) for low, high in diagrams.intervals(found, bits)}
        return sum(self._sizes[number] for run in runs for _, number in self._by_code[slice(*run)])

    def first(self, number: int) -> int:
        """See Codes."""
        return self._parts[self._by_code[self._run(number, number)[0]][1]][0]

    def _run(self, low: int, high: int) -> tuple[int, int]:
        """The classes that have some codes, as a part of the row of all classes; none has others too."""
        return bisect_right(self._by_code, low, key=_FIRST) - 1, bisect_right(self._by_code, high, key=_FIRST)

    def _addresses(self, runs: Iterable[tuple[int, int]]) -> list[Interval]:
        starts = [low for run in runs for _, number in self._by_code[slice(*run)] for low in self._parts[number]]
        return list(merged((low, self._stop(low)) for low in starts))

    def _stop(self, start: int) -> int:
        """The last address of the segment that begins at an address."""
        place = bisect_right(self._starts, start)
        return (self._starts[place] if place < len(self._starts) else self._end) - 1


def _segments(end: int, sets: Iterable[Sequence[Interval]]) -> tuple[list[int], list[int], list[int]]:
    """Where the sets begin and end, and of the addresses from there on: a number for the sets that they are on, and the
    rank of their class.

    The number is the exclusive or of random numbers of 128 bits, one for each set. The rank says first on which lists
    they are, then on which other sets, from the outside in.
    """
    draw = random.Random(1).getrandbits
    changes: dict[int, int] = {0: 0}
    on_lists: dict[int, int] = {}
    begun: dict[int, list[tuple[int, int]]] = {}
    place = 0
    for place, intervals in enumerate(sets, 1):
        number = draw(128)
        is_list = len(intervals) > _LIST
        for low, high in intervals:
            changes[low] = changes.get(low, 0) ^ number
            changes[high + 1] = changes.get(high + 1, 0) ^ number
            if is_list:
                on_lists[low] = on_lists.get(low, 0) ^ number
                on_lists[high + 1] = on_lists.get(high + 1, 0) ^ number
            else:
                begun.setdefault(low, []).append((high, place))
    changes.pop(end, None)
    starts = sorted(changes)
    signatures, ranks = [], []
    digit = (place + 1).bit_length()
    last = (1 << digit) - 1  # what is on no further set comes behind what is
    known = {0: 0}  # combinations of lists
    lists = every = on = 0
    # where each set around ends, the rank inside of it, and where the digit of a further one goes
    inside = [(end, (1 << digit * (_AROUND + 1)) - 1, digit * _AROUND)]
    for start in starts:
        if start in on_lists:
            lists ^= on_lists[start]
            on = known.setdefault(lists, len(known)) << digit * (_AROUND + 1)
        every ^= changes[start]
        while inside[-1][0] < start:
            inside.pop()
        if start in begun:
            for high, place in sorted(begun[start], key=_FIRST, reverse=True):  # the widest one first
                _, rank, free = inside[-1]
                if free >= 0:
                    rank, free = rank - (last - place << free), free - digit
                inside.append((high, rank, free))
        signatures.append(every)
        ranks.append(on | inside[-1][1])
    return starts, signatures, ranks


def masked_intervals(bits: int, mask: int, value: int) -> tuple[Interval, ...] | None:
    """The addresses with (address & mask) == value as intervals, or None where those are too many."""
    if value & ~mask:
        return ()
    tail = (mask & -mask).bit_length() - 1 if mask else bits  # what is free at the end
    free = [1 << place for place in range(tail, bits) if not mask >> place & 1]
    if 1 << len(free) > MOST_PIECES:
        return None
    lows = [value]
    for bit in free:
        lows += [low | bit for low in lows]
    return merged((low, low + (1 << tail) - 1) for low in lows)
