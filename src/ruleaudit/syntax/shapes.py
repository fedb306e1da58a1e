"""The inside of a rule line: words, and which of them make up an option.

The grammar `grammars/iptables_save.lark` says how words form options. It is asked once for each *shape*, the line with
every word replaced by its kind; rules of one shape differ in words only. Where every option is a word of its own, which
is what iptables-save prints, no parser is needed; a test compares that with the grammar.
"""

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from ruleaudit.syntax.grammar import parser

if TYPE_CHECKING:
    from lark import Lark

_WORD = re.compile(r'[^ \t"]*"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[^ \t"]+', re.DOTALL)
_OPTION = re.compile(r'--[A-Za-z][^ \t"=]*=?|-[A-Za-z]')
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)

#: kinds of words: an Option, one with its value Glued on, a Value, a String in quotes, `!` before an option or after it
#: (`~`), a Family in front, an Unclosed string
Shape = str

#: what iptables-save prints: each option is a word of its own, with its values behind it
_IN_ORDER = re.compile("(?:!?O[VS]*)+")
_OPTION_IN_ORDER = re.compile("!?O[VS]*")


@dataclass(frozen=True, slots=True)
class Malformed:
    """The word at which the line stops to be a rule."""

    word: int


class Words(NamedTuple):
    """A rule's words in order; `starts[i]` is the offset of word i."""

    text: tuple[str, ...]
    starts: tuple[int, ...]
    shape: Shape


class RawOption(NamedTuple):
    """One option: its name, its values as iptables sees them, and the words [first, last) that it was written with."""

    name: str
    negated: bool
    values: tuple[str, ...]
    first: int
    last: int


def words(text: str) -> Words:
    """Split as iptables-restore does: at spaces and tabs, quotes keep them, a closing quote ends a word."""
    if '"' not in text and "\t" not in text:
        found = [w for w in text.split(" ") if w]
        starts = []
        at = 0
        if len(text) == sum(map(len, found)) + len(found) - 1 and text[:1] != " ":
            for word in found:
                starts.append(at)
                at += len(word) + 1
        else:
            for word in found:
                at = text.index(word, at)
                starts.append(at)
                at += len(word)
    else:
        found, starts = [], []
        for match in _WORD.finditer(text):
            found.append(match[0])
            starts.append(match.start())
    shape = "".join([_kind(w) if w[0] in '-!"' or w[-1] == '"' or '"' in w else "V" for w in found])
    if "!" in shape:
        shape = re.sub(r"!(?![OG])", "~", shape)
    if found and found[0] in ("-4", "-6") and len(found) > 1:
        shape = "F" + shape[1:]
    return Words(tuple(found), tuple(starts), shape)


@cache
def _kind(word: str) -> str:
    if word == "!":
        return "!"
    if ('"' in word and not _WORD.fullmatch(word)) or word.count('"') == 1 or _unclosed(word):
        return "U"
    option = _OPTION.match(word)
    if option:
        return "O" if option.end() == len(word) and word[-1] != "=" else "G"
    return "S" if '"' in word else "V"


def _unclosed(word: str) -> bool:
    return '"' in word and re.fullmatch(r'[^"]*"(?:[^"\\]|\\.)*"', word, re.DOTALL) is None


def options(text: str) -> tuple[Words, tuple[RawOption, ...] | Malformed]:
    """The options of a rule text, in order."""
    split = words(text)
    starts = _SHAPES.get(split.shape)
    if starts is None:
        starts = _SHAPES[split.shape] = in_order(split.shape) or parse_with_grammar(text, split)
    if isinstance(starts, Malformed):
        return split, starts
    found = split.text
    shape = split.shape
    out: list[RawOption] = []
    for first, last in zip(starts, (*starts[1:], len(found)), strict=True):
        negated = shape[first] == "!"
        at = first + negated
        name = found[at]
        values: tuple[str, ...]
        if shape[at] == "G":
            option = _OPTION.match(name)
            assert option is not None
            glued = name[option.end() :]
            name = option[0].rstrip("=")
            values = ((glued,) if glued else ()) + found[at + 1 : last]
        elif last > at + 1 and shape[at + 1] == "~":
            negated = not negated
            values = found[at + 2 : last]
        else:
            values = found[at + 1 : last]
        if '"' in text:
            values = tuple([unquoted(v) if '"' in v else v for v in values])
        out.append(RawOption(name, negated, values, first, last))
    return split, tuple(out)


def in_order(shape: Shape) -> tuple[int, ...]:
    """At which words the options of an ordinary line begin; nothing for a line that only the grammar can say it of.

    >>> in_order("OV!OV")
    (0, 2)
    """
    if _IN_ORDER.fullmatch(shape) is None:
        return ()
    return tuple(option.start() for option in _OPTION_IN_ORDER.finditer(shape))


def unquoted(word: str) -> str:
    """A word without its quotes and escapes."""
    before, quote, rest = word.partition('"')
    return before + _ESCAPE.sub(r"\1", rest.removesuffix('"')) if quote else word


def parse_with_grammar(text: str, split: Words) -> tuple[int, ...] | Malformed:
    """At which words the options begin, according to the grammar."""
    from lark import Token, Tree, UnexpectedInput

    if "U" in split.shape:
        return Malformed(split.shape.index("U"))
    try:
        tree = _grammar().parse(text)
    except UnexpectedInput as error:
        at = getattr(error, "pos_in_stream", None)
        token = getattr(error, "token", None)
        if token is not None and token.type == "$END":
            at = len(text)
        return Malformed(max((i for i, start in enumerate(split.starts) if start <= (at or 0)), default=0))
    at_offset = {start: i for i, start in enumerate(split.starts)}
    out: list[int] = []
    for option in tree.children:
        if isinstance(option, Tree):
            first = option.children[0]
            assert isinstance(first, Token) and first.start_pos is not None
            if first.start_pos not in at_offset:
                return Malformed(max(i for i, start in enumerate(split.starts) if start <= first.start_pos))
            out.append(at_offset[first.start_pos])
    return tuple(out)


@cache
def _grammar() -> "Lark":
    return parser("iptables_save.lark", lexer="contextual", maybe_placeholders=False)


_SHAPES: dict[Shape, tuple[int, ...] | Malformed] = {}
