"""A ruleset with some rules changed: other tests in the place of their state tests, or the rules taken out.

The changed ruleset stands beside the original one in a `Pair`, so that packets can be sent through both.
"""

from collections.abc import Mapping
from dataclasses import replace

from ruleaudit.analysis.alignment import Alignment
from ruleaudit.analysis.connection import possible_states
from ruleaudit.analysis.pair import Pair, Side
from ruleaudit.analysis.space import Space
from ruleaudit.analysis.walk import PATHS, EffectKey, Identities, Walk, mentions_state
from ruleaudit.model.condition import NEVER, Condition
from ruleaudit.model.ruleset import NOWHERE, Chain, EffectKind, Match, Rule, Ruleset, Table
from ruleaudit.packets.diagram import PacketSet, is_empty

#: what stands in the place of a rule's state tests; None: the rule goes
Changes = Mapping[Rule, Condition | None]


def without(ruleset: Ruleset, rules: frozenset[Rule]) -> Ruleset:
    """The ruleset without some of its rules."""
    return _with_chains(ruleset, dict.fromkeys(rules))


def variant(space: Space, side: Side, changes: Changes, *, tracked: bool = True) -> Pair:
    """The ruleset (old) beside itself with some rules changed (new).

    `tracked`: conntrack stays on, whether or not a rule is left that asks for it.
    """
    heirs = {rule: _heir(rule, test) for rule, test in changes.items()}
    numbers = side.identities.numbers
    identities = Identities(_Heirs(numbers, {heir: numbers[rule] for rule, heir in heirs.items()}))
    alignment = Alignment(side.identities, identities, tuple(changes), (), len(changes) > 1)
    pair = Pair(space, side.ruleset, _with_chains(side.ruleset, heirs), alignment)
    if tracked:
        pair.new = replace(pair.new, active=pair.old.active)
    return pair


def _heir(rule: Rule, test: Condition | None) -> Rule:
    if test is None:
        nothing = Match("", NOWHERE, NEVER)
        return replace(rule, matches=(nothing,), effects=(), consumers=(), text=f"{rule.text}\0-")
    matches = tuple(
        m._replace(name="", condition=test, consumer=None) if mentions_state(m.condition) else m for m in rule.matches
    )
    return replace(rule, matches=matches, text=f"{rule.text}\0{test!r}")


def _with_chains(ruleset: Ruleset, heirs: Mapping[Rule, Rule | None]) -> Ruleset:
    """The ruleset with heirs in the place of some rules; those without one are gone."""
    changed = {(rule.table, rule.chain) for rule in heirs}
    tables: dict[str, Table] = dict(ruleset.tables)
    for name in {table for table, _ in changed}:
        chains: dict[str, Chain] = dict(tables[name].chains)
        for chain in (chains[c] for table, c in changed if table == name):
            rules = (heirs.get(rule, rule) for rule in chain.rules)
            chains[chain.name] = replace(chain, rules=tuple(rule for rule in rules if rule is not None))
        tables[name] = replace(tables[name], chains=chains)
    return replace(ruleset, tables=tables)


class _Heirs(dict[Rule, int]):
    """The numbers of a ruleset in which some rules were replaced."""

    def __init__(self, numbers: Mapping[Rule, int], heirs: Mapping[Rule, int]) -> None:
        self._numbers = numbers
        super().__init__(heirs)

    def __missing__(self, rule: Rule) -> int:
        return self._numbers[rule]


# -- does every packet fare the same? -----------------------------------------------------------------


def same_packets(pair: Pair) -> bool:
    """Every (header, state) has the same outcome and effects, logs apart."""
    for path in PATHS:
        before, after = (pair.free(side, path) for side in (pair.old, pair.new))
        if outcomes_differ(before, after) or not is_empty(effect_changes(before, after, pair.space.all)):
            return False
        packets = pair.region & pair.domain(path, False) & possible_states(pair.space, pair.helpers)
        if any(a != b and not is_empty(packets & (a ^ b)) for a, b in zip(before.mark, after.mark, strict=True)):
            return False
    return True


def outcomes_differ(before: Walk, after: Walk) -> bool:
    """Some packet has another verdict, or another kind of it."""
    keys = {*before.outcomes, *after.outcomes}
    none = before.none
    return any(not is_empty(before.outcomes.get(k, none) ^ after.outcomes.get(k, none)) for k in keys)


def effect_changes(before: Walk, after: Walk, within: PacketSet) -> PacketSet:
    """The packets that meet other effects, or other limits and lists; logs apart."""
    none = before.none
    out = none
    for ours, theirs in ((before.effects, after.effects), (before.evaluated, after.evaluated)):
        for key in {*ours, *theirs}:
            if not _is_log(key):
                out = out | (within & (ours.get(key, none) ^ theirs.get(key, none)))
    return out


def _is_log(key: EffectKey) -> bool:
    return key[0] in ("log", EffectKind.LOG)
