"""Chains that do the same in every walk: what they do with all packets is found once, and a walk only cuts it out.

A chain is settled when none of its rules, nor of those that it leads to, asks what hangs on the walk (the state, the
direction, the mark) or changes who is tracked. kube-proxy writes thousands of such chains, which every connection may
pass.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from weakref import WeakKeyDictionary

from ruleaudit.analysis.space import BY_RULE, DYNAMIC, needs
from ruleaudit.model.condition import Never
from ruleaudit.model.ruleset import Chain, EffectKind, Rule, Table, Unknown


@dataclass(frozen=True, eq=False)
class Settled:
    """A settled chain with what it leads to: one for each chain, as long as these are the same."""

    needs: int  #: what packets meet depends on the hook, their role, or on which rules these are (`space.needs`)


#: the settled chains by what they call, for each chain; changed rulesets share the chains that did not change
_made: WeakKeyDictionary[Chain, dict[tuple[Settled, ...], Settled]] = WeakKeyDictionary()
_of_tables: WeakKeyDictionary[Table, "_Calls"] = WeakKeyDictionary()


def settled(table: Table, name: str) -> Settled | None:
    """What tells a settled chain from others; None where there is no such chain, or it is not settled."""
    return _calls(table).settled(name)


def is_shared(table: Table, name: str) -> bool:
    """More than one rule leads to a chain."""
    return _calls(table).callers[name] > 1


def _calls(table: Table) -> "_Calls":
    found = _of_tables.get(table)
    if found is None:
        found = _of_tables[table] = _Calls(table.chains)
    return found


class _Calls:
    """Which chains of a table are settled, and how many rules lead to each."""

    def __init__(self, chains: Mapping[str, Chain]) -> None:
        self._chains = chains
        self._known: dict[str, Settled | None] = {}
        self.callers = Counter(rule.leads_to for chain in chains.values() for rule in chain.rules if rule.leads_to)

    def settled(self, name: str) -> Settled | None:
        if name not in self._known:
            self._known[name] = None  # a chain that leads to itself is none
            self._known[name] = self._found(name)
        return self._known[name]

    def _found(self, name: str) -> Settled | None:
        chain = self._chains.get(name)
        if chain is None:
            return None
        rules = [rule for rule in chain.rules if not isinstance(rule.condition, Never)]
        if not all(map(_is_settled, rules)):
            return None
        called = dict.fromkeys(rule.leads_to for rule in rules if rule.leads_to)
        below = tuple(s for s in map(self.settled, called) if s is not None)
        if len(below) < len(called):
            return None
        made = _made.setdefault(chain, {})
        if below not in made:
            made[below] = Settled(reduce(or_, (*(s.needs for s in below), *map(_needs, rules)), 0))
        return made[below]


def _is_settled(rule: Rule) -> bool:
    """Whom the rule matches, and what it does to them, is the same in every walk, but for role and hook."""
    if isinstance(rule.verdict, Unknown) or needs(rule.condition) & DYNAMIC:
        return False
    if any(match.consumer is not None or match.writes is not None for match in rule.matches):
        return False
    for effect in rule.effects:
        if effect.kind in (EffectKind.NOTRACK, EffectKind.TRACK, EffectKind.ZONE):
            return False
        if effect.kind is EffectKind.MARK and effect.mask is None:
            return False
    return True


def _needs(rule: Rule) -> int:
    if any(match.memory for match in rule.matches) or any(e.kind is EffectKind.WRITE for e in rule.effects):
        return needs(rule.condition) | BY_RULE
    return needs(rule.condition)
