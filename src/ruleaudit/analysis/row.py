"""Many packet sets in a row: their unions, and the first of them that meets a question, in few steps."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Protocol

from ruleaudit.packets.diagram import PacketSet, is_empty


def union(sets: Sequence[PacketSet], none: PacketSet) -> PacketSet:
    """What some set holds; joined in halves, so that no large set is taken up again for each small one."""
    parts = list(sets) or [none]
    while len(parts) > 1:
        parts = [a | b for a, b in zip(parts[::2], parts[1::2], strict=False)] + parts[len(parts) & ~1 :]
    return parts[0]


class Sets(Protocol):
    """Packet sets by their places, kept or made when they are asked for."""

    def __getitem__(self, place: int, /) -> PacketSet: ...
    def __len__(self) -> int: ...


class Row:
    """Sets in a row with the unions of its halves, so that the first that meets a question is found in few steps."""

    def __init__(self, sets: Sets) -> None:
        self.sets = sets
        self._unions: dict[tuple[int, int], PacketSet] = {}

    @cached_property
    def union(self) -> PacketSet:
        """What some set holds."""
        return self._union(0, len(self.sets))

    def first(self, wanted: PacketSet, start: int, end: int) -> int | None:
        """The place of the first set from `start` up to `end` that meets another one."""
        return None if is_empty(wanted) else self._first(wanted, start, end, 0, len(self.sets))

    def without(self, wanted: PacketSet, start: int, end: int) -> PacketSet:
        """What no set from `start` up to `end` holds."""
        return self._without(wanted, start, end, 0, len(self.sets))

    def shared(self, packets: PacketSet, places: Sequence[int]) -> Iterator[tuple[int, PacketSet]]:
        """What each set has in common with some packets, those of earlier sets left out; at some places, in order."""
        return self._shared(packets, places, 0, len(self.sets)) if places else iter(())

    def _shared(
        self, packets: PacketSet, places: Sequence[int], low: int, high: int
    ) -> Iterator[tuple[int, PacketSet]]:
        middle = (low + high) // 2
        number = bisect_left(places, middle)
        before, behind = places[:number], places[number:]
        if high - low > 1 and not behind:
            yield from self._shared(packets, before, low, middle)
            return
        here = packets & self._union(low, high)
        if is_empty(here):
            return
        if high - low == 1:
            yield low, here
            return
        if before:
            yield from self._shared(here, before, low, middle)
        if behind:
            yield from self._shared(here & ~self._union(low, middle), behind, middle, high)

    def _without(self, wanted: PacketSet, start: int, end: int, low: int, high: int) -> PacketSet:
        if end <= low or high <= start or is_empty(wanted):
            return wanted
        if start <= low and high <= end:
            return wanted & ~self._union(low, high)
        middle = (low + high) // 2
        return self._without(self._without(wanted, start, end, low, middle), start, end, middle, high)

    def _first(self, wanted: PacketSet, start: int, end: int, low: int, high: int) -> int | None:
        if high <= start or end <= low or is_empty(wanted & self._union(low, high)):
            return None
        if high - low == 1:
            return low
        middle = (low + high) // 2
        found = self._first(wanted, start, end, low, middle)
        return found if found is not None else self._first(wanted, start, end, middle, high)

    def _union(self, low: int, high: int) -> PacketSet:
        if high - low == 1:
            return self.sets[low]
        found = self._unions.get((low, high))
        if found is None:
            middle = (low + high) // 2
            found = self._unions[low, high] = self._union(low, middle) | self._union(middle, high)
        return found
