"""Shapes of rules: which words make up which statement, asked of `grammars/nftables.lark` once for each shape.

A shape is the string of the kinds of a rule's words (`nft_tokens`); rules of one shape differ in words only.
"""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ruleaudit.syntax.nft_tokens import TERMINALS
from ruleaudit.syntax.shapes import grammar_text

if TYPE_CHECKING:
    from lark import Lark


#: how many parentheses may stand in each other, and how many words a rule or an element may have
DEEPEST, LONGEST = 40, 5_000


class Node(NamedTuple):
    """A rule of the grammar, and the words [first, last] under it; children are nodes and single words."""

    name: str
    first: int
    last: int
    children: tuple["Node | int", ...]
    nodes: tuple["Node", ...]  #: the children that are no single words


class Malformed(NamedTuple):
    """The word at which a rule stops to be one (its length: behind the last), and what could stand there.

    `limit` says what there is too much of in a rule that was not read for that.
    """

    word: int
    expected: frozenset[str]
    limit: str = ""


_PLANS: dict[tuple[str, str], Node | Malformed] = {}


def plan(start: str, shape: str) -> Node | Malformed:
    """The tree of a shape; `start` is rule, element, update or definition."""
    known = _PLANS.get((start, shape))
    if known is None:
        known = _PLANS[start, shape] = parse_with_grammar(start, shape)
    return known


def parse_with_grammar(start: str, shape: str) -> Node | Malformed:
    """The tree of a shape, remembered by nobody."""
    from lark import UnexpectedInput, UnexpectedToken

    deep = _too_deep(shape)
    if deep is not None:
        return Malformed(deep, frozenset(), "too many parentheses in each other")
    if len(shape) > LONGEST:
        return Malformed(LONGEST, frozenset(), f"more than {LONGEST} words in one rule")
    try:
        tree = _grammar().parse(shape, start)
    except UnexpectedToken as error:
        word = len(shape) if error.token.type == "$END" else int(error.token.value)
        return Malformed(word, frozenset(error.accepts or error.expected))
    except UnexpectedInput:
        return Malformed(0, frozenset())
    return _node(tree)


def _too_deep(shape: str) -> int | None:
    """The place of a parenthesis that stands in too many others."""
    depth = 0
    for place, kind in enumerate(shape):
        depth += (kind == "(") - (kind == ")")
        if depth > DEEPEST:
            return place
    return None


def _node(tree: Any) -> Node:
    children: list[Node | int] = []
    for child in tree.children:
        children.append(_node(child) if hasattr(child, "children") else int(child))
    first, last = (children[0], children[-1]) if children else (0, -1)
    return Node(
        str(tree.data).split("{")[0],
        first if isinstance(first, int) else first.first,
        last if isinstance(last, int) else last.last,
        tuple(children),
        tuple(child for child in children if isinstance(child, Node)),
    )


@cache
def _grammar() -> "Lark":
    from lark import Lark, Token
    from lark.lexer import Lexer

    class Kinds(Lexer):
        """The characters of a shape as terminals; the value of each is its place."""

        def __init__(self, configuration: object) -> None:
            pass

        def lex(self, data: str) -> Iterator[Token]:  # type: ignore[override]
            for index, kind in enumerate(data):
                yield Token(TERMINALS[kind], str(index))

    return Lark(
        grammar_text("nftables.lark"),
        parser="lalr",
        lexer=Kinds,
        start=["rule", "element", "update", "definition"],
        maybe_placeholders=False,
        keep_all_tokens=True,
    )
