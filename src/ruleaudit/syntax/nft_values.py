"""Values and elements of sets, made of their words by the plan of their shape (nft(8), EXPRESSIONS, SETS)."""

from collections.abc import Callable, Sequence
from typing import cast

from ruleaudit.source import Span
from ruleaudit.syntax.nft_shapes import Malformed, Node, plan
from ruleaudit.syntax.nft_tokens import BRACES, SELECTOR, STRING, WORD, Token
from ruleaudit.syntax.nft_tree import (
    Braces,
    Concat,
    Element,
    Lookup,
    Operation,
    Range,
    Selector,
    SetName,
    Several,
    Value,
    Verdict,
    Word,
)
from ruleaudit.syntax.nft_unexpected import unexpected
from ruleaudit.syntax.problem import Problem

Words = Sequence[Token]
#: how many operands and operators one value may have
_LONGEST_OPERATION = 200


class Unreadable(Exception):
    """A rule or an element that is not of the language."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems[0].message)
        self.problems = problems


def definition(words: Words) -> None:
    """Look at what a variable is to stand for. Raises Unreadable."""
    tree = plan("definition", shape(words))
    if isinstance(tree, Malformed):
        raise Unreadable(unexpected(words, tree, within="definition"))
    for node in tree.nodes:
        value(node, words)


def shape(words: Words) -> str:
    """The kinds of some words."""
    return "".join([word.kind for word in words])


def written(words: Words, first: int, last: int, braces: bool = False) -> str:
    """The words [first, last] with one blank between them; defines are written out."""
    out = ""
    glued = True
    for word in words[first : last + 1]:
        kind = word.kind
        if kind in _SEPARATORS:
            colon = kind == ":"
            before = kind in _NO_BLANK_BEFORE or (colon and not braces)
            out += kind if before and out[-3:] != " to" else f" {kind}"
            glued = kind in _NO_BLANK_BEHIND or (colon and not braces)
            continue
        if kind in (WORD, SELECTOR):
            text = word.text
        elif kind == STRING:
            text = f'"{word.text}"'
        elif kind == BRACES:
            inside = written(word.inner, 0, len(word.inner) - 1, True)
            text = f"{{ {inside} }}" if inside else "{ }"
        else:
            text = f"@{word.text}" if kind == "@" else word.text
        out += text if glued else f" {text}"
        glued = False
    return out


_SEPARATORS, _NO_BLANK_BEFORE, _NO_BLANK_BEHIND = frozenset(",:/-()"), frozenset(",/-)"), frozenset("/-(")


def span_of(node: Node, words: Words) -> Span:
    return Span(words[node.first].start, max(words[node.last].end, words[node.first].start))


# -- expressions


def value(node: Node, words: Words) -> Value:
    return VALUES[node.name](node, words)


def _word(node: Node, words: Words) -> Value:
    token = words[node.last]
    if node.first != node.last:
        return Word(f"-{token.text}", span_of(node, words))
    return Word(token.text, Span(token.start, token.end), token.kind == STRING)


def selector(node: Node, words: Words) -> Selector:
    token = words[node.first]
    return Selector(token.text, Span(token.start, token.end))


def _jhash(node: Node, words: Words) -> Value:
    return Selector(written(words, node.first, node.last), span_of(node, words))


def _set_name(node: Node, words: Words) -> Value:
    token = words[node.first]
    return SetName(token.text, Span(token.start, token.end))


def _braces(node: Node, words: Words) -> Value:
    token = words[node.first]
    return Braces(elements(token.inner), Span(token.start, token.end))


def _inside(node: Node, words: Words) -> Value:
    return value(node.nodes[0], words)


def _several(node: Node, words: Words) -> Value:
    parts = tuple(value(child, words) for child in node.nodes)
    masks = [i for i, part in enumerate(parts) if isinstance(part, Operation) and part.operator == "/"]
    if len(masks) != 1:
        return Several(parts, span_of(node, words))
    at = masks[0]
    middle = cast(Operation, parts[at])
    left, right = (*parts[:at], middle.left), (middle.right, *parts[at + 1 :])
    return Operation("/", _together(left), _together(right), span_of(node, words))


def _together(parts: tuple[Value, ...]) -> Value:
    return parts[0] if len(parts) == 1 else Several(parts, Span(parts[0].span.start, parts[-1].span.end))


def _concat(node: Node, words: Words) -> Value:
    return Concat(tuple(value(child, words) for child in node.nodes), span_of(node, words))


def _item(node: Node, words: Words) -> Value:
    left, operator, right = node.children
    assert isinstance(left, Node) and isinstance(operator, int) and isinstance(right, Node)
    low, high = value(left, words), value(right, words)
    if words[operator].kind == "/":
        if isinstance(low, Word) and isinstance(high, Word) and high.text.isdigit() and not _is_name(low):
            return Word(f"{low.text}/{high.text}", span_of(node, words))
        return Operation("/", low, high, span_of(node, words))
    if not isinstance(low, Word) or not isinstance(high, Word):
        strange = left if not isinstance(low, Word) else right
        raise Unreadable(Problem(span_of(strange, words), "a range has a value at each end"))
    return Range(low, high, span_of(node, words))


def _is_name(word: Word) -> bool:
    return not word.quoted and word.text.isalpha()


def _operation(node: Node, words: Words) -> Value:
    children = node.children
    assert isinstance(children[0], Node)
    if len(children) > _LONGEST_OPERATION:
        raise Unreadable(Problem(span_of(node, words), "too many operators in one value"))
    result = value(children[0], words)
    for operator, right in zip(children[1::2], children[2::2], strict=True):
        assert isinstance(operator, int) and isinstance(right, Node)
        span = Span(words[node.first].start, words[right.last].end)
        result = Operation(words[operator].text, result, value(right, words), span)
    return result


def _lookup(node: Node, words: Words) -> Value:
    key, target = node.nodes
    return Lookup(value(key, words), value(target, words), span_of(node, words))


VALUES: dict[str, Callable[[Node, Words], Value]] = {
    "word": _word,
    "string": _word,
    "selector": selector,
    "jhash": _jhash,
    "set_name": _set_name,
    "braces": _braces,
    "inside": _inside,
    "list": _several,
    "concat": _concat,
    "item": _item,
    "bits": _operation,
    "xors": _operation,
    "ands": _operation,
    "shifts": _operation,
    "lookup": _lookup,
}

# -- elements


def verdict(node: Node, words: Words) -> Verdict:
    chain = words[node.last].text if node.last > node.first else ""
    return Verdict(words[node.first].text, chain, span_of(node, words))


OPTIONS = ("timeout", "expires", "comment")
_PLAIN = frozenset({WORD, STRING})
_RANGE = f"{WORD}-{WORD}"


def elements(inner: Words) -> tuple[Element, ...]:
    """The elements between two braces; a set in the set is part of it. Raises Unreadable with all that is wrong."""
    if all(word.kind in _PLAIN for word in inner[::2]) and all(word.kind == "," for word in inner[1::2]):
        return tuple([_plain(word) for word in inner[::2]])
    out: list[Element] = []
    problems: list[Problem] = []
    first = 0
    commas = [i for i, word in enumerate(inner) if word.kind == ","]
    for last in (*commas, len(inner)):
        words = inner[first:last]
        first = last + 1
        if not words:
            if last == 0 and inner:  # nft takes commas that follow each other
                problems.append(
                    Problem(Span(inner[last].start, inner[last].end), 'unexpected ",": no element is before it')
                )
            continue
        try:
            element = _element(words)
        except Unreadable as error:
            problems += error.problems
            continue
        if isinstance(element.key, Braces) and element.data is None:
            out += element.key.elements
        else:
            out.append(element)
    if problems:
        raise Unreadable(*problems)
    return tuple(out)


def _plain(word: Token) -> Element:
    span = Span(word.start, word.end)
    return Element(Word(word.text, span, word.kind == STRING), None, (), span)


def _element(words: Words) -> Element:
    if len(words) == 1 and words[0].kind in _PLAIN:
        return _plain(words[0])
    kinds = shape(words)
    if kinds == _RANGE:
        low, _, high = words
        span = Span(low.start, max(low.start, high.end))
        ends = Word(low.text, Span(low.start, low.end)), Word(high.text, Span(high.start, high.end))
        return Element(Range(*ends, span), None, (), Span(low.start, high.end))
    tree = plan("element", kinds)
    if isinstance(tree, Malformed):
        raise Unreadable(unexpected(words, tree, within="set"))
    key: Value | None = None
    data: Value | Verdict | None = None
    options: list[str] = []
    for node in tree.nodes:
        if node.name == "verdict":
            data = verdict(node, words)
        elif node.name not in VALUES:
            options.append(written(words, node.first, node.last))
        elif key is None:
            key = value(node, words)
        else:
            data = value(node, words)
    assert key is not None
    return Element(key, data, tuple(options), Span(words[0].start, words[-1].end))
