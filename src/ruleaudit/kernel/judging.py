"""Whether a packet took the way through the kernel that the reference interpreter takes: base chain by base chain."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from ruleaudit.analysis.cover import CoveringPacket
from ruleaudit.analysis.follow import RUNS, ways
from ruleaudit.analysis.trace import Trace
from ruleaudit.analysis.walk import is_tracking
from ruleaudit.kernel.counters import DROPS
from ruleaudit.kernel.trace import Passage
from ruleaudit.model.fields import Family, State
from ruleaudit.model.ruleset import Accept, Chain, Drop, EffectKind, Reject, Rule, Ruleset
from ruleaudit.results import Outcome
from ruleaudit.results.observation import Disagreement

_INGRESS = " (ingress)"
_ADDRESSES = re.compile(r"(?:^|\s)(?:-s|--source|--src|-d|--destination|--dst)\s+(\S+)")
#: an nft statement, or a target, after which the header is not the one that was sent
_REWRITES = re.compile(
    r"^TPROXY|^SYNPROXY|^synproxy|\b(?:[sd]addr|[sd]port|protocol|nexthdr|flags|type|code) set\b|PT --"
)

Place = tuple[str, str, str]  #: the family and name of a table, and a chain
Decision = tuple[Place, Rule | Chain]


@dataclass(frozen=True, slots=True)
class Way:
    """What the kernel told of one packet (`host.Seen`)."""

    passages: tuple[Passage, ...]
    arrived: bool
    lost: str
    counted: tuple[tuple[Place, int], ...] | None  #: who counted it; None: it was traced

    @staticmethod
    def of(told: dict[str, Any], family: Family) -> "Way":
        passages = tuple(Passage(*one) for one in told["passages"])
        places = told.get("counted")
        counted = None if places is None else tuple(((family.value, t, c), number) for t, c, number in places)
        return Way(passages, told["arrived"], told["lost"], counted)


class Judge:
    """Compares packets under one ruleset; `rules` are the kernel's: family, table, chain, handle, in order."""

    def __init__(self, ruleset: Ruleset, rules: Sequence[Sequence[Any]]) -> None:
        self.ruleset = ruleset
        self.active = is_tracking(ruleset)
        self.handles: dict[Rule, tuple[int, ...]] = {}
        self.rules: dict[tuple[Place, int], Rule] = {}
        self.chains: dict[Place, Chain] = {}
        loaded: dict[Place, list[int]] = {}
        for family, table, chain, handle in rules:
            loaded.setdefault((family, table, chain), []).append(handle)
        for table in ruleset.tables.values():
            for chain in table.chains.values():
                place = self._place(chain.table, chain.name)
                self.chains[place] = chain
                self._pair(place, chain, loaded.get(place, []))

    def _place(self, table: str, chain: str) -> Place:
        if self.ruleset.is_nft:
            family, _, name = table.partition(" ")
            return family, name, chain
        return self.ruleset.family.value, table, chain

    def _pair(self, place: Place, chain: Chain, handles: list[int]) -> None:
        """The handles of each rule; none of a chain that holds another number of rules than expected."""
        written: list[list[Rule]] = []
        for rule in chain.rules:
            if self.ruleset.is_nft and written and written[-1][0].span == rule.span:
                written[-1].append(rule)  # a verdict map is one rule
            else:
                written.append([rule])
        numbers = [1 if self.ruleset.is_nft else _expanded(rules[0]) for rules in written]
        if sum(numbers) != len(handles):
            return
        at = 0
        for rules, number in zip(written, numbers, strict=True):
            for rule in rules:
                self.handles[rule] = tuple(handles[at : at + number])
            self.rules |= {(place, handle): rules[0] for handle in handles[at : at + number]}
            at += number

    def judge(self, one: CoveringPacket, way: Way) -> Disagreement | str | None:
        """None: as reasoned. A text: why the two cannot be compared."""
        if way.lost:
            return way.lost
        state = one.state if self.active else State.UNTRACKED
        runs = ways(self.ruleset, one.path, one.packet, state, self.active)
        if any(self._agree(run, way) for run in runs):
            return None
        if len(runs) >= RUNS:
            return "too many tests on its way have an answer that no file tells"
        if any(_REWRITES.search(e.text) for r in runs for s in r.steps if s.matched for e in s.rule.effects):
            return "it is answered, or its header is rewritten, on the way"
        if any(run.verdict[0] == "unknown" for run in runs):
            return "a rule on its way is not understood"
        if self._vanished(runs, way):
            return "the kernel dropped it between two chains"
        reasoned, kernel = self._parting(runs[0], way)
        text = f"{one.text} state {(State.UNTRACKED if runs[0].untracked else state).value}"
        return Disagreement(text, self.ruleset.source.path, self.ruleset, reasoned, kernel)

    # -- the two sides, base chain by base chain

    def _reasoned(self, run: Trace) -> tuple[list[Decision], bool]:
        """The decisions, and whether they go on to the end: no rule translates the packet, or gives it away."""
        out: list[Decision] = []
        for (table, chain), by in run.decisions:
            if chain.endswith(_INGRESS):
                continue
            place = self._place(table, chain)
            decider = by if by is not None else self.chains[place]
            if not self._says_nothing(place, decider):
                out.append((place, decider))
            if isinstance(decider, Rule) and _is_end(decider):
                return out, False
        return out, True

    def _says_nothing(self, place: Place, decider: Rule | Chain | None) -> bool:
        """A chain without rules lets everything pass; no loader has to make it."""
        chain = self.chains.get(place)
        quiet = chain is None or (not chain.rules and isinstance(chain.policy, Accept))
        return quiet and not isinstance(decider, Rule)

    def _passed(self, way: Way) -> list[Passage]:
        found = [p for p in way.passages if p.family != "netdev"]
        return [p for p in found if p.handle or p.verdict != "accept" or not self._says_nothing(_base(p), None)]

    def _agree(self, run: Trace, way: Way) -> bool:
        reasoned, whole = self._reasoned(run)
        if way.counted is not None:
            same = self._matched(run) == self._hit(way) if whole else self._matched(run) <= self._hit(way)
            return same and (not whole or (run.verdict[0] == "accept") is way.arrived)
        passed = self._passed(way)
        if not whole:
            passed = passed[: len(reasoned)]
        elif (run.verdict[0] == "accept") is not way.arrived:
            return False
        return len(reasoned) == len(passed) and all(map(self._same, reasoned, passed))

    def _same(self, decision: Decision, passed: Passage) -> bool:
        place, by = decision
        if place != _base(passed) or _verdict(by) not in ("", passed.verdict):
            return False
        if isinstance(by, Chain):
            return not passed.handle
        handles = self.handles.get(by)
        return bool(passed.handle) if handles is None else passed.handle in handles

    def _matched(self, run: Trace) -> set[Rule | Chain]:
        """The rules that count the packet, to the one that translates it or gives it away; and the policies."""
        reasoned, whole = self._reasoned(run)
        found: set[Rule | Chain] = {by for _, by in reasoned if isinstance(by, Chain)}
        for step in run.steps:
            if step.matched and step.rule in self.handles:
                found.add(step.rule)
            if not whole and step.rule is reasoned[-1][1] and step.matched:
                break
        return found

    def _hit(self, way: Way) -> set[Rule | Chain]:
        """The rules and policies that counted the packet."""
        found: set[Rule | Chain] = set()
        for place, number in way.counted or ():
            by = self.rules.get((place, number)) if number > 0 else self.chains.get(place)
            if by is not None and (number == DROPS or not self._says_nothing(place, by)):
                found.add(by)
        return found

    def _vanished(self, runs: list[Trace], way: Way) -> bool:
        """No rule refused it, and yet it did not arrive."""
        passed = self._passed(way)
        if way.arrived or any(p.verdict != "accept" for p in passed):
            return False
        if way.counted is not None:
            hit = self._hit(way)
            return all(_verdict(by) != "drop" for by in hit) and any(hit <= self._matched(run) for run in runs)
        return any(
            all(map(self._same, self._reasoned(run)[0], passed)) and len(self._reasoned(run)[0]) >= len(passed)
            for run in runs
        )

    # -- in words

    def _parting(self, run: Trace, way: Way) -> tuple[Outcome, Outcome]:
        reasoned, _ = self._reasoned(run)
        if way.counted is not None:
            return self._of_decision(reasoned[-1] if reasoned else None), self._last_hit(way)
        for decision, passed in zip_longest(reasoned, self._passed(way)):
            if decision is None or passed is None or not self._same(decision, passed):
                return self._of_decision(decision), self._of_passage(passed)
        return Outcome(run.verdict[0]), Outcome("accept" if way.arrived else "drop")

    def _last_hit(self, way: Way) -> Outcome:
        """What the counters tell of the end of a packet's way: the rule that refused it, or the last one that ends."""
        hit = [by for by in self._hit(way) if _verdict(by) == ("accept" if way.arrived else "drop")]
        by = next(iter(sorted(hit, key=lambda by: isinstance(by, Chain))), None)
        verdict = "accept" if way.arrived else "drop"
        return Outcome(verdict, by, None) if isinstance(by, Rule) else Outcome(verdict, None, by)

    def _of_decision(self, decision: Decision | None) -> Outcome:
        if decision is None:
            return Outcome("nothing")
        by = decision[1]
        if isinstance(by, Rule):
            return Outcome(_verdict(by) or "undecided", rule=by)
        return Outcome(_verdict(by), chain=by)

    def _of_passage(self, passed: Passage | None) -> Outcome:
        if passed is None:
            return Outcome("nothing")
        rule = self.rules.get(((passed.family, passed.table, passed.decider), passed.handle))
        return Outcome(passed.verdict, rule=rule, chain=None if rule else self.chains.get(_base(passed)))


def _base(passed: Passage) -> Place:
    return passed.family, passed.table, passed.chain


def _verdict(by: Rule | Chain) -> str:
    """The kernel's word for it; empty: several are possible (there may be no address to translate to)."""
    if isinstance(by, Rule) and any(e.kind is EffectKind.NAT for e in by.effects):
        return ""
    match by.policy if isinstance(by, Chain) else by.verdict:
        case Accept():
            return "accept"
        case Drop() | Reject():
            return "drop"
        case _:
            return ""


def _is_end(rule: Rule) -> bool:
    """What comes behind is not the packet that was sent: it is translated, or handed to somebody else."""
    return not _verdict(rule)


def _expanded(rule: Rule) -> int:
    """How many rules iptables makes of one with lists of addresses."""
    number = 1
    for listed in _ADDRESSES.findall(rule.text):
        number *= listed.count(",") + 1
    return number
