"""Values that do not fit what they stand for: numbers too great, unknown words, other types, empty ranges."""

import re
from collections.abc import Sequence
from ipaddress import ip_address

from ruleaudit.source import Span
from ruleaudit.syntax.nft_interval_checks import check_doubles, check_overlaps, is_interval
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
from ruleaudit.syntax.nft_types import TYPES, Type, number, wrong
from ruleaudit.syntax.numbers import decimal
from ruleaudit.syntax.problem import Problem
from ruleaudit.syntax.refusal import did_you_mean

#: types that hold several words at once, without braces
BITMASKS = ("ct_state", "ct_status", "ct_event", "ct_label", "tcp_flag", "fib_addrtype")
_SECONDS = {"ms": 0, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION_PART = re.compile("([0-9]+)(ms|[smhdw])")
_DOTTED = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+")
_DURATION = re.compile("(?:[0-9]+(?:ms|[smhdw]))+")
Types = tuple[Type | None, ...]
_ADDRESSES: tuple[Types, ...] = ((TYPES["ipv4_addr"],), (TYPES["ipv6_addr"],))


class ValueCheck:
    """Checks values against the types of what is looked at.

    complete  everything that is named is in the file
    defined   the names of the variables of the file
    """

    def __init__(
        self, table: Table, problems: list[Problem], complete: bool, defined: frozenset[str] = frozenset()
    ) -> None:
        self.table, self.problems, self.complete, self.defined = table, problems, complete, defined

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
                    self.say(span, f"{' . '.join(names(types))} is needed here")
                elif len(types) == 1 and types[0] is not None:
                    self._word(text, span, quoted, types[0])
            case Range(low, high, span):
                self._range(low, high, span, types)
            case Several(parts, span):
                if len(types) == 1 and types[0] is not None and types[0].name not in BITMASKS:
                    self.say(span, "several values need braces around them", "{ a, b }")
                for part in parts:
                    self.value(part, types)
            case Concat(parts, span):
                if len(parts) != len(types) and all(types):
                    self.say(span, f"{' . '.join(names(types))} is needed here")
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
            hint = f"did you mean ${text}?" if text in self.defined and not quoted else found.hint
            self.say(span, found.message, hint)

    def _range(self, low: Word, high: Word, span: Span, types: Types) -> None:
        before = len(self.problems)
        self.value(low, types)
        self.value(high, types)
        if len(self.problems) > before:
            return
        message = f"the range {low.text}-{high.text} is empty: its end comes before its beginning"
        part = decimal(high.text)
        if types == (TYPES["ipv4_addr"],) and "." in low.text and part is not None and part < 256:
            self.say(span, message, f"write {low.text}-{low.text.rpartition('.')[0]}.{high.text}")
            return
        first, last = _order(low.text), _order(high.text)
        if first is not None and last is not None and len(first) == len(last) and first > last:
            self.say(span, message)

    def _anonymous(self, elements: Sequence[Element], span: Span, types: Types) -> None:
        if not elements:
            self.say(span, "an empty set")
        for element in elements:
            if isinstance(element.key, SetName):
                self.say(element.span, "a named set cannot be in another set", f"write @{element.key.name} by itself")
                continue
            self.value(element.key, types)
            if element.data is not None:
                self.say(element.span, "this gives a value: a map, where a set is needed", "is vmap or map missing?")

    def _set_reference(self, name: str, span: Span, types: Types) -> None:
        known = self.table.sets.get(name)
        if known is None:
            self.missing("set", name, span, self.table.sets)
            return
        wanted, has = names(types), names(key_types(known))
        if "" in wanted or "" in has or wanted == has:
            return
        if len(wanted) != len(has) or any(not alike(a, b) for a, b in zip(wanted, has, strict=True)):
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
                check_doubles(elements, types, self.problems.append)
                if len(types) == 1 and types[0] and any(is_interval(each.key, types[0]) for each in elements):
                    check_overlaps(elements, types[0], self.problems.append)
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
        elif given in _ADDRESSES:
            self.value(element.data, (*given, TYPES["inet_service"]))

    def jump(self, name: str, chain: str, span: Span) -> None:
        """A chain that is called must be there, and cannot be at a hook itself."""
        if name not in ("jump", "goto"):
            return
        at = Span(max(span.end - len(chain), span.start), span.end)
        known = self.table.chains.get(chain)
        if known is None and self.complete:
            hint = did_you_mean(chain, self.table.chains)
            self.say(at, f"there is no chain {chain} in table {self.table.family} {self.table.name}", hint)
        elif known is not None and known.hook:
            self.say(at, f"chain {chain} is at hook {known.hook}: such a chain cannot be called")


def _order(text: str) -> tuple[int, ...] | None:
    """What ranges are ordered by."""
    if _DURATION.fullmatch(text):
        return (sum((decimal(count) or 0) * _SECONDS[unit] for count, unit in _DURATION_PART.findall(text)),)
    if _DOTTED.fullmatch(text):
        return tuple(decimal(part) or 0 for part in text.split("."))
    if ":" in text:
        try:
            return tuple(ip_address(text).packed)
        except ValueError:
            return None
    value = number(text)
    return None if value is None else (value,)


def names(types: Types) -> tuple[str, ...]:
    """The names of some types; "" for one that is not known."""
    return tuple(type_.name if type_ is not None else "" for type_ in types)


def alike(one: str, other: str) -> bool:
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
    return tuple(TYPES.get(part.removeprefix("meta ")) for part in made.key)  # "type mark" is the word of a rule, too
