"""Hooks, types and priorities of chains, for each family (nft(8), CHAINS)."""

from collections.abc import Sequence

from ruleaudit.source import Span
from ruleaudit.syntax.nft_tokens import STRING, Token
from ruleaudit.syntax.numbers import decimal
from ruleaudit.syntax.problem import Problem
from ruleaudit.syntax.refusal import did_you_mean

CHAIN_TYPES = ("filter", "nat", "route")
POLICIES = ("accept", "drop")
_IP_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
HOOKS = {
    "ip": _IP_HOOKS,
    "ip6": _IP_HOOKS,
    "inet": ("ingress", *_IP_HOOKS),
    "bridge": _IP_HOOKS,
    "arp": ("input", "output"),
    "netdev": ("ingress", "egress"),
}
_NAT_HOOKS = ("prerouting", "input", "output", "postrouting")
_PRIORITIES = {"raw": -300, "mangle": -150, "dstnat": -100, "filter": 0, "security": 50, "srcnat": 100}
_BRIDGE_PRIORITIES = {"dstnat": -300, "filter": -200, "out": 100, "srcnat": 300}
#: of the families arp and netdev
_OTHER_PRIORITIES = {"filter": 0}
#: the hooks at which alone a name of a priority has a meaning
_ONLY_AT = {"dstnat": ("prerouting", "output"), "srcnat": ("postrouting", "input"), "out": ("output",)}


def hook_problem(family: str, kind: Token, hook: Token) -> Problem | None:
    """What is wrong with the hook and the type of a chain."""
    hooks = HOOKS.get(family, _IP_HOOKS)
    place = Span(hook.start, hook.end)
    if hook.text not in hooks:
        known = {word for words in HOOKS.values() for word in words}
        where = f" of family {family}" if hook.text in known else ""
        hint = did_you_mean(hook.text, hooks) or f"one of {', '.join(hooks)}"
        return Problem(place, f'"{hook.text}" is no hook{where}', hint)
    if kind.text == "nat" and family not in ("ip", "ip6", "inet"):
        return Problem(Span(kind.start, kind.end), f"family {family} has no chains of type nat")
    if kind.text == "nat" and hook.text not in _NAT_HOOKS:
        return Problem(place, f"a chain of type nat cannot be at hook {hook.text}", f"one of {', '.join(_NAT_HOOKS)}")
    if kind.text == "route" and family not in ("ip", "ip6", "inet"):
        return Problem(Span(kind.start, kind.end), f"family {family} has no chains of type route")
    if kind.text == "route" and hook.text != "output":
        return Problem(place, f"a chain of type route is at hook output, not at {hook.text}")
    return None


def names_of(family: str) -> dict[str, int]:
    """The names of priorities in a family."""
    if family == "bridge":
        return _BRIDGE_PRIORITIES
    return _PRIORITIES if family in ("ip", "ip6", "inet") else _OTHER_PRIORITIES


def priority(family: str, hook: str, kind: str, words: Sequence[Token], before: Token, problems: list[Problem]) -> int:
    """`filter - 10`, `-150`, `dstnat`: the number; what is wrong is added to the problems."""
    texts = [word.text for word in words]
    signs = {"-": -1, "+": 1}
    value = 0
    if not texts:
        problems.append(
            Problem(Span(before.start, before.end), "the priority is missing", "a number or a name such as filter")
        )
        return 0
    place = Span(words[0].start, words[-1].end)
    if words[0].kind == STRING:
        problems.append(Problem(place, f'"{texts[0]}" in quotes is no priority', f"write {texts[0]}"))
        return 0
    if texts[0] == "-" and len(texts) == 2:
        texts = [f"{texts[0]}{texts[1]}"]
    if len(texts) not in (1, 3) or (len(texts) == 3 and (texts[1] not in signs or decimal(texts[2]) is None)):
        hint = 'a ";" is missing before it' if words[-1].text in POLICIES or len(texts) > 3 else ""
        strange = words[min(3 if len(texts) > 3 and texts[1] in signs else 1, len(words) - 1)]
        if strange.text not in ("policy", "device", "devices", *signs):
            hint = ""
        problems.append(Problem(Span(strange.start, words[-1].end), f'"{" ".join(texts)}" is no priority', hint))
        return 0
    names = names_of(family)
    if _number(texts[0]) is not None:
        value = _number(texts[0]) or 0
    elif texts[0] in names:
        value = names[texts[0]]
        allowed = _ONLY_AT.get(texts[0]) if family != "bridge" or texts[0] == "out" else None
        if allowed and hook not in allowed and not (texts[0] == "srcnat" and hook == "input"):
            message = f'the priority "{texts[0]}" is none of hook {hook}'
            problems.append(Problem(place, message, f"{texts[0]} is at {', '.join(allowed)}; write {value}"))
    else:
        hint = did_you_mean(texts[0], names) or f"a number, or {', '.join(names)}"
        problems.append(Problem(place, f'"{texts[0]}" is no priority of family {family}', hint))
        return 0
    if len(texts) == 3:
        value += signs[texts[1]] * (decimal(texts[2]) or 0)
    if kind == "nat" and value <= -200:
        message = f"a chain of type nat needs a priority above -200, where connection tracking is; this is {value}"
        problems.append(Problem(place, message))
    return value


def _number(text: str) -> int | None:
    digits = decimal(text.removeprefix("-").removeprefix("+"))
    return -digits if digits is not None and text[0] == "-" else digits
