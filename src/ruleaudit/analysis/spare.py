"""Rules that a chain could do without: what they decide would be decided in the same way behind them.

Each chain is looked at by itself, from its last rule back, with every packet at every place; so a rule that could be
spared here could be spared whoever calls the chain. Packets that meet an effect on the way (a log, a mark, a limit, a
list) are left out: for them the way is not the same. So are packets that would meet a rule of which no packet is left
now: it may be deleted too, or not, and of two equal rules one has to stay.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from ruleaudit.analysis.left import Left
from ruleaudit.analysis.named_sets import named_sets, without_sets
from ruleaudit.analysis.pair import may_match
from ruleaudit.analysis.row import union
from ruleaudit.analysis.space import TRACKED_STATES, Frame, View
from ruleaudit.analysis.stretch import Block, blocks
from ruleaudit.analysis.walk import ABSENT, Identities, mentions_state
from ruleaudit.model.condition import Opaque, Scope, tests
from ruleaudit.model.fields import Field, State
from ruleaudit.model.ruleset import Accept, Chain, Continue, Drop, Goto, Jump, Reject, Return, Rule, Unknown
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.source import Span

#: how a packet leaves a chain: by a verdict, or back to the caller
_Ending = tuple[str, str]
_BACK: _Ending = ("back", "")

#: how many rules are looked at to say who decides instead, in one ruleset
_MOST_STEPS = 20_000


@dataclass(frozen=True)
class Spare:
    """A rule that could be deleted; `instead` are the rules that decide then, `policy` whether the policy does too.

    Neither is known where naming them would take too long.
    """

    rule: Rule
    instead: tuple[Rule, ...]
    policy: bool


class Spares:
    """The rules of one ruleset that could be deleted, all of them together."""

    def __init__(self, left: Left) -> None:
        self.left, self.space, self.ruleset = left, left.space, left.ruleset
        self._numbers = Identities.of(self.ruleset).numbers
        self._ends: dict[tuple[str, str], Mapping[_Ending, PacketSet]] = {}
        self._found: dict[Rule, PacketSet] = {}
        self._gone = left.behind | {part for void in left.void for part in void.parts}

    @cached_property
    def all(self) -> tuple[Spare, ...]:
        """In the order of the text within each chain."""
        for table in self.ruleset.tables.values():
            for chain in table.chains.values():
                if (table.name, chain.name) in self.left.entered:
                    self._ends_of(chain, ())
        steps = _MOST_STEPS
        found = []
        for rule in self.ruleset.rules():
            if rule in self._found:
                chain = self.ruleset.tables[rule.table].chains[rule.chain]
                spare, steps = self._spare(rule, chain, steps)
                found.append(spare)
        return tuple(found)

    @cached_property
    def _view(self) -> View:
        untracked = self.space.diagrams.bit(self.space.diagrams.add(1)[0])
        states = {state: self.space.in_state(state) & ~untracked for state in TRACKED_STATES}
        mark = self.space.diagrams.vector(self.space.bits[Field.MARK])
        return View({**states, State.UNTRACKED: untracked}, mark, self.space.diagrams.bit(self.space.direction_bit))

    @cached_property
    def _several(self) -> frozenset[Span]:
        """The rules of the text that are several in the model."""
        parts = Counter(rule.span for rule in self.ruleset.rules())
        return frozenset(span for span, number in parts.items() if number > 1)

    # -- from the end back -----------------------------------------------------------------------------

    def _ends_of(self, chain: Chain, stack: tuple[str, ...]) -> Mapping[_Ending, PacketSet]:
        """What becomes of each packet at the start of a chain, for those that meet no effect in it."""
        key = (chain.table, chain.name)
        if key not in self._ends:
            frame = Frame("any", absent=ABSENT[chain.hook] if chain.hook else frozenset())
            fallen = _BACK
            if chain.hook is not None:
                fallen = ("drop", "") if isinstance(chain.policy, Drop) else ("accept", "")
            ends: dict[_Ending, PacketSet] = {fallen: self.space.all}
            for rule in reversed(blocks(chain)):
                if isinstance(rule, Block):
                    ends = self._before_block(rule, frame, ends)
                else:
                    ends = self._before(rule, frame, ends, fallen, (*stack, chain.name))
            self._ends[key] = ends
        return self._ends[key]

    def _hit(self, rule: Rule, frame: Frame) -> PacketSet:
        return self.space.cached(rule.key, rule.condition, frame, self._view, self._numbers[rule], rule.understood)

    def _before_block(self, block: Block, frame: Frame, ends: dict[_Ending, PacketSet]) -> dict[_Ending, PacketSet]:
        none = self.space.none
        row = self.left.row_of(block, frame)
        leaving = (rule for rule in block.rules if rule in self._gone or named_sets(rule))
        gone = union([may_match(self.space, without_sets(rule), frame) for rule in leaving], none)
        same = ends.get(block.verdict, none)
        needed = set(row.meeting(gone | ~(row.shared | same)))
        for place in reversed(range(len(row.sets))):
            hit = row.sets[place]
            if place not in needed and is_empty(row.without(hit & ~same, place + 1, len(row.sets))):
                self._spared(block.rules[place], hit)
        return self._without(gone, self._decided(row.union, block.verdict, ends))

    def _without(self, packets: PacketSet, ends: dict[_Ending, PacketSet]) -> dict[_Ending, PacketSet]:
        """Nothing is said of some packets."""
        return ends if is_empty(packets) else {ending: found & ~packets for ending, found in ends.items()}

    def _before(
        self,
        rule: Rule,
        frame: Frame,
        ends: dict[_Ending, PacketSet],
        fallen: _Ending,
        stack: tuple[str, ...],
    ) -> dict[_Ending, PacketSet]:
        none = self.space.none
        hit = self._hit(rule, frame)
        if _has_effects(rule):
            return self._without(may_match(self.space, rule, frame), ends)
        if rule in self._gone or named_sets(rule):
            # what a named set holds is nothing to rely on
            return self._without(may_match(self.space, without_sets(rule), frame), ends)
        match rule.verdict:
            case Continue():
                return ends
            case Return():
                return self._decided(hit, fallen, ends)
            case Accept() | Drop() | Reject():
                ending = _ending(rule)
                if is_empty(hit & ~ends.get(ending, none)):
                    self._spared(rule, hit)
                    return ends
                return self._decided(hit, ending, ends)
            case Jump(name) | Goto(name):
                called = self.ruleset.tables[rule.table].chains.get(name)
                if called is None or name in stack:
                    return self._without(hit, ends)
                inside = self._ends_of(called, stack)
                back = inside.get(_BACK, none)
                out = {}
                for ending in {*ends, *inside, fallen} - ({_BACK} if fallen != _BACK else set()):
                    after = ends.get(ending, none)
                    if isinstance(rule.verdict, Goto):
                        after = self.space.all if ending == fallen else none
                    here = back & after
                    if ending != _BACK:
                        here = here | inside.get(ending, none)
                    out[ending] = hit.ite(here, ends.get(ending, none))
                return out
            case _:
                return self._without(hit, ends)

    def _decided(self, hit: PacketSet, ending: _Ending, ends: Mapping[_Ending, PacketSet]) -> dict[_Ending, PacketSet]:
        out = {other: found & ~hit for other, found in ends.items() if other != ending}
        out[ending] = ends.get(ending, self.space.none) | hit
        return out

    def _spared(self, rule: Rule, hit: PacketSet) -> None:
        if rule.span not in self._several and _may_go(rule) and not is_empty(hit):
            self._found[rule] = hit

    # -- who decides instead -------------------------------------------------------------------------

    def _spare(self, rule: Rule, chain: Chain, steps: int) -> tuple[Spare, int]:
        rest = self._found[rule]
        frame = Frame("any", absent=ABSENT[chain.hook] if chain.hook else frozenset())
        instead = []
        for other in islice(chain.rules, self.left.places[rule] + 1, None):
            if is_empty(rest):
                break
            if steps == 0:
                return Spare(rule, (), False), 0
            steps -= 1
            if other in self._gone or other in self._found or isinstance(other.verdict, Continue):
                continue
            hit = self._hit(other, frame)
            if not is_empty(rest & hit):
                instead.append(other)
                rest = rest & ~hit if not isinstance(other.verdict, Jump) else rest
        return Spare(rule, tuple(instead), not is_empty(rest)), steps


def _ending(rule: Rule) -> _Ending:
    match rule.verdict:
        case Accept():
            return ("accept", "")
        case Reject(kind):
            return ("reject", kind)
        case _:
            return ("drop", "")


def _has_effects(rule: Rule) -> bool:
    """Packets that come by leave a trace, or the rule may do anything."""
    if rule.effects or rule.consumers or not rule.understood or isinstance(rule.verdict, Unknown):
        return True
    return rule.is_seen


def _may_go(rule: Rule) -> bool:
    """A rule by which nobody meant more than its verdict: no effect, no state, no clock, no comment."""
    if _has_effects(rule) or mentions_state(rule.condition) or named_sets(rule) or "comment" in rule.text:
        return False
    return not any(isinstance(t, Opaque) and t.scope is Scope.MEMORY for t in tests(rule.condition))
