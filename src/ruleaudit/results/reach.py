"""Who reaches one rule."""

from dataclasses import dataclass

from ruleaudit.diagnostics import Witness
from ruleaudit.model.ruleset import Rule, Ruleset
from ruleaudit.results import Judgement


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
