"""Values that do not fit what they stand for: numbers too great, unknown words, other types, empty ranges."""

import re
from collections.abc import Callable, Sequence

from ruleaudit.source import Span
from ruleaudit.syntax.iptables import Problem
from ruleaudit.syntax.nft_selector_types import type_of
from ruleaudit.syntax.nft_tree import (
    Braces,
    Concat,
    Element,
    Operation,
    Range,
    Selector,
    Set,
    SetName,
    Several,
    Table,
    Value,
    Verdict,
    Word,
)
from ruleaudit.syntax.nft_types import OTHER_TYPES, TYPES, Type, number, wrong
from ruleaudit.syntax.numbers import decimal
from ruleaudit.syntax.refusal import did_you_mean

#: types that hold several words at once, without braces
_BITMASKS = ("ct_state", "ct_status", "ct_event", "ct_label", "tcp_flag", "fib_addrtype")
_SECONDS = {"ms": 0, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION_PART = re.compile("([0-9]+)(ms|[smhdw])")
_DOTTED = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")
_DURATION = re.compile("(?:[0-9]+(?:ms|[smhdw]))+")
Types = tuple[Type | None, ...]


class ValueCheck:
    """Checks values against the types of what is looked at; `complete`: everything that is named is in the file."""

    def __init__(self, table: Table, problems: list[Problem], complete: bool) -> None:
        self.table, self.problems, self.complete = table, problems, complete

    def say(self, span: Span, message: str, hint: str = "") -> None:
        """One more problem."""
        self.problems.append(Problem(span, message, hint))

    def types(self, value: Value) -> Types:
        """The types of what is looked at, one for each part of a concatenation."""
        match value:
            case Selector(text, _):
                return (type_of(text),)
            case Concat(parts, _):
                return tuple(types[0] for part in parts for types in [self.types(part)])
            case Operation(operator, left, right, _) if operator not in ("<<", ">>"):
                types = self.types(left)
                self.value(right, types)
                return types
            case _:
                return (None,)

    def value(self, value: Value, types: Types) -> None:
        """A value must be of some types."""
        match value:
            case Word(text, span, quoted):
                if len(types) > 1 and text != "*" and all(types):
                    self.say(span, f"{' . '.join(_names(types))} is needed here")
                elif len(types) == 1 and types[0] is not None:
                    self._word(text, span, quoted, types[0])
            case Range(low, high, span):
                self._range(low, high, span, types)
            case Several(parts, span):
                if len(types) == 1 and types[0] is not None and types[0].name not in _BITMASKS:
                    self.say(span, "several values need braces around them", "{ a, b }")
                for part in parts:
                    self.value(part, types)
            case Concat(parts, span):
                if len(parts) != len(types) and all(types):
                    self.say(span, f"{' . '.join(_names(types))} is needed here")
                elif len(parts) == len(types):
                    for part, type_ in zip(parts, types, strict=True):
                        self.value(part, (type_,))
            case Operation(_, left, right, _):
                self.value(left, types)
                self.value(right, types)
            case Braces(elements, span):
                self._anonymous(elements, span, types)
            case SetName(name, span):
                self._set_reference(name, span, types)
            case _:
                pass

    def _word(self, text: str, span: Span, quoted: bool, type_: Type) -> None:
        if text == "*":
            return
        found = wrong(type_, text, quoted)
        if found is not None:
            self.say(span, found.message, found.hint)

    def _range(self, low: Word, high: Word, span: Span, types: Types) -> None:
        before = len(self.problems)
        self.value(low, types)
        self.value(high, types)
        first, last = _order(low.text), _order(high.text)
        if len(self.problems) > before or first is None or last is None or len(first) != len(last):
            return
        if first > last:
            self.say(span, f"the range {low.text}-{high.text} is empty: its end comes before its beginning")

    def _anonymous(self, elements: Sequence[Element], span: Span, types: Types) -> None:
        if not elements:
            self.say(span, "an empty set")
        for element in elements:
            self.value(element.key, types)
            if element.data is not None:
                self.say(element.span, "this gives a value: a map, where a set is needed", "is vmap or map missing?")

    def _set_reference(self, name: str, span: Span, types: Types) -> None:
        known = self.table.sets.get(name)
        if known is None:
            self.missing("set", name, span, self.table.sets)
            return
        wanted, has = _names(types), _names(key_types(known))
        if "" in wanted or "" in has or wanted == has:
            return
        if len(wanted) != len(has) or any(not _alike(a, b) for a, b in zip(wanted, has, strict=True)):
            message = f"set {name} holds {' . '.join(known.key)}, and {' . '.join(wanted)} is looked for"
            self.say(span, message)

    def missing(self, what: str, name: str, span: Span, known: Sequence[str] | dict[str, Set]) -> None:
        if self.complete:
            hint = did_you_mean(name, known)
            self.say(span, f"there is no {what} {name} in table {self.table.family} {self.table.name}", hint)

    def map(self, key: Value, target: Value, verdict: bool = False, given: Types = (None,)) -> None:
        types = self.types(key)
        match target:
            case Braces(elements, span):
                if not elements:
                    self.say(span, "an empty map")
                for element in elements:
                    self.value(element.key, types)
                    self._data(element, verdict, given)
            case SetName(name, span):
                known = self.table.sets.get(name)
                if known is None:
                    self.missing("map", name, span, self.table.sets)
                elif known.key and not known.data:
                    self.say(span, f"{name} is a set, and a map is needed")
            case _:
                pass

    def _data(self, element: Element, verdict: bool, given: Types) -> None:
        if element.data is None:
            self.say(element.span, "this element of a map gives nothing", 'as in "22 : accept"' if verdict else "")
        elif isinstance(element.data, Verdict):
            if not verdict:
                self.say(element.data.span, "a verdict, where a value is needed", "vmap gives verdicts")
            self.jump(element.data.name, element.data.chain, element.data.span)
        elif verdict:
            self.say(element.data.span, "no verdict", "vmap gives accept, drop, jump...")
        elif not isinstance(element.data, Concat):
            self.value(element.data, given)

    def jump(self, name: str, chain: str, span: Span) -> None:
        if name in ("jump", "goto") and chain not in self.table.chains and self.complete:
            at = Span(max(span.end - len(chain), span.start), span.end)
            hint = did_you_mean(chain, self.table.chains)
            self.say(at, f"there is no chain {chain} in table {self.table.family} {self.table.name}", hint)


def _order(text: str) -> tuple[int, ...] | None:
    """What ranges are ordered by."""
    if _DURATION.fullmatch(text):
        return (sum((decimal(count) or 0) * _SECONDS[unit] for count, unit in _DURATION_PART.findall(text)),)
    if _DOTTED.fullmatch(text):
        return tuple(decimal(part) or 0 for part in text.split("."))
    value = number(text)
    return None if value is None else (value,)


def _names(types: Types) -> tuple[str, ...]:
    return tuple(type_.name if type_ is not None else "" for type_ in types)


def _alike(one: str, other: str) -> bool:
    """Types whose values nft compares: numbers are numbers, devices devices."""
    groups = (
        {"ifname", "string"},
        {"ether_addr", "ll_addr"},
        {"iface_index", "mark", "realm", "classid", "uid", "gid", "devgroup"},
    )
    if one == other or one.isdigit() or other.isdigit():
        return True
    return any(one in group and other in group for group in groups)


def key_types(made: Set) -> Types:
    """The types of the keys of a set."""
    if made.typeof:
        return tuple(type_of(part) for part in made.key)
    return tuple(TYPES.get(part) for part in made.key)


def check_set(made: Set, say: Callable[[Problem], None], place: Span) -> None:
    """The elements of a set must be of its type, and ranges need the flag interval."""
    if not made.typeof:
        for part in (*made.key, *made.data.split(" . ")):
            known = part in TYPES and not part.isdigit()
            if part and not known and part not in OTHER_TYPES and " " not in part:
                hint = did_you_mean(part, [name for name in TYPES if not name.isdigit()])
                say(Problem(place, f'"{part}" is no type', hint))
                return
    types = key_types(made)
    found: list[Problem] = []
    check = ValueCheck(Table("inet", "", place), found, False)
    interval = "interval" in made.flags
    for element in made.elements:
        if not interval:
            wide = _interval(element.key)
            if wide is not None:
                hint = "add: flags interval"
                say(Problem(wide, "a range or prefix in a set that has not the flag interval", hint))
                return
        if types != (None,) * len(types):
            check.value(element.key, types)
        if element.data is not None and not made.data and made.key:
            say(Problem(element.span, f"{made.name} is a set, no map: it gives nothing"))
            return
    for problem in found:
        say(problem)


def _interval(key: Value) -> Span | None:
    match key:
        case Range(_, _, span):
            return span
        case Word(text, span, quoted) if "/" in text and not quoted and text.split("/")[-1].isdigit():
            return span
        case Concat(parts, _):
            return next((span for part in parts for span in [_interval(part)] if span is not None), None)
        case _:
            return None
