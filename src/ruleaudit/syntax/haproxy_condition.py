"""The blocks of haproxy.cfg between `.if` and `.endif`: which lines of them count.

A condition on HAProxy itself (its version, what it was built with) is not known here: the lines under it count, and
those of the other branches too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

_UNKNOWN = (
    "enabled", "feature", "openssl_version_atleast", "openssl_version_before", "ssllib_name_startswith",
    "version_atleast", "version_before", "awslc_api_atleast", "awslc_api_before",
)  # fmt: skip
#: parentheses and negations in one condition
_DEEPEST = 100
_ARGUMENT = re.compile(r"""(?:"[^"]*"|'[^']*'|\\.|[^,"'\\])*""", re.DOTALL)
_QUOTED = re.compile(r"""["']|\\([\\ "'])""")
_KNOWN = {"defined": 1, "streq": 2, "strneq": 2, "strstr": 2}


class Remark(NamedTuple):
    """What is to be said about one of the lines; `refused`: HAProxy stops at it."""

    message: str
    refused: bool = True


class Unreadable(Exception):
    """A condition that HAProxy does not take."""


@dataclass(slots=True)
class _Block:
    """`counts`: the branch that we are in; `taken`: whether one before it held (None: one may have held)."""

    outer: bool
    counts: bool
    taken: bool | None
    last: bool = False


@dataclass(slots=True)
class Conditions:
    """The blocks that are open."""

    environment: Mapping[str, str]
    _blocks: list[_Block] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return bool(self._blocks)

    @property
    def holds(self) -> bool:
        """Whether a line here counts."""
        return not self._blocks or self._blocks[-1].counts

    def step(self, name: str, text: str) -> Remark | None:
        """One of `.if`, `.elif`, `.else`, `.endif`, with the condition behind it."""
        if name == ".if":
            self._blocks.append(_Block(self.holds, False, False))
            return self._branch(name, text)
        if not self._blocks:
            return Remark(f"{name} without an .if before it")
        block = self._blocks[-1]
        if name == ".endif":
            self._blocks.pop()
        elif block.last:
            return Remark(f"{name} behind .else")
        elif name == ".elif":
            return self._branch(name, text)
        else:
            block.last = True
            block.counts = block.outer and block.taken is not True
        return Remark(f'{name} takes nothing behind it, not "{text}"') if text and name != ".elif" else None

    def _branch(self, name: str, text: str) -> Remark | None:
        block = self._blocks[-1]
        block.counts = False
        if not block.outer or block.taken is True:
            return None
        try:
            value = decide(text, self.environment)
        except Unreadable:
            return Remark(f'this condition cannot be read: "{text}"')
        block.counts = value is not False
        if value is not False:
            block.taken = value
        if value is None:
            return Remark(f'"{name} {text}" depends on HAProxy itself: every branch is read', refused=False)
        return None


def decide(text: str, environment: Mapping[str, str]) -> bool | None:
    """Whether a condition holds; None: that depends on HAProxy itself. Raises Unreadable."""
    from lark import Token, Tree, UnexpectedInput

    from ruleaudit.syntax.haproxy_words import grammar

    if not text:
        return False
    if text.count("(") + text.count("!") > _DEEPEST:
        raise Unreadable(text)
    try:
        tree = grammar().parse(text, start="condition")
    except UnexpectedInput:
        raise Unreadable(text) from None

    def value(node: object) -> bool | None:
        if isinstance(node, Token):
            return _number(node) if node.type == "NUMBER" else _predicate(node, environment)
        assert isinstance(node, Tree)
        parts = [value(child) for child in node.children]
        match node.data:
            case "not":
                return None if parts[0] is None else not parts[0]
            case "both":
                return False if False in parts else None if None in parts else True
            case _:
                return True if True in parts else None if None in parts else False

    return value(tree)


def _number(text: str) -> bool:
    digits = text.lstrip("+-").lower().removeprefix("0x")
    return bool(digits.strip("0"))


def _predicate(text: str, environment: Mapping[str, str]) -> bool | None:
    name, _, inside = text.removesuffix(")").partition("(")
    if name in _UNKNOWN:
        return None
    arguments = []
    at = 0
    while at <= len(inside):
        found = _ARGUMENT.match(inside, at)
        assert found is not None
        arguments.append(_QUOTED.sub(lambda m: m[1] or "", found[0]))
        at = found.end() + 1
    if len(arguments) != _KNOWN.get(name):
        raise Unreadable(text)
    match name:
        case "defined":
            return arguments[0] in environment
        case "streq":
            return arguments[0] == arguments[1]
        case "strneq":
            return arguments[0] != arguments[1]
        case _:
            return arguments[1] in arguments[0]
