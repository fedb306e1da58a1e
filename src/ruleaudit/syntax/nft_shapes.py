"""Shapes of rules: which words make up which statement, asked of `grammars/nftables.lark` once for each shape.

A shape is the string of the kinds of a rule's words (`nft_tokens`); rules of one shape differ in words only. The
commonest statements are listed here, so that an ordinary ruleset needs no parser at all; a test compares the list with
the grammar.
"""

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ruleaudit.syntax.grammar import parser
from ruleaudit.syntax.nft_tokens import TERMINALS

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


#: statements as trees of the grammar, in its words; none of them goes on where another one begins
COMMON_STATEMENTS = """
match(selector(SELECTOR) word(WORD))
match(selector(SELECTOR) string(STRING))
match(selector(SELECTOR) set_name(SET_NAME))
match(selector(SELECTOR) braces(BRACES))
match(selector(SELECTOR) COMPARISON word(WORD))
match(selector(SELECTOR) COMPARISON string(STRING))
match(selector(SELECTOR) COMPARISON set_name(SET_NAME))
match(selector(SELECTOR) COMPARISON braces(BRACES))
match(selector(SELECTOR) item(word(WORD) DASH word(WORD)))
match(selector(SELECTOR) item(word(WORD) SLASH word(WORD)))
match(selector(SELECTOR) list(word(WORD) COMMA word(WORD)))
match(selector(SELECTOR) list(word(WORD) COMMA word(WORD) COMMA word(WORD)))
match(concat(selector(SELECTOR) DOT selector(SELECTOR)) braces(BRACES))
match(concat(selector(SELECTOR) DOT selector(SELECTOR)) set_name(SET_NAME))
match(ands(selector(SELECTOR) AND word(WORD)) COMPARISON word(WORD))
match(ands(selector(SELECTOR) AND inside(LPAR bits(word(WORD) OR word(WORD)) RPAR)) COMPARISON word(WORD))
verdict_map(selector(SELECTOR) VMAP braces(BRACES))
verdict_map(selector(SELECTOR) VMAP set_name(SET_NAME))
verdict_map(concat(selector(SELECTOR) DOT selector(SELECTOR)) VMAP braces(BRACES))
verdict_map(concat(selector(SELECTOR) DOT selector(SELECTOR)) VMAP set_name(SET_NAME))
verdict(ACCEPT)
verdict(DROP)
verdict(RETURN)
verdict(CONTINUE)
verdict(JUMP WORD)
verdict(GOTO WORD)
reject(REJECT)
reject(REJECT WITH WORD WORD)
reject(REJECT WITH WORD RESET)
reject(REJECT WITH WORD TYPE WORD)
counter(COUNTER)
counter(COUNTER PACKETS number(WORD) BYTES number(WORD))
limit(LIMIT RATE number(WORD) SLASH WORD)
limit(LIMIT RATE number(WORD) SLASH WORD BURST number(WORD) PACKETS)
limit(LIMIT RATE OVER number(WORD) SLASH WORD)
limit(LIMIT RATE OVER number(WORD) SLASH WORD BURST number(WORD) PACKETS)
log(LOG)
log(LOG PREFIX STRING)
log(LOG PREFIX STRING LEVEL WORD)
comment(COMMENT STRING)
notrack(NOTRACK)
nat(MASQUERADE)
nat(REDIRECT TO COLON word(WORD))
nat(SNAT TO word(WORD))
nat(SNAT WORD TO word(WORD))
nat(DNAT TO word(WORD))
nat(DNAT TO word(WORD) COLON word(WORD))
nat(DNAT WORD TO word(WORD))
nat(DNAT WORD TO word(WORD) COLON word(WORD))
assignment(selector(SELECTOR) SET word(WORD))
assignment(selector(SELECTOR) SET selector(SELECTOR))
set_update(ADD SET_NAME BRACES)
set_update(UPDATE SET_NAME BRACES)
xt(XT MATCH WORD)
xt(XT MATCH STRING)
xt(XT TARGET STRING)
"""
#: the same for what else is read: whole elements, definitions, and what is put into a set
COMMON_PIECES = """
definition(word(WORD))
definition(string(STRING))
definition(braces(BRACES))
element(concat(word(WORD) DOT word(WORD)))
element(word(WORD) COLON word(WORD))
element(word(WORD) COLON string(STRING))
element(word(WORD) COLON concat(word(WORD) DOT word(WORD)))
element(word(WORD) COLON verdict(ACCEPT))
element(word(WORD) COLON verdict(DROP))
element(word(WORD) COLON verdict(JUMP WORD))
element(word(WORD) COLON verdict(GOTO WORD))
element(string(STRING) COLON verdict(ACCEPT))
element(string(STRING) COLON verdict(JUMP WORD))
element(word(WORD) counter(COUNTER PACKETS number(WORD) BYTES number(WORD)))
update(selector(SELECTOR))
update(selector(SELECTOR) timeout(TIMEOUT number(WORD)))
update(selector(SELECTOR) limit(LIMIT RATE number(WORD) SLASH WORD))
update(selector(SELECTOR) limit(LIMIT RATE number(WORD) SLASH WORD BURST number(WORD) PACKETS))
update(selector(SELECTOR) ct_count(CT_COUNT OVER number(WORD)))
"""
_PLANS: dict[tuple[str, str], Node | Malformed] = {}


