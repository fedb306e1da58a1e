"""The inside of a rule, made of its words by its shape's plan (nft(8), STATEMENTS and EXPRESSIONS)."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, cast

from ruleaudit.source import Span
from ruleaudit.syntax.iptables import Problem
from ruleaudit.syntax.nft_shapes import Malformed, Node, plan
from ruleaudit.syntax.nft_tokens import BRACES, SELECTOR, STRING, WORD, Token
from ruleaudit.syntax.nft_tree import (
    Action,
    Assignment,
    Braces,
    Concat,
    Element,
    Lookup,
    Match,
    Nat,
    Operation,
    Range,
    Reject,
    Selector,
    SetName,
    SetUpdate,
    Several,
    Statement,
    Value,
    Verdict,
    VerdictMap,
    Word,
)
from ruleaudit.syntax.nft_unexpected import unexpected

Words = Sequence[Token]


class Unreadable(Exception):
    """A rule or an element that is not of the language."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems[0].message)
        self.problems = problems


class Read(NamedTuple):
    """What a rule says; `normal` is its text without the comment."""

    statements: tuple[Statement, ...]
    normal: str
    comment: str


def rule(words: Words) -> Read:
    """The statements of a rule. Raises Unreadable."""
    tree = plan("rule", shape(words))
    if isinstance(tree, Malformed):
        raise Unreadable(unexpected(words, tree))
    statements: list[Statement] = []
    comment, normal = "", written(words, 0, len(words) - 1)
    for node in cast("tuple[Node, ...]", tree.children):
        if node.name == "comment":
            comment = words[node.last].text
            kept = [w for i, w in enumerate(words) if not node.first <= i <= node.last]
            normal = written(kept, 0, len(kept) - 1)
        else:
            statements.append(_STATEMENTS[node.name](node, words))
    return Read(tuple(statements), normal, comment)


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


def _span(node: Node, words: Words) -> Span:
    return Span(words[node.first].start, max(words[node.last].end, words[node.first].start))


# -- expressions


def _value(node: Node, words: Words) -> Value:
    return _VALUES[node.name](node, words)


def _word(node: Node, words: Words) -> Value:
    token = words[node.last]
    if node.first != node.last:
        return Word(f"-{token.text}", _span(node, words))
    return Word(token.text, Span(token.start, token.end), token.kind == STRING)


def _selector(node: Node, words: Words) -> Selector:
    token = words[node.first]
    return Selector(token.text, Span(token.start, token.end))


def _jhash(node: Node, words: Words) -> Value:
    return Selector(written(words, node.first, node.last), _span(node, words))


def _set_name(node: Node, words: Words) -> Value:
    token = words[node.first]
    return SetName(token.text, Span(token.start, token.end))


def _braces(node: Node, words: Words) -> Value:
    token = words[node.first]
    return Braces(elements(token.inner), Span(token.start, token.end))


def _inside(node: Node, words: Words) -> Value:
    return _value(node.nodes[0], words)


def _several(node: Node, words: Words) -> Value:
    parts = tuple(_value(child, words) for child in node.nodes)
    masks = [i for i, part in enumerate(parts) if isinstance(part, Operation) and part.operator == "/"]
    if len(masks) != 1:
        return Several(parts, _span(node, words))
    at = masks[0]
    middle = cast(Operation, parts[at])
    left, right = (*parts[:at], middle.left), (middle.right, *parts[at + 1 :])
    return Operation("/", _together(left), _together(right), _span(node, words))


def _together(parts: tuple[Value, ...]) -> Value:
    return parts[0] if len(parts) == 1 else Several(parts, Span(parts[0].span.start, parts[-1].span.end))


def _concat(node: Node, words: Words) -> Value:
    return Concat(tuple(_value(child, words) for child in node.nodes), _span(node, words))


def _item(node: Node, words: Words) -> Value:
    left, operator, right = node.children
    assert isinstance(left, Node) and isinstance(operator, int) and isinstance(right, Node)
    low, high = _value(left, words), _value(right, words)
    if words[operator].kind == "/":
        if isinstance(low, Word) and isinstance(high, Word) and high.text.isdigit() and not _is_name(low):
            return Word(f"{low.text}/{high.text}", _span(node, words))
        return Operation("/", low, high, _span(node, words))
    if not isinstance(low, Word) or not isinstance(high, Word):
        strange = left if not isinstance(low, Word) else right
        raise Unreadable(Problem(_span(strange, words), "a range has a value at each end"))
    return Range(low, high, _span(node, words))


def _is_name(word: Word) -> bool:
    return not word.quoted and word.text.isalpha()


def _operation(node: Node, words: Words) -> Value:
    children = node.children
    assert isinstance(children[0], Node)
    value = _value(children[0], words)
    for operator, right in zip(children[1::2], children[2::2], strict=True):
        assert isinstance(operator, int) and isinstance(right, Node)
        span = Span(words[node.first].start, words[right.last].end)
        value = Operation(words[operator].text, value, _value(right, words), span)
    return value


