"""From packets that fare otherwise than expected to an Unmet: what happens to them, a witness, and who decides."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ruleaudit.analysis.pair import Pair
from ruleaudit.analysis.space import Frame
from ruleaudit.analysis.trace import Trace, decider
from ruleaudit.analysis.translated import translates
from ruleaudit.analysis.verdicts import ACCEPT, DROP, Verdict
from ruleaudit.analysis.walk import Walk
from ruleaudit.analysis.witness import Sample, follow, sample
from ruleaudit.diagnostics import Witness
from ruleaudit.model.condition import Opaque, Scope, tests
from ruleaudit.model.expectation import Expectation, Fate
from ruleaudit.model.fields import State
from ruleaudit.model.lines import lines
from ruleaudit.model.ruleset import Chain, EffectKind, Rule
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.results.expectation import Stage, Unmet

#: whether the way of a packet is the one that the packet sets found
Shows = Callable[[Trace], bool]


@dataclass(frozen=True)
class Part:
    """Packets that some stage of the traffic consists of, and the walk that shows what becomes of them."""

    stage: Stage
    packets: PacketSet
    accepted: PacketSet
    untracked: PacketSet
    walk: Walk
    path: str
    frame: Frame


class Refuting:
    """One expectation, held against what a ruleset does."""

    def __init__(self, pair: Pair, expectation: Expectation) -> None:
        self.pair, self.space, self.side, self.expectation = pair, pair.space, pair.old, expectation

    def judged(self, part: Part) -> Iterator[Unmet]:
        """What is wrong with the packets of one stage."""
        if is_empty(part.packets):
            return
        verdict, tracked = self.expectation.verdict, self.expectation.tracked
        if verdict is not None:
            right = self._right(verdict, part)
            wrong = part.packets & ~right
            if not is_empty(wrong):
                yield self._refuted(part, wrong, lambda trace: not _fits(verdict, trace.verdict))
        passing = part.packets & part.accepted
        if tracked is True and not is_empty(passing & part.untracked):
            yield self._untracked(part, passing & part.untracked)
        if tracked is False:
            # INVALID packets make no entry
            entered = passing & ~part.untracked & ~part.walk.states.get(State.INVALID, self.space.none)
            if not is_empty(entered):
                yield self._tracked(part, entered)

    def _right(self, verdict: Fate, part: Part) -> PacketSet:
        if verdict is Fate.ACCEPT:
            return part.accepted
        found = self.space.none
        for outcome, packets in part.walk.outcomes.items():
            if _fits(verdict, outcome):
                found = found | packets
        return found

    def _refuted(self, part: Part, wrong: PacketSet, shows: Shows) -> Unmet:
        """Packets that fare otherwise than expected."""
        certain, chosen, trace, agreed = self._shown(part, wrong, shows)
        if not agreed:
            return self._disagreeing(part, chosen, trace)
        by = decider(self.side.ruleset, trace)
        if isinstance(by, Rule) and any(c.what.upper() == "SYNPROXY" for c in by.consumers):
            reason = "SYNPROXY answers in the host's stead, and opens the connection by itself: that is not followed"
            return Unmet(self.expectation, part.stage, reason, False, by, self._witness(chosen, trace))
        others = tuple(self._others(part, wrong, trace.verdict[0], by))
        return self._told(part, wrong, certain, chosen, trace, _happens(trace.verdict), by, others)

    def _untracked(self, part: Part, wrong: PacketSet) -> Unmet:
        certain, chosen, trace, agreed = self._shown(part, wrong, lambda t: t.untracked or not self.side.active)
        if not agreed:
            return self._disagreeing(part, chosen, trace)
        rule = next((s.rule for s in trace.steps if s.matched and _leaves_untracked(s.rule)), None)
        reason = "left untracked" if self.side.active else "not tracked: no rule has the kernel track connections"
        return self._told(part, wrong, certain, chosen, trace, reason, rule)

    def _tracked(self, part: Part, wrong: PacketSet) -> Unmet:
        certain, chosen, trace, agreed = self._shown(part, wrong, lambda t: t.verdict == ACCEPT and not t.untracked)
        if not agreed:
            return self._disagreeing(part, chosen, trace)
        return self._told(part, wrong, certain, chosen, trace, "tracked", decider(self.side.ruleset, trace))

    def _told(
        self,
        part: Part,
        wrong: PacketSet,
        certain: bool,
        chosen: Sample,
        trace: Trace,
        reason: str,
        by: Rule | Chain | None,
        others: tuple[Rule, ...] = (),
    ) -> Unmet:
        depends = () if certain else self._depends(wrong, chosen)
        witness = self._witness(chosen, trace)
        whole = wrong == part.packets
        return Unmet(self.expectation, part.stage, reason, certain, by, witness, others, depends, whole)

    def not_followed(self, part: Part, rule: Rule, packets: PacketSet, hidden: Rule | None = None) -> Unmet:
        """NAT changes what decides about these packets, or about their replies (met by the rule `hidden`)."""
        word = translates(rule)
        reason = f"{rule.where} ({word}) translates it: what becomes of it then is not followed"
        if hidden is not None:
            reason = (
                f"{rule.where} ({word}) translates it, and the rules before NAT ({hidden.where}) see its"
                " replies translated: that is not followed"
            )
        chosen, trace = self._followed(part, packets)
        return Unmet(self.expectation, part.stage, reason, False, rule, self._witness(chosen, trace))

    def _disagreeing(self, part: Part, chosen: Sample, trace: Trace) -> Unmet:
        reason = f"it cannot be decided: two ways of evaluating {chosen.text!r} disagree; please report this"
        return Unmet(self.expectation, part.stage, reason, False, decider(self.side.ruleset, trace))

    # -- a packet that shows it ------------------------------------------------------------------------

    def _shown(self, part: Part, wrong: PacketSet, shows: Shows) -> tuple[bool, Sample, Trace, bool]:
        """Whether it is certain, a packet of the set and its way, and whether the interpreter sees it as well."""
        unknown = self.space.diagrams.cube(self.space.unknown_tests)
        always = wrong.forall(unknown) if self.space.unknown_tests else wrong
        certain = not is_empty(always)
        chosen, trace = self._followed(part, always if certain else wrong)
        return certain, chosen, trace, shows(trace)

    def _followed(self, part: Part, packets: PacketSet) -> tuple[Sample, Trace]:
        state = next(s for s, of in part.walk.states.items() if not is_empty(packets & of))
        packets = packets & part.walk.states[state]
        chosen = sample(self.space, packets, part.path, part.frame)
        way = follow(self.pair, self.side, chosen, state)
        if part.stage is not Stage.OPENING:
            seen = State.UNTRACKED if way.untracked or not self.side.active else state
            chosen = sample(self.space, packets, part.path, part.frame, seen)
        return chosen, way

    def _witness(self, chosen: Sample, trace: Trace) -> Witness:
        by = decider(self.side.ruleset, trace)
        where = "" if by is None else f" by {by.where}" if isinstance(by, Rule) else f" by the policy of {by.name}"
        return Witness(chosen.text, _happens(trace.verdict) + where)

    def _depends(self, wrong: PacketSet, chosen: Sample) -> tuple[str, ...]:
        """The tests that nobody can answer here, and on which it hangs for a packet."""
        space = self.space
        point = wrong
        for number, value in chosen.bits.items():
            if number not in space.unknown_tests:
                bit = space.diagrams.bit(number)
                point = point & (bit if value else ~bit)
        found: list[str] = []
        for number, test in space.unknown_tests.items():
            alone, bit = space.diagrams.cube([number]), space.diagrams.bit(number)
            if (point & bit).exists(alone) != (point & ~bit).exists(alone):
                where = lines(self._asking(test.name, test.scope, test.identity))
                found.append(f"{test.name} ({where})" if where else test.name)
        return tuple(dict.fromkeys(found))

    def _asking(self, name: str, scope: Scope, identity: int | None) -> Iterator[Rule]:
        numbers = self.side.identities.numbers
        for rule in self.side.ruleset.rules():
            if identity is not None and numbers[rule] != identity:
                continue
            if identity is not None or any(
                isinstance(t, Opaque) and t.name == name and t.scope is scope for t in tests(rule.condition)
            ):
                yield rule

    def _others(self, part: Part, wrong: PacketSet, verdict: str, by: object) -> Iterator[Rule]:
        """Other rules that refuse packets of the set."""
        if verdict == "accept":
            return
        for other, _, _ in part.walk.decided.about(wrong, lambda other, outcome: outcome[0] == verdict):
            if isinstance(other, Rule) and other is not by:
                yield other


def _leaves_untracked(rule: Rule) -> bool:
    return any(e.kind is EffectKind.NOTRACK for e in rule.effects)


def _fits(verdict: Fate, outcome: Verdict) -> bool:
    match verdict:
        case Fate.ACCEPT | Fate.QUEUE | Fate.REJECT:
            return outcome[0] == str(verdict.value)
        case Fate.DROP:
            return outcome == DROP
        case Fate.REFUSE:
            return outcome[0] in (Fate.DROP.value, Fate.REJECT.value)


_PAST = {"accept": "accepted", "drop": "dropped", "reject": "rejected", "queue": "queued for a program"}


def _happens(verdict: Verdict) -> str:
    """What happened to a packet, in a word."""
    word, detail = verdict
    if word == "unknown":
        return f"in the hands of {detail}, which is not understood"
    return _PAST[word] + (f" with {detail}" if word == "reject" and detail else "")
