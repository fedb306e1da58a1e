"""The space in which packets of one family are compared: which bits stand for which field, and conditions as sets.

Packets are described in terms of their *connection*: side A is the originator, side B the responder. A packet that
travels from B to A reads the same bits through a mirrored `Frame`, so that what is known of a connection's opening can
be intersected with what happens to its replies without renaming anything.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

from ruleaudit.analysis.addresses import Classes, Codes, Plain, masked_intervals
from ruleaudit.analysis.row import union
from ruleaudit.model.condition import (
    Always,
    And,
    Condition,
    Direction,
    Interface,
    Masked,
    Never,
    Not,
    Opaque,
    Or,
    Scope,
    States,
    Values,
    all_of,
    tests,
)
from ruleaudit.model.fields import MIRROR, AddressType, Family, Field, State
from ruleaudit.packets.diagram import Diagrams, Interval, PacketSet

#: ICMP requests that open a connection, and the type that answers each (facts section 19, [k08])
ICMP_ANSWERS = {Family.IPV4: {8: 0, 13: 14, 15: 16, 17: 18}, Family.IPV6: {128: 129}}
#: ICMP errors, which conntrack relates to the connection that they are about
ICMP_ERRORS = {Family.IPV4: (3, 4, 5, 11, 12), Family.IPV6: (1, 2, 3, 4)}
#: ICMPv6 types that conntrack leaves alone (facts section 18, [a08])
UNTRACKED_ICMPV6 = ((130, 136), (143, 143), (151, 151))

#: fields that belong to the connection; every other field is the packet's own
CONNECTION_FIELDS = frozenset(
    {
        Field.SADDR,
        Field.DADDR,
        Field.SPORT,
        Field.DPORT,
        Field.PROTOCOL,
        Field.SRC_TYPE,
        Field.DST_TYPE,
        Field.ICMP_TYPE,
    }
)

ADDRESSES = frozenset({Field.SADDR, Field.DADDR})

#: addresses whose type is known (127.255.255.255 is a broadcast)
_BY_NATURE: dict[Family, dict[str, tuple[Interval, ...]]] = {
    Family.IPV4: {
        "multicast": ((224 << 24, (240 << 24) - 1),),
        "loopback": ((127 << 24, (128 << 24) - 2),),
        "broadcast": (((1 << 32) - 1, (1 << 32) - 1),),
    },
    Family.IPV6: {"multicast": ((0xFF << 120, (1 << 128) - 1),), "loopback": ((1, 1),)},
}

ANY_OTHER = "(any other)"


@dataclass(frozen=True, slots=True)
class Frame:
    """How a packet is looked at: in which direction it travels, and in which role (the name its own unknowns carry)."""

    role: str
    reverse: bool = False
    absent: frozenset[Field] = frozenset()


@dataclass
class View:
    """What of a packet depends on where it is: its state, its mark by now, and its direction."""

    states: Mapping[State, PacketSet]
    mark: Sequence[PacketSet]
    original: PacketSet


@dataclass(frozen=True, slots=True)
class UnknownTest:
    """An opaque test that became a variable: who asks, and in which role."""

    name: str
    scope: Scope
    identity: int | None
    role: str
    understood: bool


@dataclass
class Space:
    """All bits of one family's packets; interface names are a finite alphabet plus `any other`."""

    family: Family
    names: Iterable[str]
    mark_bits: int = 0xFFFFFFFF  #: the bits of the mark that some rule tests; the others decide nothing
    diagrams: Diagrams = field(default_factory=Diagrams)
    address_sets: Iterable[Sequence[Interval]] | None = None  #: those that rules tell apart; None: every address

    def __post_init__(self) -> None:
        d = self.diagrams
        self.alphabet = _alphabet(self.names)
        width = max(1, (len(self.alphabet) - 1).bit_length())
        size = self.family.address_bits
        address: Codes = (
            Plain(size)
            if self.address_sets is None
            else Classes(size, [*_BY_NATURE[self.family].values(), *self.address_sets])
        )
        # what tells the packets of one walk from those of another comes first: behind it, walks share what they know.
        # then protocol and ports: a rule about one port touches that port alone, however many addresses others name.
        # destinations before sources: rules for one port of many hosts, among refused sources, then stay small
        self.codes: dict[Field, Codes] = {
            Field.FRAGMENT: Plain(2),
            Field.PKTTYPE: Plain(2),
            Field.PROTOCOL: Plain(8),
            Field.TCP_FLAGS: Plain(8),
            Field.DPORT: Plain(16),
            Field.SPORT: Plain(16),
            Field.IIF: Plain(width),
            Field.OIF: Plain(width),
            Field.SRC_TYPE: Plain(3),
            Field.DST_TYPE: Plain(3),
            Field.DADDR: address,
            Field.SADDR: address,
            Field.ICMP_TYPE: Plain(8),
            Field.ICMP_CODE: Plain(8),
            Field.MARK: Plain(32),
        }
        self.state_bits = d.add(2)
        self.direction_bit = d.add(1)[0]
        self.bits = {name: d.add(codes.bits) for name, codes in self.codes.items()}
        self.none, self.all = d.none, d.all
        self.mark = tuple(d.vector(self.bits[Field.MARK]))  #: that of a packet on entry, bit by bit
        self.unknowns: dict[tuple[object, ...], int] = {}
        self.unknown_tests: dict[int, UnknownTest] = {}
        self.not_understood: list[int] = []  #: the numbers of tests that are not understood, of those
        self._static: dict[tuple[object, ...], PacketSet] = {}
        self.remembered: dict[Hashable, object] = {}  #: what others found out about this space
        self._values: dict[tuple[Field, tuple[tuple[int, int], ...]], PacketSet] = {}
        #: the bits of all but some fields, for so many unknown tests
        self._others: dict[tuple[Field, ...], tuple[int, PacketSet]] = {}
        self._own_cubes: tuple[int, PacketSet, PacketSet] | None = None
        self._unknown_cube: tuple[int, PacketSet] | None = None
        own = [b for f, bits in self.bits.items() if f not in CONNECTION_FIELDS for b in bits]
        self._own_bits = [*own, *self.state_bits, self.direction_bit]
        #: every bit but those of unknown tests
        self._known = d.cube([*(b for bits in self.bits.values() for b in bits), *self.state_bits, self.direction_bit])
        self.domain = self._domain()

    # -- sets of field values ----------------------------------------------------------------------

    def values(self, name: Field, intervals: tuple[tuple[int, int], ...], reverse: bool = False) -> PacketSet:
        """Packets whose field lies in one of the intervals."""
        if reverse and name is Field.ICMP_TYPE:
            answers = ICMP_ANSWERS[self.family]
            kept = [(t, t) for t in range(256) if any(lo <= answers.get(t, t) <= hi for lo, hi in intervals)]
            return self.diagrams.within(self.bits[name], kept)
        place = MIRROR.get(name, name) if reverse else name
        found = self._values.get((place, intervals))
        if found is None:
            numbers = self.codes[place].of(intervals)
            found = self._values[place, intervals] = self.diagrams.within(self.bits[place], numbers)
        return found

    def is_(self, name: Field, value: int, reverse: bool = False) -> PacketSet:
        """Packets whose field has this value."""
        return self.values(name, ((value, value),), reverse)

    def flags(self, mask: int, value: int) -> PacketSet:
        """TCP packets with (flags & mask) == value."""
        return self.diagrams.masked(self.diagrams.vector(self.bits[Field.TCP_FLAGS]), mask, value)

    def interface(self, name: Field, pattern: str) -> PacketSet:
        """Packets whose interface matches a name or a `prefix+`."""
        out = self.none
        for index, symbol in enumerate(self.alphabet):
            if covers(pattern, symbol):
                out = out | self.diagrams.equal(self.bits[name], index)
        return out

    def in_state(self, state: State) -> PacketSet:
        """Packets whose free state variable says `state` (a tracked state)."""
        return self.diagrams.equal(self.state_bits, TRACKED_STATES.index(state))

    def _domain(self) -> PacketSet:
        """Every enumerated field has one of its values; addresses and their types agree."""
        d, out = self.diagrams, self.all
        for name in (Field.IIF, Field.OIF):
            out = out & d.within(self.bits[name], ((0, len(self.alphabet) - 1),))
        out = out & d.within(self.bits[Field.FRAGMENT], ((0, 2),)) & d.within(self.bits[Field.PKTTYPE], ((0, 2),))
        nature = _BY_NATURE[self.family]
        for address, kind in ((Field.SADDR, Field.SRC_TYPE), (Field.DADDR, Field.DST_TYPE)):
            out = out & d.within(self.bits[kind], ((0, 4),))
            multicast, loopback = self.values(address, nature["multicast"]), self.values(address, nature["loopback"])
            out = out & multicast.equiv(self.is_(kind, AddressType.MULTICAST))
            out = out & loopback.imp(self.is_(kind, AddressType.LOCAL))
            if "broadcast" in nature:
                out = out & self.values(address, nature["broadcast"]).imp(self.is_(kind, AddressType.BROADCAST))
            else:
                out = out & ~self.is_(kind, AddressType.BROADCAST)
        return out

    # -- unknowns ----------------------------------------------------------------------------------

    def unknown(self, key: tuple[object, ...], test: UnknownTest) -> PacketSet:
        """The boolean variable of an opaque test."""
        number = self.unknowns.get(key)
        if number is None:
            number = self.unknowns[key] = self.diagrams.add(1)[0]
            self.unknown_tests[number] = test
            if not test.understood:
                self.not_understood.append(number)
        return self.diagrams.bit(number)

    def unknown_key(self, test: Opaque, frame: Frame, identity: int | None) -> tuple[object, ...]:
        """Which variable an opaque test is (design section 3.1)."""
        match test.scope:
            case Scope.CONNECTION:
                reads = tuple(MIRROR.get(f, f) if frame.reverse else f for f in test.reads)
                return (test.scope, test.name, reads)
            case Scope.ENTRY:
                return (test.scope, test.name)
            case Scope.PACKET:
                return (test.scope, test.name, frame.role)
            case Scope.MEMORY:
                return (test.scope, test.name, frame.role, identity)

    def _opaque(self, test: Opaque, frame: Frame, identity: int | None, understood: bool) -> PacketSet:
        key = self.unknown_key(test, frame, identity)
        return self.unknown(key, UnknownTest(test.name, test.scope, identity, frame.role, understood))

    def is_certain(self, found: PacketSet) -> bool:
        """Some packet of a set is in it although no opaque test holds."""
        left = found.exists(self._known)
        while (halves := left.cofactors()) is not None:
            left = halves[1]
        return left.satisfiable()

    def connection_part(self, found: PacketSet, *, keep_interfaces: bool = False) -> PacketSet:
        """The connections of which some packet is in the set: what is the packet's own is forgotten.

        With `keep_interfaces`, the interfaces stay: later packets of one direction come the way the first one came.
        """
        cubes = self._own_cubes
        if cubes is None or cubes[0] != len(self.unknowns):
            unknown = [n for n, t in self.unknown_tests.items() if t.scope in (Scope.PACKET, Scope.MEMORY)]
            ways = {*self.bits[Field.IIF], *self.bits[Field.OIF]}
            own = [*self._own_bits, *unknown]
            alike = [b for b in own if b not in ways]
            cubes = self._own_cubes = (len(self.unknowns), self.diagrams.cube(own), self.diagrams.cube(alike))
        return found.exists(cubes[2] if keep_interfaces else cubes[1])

    def pairs(self, *fields: tuple[Field, Field]) -> list[tuple[int, int]]:
        """The bits of pairs of fields, as `Diagrams.exchange` takes them."""
        return [pair for one, other in fields for pair in zip(self.bits[one], self.bits[other], strict=True)]

    def exchanged(self, connections: PacketSet) -> PacketSet:
        """The same connections with originator and responder exchanged, in what is asked of them too."""
        pairs = self.pairs((Field.SADDR, Field.DADDR), (Field.SPORT, Field.DPORT), (Field.SRC_TYPE, Field.DST_TYPE))
        for key, number in list(self.unknowns.items()):
            if key[0] is Scope.CONNECTION:
                name, reads = cast(str, key[1]), cast(tuple[Field, ...], key[2])
                mirrored = (Scope.CONNECTION, name, tuple(MIRROR.get(field, field) for field in reads))
                self.unknown(mirrored, self.unknown_tests[number])
                if number < self.unknowns[mirrored]:
                    pairs.append((number, self.unknowns[mirrored]))
        return self.diagrams.exchange(connections, pairs)

    def whatever_is_unknown(self, found: PacketSet) -> PacketSet:
        """The packets that are in a set with some answers to the unknown tests."""
        known = self._unknown_cube
        if known is None or known[0] != len(self.unknown_tests):
            known = self._unknown_cube = (len(self.unknown_tests), self.diagrams.cube(self.unknown_tests))
        return found.exists(known[1])

    def forget_all_but(self, found: PacketSet, names: Iterable[Field]) -> PacketSet:
        """Forget every bit except those of the named fields."""
        key = tuple(names)
        known = self._others.get(key)
        if known is None or known[0] != len(self.unknown_tests):
            kept = {b for name in key for b in self.bits[name]}
            every = [b for bits in self.bits.values() for b in bits] + [*self.state_bits, self.direction_bit]
            every += self.unknown_tests
            others = self.diagrams.cube([b for b in every if b not in kept])
            known = self._others[key] = (len(self.unknown_tests), others)
        return found.exists(known[1])

    def number_taken(self, found: PacketSet, name: Field) -> int:
        """How many values a field takes among some packets."""
        return self.codes[name].count(self.diagrams, self.forget_all_but(found, (name,)), self.bits[name])

    def taken(self, found: PacketSet, name: Field, reverse: bool = False) -> list[tuple[int, int]]:
        """The values that a field takes among some packets, as intervals."""
        name = MIRROR.get(name, name) if reverse else name
        return self.codes[name].taken(self.diagrams, self.forget_all_but(found, (name,)), self.bits[name])

    def few_taken(
        self, found: PacketSet, name: Field, limit: int, reverse: bool = False
    ) -> list[tuple[int, int]] | None:
        """`taken`, or None when it is more intervals than `limit`."""
        name = MIRROR.get(name, name) if reverse else name
        return self.codes[name].few(self.diagrams, self.forget_all_but(found, (name,)), self.bits[name], limit)

    def number(self, bits: Mapping[int, bool], name: Field) -> int:
        """The value of a field in a vector (`Diagrams.support`); bits that do not matter are 0."""
        value = 0
        for bit in self.bits[name]:
            value = value << 1 | bits.get(bit, False)
        return self.codes[name].first(value)

    # -- conditions --------------------------------------------------------------------------------

    def condition(
        self, condition: Condition, frame: Frame, view: View, identity: int | None = None, understood: bool = True
    ) -> PacketSet:
        """The packets that satisfy a condition, seen through a frame, in the state and with the mark of a view."""
        match condition:
            case Values(name, intervals) if name is not Field.MARK:
                return self.values(name, intervals, frame.reverse)
            case And(items):
                # what is decided last comes first: each test is put in front of those that are there
                out = self.all
                for item in sorted(items, key=_decided_at, reverse=True):
                    if type(item) is Values and item.field is not Field.MARK:  # by far the most
                        out = self.values(item.field, item.intervals, frame.reverse) & out
                    else:
                        out = self.condition(item, frame, view, identity, understood) & out
                return out
            case Always():
                return self.all
            case Never():
                return self.none
            case Or(items):
                out = self.none
                for item in items:
                    out = out | self.condition(item, frame, view, identity, understood)
                return out
            case Not(item):
                return ~self.condition(item, frame, view, identity, understood)
            case Values(_, intervals):
                return self._mark_within(view.mark, intervals)
            case Masked(Field.MARK, mask, value):
                return self.diagrams.masked(view.mark, mask, value)
            case Masked(name, mask, value):
                if name in ADDRESSES and (pieces := masked_intervals(self.family.address_bits, mask, value)):
                    return self.values(name, pieces, frame.reverse)
                place = MIRROR.get(name, name) if frame.reverse else name
                return self.diagrams.masked(self.diagrams.vector(self.bits[place]), mask, value)
            case Interface(name, pattern):
                return self.none if name in frame.absent else self.interface(name, pattern)
            case States(states):
                out = self.none
                for state in states:
                    out = out | view.states[state]
                return out
            case Direction(original):
                return view.original if original else ~view.original
            case Opaque():
                return self._opaque(condition, frame, identity, understood)

    def block(self, block: "Refusals", frame: Frame, view: View) -> PacketSet:
        """The packets that some rule of a block matches."""
        key = (block.key, seen_through(frame, block.needs))
        found = self._static.get(key)
        if found is None:
            # rules about neighbouring ports beside each other: most of their unions are small
            parts = [self.condition(condition, frame, view) for condition in sorted(block.others, key=_order)]
            parts += [self.values(side, addresses, frame.reverse) for side, addresses in block.lists.items()]
            found = self._static[key] = union(parts, self.none)
        return found

    def _mark_within(self, mark: Sequence[PacketSet], intervals: tuple[tuple[int, int], ...]) -> PacketSet:
        out = self.none
        for low, high in intervals:
            out = out | _between(mark, low, high, self.all)
        return out

    def cached(
        self, name: Hashable, condition: Condition, frame: Frame, view: View, identity: int, understood: bool
    ) -> PacketSet:
        """`condition`; what does not depend on the view is remembered under a name."""
        parts = _parts(condition)
        fixed = self._remembered(name, parts, frame, view, identity, understood)
        if isinstance(parts.varying, Always):
            return fixed
        return fixed & self.condition(parts.varying, frame, view, identity, understood)

    def _remembered(
        self, name: Hashable, parts: "_Parts", frame: Frame, view: View, identity: int, understood: bool
    ) -> PacketSet:
        if isinstance(parts.fixed, Always):
            return self.all
        key = (name, seen_through(frame, parts.needs), identity if parts.needs & BY_RULE else None)
        found = self._static.get(key)
        if found is None:
            found = self._static[key] = self.condition(parts.fixed, frame, view, identity, understood)
        return found


