"""What the commands answer: immutable values between the analysis and the reports.

The analysis makes them, `report` turns them into text or JSON; neither knows the other. Names follow the JSON of the
interface, so that a reader finds a field of the output here under the same name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from ruleaudit.diagnostics import Finding, FixClass, Witness
from ruleaudit.model.condition import Condition
from ruleaudit.model.connection_table import ConnectionTable
from ruleaudit.model.expectation import Expectation
from ruleaudit.model.ruleset import Chain, Rule, Ruleset, Table
from ruleaudit.source import Edit, SourceFile


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
class Owner:
    """One program's rules, of those that run in this network namespace.

    name      iptables-nft, ip6tables-legacy, `nft inet fw4`
    tables    in words: `filter`; of tables that a file has too, what it has not: `filter (chains DOCKER, DOCKER-USER)`
    programs  who loads rules of such names: Docker, kube-proxy
    tracking  the rules that mention conntrack, and which need it
    tracks    address families that these rules keep tracked: IPv4, IPv6
    """

    name: str
    source: SourceFile
    rulesets: tuple[Ruleset, ...]
    tables: tuple[str, ...]
    programs: tuple[str, ...]
    tracking: Tracking
    tracks: tuple[str, ...]


@dataclass(frozen=True)
class Running:
    """The rules of a network namespace, owner by owner; `unread`: what could not be looked at, in words."""

    owners: tuple[Owner, ...]
    unread: tuple[str, ...] = ()


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
    relief: "Relief | None" = None
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


@dataclass(frozen=True)
class ServiceUse:
    """The entries of a connection table that one service has.

    direction   in, out, forward, local, or unknown where the table does not tell
    protocol    its name, or its number where it has none
    port        destination port of the original direction; None: the protocol has none
    by_state    entries by the state of conntrack; UNREPLIED, REPLIED or ASSURED for protocols without states
    unreplied, assured  how many of them are
    """

    direction: str
    protocol: str
    port: int | None
    entries: int
    by_state: Mapping[str, int]
    unreplied: int
    assured: int


@dataclass(frozen=True)
class TableUse:
    """What fills a connection table: all its services, those with the most entries first.

    unread  the first lines that are no entry: (line, text); `table.more` counts the others
    table   the entries as classes, and whose addresses were taken for this host's
    path    what the table is called
    """

    entries: int
    by_state: Mapping[str, int]
    services: tuple[ServiceUse, ...]
    unread: tuple[tuple[int, str], ...]
    table: ConnectionTable
    path: str = ""


@dataclass(frozen=True)
class Relief:
    """What a rewrite would free of a connection table, as far as the table and the rules tell.

    freed     entries of connections that would be tracked no more; those that are there leave as they time out
    unclear   perhaps freed too: the table does not tell by which interface they come, or whether they come or go
    refused   these rules would not have let them be: they are of other rules, or of another host
    unasked   of the other address family, or too few of a kind to be asked about
    services  each with the rule that lets most of its connections be, and how many of its entries are freed
    """

    use: TableUse
    freed: int
    unclear: int = 0
    refused: int = 0
    unasked: int = 0
    services: tuple[tuple[ServiceUse, Rule | None, int], ...] = ()

    @property
    def share(self) -> float:
        """The part of all entries that is freed."""
        return self.freed / self.use.entries if self.use.entries else 0.0


class Stage(Enum):
    """Which packets of the traffic an expectation fails for."""

    OPENING = "opening"  #: those that open connections
    REPLY = "reply"
    LATER = "later"  #: further packets of the originator
    PACKETS = "packets"  #: packets of a state or shape that was asked for, not connections


@dataclass(frozen=True)
class Unmet:
    """An expectation that does not hold, or of which that cannot be said.

    reason      what happens instead, in words that follow "expected ...: "
    proved      False: it hangs on `depends_on`, or cannot be decided
    decided_by  the rule, or the base chain whose policy decides about the witness
    others      further rules that decide so about other packets of the traffic
    whole       it fails for all packets of the stage
    """

    expectation: Expectation
    stage: Stage
    reason: str
    proved: bool
    decided_by: Rule | Chain | None = None
    witness: Witness | None = None
    others: tuple[Rule, ...] = ()
    depends_on: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class Loaded:
    """How a ruleset was loaded: by which program, and what that said of it, and of which line, if it was refused."""

    path: str
    program: str
    refused: str = ""
    line: int | None = None


@dataclass(frozen=True)
class Disagreement:
    """A packet that fared otherwise in the kernel than was reasoned, under the ruleset of `path`: where both part.

    A verdict of "nothing" says that this base chain was not passed.
    """

    packet: str
    path: str
    ruleset: Ruleset
    reasoned: Outcome
    kernel: Outcome


@dataclass(frozen=True)
class Observation:
    """What the kernel did with rulesets that were loaded, and with packets sent through them.

    packets     how many were sent and compared, `witnesses` of them are those of the report
    left_out    why others could not be compared, and how many
    impossible  why nothing was observed; empty where something was
    """

    kernel: str = ""
    nft: str = ""
    loaded: tuple[Loaded, ...] = ()
    packets: int = 0
    witnesses: int = 0
    left_out: tuple[tuple[str, int], ...] = ()
    disagreements: tuple[Disagreement, ...] = ()
    impossible: str = ""

    @property
    def refused(self) -> tuple[Loaded, ...]:
        return tuple(one for one in self.loaded if one.refused)

    @property
    def contradicts(self) -> bool:
        """The kernel does not take the rulesets, or does not do what was reasoned."""
        return bool(self.refused or self.disagreements)

    @property
    def agrees(self) -> bool:
        """Everything was loaded, something was sent, and all of it fared as reasoned."""
        return bool(self.packets) and not (self.impossible or self.contradicts)


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


@dataclass(frozen=True)
class PathStep:
    """One rule on the way of a packet: `match` is None when an opaque test decides; `action` is what the rule does."""

    hook: str
    rule: Rule
    match: bool | None
    action: str


@dataclass(frozen=True)
class Followed:
    """The way of one packet in one state.

    asked       the text as given; `packet` the whole packet that was followed
    verdict     accept, drop, reject, queue or undecided; `detail` its kind or number
    decided_by  the rule, or the base chain whose policy decided
    open        what decides and was left open, or cannot be known: fields, and texts of opaque tests
    ruleset     whose rules it met
    role        which packet of a connection it is (opening, reply, later, later-reply, icmp-error), if it is of one
    """

    asked: str
    packet: str
    state: str
    verdict: str
    detail: str
    tracked: bool
    decided_by: Rule | Chain | None
    path: tuple[PathStep, ...]
    ruleset: Ruleset
    open: tuple[str, ...] = ()
    role: str = ""


@dataclass(frozen=True)
class Exchange:
    """A connection, packet by packet, as far as the rules let it come.

    works       None: undecided
    reason      who breaks it, or why nobody can say; how it is tracked, if it works
    broken_by   the rule, or the base chain whose policy refuses the first packet that does not pass
    remarks     what else there is to say of it
    """

    asked: str
    works: bool | None
    reason: str
    broken_by: Rule | Chain | None
    packets: tuple[Followed, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Visitors:
    """Packets of one path and state that get to a rule.

    path      in, out, forward; local (to this host itself) and looped (its own multicasts and broadcasts)
    state     what conntrack says of them; empty where it has not looked at them, or nothing is tracked
    matched   the rule matches them, and does what it says; else they come by and go on
    words     the class, in words; `witness` one of its packets
    """

    path: str
    state: str
    matched: bool
    words: str
    witness: Witness


@dataclass(frozen=True)
class Reach:
    """Who reaches one rule, what it does with them, and what it needs of connection tracking.

    callers   the rules that lead to its chain, if that is no base chain
    barred    why no packet reaches the rule, or none matches it; empty where some do
    takers    the rules before it that take what it would match, where none is left to it
    open      tests of the rule that nobody can answer here
    """

    ruleset: Ruleset
    rule: Rule
    action: str
    callers: tuple[Rule, ...]
    visitors: tuple[Visitors, ...]
    barred: str = ""
    takers: tuple[Rule, ...] = ()
    open: tuple[str, ...] = ()
    judgement: Judgement | None = None
