"""The statements of a rule, made of its words by the plan of its shape (nft(8), STATEMENTS)."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, cast

from ruleaudit.source import Span
from ruleaudit.syntax.nft_shapes import Malformed, Node, plan
from ruleaudit.syntax.nft_tree import (
    Action,
    Assignment,
    Match,
    Nat,
    Reject,
    SetUpdate,
    Statement,
    Value,
    VerdictMap,
)
from ruleaudit.syntax.nft_unexpected import unexpected
from ruleaudit.syntax.nft_values import (
    OPTIONS,
    VALUES,
    Unreadable,
    Words,
    selector,
    shape,
    span_of,
    value,
    verdict,
    written,
)
from ruleaudit.syntax.problem import Problem


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
            if node.last + 1 < len(words):
                behind = words[node.last + 1]
                place = Span(behind.start, behind.end)
                raise Unreadable(Problem(place, f'unexpected "{behind.text}"', "the comment comes last"))
            comment = words[node.last].text
            kept = [w for i, w in enumerate(words) if not node.first <= i <= node.last]
            normal = written(kept, 0, len(kept) - 1)
        else:
            statements.append(_STATEMENTS[node.name](node, words))
    return Read(tuple(statements), normal, comment)


# -- statements


def _match(node: Node, words: Words) -> Statement:
    left, right = node.nodes
    operator = node.children[1]
    text = words[operator].text if isinstance(operator, int) else ""
    return Match(value(left, words), text, value(right, words), span_of(node, words))


def _verdict_map(node: Node, words: Words) -> Statement:
    key, target = node.nodes
    return VerdictMap(value(key, words), value(target, words), span_of(node, words))


def _assignment(node: Node, words: Words) -> Statement:
    target, given = node.nodes
    text = written(words, node.first, node.last)
    return Assignment(selector(target, words), value(given, words), text, span_of(node, words))


def _set_update(node: Node, words: Words) -> Statement:
    return _updating(words[node.first].text, words[node.first + 1].text, node, words)


def _meter(node: Node, words: Words) -> Statement:
    return _updating("meter", words[node.first + (1 if words[node.first].text == "meter" else 2)].text, node, words)


def _updating(operation: str, name: str, node: Node, words: Words) -> Statement:
    inner = words[node.last].inner
    tree = plan("update", shape(inner))
    if isinstance(tree, Malformed):
        raise Unreadable(unexpected(inner, tree, words[node.last].end - 1))
    values = [child for child in tree.nodes if child.name in VALUES]
    inside = tuple(_action(c, inner) for c in tree.nodes if c.name not in VALUES and c.name not in OPTIONS)
    data = value(values[1], inner) if len(values) > 1 else None
    text = written(words, node.first, node.last)
    return SetUpdate(operation, name, value(values[0], inner), inside, text, span_of(node, words), data)


def _old_set_update(node: Node, words: Words) -> Statement:
    key, *_ = node.nodes
    text = written(words, node.first, node.last)
    name = words[node.last].text
    return SetUpdate(words[node.first + 1].text, name, value(key, words), (), text, span_of(node, words))


def _nat(node: Node, words: Words) -> Statement:
    address: Value | None = None
    port: Value | None = None
    colon = False
    for child in node.children:
        if isinstance(child, int):
            colon = colon or words[child].kind == ":"
        elif colon:
            port = value(child, words)
        else:
            address = value(child, words)
    name = words[node.first].text
    if name in ("redirect", "masquerade") and address is not None:
        address, port = None, address
    return Nat(name, address, port, written(words, node.first, node.last), span_of(node, words))


def _reject(node: Node, words: Words) -> Statement:
    kind = written(words, node.first + 2, node.last).replace(" type ", " ")
    return Reject(kind, written(words, node.first, node.last), span_of(node, words))


def _action(node: Node, words: Words) -> Action:
    for child in node.nodes:  # what stands between braces is read, too
        if child.name in VALUES:
            value(child, words)
    return Action(node.name.replace("_", " "), written(words, node.first, node.last), span_of(node, words))


_STATEMENTS: Mapping[str, Callable[[Node, Words], Statement]] = {
    "verdict": verdict,
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
