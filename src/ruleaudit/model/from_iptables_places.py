"""Extensions that only some base chains may use, in user chains that others lead to: the kernel refuses the table."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from ruleaudit.matches import MATCHES
from ruleaudit.model.ruleset import IPTABLES_HOOKS, Accept, Drop, Goto, Jump, Return, Rule
from ruleaudit.source import Span
from ruleaudit.targets import TARGETS

#: verdicts that are allowed in every chain
_ANYWHERE = (Accept, Drop, Return, Jump, Goto)
_USE = re.compile(r"(?:^|[ \t])-(?:[mj]|-match|-jump)[ \t]+(\S+)(?=[ \t]|$)")


def misplaced(table: str, chains: Mapping[str, Sequence[Rule]]) -> Iterator[tuple[str, Span]]:
    """What is wrong, and the rule with which it becomes so: the last of the jumps and the rule that they lead to."""
    base = IPTABLES_HOOKS.get(table, {})
    uses = [
        (rule, name)
        for chain, rules in chains.items()
        if chain not in base
        for rule in rules
        if rule.effects or not isinstance(rule.verdict, _ANYWHERE) or any(_allowed(m.name) for m in rule.matches)
        for name in _USE.findall(rule.text)
        if _allowed(name)
    ]
    if not uses:
        return
    for start in base:
        ways = _ways(start, chains)
        for rule, name in uses:
            way = ways.get(rule.chain)
            if way is not None and start not in _allowed(name):
                last = max((*way, rule), key=lambda r: r.line)
                where = f"{name} in chain {rule.chain} (line {rule.line})" if last is not rule else name
                yield f"{where} is allowed in {', '.join(_allowed(name))} only, and {start} leads here", last.span
                break


@cache
def _allowed(name: str) -> tuple[str, ...]:
    """The base chains in which an extension is allowed; none: it is allowed everywhere, or it is a chain."""
    extension = TARGETS.get(name) or MATCHES.get(name)
    return extension.chains if extension else ()


def _ways(start: str, chains: Mapping[str, Sequence[Rule]]) -> dict[str, tuple[Rule, ...]]:
    """The jumps that lead from a base chain to each chain."""
    ways: dict[str, tuple[Rule, ...]] = {start: ()}
    todo = [start]
    while todo:
        chain = todo.pop()
        for rule in chains.get(chain, ()):
            if isinstance(rule.verdict, (Jump, Goto)) and rule.verdict.chain not in ways:
                ways[rule.verdict.chain] = (*ways[chain], rule)
                todo.append(rule.verdict.chain)
    return ways
