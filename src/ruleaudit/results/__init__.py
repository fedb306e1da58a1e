"""What the commands answer: immutable values between the analysis and the reports.

The analysis makes them, `report` turns them into text or JSON; neither knows the other. Names follow the JSON of the
interface, so that a reader finds a field of the output here under the same name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from ruleaudit.diagnostics import Finding, FixClass, Witness
from ruleaudit.model.condition import Condition
from ruleaudit.model.ruleset import Chain, Rule, Ruleset, Table
from ruleaudit.source import SourceFile


class RuleClass(Enum):
    """How much a rule that mentions conntrack depends on it (design section 4)."""

    REQUIRED = "required"
    REPLACEABLE = "replaceable"
    REDUNDANT = "redundant"
    DEAD = "dead"


@dataclass(frozen=True)
class Judgement:
    """The class of one rule that mentions conntrack, why, and the connections that need it.

    `same_work`: other rules that do the same work; one of them has to stay.
    `instead`: what may stand in the place of its state tests: ALWAYS, or TCP flags; NEVER: the rule may go as a whole.
    `always`: every packet that gets to the rule and matches the rest of it is in a state that the tests ask for.
    """

    rule: Rule
    kind: RuleClass
    reason: str
    connections: tuple[Witness, ...] = ()
    same_work: tuple[Rule, ...] = ()
    consumer: str | None = None
    instead: Condition | None = None
    always: bool = False


@dataclass(frozen=True)
class Tracking:
    """Who needs connection tracking in one ruleset."""

    ruleset: Ruleset
    judgements: tuple[Judgement, ...]

    @property
    def required(self) -> tuple[Judgement, ...]:
        return tuple(j for j in self.judgements if j.kind is RuleClass.REQUIRED)


@dataclass(frozen=True)
class Outcome:
    """What happens to a packet: `verdict` is accept, drop, reject (with its kind), queue or undecided; and who
    decided.
    """

    verdict: str
    rule: Rule | None = None
    chain: Chain | None = None  #: the base chain whose policy decided, when no rule did
    tracked: bool = True


class DifferenceKind(Enum):
    """In which way two rulesets differ (interface, verify)."""

    BREAKS = "breaks"
    OPENS = "opens"
    HALF_TRACKED = "half-tracked"
    REFUSAL = "refusal"
    EFFECT = "effect"
    REVERSED = "reversed"
    STRAY = "stray"
    ICMP_ERRORS = "icmp-errors"
    TRACKED = "tracked"
    UNTRACKED = "untracked"


@dataclass(frozen=True)
class Ports:
    """The source and destination ports of a class of packets of one protocol, as intervals."""

    protocol: str
    source: tuple[tuple[int, int], ...]
    target: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Difference:
    """One class of packets that fares otherwise, with one packet of it.

    `path` and `role` say where the witness travels (in, out, forward, local; opening, later, reply, error, refusal,
    stray). `forbidding`: the rule that forbids the change (a consumer, a NAT rule), if one does.
    `loosens`: the plan class that a rewrite with this difference has; None means that no rewrite may have it;
    EXACT: it is no change of outcome (tracked, untracked, logs).
    """

    kind: DifferenceKind
    description: str
    witness: Witness
    old: Outcome
    new: Outcome
    loosens: FixClass | None
    path: str = "in"
    role: str = "opening"
    ports: tuple[Ports, ...] = ()  #: the ports of the class, by protocol
    forbidding: Rule | None = None
    assumption: str | None = None  #: the id of the assumption under which this difference does not occur


@dataclass(frozen=True)
class Undecided:
    """A part of a comparison that could not be decided, and the rule that stands in the way."""

    rule: Rule | None
    reason: str


@dataclass(frozen=True)
class Comparison:
    """What a change does: `result` is equivalent, different or undecided.

    not_compared    address families that only one of the two speaks of
    """

    old: Ruleset
    new: Ruleset
    differences: tuple[Difference, ...]
    assumptions: tuple[tuple[str, str], ...] = ()  #: (id, text)
    undecided: tuple[Undecided, ...] = ()
    not_compared: tuple[str, ...] = ()

    @property
    def result(self) -> str:
        if any(d.loosens is not FixClass.EXACT for d in self.differences):
            return "different"
        if self.undecided:
            return "undecided"
        return "different" if self.differences else "equivalent"


@dataclass(frozen=True)
class FileReport:
    """What `check` says of one file."""

    source: SourceFile
    ruleset: Ruleset | None
    rules: int
    exact: int
    opaque: tuple[Rule, ...]
    findings: tuple[Finding, ...]
    tracking: Tracking | None
    suppressed: tuple[Finding, ...] = ()  #: covered by comments
    baselined: int = 0  #: known to the baseline
    expected: int = 0  #: the expectations about it that were checked
    unmet: int = 0  #: those of them that do not hold, or cannot be said to
    unchecked: int = 0  #: those that were not checked: the file holds errors, or nobody asked
    fixed: int = 0  #: the findings that --fix has mended

    @property
    def outline(self) -> "FileReport":
        """The report without what its rules test and do: what is left says where they are, and takes little room."""
        bare = {rule: _bare(rule) for rule in (*(self.ruleset.rules() if self.ruleset else ()), *self.opaque)}
        for judgement in self.tracking.judgements if self.tracking else ():
            for rule in (judgement.rule, *judgement.same_work):
                bare.setdefault(rule, _bare(rule))
        ruleset, tracking = self.ruleset, self.tracking
        if ruleset is not None:
            ruleset = replace(ruleset, tables={n: _outlined(t, bare) for n, t in ruleset.tables.items()})
        if tracking is not None and ruleset is not None:
            judgements = [
                replace(j, rule=bare[j.rule], same_work=tuple(bare[r] for r in j.same_work))
                for j in tracking.judgements
            ]
            tracking = Tracking(ruleset, tuple(judgements))
        return replace(self, ruleset=ruleset, opaque=tuple(bare[r] for r in self.opaque), tracking=tracking)


def _bare(rule: Rule) -> Rule:
    """A rule without what it tests and does."""
    return Rule(
        rule.chain, rule.table, rule.line, rule.span, rule.text, (), (), rule.verdict, (), rule.understood,
        rule.variant, rule.path,
    )  # fmt: skip


def _outlined(table: Table, bare: Mapping[Rule, Rule]) -> Table:
    chains = {n: replace(c, rules=tuple(bare[r] for r in c.rules)) for n, c in table.chains.items()}
    return replace(table, chains=chains)