def _lookup(node: Node, words: Words) -> Value:
    key, target = node.nodes
    return Lookup(_value(key, words), _value(target, words), _span(node, words))


_VALUES: dict[str, Callable[[Node, Words], Value]] = {
    "word": _word,
    "string": _word,
    "selector": _selector,
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

# -- statements


def _verdict(node: Node, words: Words) -> Verdict:
    chain = words[node.last].text if node.last > node.first else ""
    return Verdict(words[node.first].text, chain, _span(node, words))


def _match(node: Node, words: Words) -> Statement:
    left, right = node.nodes
    operator = node.children[1]
    text = words[operator].text if isinstance(operator, int) else ""
    return Match(_value(left, words), text, _value(right, words), _span(node, words))


def _verdict_map(node: Node, words: Words) -> Statement:
    key, target = node.nodes
    return VerdictMap(_value(key, words), _value(target, words), _span(node, words))


def _assignment(node: Node, words: Words) -> Statement:
    selector, value = node.nodes
    text = written(words, node.first, node.last)
    return Assignment(_selector(selector, words), _value(value, words), text, _span(node, words))


def _set_update(node: Node, words: Words) -> Statement:
    return _updating(words[node.first].text, words[node.first + 1].text, node, words)


def _meter(node: Node, words: Words) -> Statement:
    return _updating("meter", words[node.first + (1 if words[node.first].text == "meter" else 2)].text, node, words)


def _updating(operation: str, name: str, node: Node, words: Words) -> Statement:
    inner = words[node.last].inner
    tree = plan("update", shape(inner))
    if isinstance(tree, Malformed):
        raise Unreadable(unexpected(inner, tree, words[node.last].end - 1))
    values = [child for child in tree.nodes if child.name in _VALUES]
    inside = tuple(_action(c, inner) for c in tree.nodes if c.name not in _VALUES and c.name not in _OPTIONS)
    data = _value(values[1], inner) if len(values) > 1 else None
    text = written(words, node.first, node.last)
    return SetUpdate(operation, name, _value(values[0], inner), inside, text, _span(node, words), data)


def _old_set_update(node: Node, words: Words) -> Statement:
    key, *_ = node.nodes
    text = written(words, node.first, node.last)
    name = words[node.last].text
    return SetUpdate(words[node.first + 1].text, name, _value(key, words), (), text, _span(node, words))


def _nat(node: Node, words: Words) -> Statement:
    address: Value | None = None
    port: Value | None = None
    colon = False
    for child in node.children:
        if isinstance(child, int):
            colon = colon or words[child].kind == ":"
        elif colon:
            port = _value(child, words)
        else:
            address = _value(child, words)
    name = words[node.first].text
    if name in ("redirect", "masquerade") and address is not None:
        address, port = None, address
    return Nat(name, address, port, written(words, node.first, node.last), _span(node, words))


def _reject(node: Node, words: Words) -> Statement:
    kind = written(words, node.first + 2, node.last).replace(" type ", " ")
    return Reject(kind, written(words, node.first, node.last), _span(node, words))


def _action(node: Node, words: Words) -> Action:
    for child in node.nodes:  # what stands between braces is read, too
        if child.name in _VALUES:
            _value(child, words)
    return Action(node.name.replace("_", " "), written(words, node.first, node.last), _span(node, words))


_STATEMENTS: Mapping[str, Callable[[Node, Words], Statement]] = {
    "verdict": _verdict,
    "match": _match,
    "verdict_map": _verdict_map,
    "assignment": _assignment,
    "set_update": _set_update,
    "old_set_update": _old_set_update,
    "meter": _meter,
    "nat": _nat,
    "reject": _reject,
} | dict.fromkeys(
    (
        "counter", "limit", "quota", "ct_count", "last", "log", "queue", "tproxy", "dup", "fwd", "synproxy", "flow",
        "notrack", "xt", "tunnel", "reset",
    ),
    _action,
)  # fmt: skip

# -- elements

_OPTIONS = ("timeout", "expires", "comment")
_PLAIN = frozenset({WORD, STRING})


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
            if last < len(inner):
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
    tree = plan("element", shape(words))
    if isinstance(tree, Malformed):
        raise Unreadable(unexpected(words, tree, within="set"))
    key: Value | None = None
    data: Value | Verdict | None = None
    options: list[str] = []
    for node in tree.nodes:
        if node.name == "verdict":
            data = _verdict(node, words)
        elif node.name not in _VALUES:
            options.append(written(words, node.first, node.last))
        elif key is None:
            key = _value(node, words)
        else:
            data = _value(node, words)
    assert key is not None
    return Element(key, data, tuple(options), Span(words[0].start, words[-1].end))
