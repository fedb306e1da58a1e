"""JSON text read with places: where every command of a ruleset stands, and the items of its `expr` and `elem`.

The outer arrays and objects are walked here, all that is inside an item is left to json's own scanner.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from ruleaudit.source import Span

_BLANK = re.compile(r"[ \t\r\n]*+")
_SURROGATE = re.compile("[\ud800-\udfff]")
#: what is escaped: a pair of surrogates, half of one or NUL, which nft's reader does not take, or anything else
_ESCAPED = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<wrong>u(?:0000|[dD][89a-fA-F][0-9a-fA-F]{2}))|.)"
)
#: the arrays whose items have places of their own
_PLACED = ("expr", "elem")


class BadJson(Exception):
    """The text is no JSON; `at` is where."""

    def __init__(self, message: str, at: int) -> None:
        super().__init__(message)
        self.message = message
        self.at = at


class Items(list[Any]):
    """An array that knows where its items stand."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Span] = []


@dataclass(frozen=True, slots=True)
class Placed:
    """A value and its place; `span` holds its braces."""

    value: Any
    span: Span


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.scan = json.JSONDecoder(parse_constant=_no_constant).raw_decode

    def value(self, at: int) -> tuple[Any, int]:
        """Any value, without places inside."""
        try:
            return self.scan(self.text, at)
        except json.JSONDecodeError as error:
            raise BadJson(error.msg[:1].lower() + error.msg[1:], error.pos) from None
        except RecursionError:
            raise BadJson("it is nested too deeply", at) from None
        except ValueError as error:
            raise BadJson(str(error).split(";")[0], at) from None

    def skip(self, at: int) -> int:
        """The next place that is not blank."""
        found = _BLANK.match(self.text, at)
        assert found is not None
        return found.end()

    def array(self, at: int, depth: int) -> tuple[Items, int]:
        """The array that begins here; its items are objects to look into while `depth` is not 0."""
        items = Items()
        add, place = items.append, items.spans.append
        at = self.skip(at + 1)
        if self.text[at : at + 1] == "]":
            return items, at + 1
        while True:
            value, end = self.object(at, depth) if depth and self.text[at : at + 1] == "{" else self.value(at)
            add(value)
            place(Span(at, end))
            at = self.skip(end)
            sign = self.text[at : at + 1]
            if sign == "]":
                return items, at + 1
            if sign != ",":
                raise BadJson('expected "," or "]" here', at)
            at = self.skip(at + 1)

    def object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        """The object that begins here; objects inside are looked into while `depth` is not 0."""
        found: dict[str, Any] = {}
        at = self.skip(at + 1)
        if self.text[at : at + 1] == "}":
            return found, at + 1
        while True:
            if self.text[at : at + 1] != '"':
                raise BadJson("expected a key in double quotes here", at)
            key, at = self.value(at)
            at = self.skip(at)
            if self.text[at : at + 1] != ":":
                raise BadJson('expected ":" here', at)
            at = self.skip(at + 1)
            sign = self.text[at : at + 1]
            if sign == "[" and key in _PLACED:
                found[key], at = self.array(at, 0)
            elif sign == "[" and key == "nftables":
                found[key], at = self.array(at, depth)
            elif sign == "{" and depth:
                found[key], at = self.object(at, depth - 1)
            else:
                found[key], at = self.value(at)
            at = self.skip(at)
            sign = self.text[at : at + 1]
            if sign == "}":
                return found, at + 1
            if sign != ",":
                raise BadJson('expected "," or "}" here', at)
            at = self.skip(at + 1)


def scan(text: str) -> Placed:
    """The whole document; BadJson if it is none."""
    scanner = _Scanner(text)
    at = scanner.skip(0)
    value, end = scanner.object(at, 2) if text[at : at + 1] == "{" else scanner.value(at)
    rest = scanner.skip(end)
    if rest < len(text):
        raise BadJson("the document ends before this", rest)
    strange = _SURROGATE.search(text)
    if strange is not None:
        raise BadJson("this is no UTF-8", strange.start())
    for found in _ESCAPED.finditer(text) if "\\u" in text else ():
        if found["wrong"]:
            raise BadJson(f"\\{found['wrong']} is no character", found.start())
    return Placed(value, Span(at, end))
