"""Sets and maps that nft cannot build: intervals that overlap, and keys that would give two things.

nft takes the very same element twice, and puts the overlapping intervals of a set without a name together.
"""

from collections.abc import Callable, Sequence
from ipaddress import ip_network
from socket import AF_INET, AF_INET6, inet_pton
from typing import NamedTuple

from ruleaudit.syntax.nft_tree import Concat, Element, Range, Value, Verdict, Word
from ruleaudit.syntax.nft_types import Type, number
from ruleaudit.syntax.problem import Problem
from ruleaudit.syntax.services import SERVICES

Say = Callable[[Problem], None]
#: the length of the name of a device in the kernel, in bytes
_NAME_LENGTH = 16


class Interval(NamedTuple):
    """The numbers from `low` to `high` of an element."""

    low: int
    high: int
    element: Element


def check_overlaps(elements: Sequence[Element], type_: Type, say: Say) -> None:
    """Say the first element that overlaps another one, as nft finds it: by where they begin, the longest first."""
    found = [Interval(*bounds, element) for element in elements if (bounds := _bounds(element.key, type_)) is not None]
    found.sort(key=lambda interval: (interval.low, -interval.high))
    for before, after in zip(found, found[1:], strict=False):
        if after.low <= before.high and (after.low, after.high) != (before.low, before.high):
            one, other = text_of(after.element.key), text_of(before.element.key)
            say(Problem(after.element.key.span, f"{one} overlaps {other} of the same set", "leave one out"))
            return


def check_doubles(elements: Sequence[Element], types: Sequence[Type | None], say: Say) -> None:
    """Say an element of a map that gives something else than an earlier one with the same key."""
    given: dict[object, Element] = {}
    for element in elements:
        key = _same(element.key, types)
        before = given.setdefault(key, element)
        if before is not element and _differ(before.data, element.data):
            say(Problem(element.span, f"the map gives something else for {text_of(element.key)} already"))
            return


def is_interval(value: Value, type_: Type | None) -> bool:
    """Whether an element is more than one value."""
    match value:
        case Range():
            return True
        case Word(text, _, quoted):
            if type_ is not None and type_.name == "ifname":
                return text.endswith("*") and not text.endswith("\\*") and len(text) > 1
            return not quoted and text.partition("/")[2].isdigit()
        case _:
            return False


def text_of(value: Value) -> str:
    """An element as written, more or less."""
    match value:
        case Word(text, _, _):
            return text
        case Range(low, high, _):
            return f"{low.text}-{high.text}"
        case Concat(parts, _):
            return " . ".join(map(text_of, parts))
        case _:
            return "this"


def _bounds(value: Value, type_: Type) -> tuple[int, int] | None:
    """The first and the last number of an element; None if it is not known."""
    match value:
        case Range(low, high, _):
            first, last = _bounds(low, type_), _bounds(high, type_)
            return None if first is None or last is None else (first[0], last[1])
        case Word(text, _, _):
            return _word_bounds(text, type_)
        case _:
            return None


def _word_bounds(text: str, type_: Type) -> tuple[int, int] | None:
    if type_.name in ("ipv4_addr", "ipv6_addr"):
        return _address_bounds(text, 4 if type_.name == "ipv4_addr" else 6)
    if type_.name == "ifname":
        return _name_bounds(text)
    value = number(text)
    if value is None and type_.name == "inet_service":
        value = SERVICES["tcp"].get(text)
    return None if value is None else (value, value)


def _address_bounds(text: str, version: int) -> tuple[int, int] | None:
    address, slash, length = text.partition("/")
    try:
        if slash and not (length.isascii() and length.isdigit()):
            network = ip_network(text, strict=False)
            return None if network.version != version else (int(network[0]), int(network[-1]))
        first = int.from_bytes(inet_pton(AF_INET if version == 4 else AF_INET6, address))
    except (OSError, ValueError):
        return None
    rest = (32 if version == 4 else 128) - (int(length) if slash else 0)
    if not slash:
        return first, first
    return (first >> rest << rest, first | (1 << rest) - 1) if rest >= 0 else None


def _name_bounds(text: str) -> tuple[int, int] | None:
    wild = text.endswith("*")
    name = text.removesuffix("*").encode()
    if "\\" in text or not name or len(name) >= _NAME_LENGTH:
        return None
    last = name.ljust(_NAME_LENGTH, b"\xff" if wild else b"\0")
    return int.from_bytes(name.ljust(_NAME_LENGTH, b"\0")), int.from_bytes(last)


def _same(value: Value, types: Sequence[Type | None]) -> object:
    """Something equal for keys that are the same."""
    if isinstance(value, Concat):
        parts = types if len(types) == len(value.parts) else [None] * len(value.parts)
        return tuple(_same(part, (type_,)) for part, type_ in zip(value.parts, parts, strict=True))
    bounds = _bounds(value, types[0]) if len(types) == 1 and types[0] is not None else None
    return bounds or (text_of(value) if isinstance(value, Word | Range) else id(value))


def _differ(one: Value | Verdict | None, other: Value | Verdict | None) -> bool:
    """Whether two things that a map gives are surely not the same."""
    match one, other:
        case Verdict(), Verdict():
            return (one.name, one.chain) != (other.name, other.chain)
        case Word(), Word():
            first, second = number(one.text), number(other.text)
            return first is not None and second is not None and first != second
        case _:
            return False
