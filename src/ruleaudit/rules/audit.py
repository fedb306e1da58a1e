"""What every lint rule looks at: one file, its model, who needs tracking in it, and facts that are computed once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from ruleaudit.analysis import fragments
from ruleaudit.analysis.alignment import Alignment
from ruleaudit.analysis.compare import CHECKS
from ruleaudit.analysis.left import Left
from ruleaudit.analysis.pair import Pair
from ruleaudit.analysis.space import Space
from ruleaudit.analysis.spare import Spares
from ruleaudit.analysis.tracking import called_from_outside
from ruleaudit.analysis.variant import Changes, variant
from ruleaudit.analysis.walk import Identities, Walk, called_chains, conntrack_users, early_chains, is_tracking
from ruleaudit.diagnostics import Finding, FixClass, Severity
from ruleaudit.model.condition import NEVER
from ruleaudit.model.ruleset import Chain, EffectKind, Rule, Ruleset, Unknown
from ruleaudit.results import Difference, DifferenceKind, Tracking
from ruleaudit.results.expectation import Unmet
from ruleaudit.source import SourceFile

#: differences that no connection is concerned by
_OF_NONE = (DifferenceKind.STRAY, DifferenceKind.UNTRACKED)


@dataclass(frozen=True)
class Untracked:
    """A ruleset in which no connection needs tracking.

    changes     the rules that ask conntrack all the same, and what may stand in the place of their tests
    kind        what taking all of that out amounts to
    fragments   what is lost once nobody puts fragments together any more, if something is
    """

    changes: Changes
    kind: FixClass
    fragments: Difference | None


@dataclass(frozen=True)
class Audit:
    """One file to be judged.

    whole   the ruleset beside itself, in the region of all packets
    read    the findings that reading it gave
    twin    the rules of the other family
    unmet   the expectations of the configuration that do not hold
    """

    source: SourceFile
    ruleset: Ruleset
    tracking: Tracking
    whole: Pair
    read: tuple[Finding, ...] = ()
    twin: Ruleset | None = None
    unmet: tuple[Unmet, ...] = ()

    @cached_property
    def called(self) -> frozenset[tuple[str, str]]:
        """(table, chain) of every chain that some packet can get to."""
        return called_chains(self.ruleset)

    def early_rules(self) -> Iterator[tuple[Chain, Rule]]:
        """The rules that packets can meet before conntrack looks at them."""
        for table, name in sorted(early_chains(self.ruleset)):
            chain = self.ruleset.tables[table].chains[name]
            for rule in chain.rules:
                yield chain, rule

    @cached_property
    def notracks(self) -> tuple[Rule, ...]:
        """The rules that leave packets untracked; none if nothing here has the kernel track at all."""
        rules = tuple(r for r in self.ruleset.rules() if any(e.kind is EffectKind.NOTRACK for e in r.effects))
        return rules if rules and is_tracking(self.ruleset) else ()

    @cached_property
    def loads(self) -> bool:
        """Reading the file met no error: no rule is missing, and none says less than its author wrote."""
        return all(finding.severity is not Severity.ERROR for finding in self.read)

    @cached_property
    def conntrack_users(self) -> frozenset[Rule]:
        """The rules that switch tracking on."""
        return frozenset(conntrack_users(self.ruleset))

    @cached_property
    def left(self) -> Left:
        """What each rule is left with of all packets that could be."""
        return Left(self.space, self.ruleset)

    @cached_property
    def spares(self) -> Spares:
        """The rules that could be deleted."""
        return Spares(self.left)

    @property
    def space(self) -> Space:
        return self.whole.space

    def free(self, path: str) -> Walk:
        """Every packet in every state that it can have, sent along a path."""
        return self.whole.free(self.whole.old, path)

    @cached_property
    def by_accident(self) -> "Untracked | None":
        """What the rules that ask conntrack are good for, where they track and nothing needs it; None everywhere else,
        and where another owner of rules may call a chain.
        """
        if self._may_be_a_part or self.tracking.required or not is_tracking(self.ruleset):
            return None
        users = conntrack_users(self.ruleset)
        instead = {j.rule: None if j.instead in (None, NEVER) else j.instead for j in self.tracking.judgements}
        changes = {rule: instead.get(rule) for rule in users}
        pair = variant(self.space, self.whole.old, changes)
        ruleset = replace(pair.new.ruleset, tracks=())
        if is_tracking(ruleset):
            return None
        pair = Pair(self.space, self.ruleset, ruleset, pair.alignment)
        kind = FixClass.SAME_CONNECTIONS
        for difference in (d for check in CHECKS if check is not fragments.check for d in check(pair)):
            if not isinstance(difference, Difference) or difference.kind not in _OF_NONE:
                return None
            if difference.loosens is FixClass.RELAXING:
                kind = FixClass.RELAXING
        pieces = next((d for d in fragments.check(pair) if isinstance(d, Difference)), None)
        return Untracked(changes, kind, pieces)

    @property
    def _may_be_a_part(self) -> bool:
        """Other rules are known to be loaded beside these, or may call their chains; or nobody loads these at all."""
        tables = self.ruleset.tables.values()
        if (
            self.ruleset.partial
            or not self.loads
            or any(called_from_outside(name) for table in tables for name in table.chains)
        ):
            return True
        if any(isinstance(rule.verdict, Unknown) for rule in self.ruleset.rules()):
            return True
        # a table of user chains alone is filled up by another file
        return any(all(chain.hook is None for chain in table.chains.values()) for table in tables)

    @cached_property
    def untracking(self) -> Pair:
        """The ruleset with its notrack rules taken back (old) beside the ruleset (new): what differs is their work."""
        tracked, identities = self.changed({rule: without_notrack(rule) for rule in self.notracks})
        return Pair(
            self.space, tracked, self.ruleset, Alignment(identities, identities, self.notracks, self.notracks, False)
        )

    def changed(self, heirs: Mapping[Rule, Rule]) -> tuple[Ruleset, Identities]:
        """The ruleset with other rules in the place of some, and numbers for both: an heir has that of its rule."""
        own = Identities.of(self.ruleset)
        numbers = {**own.numbers, **{heir: own.numbers[rule] for rule, heir in heirs.items()}}
        changed = {(rule.table, rule.chain) for rule in heirs}

        def with_heirs(chain: Chain) -> Chain:
            if (chain.table, chain.name) not in changed:
                return chain
            return replace(chain, rules=tuple(heirs.get(rule, rule) for rule in chain.rules))

        tables = {
            name: replace(table, chains={chain.name: with_heirs(chain) for chain in table.chains.values()})
            if any(changed_in == name for changed_in, _ in changed)
            else table
            for name, table in self.ruleset.tables.items()
        }
        return replace(self.ruleset, tables=tables), Identities(numbers, own)

    def original(self, rule: Rule) -> Rule:
        """The file's own rule for a rule of either side of `untracking`."""
        number = self.untracking.old.identities.numbers[rule]
        return self._by_number[number]

    @cached_property
    def _by_number(self) -> dict[int, Rule]:
        return {number: rule for rule, number in Identities.of(self.ruleset).numbers.items()}


def without_notrack(rule: Rule) -> Rule:
    """A notrack rule without its effect."""
    return replace(rule, effects=tuple(e for e in rule.effects if e.kind is not EffectKind.NOTRACK))
