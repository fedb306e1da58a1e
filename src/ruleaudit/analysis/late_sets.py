"""Packet sets by what they belong to, of which those that decide nothing are made when somebody asks for them.

What a rule that only logs has seen is as large as all packets that get there: one such set for each of thousands of
rules takes gigabytes, and most questions look at none of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from ruleaudit.analysis.row import union
from ruleaudit.packets.diagram import PacketSet, is_empty

#: so many shares are all looked at for each key
_FEW = 8

Key = TypeVar("Key")


class LateSets(Mapping[Key, PacketSet]):
    """The sets that are not empty, by key: those that were added in the order in which they came, then the others."""

    def __init__(self) -> None:
        self._sets: dict[Key, PacketSet | None] = {}  #: None: nothing but what is put off
        self._put_off: dict[Key, list[Callable[[], PacketSet]]] = {}
        self._shares: dict[int, _Share[Key]] = {}
        self._holding: dict[Key, list[_Share[Key]]] | None = None  #: who has a share for a key

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

    def put_off_all(self, sets: Mapping[Key, PacketSet], packets: PacketSet) -> None:
        """`add` for many keys their share of some packets, when somebody asks for it."""
        if isinstance(sets, LateSets) and not (sets._sets or sets._shares):
            return
        share = self._shares.get(id(sets))
        if share is None:
            share = self._shares[id(sets)] = _Share(sets)
            self._holding = None
        share.parts.append(packets)

    def __getitem__(self, key: Key) -> PacketSet:
        for late in self._put_off.pop(key, ()):
            self.add(key, late())
        found = self._sets.get(key)
        for share in self._sharing(key):
            whole = share.sets.get(key)
            if whole is not None:
                here = share.packets & whole
                if not is_empty(here):
                    found = here if found is None else found | here
        if found is None:
            raise KeyError(key)
        return found

    def _sharing(self, key: Key) -> Iterable["_Share[Key]"]:
        if len(self._shares) <= _FEW:
            return self._shares.values()
        if self._holding is None:
            self._holding = {}
            for share in self._shares.values():
                for held in _keys(share.sets):
                    self._holding.setdefault(held, []).append(share)
        return self._holding.get(key, ())

    def _keys(self) -> Iterator[Key]:
        seen = set(self._sets)
        yield from list(self._sets)
        for share in list(self._shares.values()):
            for key in _keys(share.sets):
                if key not in seen:
                    seen.add(key)
                    yield key

    def __iter__(self) -> Iterator[Key]:
        return (key for key in self._keys() if key in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def of(self, wanted: Callable[[Key], bool] | None = None) -> Iterator[tuple[Key, PacketSet]]:
        """The keys for which something holds, with their sets, each made once; the sets of others are not made."""
        for key in self._keys():
            if wanted is None or wanted(key):
                found = self.get(key)
                if found is not None:
                    yield key, found

    def unlike(self, other: "LateSets[Key]", within: PacketSet) -> Iterator[Key]:
        """The keys whose sets may not be the same in both, within some packets; of no other key they differ."""
        same = {
            place
            for place, share in self._shares.items()
            if place in other._shares and is_empty(within & (share.packets ^ other._shares[place].packets))
        }
        keys: dict[Key, None] = {}
        for sets in (self, other):
            keys.update(dict.fromkeys(sets._sets))
            for place, share in sets._shares.items():
                if place not in same:
                    keys.update(dict.fromkeys(_keys(share.sets)))
        return iter(keys)


def _keys(sets: Mapping[Key, PacketSet]) -> Iterable[Key]:
    """The keys of some sets, and perhaps of some that are empty."""
    return sets._keys() if isinstance(sets, LateSets) else sets


class _Share(Generic[Key]):
    """Of each of some sets, what they have in common with some packets."""

    __slots__ = ("parts", "sets")

    def __init__(self, sets: Mapping[Key, PacketSet]) -> None:
        self.sets = sets
        self.parts: list[PacketSet] = []  #: the packets; never none

    @property
    def packets(self) -> PacketSet:
        if len(self.parts) > 1:
            self.parts = [union(self.parts, self.parts[0])]
        return self.parts[0]
