"""Where a statement may be: the hooks at which the kernel takes it, in the chains there and in those that they call."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from ruleaudit.source import Span
from ruleaudit.syntax.nft_tree import (
    Action,
    Assignment,
    Braces,
    Chain,
    Concat,
    Element,
    Lookup,
    Match,
    Nat,
    Operation,
    Reject,
    Selector,
    SetName,
    SetUpdate,
    Several,
    Statement,
    Table,
    Value,
    Verdict,
    VerdictMap,
)
from ruleaudit.syntax.problem import Problem

#: the kernel follows this many calls
_DEEPEST = 15
_PRE, _IN, _FORWARD, _OUT, _POST = "prerouting", "input", "forward", "output", "postrouting"
#: the hooks of the families ip, ip6 and inet
_NAT_HOOKS: Mapping[str, tuple[str, ...]] = {
    "snat": (_IN, _POST),
    "dnat": (_PRE, _OUT),
    "redirect": (_PRE, _OUT),
    "masquerade": (_POST,),
}
_ACTION_HOOKS: Mapping[str, tuple[str, ...]] = {
    "tproxy": (_PRE,),
    "synproxy": (_IN, _FORWARD),
    "flow": (_FORWARD,),
}
_SELECTOR_HOOKS: Mapping[str, tuple[str, ...]] = {
    "rt mtu": (_FORWARD, _OUT, _POST),
    "meta sdif": (_IN, _FORWARD),
    "meta sdifname": (_IN, _FORWARD),
    "meta ipsec": (_PRE, _IN, _FORWARD),
    "meta secpath": (_PRE, _IN, _FORWARD),
    "ipsec in": (_PRE, _IN, _FORWARD),
    "ipsec out": (_FORWARD, _OUT, _POST),
    "socket": (_PRE, _IN, _OUT),
    "osf": (_PRE, _IN, _FORWARD),
}
_BRIDGE_CHANGES = ("meta broute", "meta ibrhwaddr")


class _Need(NamedTuple):
    """What stands only at some hooks, and whether it needs a chain of type nat."""

    what: str
    span: Span
    hooks: tuple[str, ...]
    nat: bool = False


def check_calls(table: Table, say: Callable[[Problem], None]) -> None:
    """What stands where the kernel does not take it; chains that call each other without end."""
    calls = {name: list(_calls(table, chain)) for name, chain in table.chains.items()}
    bases = [chain for chain in table.chains.values() if chain.hook]
    for base in bases:
        too_deep = _too_deep(base, calls)
        if too_deep is not None:
            say(too_deep)
            return
    needs = {name: list(_needs(table, chain)) for name, chain in table.chains.items()}
    said: set[Span] = set()
    for base in bases:
        for name in _reached(base.name, calls):
            for need in needs.get(name, ()):
                problem = _misplaced(need, base, name)
                if problem is not None and need.span not in said:
                    said.add(need.span)
                    say(problem)


def _misplaced(need: _Need, base: Chain, name: str) -> Problem | None:
    called = f": chain {name} is called from {base.name}" if name != base.name else ""
    if need.nat and base.kind != "nat":
        return Problem(
            need.span, f"{need.what} stands in chains of type nat, not of type {base.kind}{called}", "type nat hook ..."
        )
    if base.hook in need.hooks:
        return None
    where = " or ".join(need.hooks)
    return Problem(need.span, f"{need.what} cannot be at hook {base.hook}{called}", f"it is at {where}")


# -- which chain calls which


def _calls(table: Table, chain: Chain) -> Iterator[tuple[str, Span]]:
    """The chains that a chain calls, and where it does so."""
    for rule in chain.rules:
        for statement in rule.statements:
            match statement:
                case Verdict(name, target, span) if name in ("jump", "goto"):
                    yield target, span
                case VerdictMap(_, target, span):
                    for element in _elements(table, target):
                        if isinstance(element.data, Verdict) and element.data.chain:
                            yield element.data.chain, span
                case _:
                    pass


def _elements(table: Table, target: Value) -> Sequence[Element]:
    match target:
        case Braces(elements, _):
            return elements
        case SetName(name, _) if name in table.sets:
            return table.sets[name].elements
        case _:
            return ()


def _reached(start: str, calls: Mapping[str, Sequence[tuple[str, Span]]]) -> list[str]:
    """A chain and all that it calls, directly or not."""
    out, waiting = [start], [start]
    known = {start}
    while waiting:
        for target, _ in calls.get(waiting.pop(), ()):
            if target not in known:
                known.add(target)
                out.append(target)
                waiting.append(target)
    return out


def _too_deep(base: Chain, calls: Mapping[str, Sequence[tuple[str, Span]]]) -> Problem | None:
    """The call that goes deeper than the kernel follows."""
    level = {base.name}
    for depth in range(_DEEPEST + 1):
        following: dict[str, tuple[str, Span]] = {}
        for name in sorted(level):
            for target, span in calls.get(name, ()):
                following.setdefault(target, (name, span))
        if depth == _DEEPEST and following:
            for target, (name, span) in following.items():
                if name in _reached(target, calls):
                    return Problem(span, f"chain {name} comes back to itself: a circle of calls")
            _, span = next(iter(following.values()))
            return Problem(span, f"from chain {base.name}, this call is {_DEEPEST + 1} deep: at most {_DEEPEST} are")
        level = set(following)
    return None


# -- what stands in a chain


def _needs(table: Table, chain: Chain) -> Iterator[_Need]:
    if table.family in ("ip", "ip6", "inet"):
        for rule in chain.rules:
            for statement in rule.statements:
                yield from _needs_of(statement)
    elif table.family == "bridge":
        for rule in chain.rules:
            for statement in rule.statements:
                if isinstance(statement, Assignment) and statement.selector.text in _BRIDGE_CHANGES:
                    yield _Need(f"{statement.selector.text} set", statement.span, (_PRE,))


def _needs_of(statement: Statement) -> Iterator[_Need]:
    match statement:
        case Nat(name, _, _, _, span):
            yield _Need(name, Span(span.start, span.start + len(name)), _NAT_HOOKS[name], True)
        case Reject(_, _, span):
            yield _Need("reject", span, ("ingress", _PRE, _IN, _FORWARD, _OUT))
        case Action(name, _, span) if name in _ACTION_HOOKS:
            yield _Need(name, span, _ACTION_HOOKS[name])
        case Assignment(selector, value, _, span):
            if selector.text == "meta pkttype":
                yield _Need("meta pkttype set", span, (_PRE,))
            yield from _needs_of_value(value)
        case Match(left, _, right, _):
            yield from _needs_of_value(left)
            yield from _needs_of_value(right)
        case VerdictMap(key, _, _) | SetUpdate(_, _, key):
            yield from _needs_of_value(key)
        case _:
            pass


def _needs_of_value(value: Value) -> Iterator[_Need]:
    match value:
        case Selector(text, span):
            hooks = _selector_hooks(text)
            if hooks:
                yield _Need(text, span, hooks)
        case Concat(parts, _) | Several(parts, _):
            for part in parts:
                yield from _needs_of_value(part)
        case Operation(_, left, right, _):
            yield from _needs_of_value(left)
            yield from _needs_of_value(right)
        case Lookup(key, _, _):
            yield from _needs_of_value(key)
        case _:
            pass


@cache
def _selector_hooks(text: str) -> tuple[str, ...]:
    words = text.split(" ")
    if words[0] == "fib":
        keys = words[1:-1:2]
        if words[-1] in ("oif", "oifname", "check"):
            return (_PRE, _IN, _FORWARD)
        if "iif" in keys:
            return (_PRE, _IN, _FORWARD)
        return (_FORWARD, _OUT, _POST) if "oif" in keys else ()
    return _SELECTOR_HOOKS.get(text) or _SELECTOR_HOOKS.get(" ".join(words[:2])) or _SELECTOR_HOOKS.get(words[0]) or ()
