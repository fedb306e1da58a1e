"""A ruleset with some rules changed: other tests in the place of their state tests, or the rules taken out.

Several changes stand beside the original ruleset in a `Pair`, so that packets can be sent through both. Where one rule
is changed, only the packets that meet the change are sent again: the others fare as they do in the ruleset as it is.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from ruleaudit.analysis.alignment import Alignment
from ruleaudit.analysis.connection import Kind, tracked_as
from ruleaudit.analysis.pair import Pair, Seen, Side, may_match
from ruleaudit.analysis.row import union
from ruleaudit.analysis.space import Frame, Space
from ruleaudit.analysis.verdicts import ACCEPT
from ruleaudit.analysis.walk import (
    ABSENT,
    ABSENT_OF_OWN,
    PATHS,
    Identities,
    Walk,
    early_chains,
    effect_changes,
    is_log,
    mentions_state,
)
from ruleaudit.model.condition import ALWAYS, NEVER, Condition, Direction, States, tests
from ruleaudit.model.fields import State
from ruleaudit.model.ruleset import NOWHERE, Chain, Match, Rule, Ruleset, Table
from ruleaudit.packets.diagram import PacketSet, is_empty

#: what stands in the place of a rule's state tests; None: the rule goes
Changes = Mapping[Rule, Condition | None]


def without(ruleset: Ruleset, rules: frozenset[Rule]) -> Ruleset:
    """The ruleset without some of its rules."""
    return _with_chains(ruleset, dict.fromkeys(rules))


def variant(space: Space, side: Side, changes: Changes) -> Pair:
    """The ruleset (old) beside itself with some rules changed (new)."""
    heirs = {rule: _heir(rule, test) for rule, test in changes.items()}
    numbers = side.identities.numbers
    identities = _with_heirs(side.identities, {heir: numbers[rule] for rule, heir in heirs.items()})
    alignment = Alignment(side.identities, identities, tuple(changes), (), len(changes) > 1)
    return Pair(space, side.ruleset, _with_chains(side.ruleset, heirs), alignment)


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


def _with_heirs(identities: Identities, heirs: Mapping[Rule, int]) -> Identities:
    return Identities(_Heirs(identities.numbers, heirs), identities.origin or identities)


class _Heirs(dict[Rule, int]):
    """The numbers of a ruleset in which some rules were replaced."""

    def __init__(self, numbers: Mapping[Rule, int], heirs: Mapping[Rule, int]) -> None:
        self._numbers = numbers
        super().__init__(heirs)

    def __missing__(self, rule: Rule) -> int:
        return self._numbers[rule]


# -- one rule changed ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Again:
    """Packets that meet a change (`met`), or may do so, sent through both rulesets."""

    met: PacketSet
    before: Walk
    after: Walk

    @property
    def outcomes_differ(self) -> bool:
        """Some packet has another verdict, or another kind of it."""
        ours, theirs, none = self.before.outcomes, self.after.outcomes, self.before.none
        return any(not is_empty(self.met & (ours.get(k, none) ^ theirs.get(k, none))) for k in {*ours, *theirs})

    @property
    def accepted_otherwise(self) -> PacketSet:
        """The packets that only one ruleset accepts."""
        ours, theirs = (walk.outcomes.get(ACCEPT, walk.none) for walk in (self.before, self.after))
        return self.met & (ours ^ theirs)

    @property
    def marked_otherwise(self) -> PacketSet:
        """The packets that leave with another mark."""
        out = self.before.none
        for ours, theirs in zip(self.before.mark, self.after.mark, strict=True):
            if ours != theirs:
                out = out | (self.met & (ours ^ theirs))
        return out

    @property
    def affected_otherwise(self) -> PacketSet:
        """The packets that meet other effects, logs apart."""
        return otherwise_affected(self.before, self.after, self.met)

    @property
    def is_same(self) -> bool:
        """Every packet has the same outcome, mark and effects, logs apart."""
        if is_empty(self.met):
            return True
        return not self.outcomes_differ and is_empty(self.affected_otherwise) and is_empty(self.marked_otherwise)


class Changed:
    """A ruleset (`base`, beside itself) in which one rule is changed; conntrack stays on, whatever is left."""

    def __init__(self, base: Pair, rule: Rule, test: Condition | None) -> None:
        self.base, self.space, self.rule, self.test = base, base.space, rule, test
        heir, numbers = _heir(rule, test), base.old.identities.numbers
        identities = _with_heirs(base.old.identities, {heir: numbers[rule]})
        self.side = Side(_with_chains(base.old.ruleset, {rule: heir}), identities, base.old.active)
        self._roles: dict[str, dict[str, tuple[Seen, Again]]] = {}

    def free(self, path: str) -> Again:
        """The packets of a path, in every state that they can have."""
        return self.again(self.base.free(self.base.old, path), path, self.base.possible(path))

    def roles(self, kind: Kind) -> Mapping[str, tuple[Seen, Again]]:
        """The roles of a kind of connection: what the changed ruleset does with all packets, and those that meet it."""
        if kind.name not in self._roles:
            only, was = self.base.untracked_only, self.base.roles(kind, self.base.old)
            opening = self._seen(kind, "opening", was.opening, was.opening.walk.states)
            alone = only(opening[0])
            reply = self._seen(kind, "reply", was.reply, tracked_as(self.space, "reply", alone))
            alone = only(reply[0]) & ~alone
            later = self._seen(kind, "later", was.later, tracked_as(self.space, "later", alone))
            self._roles[kind.name] = {"opening": opening, "later": later, "reply": reply}
        return self._roles[kind.name]

    def _seen(self, kind: Kind, role: str, was: Seen, states: Mapping[State, PacketSet]) -> tuple[Seen, Again]:
        again = self.again(was.walk, kind.back if role == "reply" else kind.there, was.packets, states)
        accepted = (was.accepted & ~again.met) | again.after.outcomes.get(ACCEPT, self.space.none)
        untracked = (was.untracked & ~again.met) | (again.after.tag & again.met)
        return Seen(was.packets, accepted, untracked, again.after), again

    def again(
        self, before: Walk, path: str, packets: PacketSet, states: Mapping[State, PacketSet] | None = None
    ) -> Again:
        """The packets of a walk through the ruleset as it is, once more; conntrack may call them otherwise now."""
        known = states is None or states == before.states
        met = self._met(before, packets) if known else packets
        after = self.base.walk(self.side, before.frame, before.states if states is None else states, before.original)
        if not is_empty(met):
            after.run(PATHS[path], met)
        return Again(met, before, after)

    def _met(self, walk: Walk, packets: PacketSet) -> PacketSet:
        """Those of the packets of a walk that match the rule in one ruleset and may not in the other."""
        rule, space = self.rule, self.space
        if self.test is None and not rule.is_seen:
            return packets & walk.matched.get(rule, space.none)
        met = packets & self._may_match(walk.frame.reverse)
        asked = [m.condition for m in rule.matches if mentions_state(m.condition)]
        known = all(isinstance(test, States | Direction) for condition in asked for test in tests(condition))
        if self.test is None or not known or (rule.table, rule.chain) in self._early:
            return met
        # behind conntrack the state of a packet stays what it is, unless it is left untracked
        view, held = walk.view(), space.all
        for condition in asked:
            held = held & space.condition(condition, walk.frame, view)
        return met & ((held ^ space.condition(self.test, walk.frame, view)) | walk.tag)

    @cached_property
    def _early(self) -> frozenset[tuple[str, str]]:
        return early_chains(self.base.old.ruleset)

    def _may_match(self, reverse: bool) -> PacketSet:
        """What matches the rest of the rule at some hook."""
        absent = {*ABSENT.values(), *ABSENT_OF_OWN.values()}
        rest, out = _heir(self.rule, ALWAYS), self.space.none
        for fields in absent:
            out = out | may_match(self.space, rest, Frame("any", reverse, fields))
        return out


# -- does every packet fare the same? -----------------------------------------------------------------


def same_packets(free: Iterable[Again]) -> bool:
    """Every (header, state) of some paths has the same outcome and effects, logs apart."""
    return all(again.is_same for again in free)


def beside(pair: Pair) -> Iterator[Again]:
    """Both rulesets of a pair, path by path."""
    for path in PATHS:
        packets = pair.region & pair.possible(path)
        yield Again(packets, pair.free(pair.old, path), pair.free(pair.new, path))


def otherwise_affected(before: Walk, after: Walk, within: PacketSet) -> PacketSet:
    """The packets that meet other effects, or other limits and lists; logs apart."""
    return union([found for _, found in effect_changes(before, after, within, lambda k: not is_log(k))], before.none)
