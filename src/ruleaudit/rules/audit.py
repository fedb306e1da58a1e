"""What every lint rule looks at: one file, its model, who needs tracking in it, and facts that are computed once."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from ruleaudit.analysis.alignment import Alignment
from ruleaudit.analysis.left import Left
from ruleaudit.analysis.pair import Pair
from ruleaudit.analysis.space import Space
from ruleaudit.analysis.spare import Spares
from ruleaudit.analysis.walk import Identities, called_chains, conntrack_users, early_chains, is_tracking
from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.model.ruleset import Chain, EffectKind, Rule, Ruleset
from ruleaudit.results import Tracking, Unmet
from ruleaudit.source import SourceFile

#: rules that are named by their place: they would mean others when one is gone
_NUMBERED = re.compile(
    r"^[ \t]*(?:-[IDR]\s|(?:insert|delete|replace)\s+rule\b)|^[^#\n]*\b(?:index|position)\s+\d", re.MULTILINE
)


@dataclass(frozen=True)
class Audit:
    """One file to be judged; `read` are the findings that reading it gave, `twin` the rules of the other family,
    `unmet` the expectations of the configuration that do not hold.
    """

    source: SourceFile
    ruleset: Ruleset
    tracking: Tracking
    space: Space
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
    def is_numbered(self) -> bool:
        """Some rules of the text are called by their numbers."""
        return _NUMBERED.search(self.source.text) is not None

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

    @cached_property
    def whole(self) -> Pair:
        """The ruleset beside itself, in the region of all packets."""
        return Pair.alone(self.space, self.ruleset)

    @cached_property
    def untracking(self) -> Pair:
        """The ruleset with its notrack rules taken back (old) beside the ruleset (new): what differs is their work."""
        numbers = dict(Identities.of(self.ruleset).numbers)
        heirs: dict[Rule, Rule] = {}
        for rule in self.notracks:
            effects = tuple(e for e in rule.effects if e.kind is not EffectKind.NOTRACK)
            heirs[rule] = replace(rule, effects=effects)
            numbers[heirs[rule]] = numbers[rule]
        tables = {
            name: replace(
                table,
                chains={
                    chain.name: replace(chain, rules=tuple(heirs.get(r, r) for r in chain.rules))
                    for chain in table.chains.values()
                },
            )
            for name, table in self.ruleset.tables.items()
        }
        tracked = replace(self.ruleset, tables=tables)
        identities = Identities(numbers)
        return Pair(
            self.space, tracked, self.ruleset, Alignment(identities, identities, self.notracks, self.notracks, False)
        )

    def original(self, rule: Rule) -> Rule:
        """The file's own rule for a rule of either side of `untracking`."""
        number = self.untracking.old.identities.numbers[rule]
        return self._by_number[number]

    @cached_property
    def _by_number(self) -> dict[int, Rule]:
        return {number: rule for rule, number in Identities.of(self.ruleset).numbers.items()}
