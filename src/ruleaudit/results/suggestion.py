"""What `suggest` answers."""

from dataclasses import dataclass

from ruleaudit.diagnostics import Finding, FixClass, Witness
from ruleaudit.model.ruleset import Rule, Ruleset
from ruleaudit.results import Comparison, Difference, DifferenceKind, RuleClass, Tracking
from ruleaudit.results.running import Running
from ruleaudit.results.table import Relief
from ruleaudit.source import Edit, SourceFile


@dataclass(frozen=True)
class Flow:
    """A set of connections that one decision is about, in the words of the rule that accepts them.

    `words` is how people call it: `tcp/80,443 from 10.0.0.0/8`; `ports` are texts such as `80` or `8000-8010`;
    `addresses` are the sources (in), the servers (out) or both sides (forward).
    """

    direction: str  #: in, out or forward
    protocol: str
    ports: tuple[str, ...]
    addresses: tuple[str, ...]
    interfaces: tuple[str, ...]
    rule: Rule | None
    entries: int | None = None  #: of a connection table that was given
    at: tuple[str, ...] = ()  #: the serving addresses that it is narrowed to, where its rule accepts more

    @property
    def words(self) -> str:
        ports = ",".join(self.ports)
        text = f"{self.protocol}/{ports}" if ports else self.protocol
        if self.at:
            text += " at " + ", ".join(self.at)
        if self.addresses:
            text += {"in": " from ", "out": " to "}.get(self.direction, " with ") + ", ".join(self.addresses)
        elif self.direction == "out":
            text += " to any host"
        return text


@dataclass(frozen=True)
class Change:
    """One edit of a rewrite and why it is needed, in the words of the report's WHY EACH LINE."""

    edit: Edit
    topic: str
    reason: str


@dataclass(frozen=True)
class Kept:
    """A rule or flow that stays tracked, and why."""

    rule: Rule | None
    kind: RuleClass
    reason: str
    witness: Witness | None = None


@dataclass(frozen=True)
class Refused:
    """A flow that was asked for or looked at and may not leave: the rule that forbids it, and a packet that shows
    why.
    """

    flow: Flow
    rule: Rule | None
    reason: str
    witness: Witness | None
    cure: str = ""


@dataclass(frozen=True)
class Offer:
    """What an option of the command line would change."""

    options: tuple[str, ...]
    frees: tuple[Flow, ...]
    kind: FixClass | None


@dataclass(frozen=True)
class CouldLeave:
    """A flow that the default leaves tracked, and why it does."""

    flow: Flow
    reason: str


@dataclass(frozen=True)
class Checked:
    """What was found out about an assumption: `holds`, and why; None: it could not be found out."""

    assumption: str
    holds: bool | None
    reason: str


@dataclass(frozen=True)
class Suggestion:
    """The answer of `suggest`.

    outcome     rewrite, nothing-to-free or nothing-needs-tracking
    text        the whole new ruleset; None unless outcome is rewrite
    comparison  the proof: the rewrite was read again and compared with the original
    relief      what it frees of a connection table, where one is known
    """

    source: SourceFile
    ruleset: Ruleset
    outcome: str
    kind: FixClass | None
    tracking: Tracking
    flows: tuple[Flow, ...] = ()
    could_leave: tuple[CouldLeave, ...] = ()
    offers: tuple[Offer, ...] = ()
    kept: tuple[Kept, ...] = ()
    refused: tuple[Refused, ...] = ()
    changes: tuple[Change, ...] = ()
    text: str | None = None
    comparison: Comparison | None = None
    assumptions: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    relief: Relief | None = None
    checked: tuple[Checked, ...] = ()  #: what a list of sockets, or the running rules, say of the assumptions
    running: Running | None = None  #: with --live: the owners of other rules

    @property
    def strays(self) -> tuple[Difference, ...]:
        found = self.comparison.differences if self.comparison else ()
        return tuple(d for d in found if d.kind is DifferenceKind.STRAY)

    @property
    def opens(self) -> tuple[Difference, ...]:
        found = self.comparison.differences if self.comparison else ()
        return tuple(d for d in found if d.kind in (DifferenceKind.OPENS, DifferenceKind.REVERSED))