class Refusals(Protocol):
    """Rules taken together: one key for all of them, lists of addresses, and the conditions of the others."""

    @property
    def key(self) -> Hashable: ...
    @property
    def lists(self) -> Mapping[Field, tuple[Interval, ...]]: ...
    @property
    def others(self) -> Sequence[Condition]: ...
    @property
    def needs(self) -> int: ...


def _decided_at(condition: Condition) -> int:
    return _PLACES.get(condition.field, 0) if type(condition) is Values else 0


def _order(condition: Condition) -> list[tuple[Interval, ...]]:
    """Conditions in the order of the values that decide first."""
    items = condition.items if isinstance(condition, And) else (condition,)
    asked = {item.field: item.intervals for item in items if type(item) is Values}
    return [asked.get(name, ()) for name in _DECIDED_FIRST]


_DECIDED_FIRST = (Field.PROTOCOL, Field.DPORT, Field.SPORT, Field.DADDR, Field.SADDR)
_PLACES = {name: place for place, name in enumerate(_DECIDED_FIRST)}


def is_static(condition: Condition, *, marks: bool = False) -> bool:
    """Nothing but the header, and what is known of a connection, decides; or the mark, if that counts as known."""
    if type(condition) is Values:
        return marks or condition.field is not Field.MARK
    return not needs(condition) & (BY_STATE | BY_ROLE | BY_RULE | (0 if marks else BY_MARK))


