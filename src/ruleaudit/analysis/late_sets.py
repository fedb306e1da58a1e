"""Packet sets by what they belong to, of which those that decide nothing are made when somebody asks for them.

What a rule that only logs has seen is as large as all packets that get there: one such set for each of thousands of
rules takes gigabytes, and most questions look at none of them.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from ruleaudit.packets.diagram import PacketSet, is_empty

Key = TypeVar("Key")


class LateSets(Mapping[Key, PacketSet]):
    """The sets that are not empty, by key, in the order in which the keys came."""

    def __init__(self) -> None:
        self._sets: dict[Key, PacketSet | None] = {}  #: None: nothing but what is put off
        self._put_off: dict[Key, list[Callable[[], PacketSet]]] = {}

    def add(self, key: Key, packets: PacketSet) -> None:
        """Unite the set of a key with these packets."""
        known = self._sets.get(key)
        if known is not None:
            self._sets[key] = known | packets
        elif not is_empty(packets):
            self._sets[key] = packets

    def put_off(self, key: Key, packets: Callable[[], PacketSet]) -> None:
        """`add`, when somebody asks for the set of this key."""
        self._sets.setdefault(key, None)
        self._put_off.setdefault(key, []).append(packets)

    def __getitem__(self, key: Key) -> PacketSet:
        for packets in self._put_off.pop(key, ()):
            self.add(key, packets())
        found = self._sets[key]
        if found is None:
            del self._sets[key]
            raise KeyError(key)
        return found

    def __iter__(self) -> Iterator[Key]:
        return (key for key in list(self._sets) if key in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def of(self, wanted: Callable[[Key], bool]) -> Iterator[tuple[Key, PacketSet]]:
        """The keys for which something holds, with their sets; the sets of others are not made."""
        return ((key, self[key]) for key in list(self._sets) if wanted(key) and key in self)
