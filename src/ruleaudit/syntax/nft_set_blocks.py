"""Sets, maps and the objects of a table (nft(8), SETS, MAPS, FLOWTABLES, STATEFUL OBJECTS)."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from ruleaudit.source import Span
from ruleaudit.syntax import nft_rule, nft_values
from ruleaudit.syntax.nft_block import Block
from ruleaudit.syntax.nft_tokens import BRACES, END, SELECTOR, STRING, VARIABLE, WORD, Token, tokens
from ruleaudit.syntax.nft_tree import Object, Set, Table
from ruleaudit.syntax.nft_types import TYPES
from ruleaudit.syntax.nft_words import quoted, shown
from ruleaudit.syntax.problem import Problem
from ruleaudit.syntax.refusal import did_you_mean

OBJECTS = (
    "counter", "quota", "limit", "secmark", "synproxy", "flowtable", "tunnel", "ct", "ct helper", "ct timeout",
    "ct expectation",
)  # fmt: skip
_GENERAL = ("define", "redefine", "undefine", "include")
_SYNPROXY = ("mss", "wscale", "timestamp", "sack-perm")
#: addresses of a connection that do not say their family
_FAMILYLESS = re.compile("ct (?:original |reply )?[sd]addr")
CT_OBJECTS = ("helper", "timeout", "expectation")
_SET_FLAGS = ("constant", "dynamic", "interval", "timeout")
_TIME, _NUMBER = re.compile(r"(?:[0-9]+(?:d|h|m|s|ms))+"), re.compile("[0-9]+|0x[0-9a-fA-F]+")
_SET_POLICY = re.compile("memory|performance")
_IN_SET = (
    "type", "typeof", "flags", "timeout", "gc-interval", "size", "policy", "auto-merge", "elements", "comment",
    "counter", "limit", "quota", "last", "ct count",
)  # fmt: skip


#: what a missing line end brings behind the types
_BEHIND_TYPES = ("flags", "timeout", "gc-interval", "size", "policy", "auto-merge", "elements", "comment")


class SetBlocks(Block):
    """Reads sets and objects into a table."""

    def set(self, table: Table, kind: str) -> None:
        """`set name { ... }` or `map name { ... }`, behind the first word."""
        words = self.words
        name = self.new_name(kind)
        made = table.sets.get(name.text)
        if made is None:
            made = table.sets[name.text] = Set(name.text, Span(name.start, name.end))
        before, made.flags, made.timeout = _declared(made), (), False
        opening = self.opening()
        self.typed = False
        body = self.block(opening, f"{kind} {name.text}", lambda: self._in_set(made, kind))
        made.body = body
        if before is not None and before.differs(_declared(made)):
            at = Span(name.start, name.end)
            words.problems.append(Problem(at, f"{kind} {name.text} is there already, with another type or other flags"))
        if not made.key and not self.typed:
            at = Span(name.start, name.end)
            words.problems.append(Problem(at, f"{kind} {name.text} does not say what type its elements have"))

    def _in_set(self, made: Set, kind: str) -> None:
        words = self.words
        here = words.take()
        match here.text if here.kind != STRING else "":
            case "type" | "typeof":
                self._set_type(made, here, kind)
            case "flags":
                for flag in self.flags():
                    if flag.text not in _SET_FLAGS:
                        self.bad_word(flag, "flag of a set", _SET_FLAGS)
                    made.flags += (flag.text,)
            case "timeout" | "gc-interval":
                made.timeout = made.timeout or here.text == "timeout"
                self._one(here, "a time such as 1h30m", _TIME)
            case "size":
                self._one(here, "a number", _NUMBER)
            case "policy":
                self._one(here, "memory or performance", _SET_POLICY)
            case "counter" | "limit" | "quota" | "last" | "ct count" | "comment":
                made.limited = made.limited or here.text in ("limit", "quota", "ct count")
                words.statement()
            case "auto-merge":
                made.merging = True
            case "elements":
                words.expect("=")
                self.elements(made)
            case text:
                words.fail(here, shown(here), did_you_mean(text, _IN_SET))

    def elements(self, made: Set) -> None:
        """`{ ... }` or `$variable`: elements of a set."""
        words = self.words
        here = words.peek()
        if here is not None and here.kind == VARIABLE:
            words.at += 1
            group = _group(words.variable(here), here)
        elif here is None or here.kind != "{":
            words.fail(here, f'{shown(here)}: "{{" is missing before it')
        else:
            group = words.braces()
            made.braces = Span(group.start, group.end)
        self.closed = True
        made.elements += nft_values.elements(group.inner)

    def _one(self, word: Token, what: str, pattern: re.Pattern[str]) -> None:
        """The one value behind a word."""
        words = self.words
        inside = words.statement()
        if not inside:
            words.fail(words.peek(), f"{shown(words.peek())}: {what} is missing before it")
        if len(inside) > 1 or not pattern.fullmatch(inside[0].text):
            words.fail(
                inside[-1] if len(inside) > 1 else inside[0], f"{quoted(inside[-1].text)}: {word.text} needs {what}"
            )

    def _set_type(self, made: Set, word: Token, kind: str) -> None:
        words = self.words
        inside = words.statement()
        if not inside:
            words.fail(words.peek(), f"{shown(words.peek())}: a type is missing before it")
        self.typed = True
        self._only_types(word, inside)
        made.typeof = word.text == "typeof"
        self.types[id(made)] = Span(inside[0].start, inside[-1].end)
        colon = next((i for i, part in enumerate(inside) if part.kind == ":"), len(inside))
        if kind == "map" and colon == len(inside):
            words.fail(inside[-1], f"map {made.name} does not say what it gives", 'as in "type ipv4_addr : verdict"')
        made.key = tuple(nft_values.written(part, 0, len(part) - 1) for part in _split(inside[:colon], "."))
        data = [part for part in inside[colon + 1 :] if part.text != "interval"]
        made.data = " . ".join(nft_values.written(part, 0, len(part) - 1) for part in _split(data, ".")) if data else ""

    def _only_types(self, word: Token, inside: Sequence[Token]) -> None:
        """Types stand with dots between them, and nothing behind them; typeof takes what a rule can look at."""
        words = self.words
        for strange in inside[1:]:
            if strange.text in _BEHIND_TYPES and strange.kind not in (STRING, SELECTOR):
                words.fail(strange, shown(strange), 'a line end or ";" is missing before it')
        colon = next((i for i, part in enumerate(inside) if part.kind == ":"), len(inside))
        for part in _split(inside[:colon], "."):
            if len(part) > 1 and part[0].kind in (WORD, SELECTOR):
                words.fail(part[1], shown(part[1]), 'types stand with "." between them')
            if word.text == "typeof" and part[0].kind == WORD:
                words.fail(part[0], f"{quoted(part[0].text)} is nothing that can be looked at", "as in typeof ip saddr")
            if word.text == "typeof" and _FAMILYLESS.fullmatch(part[0].text):
                hint = f"write ct original ip {part[0].text.split(' ')[-1]}"
                words.fail(part[0], f"{part[0].text} does not say of which family", hint)
            if word.text == "type" and part[0].kind == SELECTOR and part[0].text.removeprefix("meta ") not in TYPES:
                words.fail(part[0], f"{quoted(part[0].text)} is no type", f"write typeof {part[0].text}")
        if word.text == "typeof":
            for part in _split(inside[colon + 1 :], "."):
                if part[0].kind == WORD and part[0].text not in (*TYPES, "verdict") and len(part) == 1:
                    words.fail(part[0], f"{quoted(part[0].text)} is nothing that can be looked at", "as in meta mark")

    # -- objects

    def _flowtable(self, inside: Sequence[Token]) -> None:
        for word, following in zip(inside, inside[1:], strict=False):
            if word.text == "hook" and following.text != "ingress":
                self.words.fail(following, f"{quoted(following.text)} is no hook of a flowtable", "ingress")

    def _object_body(self, kind: str, first: Token, inside: Sequence[Token]) -> None:
        """What a counter, quota or limit holds is written as in a rule."""
        words = [word for word in inside if word.kind != END]
        comment = next((i for i, word in enumerate(words) if word.text == "comment" and word.kind != STRING), None)
        if comment is not None:
            del words[comment : comment + 2]
        keyword = next(iter(tokens(kind)))
        plain = not any(word.kind == VARIABLE or word.text in _GENERAL for word in words)
        if kind in ("counter", "quota", "limit", "synproxy") and words and plain:
            nft_rule.rule([Token(keyword.kind, kind, first.start, first.end), *words])

    def object(self, table: Table, kind: str, first: Token) -> None:
        """A named counter, quota, limit..., behind its first word."""
        words = self.words
        if kind == "ct":
            which = words.take()
            words.fail(which, shown(which), did_you_mean(which.text, CT_OBJECTS))
        name = words.name(kind)
        start = words.at
        block = words.text() == "{"
        if block:
            words.skip_statement()
        else:
            words.statement()
            while kind == "synproxy" and words.text() == ";" and words.text(1) in _SYNPROXY:
                words.take()
                words.statement()
        last = words.words[words.at - 1]
        span = Span(first.start, last.end)
        inside = words.words[start : words.at]
        text = " ".join(word.text for word in inside if word.kind != END)
        if kind == "flowtable":
            self._flowtable(inside)
        self._object_body(kind, first, inside[1:-1] if block else inside)
        table.objects.append(Object(kind, name.text, text, span))


class _Declared(NamedTuple):
    """What the kernel compares where a set is declared twice."""

    key: tuple[str, ...]
    data: str
    flags: frozenset[str]
    typeof: bool

    def differs(self, other: "_Declared | None") -> bool:
        """Whether the other declaration is surely another one: a typeof may be the same type."""
        if other is None or self.flags != other.flags:
            return other is not None
        return not (self.typeof or other.typeof) and self != other


def _declared(made: Set) -> _Declared | None:
    if not made.key:
        return None
    flags = {*made.flags, *(("timeout",) if made.timeout else ())} - {"dynamic"}
    return _Declared(made.key, made.data, frozenset(flags), made.typeof)


def _split(words: Sequence[Token], separator: str) -> list[list[Token]]:
    out: list[list[Token]] = [[]]
    for word in words:
        if word.kind == separator:
            out.append([])
        else:
            out[-1].append(word)
    return [part for part in out if part]


def _group(stands_for: tuple[Token, ...], place: Token) -> Token:
    """What a variable stands for, as braces at its place."""
    inner = stands_for[0].inner if len(stands_for) == 1 and stands_for[0].kind == BRACES else stands_for
    return Token(BRACES, "", place.start, place.end, inner)