#: the states of a packet that has not been left alone, in the order of their code in the state variable
TRACKED_STATES = (State.NEW, State.ESTABLISHED, State.RELATED, State.INVALID)

BY_STATE, BY_HOOK, BY_ROLE, BY_RULE, BY_MARK = 1, 2, 4, 8, 16
#: what is another one in every walk
DYNAMIC = BY_STATE | BY_MARK


def seen_through(frame: Frame, needs: int) -> Hashable:
    """What of a frame decides about tests with such needs: through two that are alike in it, they are the same."""
    return (
        frame.reverse,
        frame.absent if needs & BY_HOOK else None,
        frame.role if needs & BY_ROLE else None,
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """A condition as the conjunction of what is the same in every view, and what is not; `needs` are of the first."""

    fixed: Condition
    varying: Condition
    needs: int


_parts_memo: dict[int, tuple[Condition, _Parts]] = {}


def _parts(condition: Condition) -> _Parts:
    found = _parts_memo.get(id(condition))
    if found is not None and found[0] is condition:
        return found[1]
    items = condition.items if isinstance(condition, And) else (condition,)
    fixed: list[Condition] = []
    varying: list[Condition] = []
    all_needs = 0
    for item in items:
        of_item = needs(item)
        if of_item & DYNAMIC:
            varying.append(item)
        else:
            fixed.append(item)
            all_needs |= of_item
    parts = _Parts(all_of(fixed), all_of(varying), all_needs)
    if len(_parts_memo) > 1_000_000:
        _parts_memo.clear()
    _parts_memo[id(condition)] = (condition, parts)
    return parts


def needs(condition: Condition) -> int:
    """What, besides the header, the value of a condition depends on: BY_STATE, BY_HOOK, BY_ROLE, BY_RULE, BY_MARK, as
    bits.
    """
    found = 0
    for test in tests(condition):
        if type(test) is Values and test.field is not Field.MARK:
            continue  # by far the most
        match test:
            case States() | Direction():
                found |= BY_STATE
            case Masked(Field.MARK) | Values(Field.MARK):
                found |= BY_MARK
            case Interface():
                found |= BY_HOOK
            case Opaque(scope=Scope.PACKET):
                found |= BY_ROLE
            case Opaque(scope=Scope.MEMORY):
                found |= BY_ROLE | BY_RULE
    return found


def _between(bits: Sequence[PacketSet], low: int, high: int, everything: PacketSet) -> PacketSet:
    at_least = at_most = everything
    for place, bit in enumerate(reversed(bits)):
        at_least = (bit & at_least) if low >> place & 1 else (bit | at_least)
        at_most = (~bit | at_most) if high >> place & 1 else (~bit & at_most)
    return at_least & at_most


def _alphabet(names: Iterable[str]) -> tuple[str, ...]:
    """Every literal name, every `prefix+` (standing for the names under it that are not listed), `lo`, and the rest."""
    return (*sorted({"lo", *names} - {"+", ""}), ANY_OTHER)


def covers(pattern: str, symbol: str) -> bool:
    """Whether an interface that some symbol of the alphabet stands for matches a name or a `prefix+`."""
    if not pattern.endswith("+"):
        return pattern == symbol
    return pattern == "+" or (symbol != ANY_OTHER and symbol.startswith(pattern[:-1]))


def interface_names(conditions: Iterable[Condition]) -> set[str]:
    """The interface names and patterns that conditions mention."""
    return {t.name for c in conditions for t in tests(c) if isinstance(t, Interface)}


@dataclass
class Spoken:
    """What the conditions of rulesets speak of: interfaces, bits of the mark, sets of addresses."""

    names: set[str] = field(default_factory=set)
    mark_bits: int = 0
    address_sets: dict[tuple[Interval, ...], None] | None = field(default_factory=dict)

    def add(self, family: Family, conditions: Iterable[Condition]) -> None:
        """What some conditions speak of; `address_sets` is None where they name too many at once by single bits.

        The addresses of conditions that ask for the same fields stand together, in the order of the conditions.
        """
        alike: dict[tuple[Field, ...], dict[tuple[Interval, ...], None]] = {}
        for condition in conditions:
            fields: tuple[Field, ...] = ()
            named: tuple[tuple[Interval, ...], ...] = ()
            for test in tests(condition):
                if type(test) is Values:
                    fields += (test.field,)
                    if test.field in ADDRESSES:
                        named += (test.intervals,)
                    elif test.field is Field.MARK:
                        self.mark_bits = 0xFFFFFFFF
                    continue
                match test:
                    case Interface():
                        self.names.add(test.name)
                    case Masked(name, mask, value):
                        fields += (name,)
                        if name is Field.MARK:
                            self.mark_bits |= mask
                        elif name in ADDRESSES:
                            self.address(masked_intervals(family.address_bits, mask, value))
            if named:
                alike.setdefault(fields, {}).update(dict.fromkeys(named))
        if self.address_sets is not None:
            for addresses in alike.values():
                self.address_sets |= addresses

    def address(self, intervals: tuple[Interval, ...] | None) -> None:
        """Add a set of addresses."""
        if intervals is None:
            self.address_sets = None
        elif self.address_sets is not None:
            self.address_sets[intervals] = None

    def space(self, family: Family, room: int) -> Space:
        """A space for packets of a family in which all of this can be told apart."""
        return Space(family, self.names, self.mark_bits, Diagrams(room), self.address_sets)
