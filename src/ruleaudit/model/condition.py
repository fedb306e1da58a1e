"""Conditions: boolean expressions over tests of one packet.

A condition says *what a rule matches*, in the field's words, and nothing of how that is decided: `packets` turns it
into a packet set, `analysis.trace` evaluates it on one packet. What has no exact meaning is an `Opaque` test: a boolean
unknown that keeps its name, so that equal tests stay equal.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from ruleaudit.model.fields import Field, State

Interval = tuple[int, int]


class _Hashed:
    """What is looked up all the time keeps its hash."""

    __slots__ = ("_hash",)
    _hash: int


_Test = TypeVar("_Test", bound=_Hashed)


def _hashed_once(cls: type[_Test]) -> type[_Test]:
    """The hash of a condition is found when it is asked for first."""
    first: Callable[[_Test], int] = cls.__hash__

    def again(self: _Test) -> int:
        try:
            return self._hash
        except AttributeError:
            found = first(self)
            object.__setattr__(self, "_hash", found)
            return found

    cls.__hash__ = again  # type: ignore[method-assign,assignment]
    return cls


@dataclass(frozen=True, slots=True)
class Always:
    """Matches every packet."""


@dataclass(frozen=True, slots=True)
class Never:
    """Matches no packet."""


@_hashed_once
@dataclass(frozen=True, slots=True)
class And(_Hashed):
    """All of the items; in the order in which the kernel evaluates them."""

    items: tuple["Condition", ...]


@_hashed_once
@dataclass(frozen=True, slots=True)
class Or(_Hashed):
    """Any of the items."""

    items: tuple["Condition", ...]


@_hashed_once
@dataclass(frozen=True, slots=True)
class Not(_Hashed):
    """The opposite of the item."""

    item: "Condition"


@_hashed_once
@dataclass(frozen=True, slots=True)
class Values(_Hashed):
    """The field lies in one of the closed intervals (sorted, disjoint)."""

    field: Field
    intervals: tuple[Interval, ...]


@_hashed_once
@dataclass(frozen=True, slots=True)
class Masked(_Hashed):
    """(field & mask) == value; value has no bit outside mask, else nothing matches."""

    field: Field
    mask: int
    value: int


@_hashed_once
@dataclass(frozen=True, slots=True)
class Interface(_Hashed):
    """The interface (Field.IIF or Field.OIF) has this name; a trailing `+` stands for any rest of the name.

    A hook where the interface does not exist (no input interface in OUTPUT) matches no positive test.
    """

    field: Field
    name: str


@_hashed_once
@dataclass(frozen=True, slots=True)
class States(_Hashed):
    """conntrack's state of the packet is one of these."""

    states: frozenset[State]


@dataclass(frozen=True, slots=True)
class Direction:
    """The packet travels in the original (or reply) direction of its entry; only meaningful where there is an entry."""

    original: bool


class Scope(Enum):
    """Between which packets an opaque test is known to give the same answer (design section 3.1)."""

    CONNECTION = "connection"  #: reads only addresses, ports or protocol: the same for every packet with these
    ENTRY = "entry"  #: reads the conntrack entry: the same for every packet of a connection
    PACKET = "packet"  #: a function of the packet alone (length, ttl, string): one variable per (text, role)
    MEMORY = "memory"  #: has memory or a clock (limit, recent, time): one variable per (rule, role)


@_hashed_once
@dataclass(frozen=True, slots=True)
class Opaque(_Hashed):
    """A test whose answer cannot be known here; `name` identifies it (its normalised text, sides left out).

    `reads` are the fields it looks at, in order (`-m set --match-set wl src,dst` reads SADDR, DPORT), for
    Scope.CONNECTION.
    """

    name: str
    scope: Scope
    reads: tuple[Field, ...] = ()


Condition = Always | Never | And | Or | Not | Values | Masked | Interface | States | Direction | Opaque

ALWAYS = Always()
NEVER = Never()

#: An entry hangs on the packet (fact section 3): NEW, ESTABLISHED or RELATED.
HAS_ENTRY = States(frozenset({State.NEW, State.ESTABLISHED, State.RELATED}))


def all_of(items: Iterable[Condition]) -> Condition:
    """The conjunction, flattened, without needless Always."""
    flat: list[Condition] = []
    for item in items:
        if isinstance(item, Never):
            return NEVER
        if isinstance(item, And):
            flat.extend(item.items)
        elif not isinstance(item, Always):
            flat.append(item)
    return flat[0] if len(flat) == 1 else And(tuple(flat)) if flat else ALWAYS


def any_of(items: Iterable[Condition]) -> Condition:
    """The disjunction, flattened, without needless Never."""
    flat: list[Condition] = []
    for item in items:
        if isinstance(item, Always):
            return ALWAYS
        if isinstance(item, Or):
            flat.extend(item.items)
        elif not isinstance(item, Never):
            flat.append(item)
    return flat[0] if len(flat) == 1 else Or(tuple(flat)) if flat else NEVER


def joined(items: Iterable[Condition]) -> Condition:
    """The disjunction; conjunctions that differ in the values of one field only become one."""
    kept: list[Condition] = []
    #: by the fields of a conjunction of values: what it says of each
    rows: dict[tuple[Field, ...], dict[tuple[tuple[Interval, ...], ...], None]] = {}
    for item in items:
        parts = item.items if isinstance(item, And) else (item,)
        values = [p for p in parts if isinstance(p, Values)]
        fields = tuple(v.field for v in values)
        if len(values) == len(parts) and len(set(fields)) == len(fields):
            rows.setdefault(fields, {})[tuple(v.intervals for v in values)] = None
        else:
            kept.append(item)
    for fields, said in rows.items():
        found = list(said)
        for place in range(len(fields)):
            alike: dict[tuple[object, ...], list[tuple[tuple[Interval, ...], ...]]] = {}
            for one in found:
                alike.setdefault((one[:place], one[place + 1 :]), []).append(one)
            found = [_united(some, place) for some in alike.values()]
        kept += [all_of(map(Values, fields, one)) for one in found]
    return any_of(kept)


def _united(rows: list[tuple[tuple[Interval, ...], ...]], place: int) -> tuple[tuple[Interval, ...], ...]:
    """Rows that differ in one place, as one."""
    first = rows[0]
    if len(rows) == 1:
        return first
    return (*first[:place], merged(i for row in rows for i in row[place]), *first[place + 1 :])


def negate(item: Condition, negated: bool = True) -> Condition:
    """The opposite of a condition when `negated`, else the condition itself."""
    match item:
        case _ if not negated:
            return item
        case Always():
            return NEVER
        case Never():
            return ALWAYS
        case Not(inner):
            return inner
        case _:
            return Not(item)


def tests(condition: Condition) -> Sequence[Condition]:
    """Every leaf test of a condition, left to right."""
    if isinstance(condition, And | Or):
        out: list[Condition] = []
        for item in condition.items:
            if isinstance(item, And | Or | Not):
                out += tests(item)
            else:
                out.append(item)
        return out
    return tests(condition.item) if isinstance(condition, Not) else (condition,)


def interval_text(interval: Interval) -> str:
    """As people write it: `80`, `8000-8010`."""
    low, high = interval
    return str(low) if low == high else f"{low}-{high}"


def merged(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """The same values as sorted, disjoint, non-touching intervals."""
    out: list[Interval] = []
    for low, high in sorted(intervals):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return tuple(out)