def plan(start: str, shape: str) -> Node | Malformed:
    """The tree of a shape; `start` is rule, element, update or definition."""
    known = _PLANS.get((start, shape))
    if known is None:
        common = of_common_statements(shape) if start == "rule" else _common_pieces().get((start, shape))
        known = _PLANS[start, shape] = common or parse_with_grammar(start, shape)
    return known


def of_common_statements(shape: str) -> Node | None:
    """The tree of a rule that is made of common statements, None for every other."""
    trees, pattern = _common_statements()
    statements: list[Node] = []
    at = 0
    while at < len(shape):
        found = pattern.match(shape, at)
        if found is None:
            return None
        statements.append(_moved(trees[found[0]], at))
        at = found.end()
    return Node("rule", 0, len(shape) - 1, tuple(statements), tuple(statements)) if statements else None


@cache
def _common_statements() -> tuple[dict[str, Node], re.Pattern[str]]:
    """The tree of each by its shape, and a pattern for the longest that stands at a place."""
    trees = dict(_trees(COMMON_STATEMENTS))
    longest_first = sorted(trees, key=len, reverse=True)
    return trees, re.compile("|".join(map(re.escape, longest_first)))


@cache
def _common_pieces() -> dict[tuple[str, str], Node]:
    """The tree of each by what it is and its shape."""
    return {(tree.name, shape): tree for shape, tree in _trees(COMMON_PIECES)}


def _trees(lines: str) -> Iterator[tuple[str, Node]]:
    """Shapes and their trees."""
    kinds = {terminal: kind for kind, terminal in TERMINALS.items()}
    for line in lines.split("\n")[1:-1]:
        shape = ""
        stack: list[tuple[str, list[Node | int]]] = [("", [])]
        for name, opening, closing in re.findall(r"(\w+)(\(?)|(\))", line):
            if opening:
                stack.append((name, []))
            elif closing:
                ended, children = stack.pop()
                stack[-1][1].append(_made(ended, children))
            else:
                stack[-1][1].append(len(shape))
                shape += kinds[name]
        (tree,) = stack[0][1]
        assert isinstance(tree, Node)
        yield shape, tree


def _moved(node: Node, by: int) -> Node:
    children = [child + by if isinstance(child, int) else _moved(child, by) for child in node.children]
    return _made(node.name, children)


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
    children = [_node(child) if hasattr(child, "children") else int(child) for child in tree.children]
    return _made(str(tree.data).split("{")[0], children)


def _made(name: str, children: list[Node | int]) -> Node:
    first, last = (children[0], children[-1]) if children else (0, -1)
    return Node(
        name,
        first if isinstance(first, int) else first.first,
        last if isinstance(last, int) else last.last,
        tuple(children),
        tuple(child for child in children if isinstance(child, Node)),
    )


@cache
def _grammar() -> "Lark":
    from ruleaudit.syntax.nft_kinds import Kinds

    return parser(
        "nftables.lark",
        lexer=Kinds,
        start=["rule", "element", "update", "definition"],
        maybe_placeholders=False,
        keep_all_tokens=True,
    )
