"""Packets made up for single rules, and followed by their values: whom they meet, and who decides about them.

Most rules of a large ruleset are met by some packet, and needed by one. A packet that shows it is made up from what the
rule asks, with values for all other fields that few rules name, and followed past the rules that may match it. What no
scout shows is a question for packet sets; a scout never shows that a rule is not met.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import merge

from ruleaudit.analysis.named_sets import named_sets, without_sets
from ruleaudit.analysis.space import ANY_OTHER, covers
from ruleaudit.model.condition import (
    Always,
    And,
    Condition,
    Direction,
    Interface,
    Interval,
    Masked,
    Never,
    Not,
    Opaque,
    Or,
    States,
    Values,
    merged,
    tests,
)
from ruleaudit.model.fields import Field, State
from ruleaudit.model.ruleset import (
    Accept,
    Chain,
    Continue,
    Drop,
    EffectKind,
    Goto,
    Jump,
    Queue,
    Reject,
    Return,
    Rule,
    Ruleset,
    Table,
)

#: so many comparisons are made for each rule, and so many for a ruleset at least
_STEPS, _LEAST = 64, 50_000
#: a rule is found by these, where it names so few prefixes of one
_KEYS, _FEW = (Field.SADDR, Field.DADDR, Field.DPORT, Field.SPORT), 16
#: more places than this are put in order one by one
_MERGED = 64
#: which values and which states the scouts of one rule try, by number
_ATTEMPTS = ((0, 0), (1, 0), (0, 1), (2, 2))

_BITS = {
    Field.PROTOCOL: 8,
    Field.SPORT: 16,
    Field.DPORT: 16,
    Field.ICMP_TYPE: 8,
    Field.ICMP_CODE: 8,
    Field.TCP_FLAGS: 8,
    Field.SRC_TYPE: 3,
    Field.DST_TYPE: 3,
    Field.FRAGMENT: 2,
    Field.PKTTYPE: 2,
    Field.MARK: 32,
}
_STATES = (State.NEW, State.UNTRACKED, State.ESTABLISHED, State.RELATED, State.INVALID)
#: what makes that a later rule may see another state or mark
_CHANGING = (EffectKind.MARK, EffectKind.NOTRACK, EffectKind.TRACK, EffectKind.ZONE)
_Ends = Accept | Drop | Reject | Queue


class OutOfSteps(Exception):
    """Scouts do not help here: too many rules have to be looked at for each of them."""


class Scout:
    """One packet; `held` are the names of tests that nobody can answer and that hold for it."""

    __slots__ = ("changed", "chosen", "held", "names", "original", "state", "values")

    def __init__(self, values: dict[Field, int], names: dict[Field, str | None], state: State) -> None:
        self.values, self.names, self.state = values, names, state
        self.original = True
        self.held: set[str] = set()
        self.chosen: set[Field] = set()  #: the fields that have a value because a rule asks for it
        self.changed = False  #: its state and its mark are no longer those that it had

    def holds(self, condition: Condition) -> bool | None:
        """Whether a condition holds for it; None: it may."""
        kind = type(condition)
        if kind is Values:
            field, intervals = condition.field, condition.intervals  # type: ignore[union-attr]
            if self.changed and field is Field.MARK:
                return None
            return _within(intervals, self.values[field])
        if kind is And or kind is Or:
            open_ = False
            stop = kind is Or
            for item in condition.items:  # type: ignore[union-attr]
                found = self.holds(item)
                if found is stop:
                    return stop
                open_ |= found is None
            return None if open_ else not stop
        match condition:
            case Always():
                return True
            case Never():
                return False
            case Not(item):
                found = self.holds(item)
                return None if found is None else not found
            case Masked(field, mask, value):
                return None if self.changed and field is Field.MARK else self.values[field] & mask == value
            case Interface(field, name):
                symbol = self.names[field]
                return symbol is not None and covers(name, symbol)
            case States(states):
                return None if self.changed else self.state in states
            case Direction(original):
                return None if self.changed else self.original is original
            case _:
                return isinstance(condition, Opaque) and condition.name in self.held

    def adapt(self, condition: Condition, attempt: tuple[int, int], wanted: bool = True) -> None:
        """Give it values for which a condition holds, or does not, as far as that is simple."""
        values, (pick, state) = self.values, attempt
        if wanted and type(condition) is Values:  # by far the most
            field, intervals = condition.field, condition.intervals
            if field not in self.chosen and intervals:
                if not _within(intervals, values[field]):
                    values[field] = _picked(intervals, pick)
                self.chosen.add(field)
            return
        match condition:
            case Not(item):
                self.adapt(item, attempt, not wanted)
            case And(items) | Or(items) if items:
                if wanted is isinstance(condition, And):
                    for item in items:
                        self.adapt(item, attempt, wanted)
                else:
                    self.adapt(items[pick % len(items)], attempt, wanted)
            case Values(field, intervals) if intervals:
                if field not in self.chosen and _within(intervals, values[field]):
                    values[field] = max(intervals[0][0] - 1, 0)
            case Masked(field, mask, value):
                if wanted:
                    values[field] = values[field] & ~mask | value
                elif values[field] & mask == value:
                    values[field] ^= mask & -mask
                self.chosen.add(field)
            case Interface(field, name):
                if wanted and self.names[field] is not None and not covers(name, self.names[field] or ""):
                    self.names[field] = name
            case States(states):
                if (self.state in states) is not wanted:
                    others = [s for s in _STATES if (s in states) is wanted]
                    self.state = others[state % len(others)] if others else self.state
            case Direction(original):
                self.original = original is wanted
            case Opaque(name):
                (self.held.add if wanted else self.held.discard)(name)
            case _:
                pass


class Scouts:
    """The scouts of one ruleset. Every method raises OutOfSteps."""

    def __init__(self, ruleset: Ruleset) -> None:
        self.ruleset = ruleset
        self.steps = _LEAST + _STEPS * ruleset.size
        self._courses: dict[Chain, Course] = {}
        self._quiet, self._states = _quiet(ruleset)

    def new(self, rules: Iterable[Rule], attempt: tuple[int, int], absent: frozenset[Field] = frozenset()) -> Scout:
        """A packet that some rules match, if it is that simple; the first of them matter most."""
        names: dict[Field, str | None] = {Field.IIF: ANY_OTHER, Field.OIF: ANY_OTHER}
        for field in absent:
            names[field] = None
        scout = Scout(self._quiet.copy(), names, self._states[attempt[1] % len(self._states)])
        for rule in rules:
            scout.adapt(rule.condition, attempt)
        return scout

    def meet(self, chain: Chain, below: Iterable[Rule], absent: frozenset[Field], early: bool, met: set[Rule]) -> None:
        """Add those of the rules below a chain that some packet meets that is sent through this chain alone.

        In an `early` chain conntrack has not looked at it.
        """
        table = self.ruleset.tables[chain.table]
        ways = _ways(table, chain)
        for rule in below:
            if rule in met or isinstance(rule.condition, Never) or rule.chain not in ways:
                continue
            for attempt in _ATTEMPTS:
                scout = self.new((rule, *ways[rule.chain]), attempt, absent)
                if early and scout.state not in (State.INVALID, State.UNTRACKED):
                    scout.state = State.INVALID
                self._follow(table, chain, scout, met, ())
                if rule in met:
                    break

    def _follow(self, table: Table, chain: Chain, scout: Scout, met: set[Rule], stack: tuple[str, ...]) -> bool:
        """Note whom a packet meets; whether it falls off the end of the chain."""
        for rule in self.coming(chain, scout, 0):
            holds = scout.holds(rule.condition)
            if holds is False:
                continue
            if holds:
                met.add(rule)
            elif not isinstance(rule.verdict, Continue):
                return False
            if rule.effects and any(e.kind in _CHANGING for e in rule.effects):
                scout.changed = True
            match rule.verdict:
                case Continue():
                    pass
                case Jump(name) | Goto(name):
                    called = table.chains.get(name)
                    if called is None or name in stack or name == chain.name:
                        return False
                    if not self._follow(table, called, scout, met, (*stack, chain.name)):
                        return False
                    if isinstance(rule.verdict, Goto):
                        return True
                case verdict:
                    return isinstance(verdict, Return)
        return True

    def coming(self, chain: Chain, scout: Scout, start: int) -> Iterator[Rule]:
        """The rules of a chain that may match a packet, from a place on."""
        for place in self._course(chain).coming(scout.values):
            self.steps -= 1
            if self.steps < 0:
                raise OutOfSteps
            if place >= start:
                yield chain.rules[place]

    def near(self, chain: Chain, conditions: Iterable[Condition]) -> set[Rule]:
        """The rules of a chain that may match what one of some conditions matches."""
        course, found = self._course(chain), set[int]()
        for condition in conditions:
            found.update(course.beside(condition))
            if len(found) == len(chain.rules):
                break
        return {chain.rules[place] for place in found}

    def among(self, course: "Course", rule: Rule, start: int, first: int) -> Iterator[Rule]:
        """The rules of a course, from a place on, that may match what a rule matches: some of the last ones first."""
        asked = _asked(rule.condition)

        def found(places: Iterable[int]) -> Iterator[Rule]:
            for place in places:
                self.steps -= 1
                if self.steps < 0:
                    raise OutOfSteps
                other = course.rules[place]
                if place >= start and not _apart(asked, _asked(_wide(other))):
                    yield other

        yield from found(course.places[: -first - 1 : -1])
        yield from found(course.beside(rule.condition))

    def _course(self, chain: Chain) -> "Course":
        found = self._courses.get(chain)
        if found is None:
            found = self._courses[chain] = Course(chain.rules, range(len(chain.rules)))
        return found


class Course:
    """The rules at some places of a chain by the prefixes that they name, whatever named sets hold."""

    def __init__(self, rules: Sequence[Rule], places: Sequence[int]) -> None:
        self.rules, self.places = rules, places
        groups: dict[tuple[Field, ...], list[int]] = {}
        for place in places:
            if not isinstance(rules[place].condition, Never):
                asked = _asked(_wide(rules[place]))
                groups.setdefault(tuple(f for f in _KEYS if _are_prefixes(asked.get(f, ()))), []).append(place)
        #: by the fields of which they name prefixes, those first of which they name the most
        self._groups = {self._by_number(fields, some): some for fields, some in groups.items()}
        self._tables: dict[tuple[tuple[Field, ...], Field], _Table] = {}

    def _by_number(self, fields: tuple[Field, ...], places: Sequence[int]) -> tuple[Field, ...]:
        if len(fields) < 2:
            return fields
        asked = [_asked(_wide(self.rules[place])) for place in places]
        return tuple(sorted(fields, key=lambda field: -len({one[field] for one in asked})))

    def coming(self, values: Mapping[Field, int]) -> Iterable[int]:
        """Those that may match a packet, in order."""
        found: list[list[int]] = []
        for fields, places in self._groups.items():
            found += self._table(fields, fields[0]).at(values[fields[0]]) if fields else (places,)
        if len(found) < 2:
            return found[0] if found else ()
        # whoever follows a packet seldom comes to the end of a long list
        return merge(*found) if sum(map(len, found)) > _MERGED else sorted(place for some in found for place in some)

    def beside(self, condition: Condition) -> Iterator[int]:
        """Those that may match what a condition asks for."""
        asked = {field: intervals for field, intervals in _asked(condition).items() if len(intervals) <= _FEW}
        for fields, places in self._groups.items():
            field = next((f for f in fields if f in asked), None)
            if field is None:
                yield from places
            else:
                yield from self._table(fields, field).within(asked[field])

    def _table(self, fields: tuple[Field, ...], field: Field) -> "_Table":
        found = self._tables.get((fields, field))
        if found is None:
            rules = ((place, self.rules[place]) for place in self._groups[fields])
            found = self._tables[fields, field] = _Table((place, _asked(_wide(rule))[field]) for place, rule in rules)
        return found


class _Table:
    """Places by prefixes of one field."""

    def __init__(self, entries: Iterable[tuple[int, tuple[Interval, ...]]]) -> None:
        self._by_size: dict[int, dict[int, list[int]]] = {}  #: by the size of a prefix, and its start
        for place, prefixes in entries:
            for low, high in prefixes:
                self._by_size.setdefault(high - low + 1, {}).setdefault(low, []).append(place)
        self._starts: dict[int, list[int]] = {}

    def at(self, value: int) -> list[list[int]]:
        """The places of the prefixes that hold a value."""
        return [some for size, by_start in self._by_size.items() if (some := by_start.get(value & -size)) is not None]

    def within(self, intervals: Iterable[Interval]) -> Iterator[int]:
        """The places of the prefixes that meet some intervals."""
        for low, high in intervals:
            for size, by_start in self._by_size.items():
                if high - low < size:
                    starts: Iterable[int] = {low & -size, high & -size} & by_start.keys()
                else:
                    every = self._starts.get(size)
                    if every is None:
                        every = self._starts[size] = sorted(by_start)
                    starts = every[bisect_left(every, low & -size) : bisect_right(every, high)]
                for start in starts:
                    yield from by_start[start]


def _asked(condition: Condition) -> dict[Field, tuple[Interval, ...]]:
    """What a conjunction says of single fields."""
    items = condition.items if isinstance(condition, And) else (condition,)
    return {item.field: item.intervals for item in items if type(item) is Values}


def _wide(rule: Rule) -> Condition:
    """What a rule asks, whatever named sets hold."""
    return without_sets(rule).condition if named_sets(rule) else rule.condition


def _apart(one: Mapping[Field, tuple[Interval, ...]], other: Mapping[Field, tuple[Interval, ...]]) -> bool:
    """Two conjunctions that no packet satisfies both of, as single fields show."""
    for field, intervals in one.items():
        others = other.get(field)
        if others is not None and len(intervals) == 1 == len(others):
            (low, high), (first, last) = intervals[0], others[0]
            if high < first or last < low:
                return True
    return False


def _are_prefixes(intervals: tuple[Interval, ...]) -> bool:
    if not 0 < len(intervals) <= _FEW:
        return False
    return all(not (size := high - low + 1) & size - 1 and not low & size - 1 for low, high in intervals)


def _within(intervals: tuple[Interval, ...], value: int) -> bool:
    if len(intervals) == 1:
        low, high = intervals[0]
        return low <= value <= high
    place = bisect_right(intervals, value, key=lambda interval: interval[0]) - 1
    return place >= 0 and value <= intervals[place][1]


def _picked(intervals: tuple[Interval, ...], pick: int) -> int:
    if pick == 0:
        return intervals[0][0]
    if pick == 1:
        return intervals[-1][1]
    low, high = intervals[len(intervals) // 2]
    return (low + high) // 2


def _ways(table: Table, chain: Chain) -> Mapping[str, tuple[Rule, ...]]:
    """The rules by which packets get from a chain to those that it leads to, the last one first."""
    ways: dict[str, tuple[Rule, ...]] = {chain.name: ()}
    todo = [chain]
    for one in todo:
        for rule in one.rules:
            name = rule.leads_to
            if name and name in table.chains and name not in ways:
                ways[name] = (rule, *ways[one.name])
                todo.append(table.chains[name])
    return ways


def _quiet(ruleset: Ruleset) -> tuple[dict[Field, int], list[State]]:
    """A value of each field that no rule names, where there is one; the states, those first that few rules name."""
    named: dict[Field, set[Interval]] = {}
    states: Counter[State] = Counter()
    for condition in (rule.condition for rule in ruleset.rules()):
        for test in tests(condition):
            if type(test) is Values:
                named.setdefault(test.field, set()).update(test.intervals)
            elif type(test) is States:
                states.update(test.states)
    values = dict.fromkeys(_BITS, 0)
    values |= dict.fromkeys((Field.SADDR, Field.DADDR), 0)
    for field, intervals in named.items():
        bits = _BITS.get(field, ruleset.family.address_bits)
        below = [-1, *(high for _, high in merged(intervals))]
        values[field] = (
            below[-1] + 1
            if below[-1] + 1 < 1 << bits
            else next((high + 1 for high, (low, _) in zip(below, merged(intervals), strict=False) if high + 1 < low), 0)
        )
    return values, sorted(_STATES, key=lambda state: states[state])
