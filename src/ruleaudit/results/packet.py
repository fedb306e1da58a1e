"""The way of one packet, and of a connection."""

from dataclasses import dataclass

from ruleaudit.model.ruleset import Chain, Rule, Ruleset


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
