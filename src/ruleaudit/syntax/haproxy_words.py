"""The words of one line of haproxy.cfg: quotes and backslashes, comments, and where variables stand in them.

`grammars/haproxy.lark` says what a word is; a line without quotes and backslashes is split at its blanks. A test
compares both with HAProxy itself, whose reader is parse_line() in its tools.c.
"""

import re
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from ruleaudit.syntax.grammar import parser

if TYPE_CHECKING:
    from lark import Lark

_WORD = re.compile(r"[^ \t\v\f]+")
_SPECIAL = re.compile(r"[\"'\\]")
_ESCAPE = re.compile(r"\\(?:x(..)|(.))", re.DOTALL)
_PLAIN = {"t": "\t", "n": "\n", "r": "\r"}
_VARIABLE = re.compile(r"\$\{?(?P<name>[\w.]+)(?P<split>\[\*\])?(?P<default>-[^}]*)?\}?", re.ASCII | re.DOTALL)


class Unread(NamedTuple):
    """Where a line stops to be one, and why."""

    at: int
    message: str


class Piece(NamedTuple):
    """A part of a word: `text`, or a variable with its default (None: it has none), of which blanks `split` words."""

    text: str
    variable: str = ""
    default: str | None = None
    split: bool = False


class RawWord(NamedTuple):
    """The pieces of a word and where it stands in the line."""

    pieces: tuple[Piece, ...]
    start: int
    end: int


def split(text: str) -> tuple[RawWord, ...] | Unread:
    """The words of one line, without its line end. A line without quotes and backslashes needs no parser."""
    if _SPECIAL.search(text):
        return parse_with_grammar(text)
    text = text.partition("#")[0]
    return tuple([RawWord((Piece(m[0]),), m.start(), m.end()) for m in _WORD.finditer(text)])


@cache
def parse_with_grammar(text: str) -> tuple[RawWord, ...] | Unread:
    """The words of one line, according to the grammar."""
    from lark import Token, Tree, UnexpectedInput

    try:
        tree = grammar().parse(text, start="line")
    except UnexpectedInput:
        return _unread(text)
    words = []
    for word in tree.children:
        assert isinstance(word, Tree)
        pieces: list[Piece] = []
        for part in word.children:
            for token in [part] if isinstance(part, Token) else part.children:
                assert isinstance(token, Token)
                pieces.append(_piece(token.type, str(token)))
        words.append(RawWord(tuple(pieces), word.meta.start_pos, word.meta.end_pos))
    return tuple(words)


@cache
def grammar() -> "Lark":
    """The grammar of lines and conditions."""
    return parser("haproxy.lark", lexer="contextual", start=["line", "condition"], propagate_positions=True)


def _piece(kind: str, text: str) -> Piece:
    if kind == "STRONG":
        return Piece(text[1:-1])
    if kind == "VARIABLE":
        found = _VARIABLE.fullmatch(text)
        assert found is not None
        default = found["default"]
        return Piece("", found["name"], None if default is None else default[1:], bool(found["split"]))
    return Piece(_unescaped(text, weak=kind == "TEXT"))


def _unescaped(text: str, weak: bool) -> str:
    """A backslash takes the meaning from a blank, a quote, `#`, itself, and `$` where that has one."""
    taken = " \\#'\"$" if weak else " \\#'\""

    def one(found: re.Match[str]) -> str:
        if found[1]:
            return bytes([int(found[1], 16)]).decode(errors="surrogateescape")
        return _PLAIN.get(found[2]) or (found[2] if found[2] in taken else found[0])

    return _ESCAPE.sub(one, text)


def _unread(text: str) -> Unread:
    """The first place of a line that HAProxy stops at."""
    quote, at = "", 0
    opened = 0
    while at < len(text):
        char = text[at]
        if char == "\\" and quote != "'":
            if text[at + 1 : at + 2] == "x" and not re.match(r"[0-9A-Fa-f]{2}", text[at + 2 :]):
                return Unread(at, r"\x wants two hexadecimal digits")
            at += 1
        elif char in "\"'" and quote in ("", char):
            quote, opened = ("", at) if quote else (char, at)
        elif char == "#" and not quote:
            break
        elif char == "$" and quote == '"':
            variable = re.match(r"\$\{?[A-Za-z_.]\w*(\[\*\])?", text[at:], re.ASCII)
            if not variable:
                return Unread(at, "a variable's name begins with a letter or _")
            if variable[0][1] == "{":
                closed = re.match(r"(?:-[^}]*)?\}", text[at + variable.end() :], re.DOTALL)
                if not closed:
                    return Unread(at, "this brace does not close: a variable is ${NAME} or ${NAME-default}")
                at += closed.end()
            at += variable.end() - 1
        at += 1
    return Unread(opened, "this quote does not close")
