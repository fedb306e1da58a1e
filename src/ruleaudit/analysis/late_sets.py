"""Packet sets by what they belong to, of which those that decide nothing are made when somebody asks for them.

What a rule that only logs has seen is as large as all packets that get there: one such set for each of thousands of
rules takes gigabytes, and most questions look at none of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

from ruleaudit.packets.diagram import PacketSet, is_empty

Key = TypeVar("Key")
Entry = TypeVar("Entry")


class LateList(Generic[Entry]):
    """Entries in the order in which they came, of which some are made when somebody asks."""

    def __init__(self) -> None:
        self._parts: list[Entry | _PutOff[Entry]] = []
        self._waiting = False

    def append(self, entry: Entry) -> None:
        """Add one."""
        self._parts.append(entry)

    def put_off(self, entries: Callable[[], Iterable[Entry]]) -> None:
        """Add some, when somebody asks."""
        self._parts.append(_PutOff(entries))
        self._waiting = True

    def __iter__(self) -> Iterator[Entry]:
        if self._waiting:
            made = [part.make() if isinstance(part, _PutOff) else (part,) for part in self._parts]
            self._parts = [entry for some in made for entry in some]
            self._waiting = False
        return iter(cast(list[Entry], self._parts))


@dataclass(frozen=True)
class _PutOff(Generic[Entry]):
    make: Callable[[], Iterable[Entry]]


class LateSets(Mapping[Key, PacketSet]):
    """The sets that are not empty, by key, in the order in which the keys came."""

    def __init__(self) -> None:
        self._sets: dict[Key, PacketSet | None] = {}  #: None: nothing but what is put off
        self._put_off: dict[Key, list[Callable[[], PacketSet]]] = {}
        self._shares: dict[int, tuple[Mapping[Key, PacketSet], PacketSet]] = {}

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

    def put_off_all(self, shares: Mapping[Key, PacketSet], packets: PacketSet) -> None:
        """`add` for many keys their share of some packets, when somebody asks for it; keys are not told twice."""
        _, before = self._shares.get(id(shares), (shares, None))
        self._shares[id(shares)] = shares, packets if before is None else before | packets

    def __getitem__(self, key: Key) -> PacketSet:
        for late in self._put_off.pop(key, ()):
            self.add(key, late())
        found = self._sets.get(key)
        for shares, packets in self._shares.values():
            if key in shares:
                here = packets & shares[key]
                if not is_empty(here):
                    found = here if found is None else found | here
        if found is None:
            raise KeyError(key)
        return found

    def _keys(self) -> Iterator[Key]:
        yield from list(self._sets)
        for shares, _ in list(self._shares.values()):
            yield from (key for key in shares if key not in self._sets)

    def __iter__(self) -> Iterator[Key]:
        return (key for key in self._keys() if key in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def of(self, wanted: Callable[[Key], bool]) -> Iterator[tuple[Key, PacketSet]]:
        """The keys for which something holds, with their sets; the sets of others are not made."""
        return ((key, self[key]) for key in self._keys() if wanted(key) and key in self)
