"""Rules that a chain could do without: what they decide would be decided in the same way behind them.

Each chain is looked at by itself, from its last rule back, with every packet at every place; so a rule that could be
spared here could be spared whoever calls the chain. Most rules are needed by a packet that a scout shows; only what the
others match is looked at as a set. Packets that meet an effect on the way (a log, a mark, a limit, a
list) are left out: for them the way is not the same. So are packets that would meet a rule of which no packet is left
now: it may be deleted too, or not, and of two equal rules one has to stay.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from ruleaudit.analysis.left import Left
from ruleaudit.analysis.named_sets import named_sets, without_sets
from ruleaudit.analysis.pair import may_match
from ruleaudit.analysis.row import Row, union
from ruleaudit.analysis.scouts import Course, OutOfSteps, Scout
from ruleaudit.analysis.space import TRACKED_STATES, Frame, View
from ruleaudit.analysis.stretch import Block, Matched, blocks
from ruleaudit.analysis.walk import ABSENT, Identities, mentions_state
from ruleaudit.model.condition import Opaque, Scope, tests
from ruleaudit.model.fields import Field, State
from ruleaudit.model.ruleset import Accept, Chain, Continue, Drop, Goto, Jump, Reject, Return, Rule, Unknown
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.source import Span

#: how a packet leaves a chain: by a verdict, or back to the caller
_Ending = tuple[str, str]
_BACK: _Ending = ("back", "")
_OPEN: _Ending = ("open", "")

#: how many rules are looked at to say who decides instead, in one ruleset
_MOST_STEPS = 20_000
#: so many rules behind a rule are tried to find a packet that needs it
_TRIED = 6


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
        self._found: set[Rule] = set()
        self._courses: dict[tuple[Chain, _Ending], Course] = {}
        self._gone = left.behind | {part for void in left.void for part in void.parts}

    @cached_property
    def all(self) -> tuple[Spare, ...]:
        """In the order of the text within each chain."""
        for chain in self._chains if self._doubtful else ():
            self._ends_of(chain, ())
        steps = _MOST_STEPS
        found = []
        for rule in filter(self._found.__contains__, self.ruleset.rules()):
            spare, steps = self._spare(rule, self.ruleset.tables[rule.table].chains[rule.chain], steps)
            found.append(spare)
        return tuple(found)

    @cached_property
    def _chains(self) -> Sequence[Chain]:
        """The chains that packets get into, and those that their rules lead to."""
        found = set(self.left.entered)
        todo = list(found)
        for table, name in todo:
            chains = self.ruleset.tables[table].chains
            for rule in chains[name].rules if name in chains else ():
                to = (table, rule.leads_to)
                if rule.leads_to in chains and to not in found and rule not in self._gone:
                    found.add(to)
                    todo.append(to)
        return [chain for chain in self.ruleset.chains() if (chain.table, chain.name) in found]

    # -- rule by rule ----------------------------------------------------------------------------------

    @cached_property
    def _doubtful(self) -> Mapping[Rule, PacketSet]:
        """The rules of which it takes packet sets to tell whether they can be spared, and what they match."""
        found: list[Rule] = []
        for chain in self._chains:
            asked = [r for r in chain.rules if isinstance(r.verdict, Accept | Drop | Reject) and self._may_be_spared(r)]
            with suppress(OutOfSteps):
                while asked:
                    told = self._is_needed(chain, asked[-1])
                    rule = asked.pop()
                    if told is None:
                        found.append(rule)
                    elif not told:
                        self._found.add(rule)
            found += asked
        tables = self.ruleset.tables
        return {rule: self._hit(rule, _frame(tables[rule.table].chains[rule.chain])) for rule in found}

    def _may_be_spared(self, rule: Rule) -> bool:
        return rule not in self._gone and rule.span not in self._several and _may_go(rule)

    def _is_needed(self, chain: Chain, rule: Rule) -> bool | None:
        """Whether some packet that a rule matches fares otherwise behind it, as far as that can be told at once."""
        scouts, ending, place = self.left.scouts, _ending(rule), self.left.places[rule]
        scout = scouts.new((rule,), (0, 0), _frame(chain).absent)
        if not scout.holds(rule.condition):
            return None
        if _fallen(chain) != ending and self._fate(chain, place + 1, scout) not in (ending, None):
            return True
        alike, tried = _fallen(chain) == ending, 0
        for other in scouts.among(self._otherwise(chain, ending), rule, place + 1, _TRIED):
            alike, tried = False, tried + 1
            if tried > 2 * _TRIED:
                break
            scout = scouts.new((rule, other), (0, 0), _frame(chain).absent)
            if scout.holds(rule.condition) and self._fate(chain, place + 1, scout) not in (ending, None):
                return True
        return False if alike else None

    def _otherwise(self, chain: Chain, ending: _Ending) -> Course:
        """The rules of a chain that may do something else than send packets to an ending."""
        found = self._courses.get((chain, ending))
        if found is None:
            places = [place for place, rule in enumerate(chain.rules) if not self._decides_so(rule, ending)]
            found = self._courses[chain, ending] = Course(chain.rules, places)
        return found

    def _decides_so(self, rule: Rule, ending: _Ending) -> bool:
        """Whom it matches it sends to an ending, or on."""
        if rule in self._gone or named_sets(rule) or _has_effects(rule):
            return False
        if isinstance(rule.verdict, Accept | Drop | Reject):
            return _ending(rule) == ending
        return isinstance(rule.verdict, Continue)

    def _fate(self, chain: Chain, start: int, scout: Scout, stack: tuple[str, ...] = ()) -> _Ending | None:
        """What becomes of a packet from a place of a chain on; _OPEN: nothing is said of it, None: who knows."""
        chains = self.ruleset.tables[chain.table].chains
        for rule in self.left.scouts.coming(chain, scout, start):
            kept = rule not in self._gone and not named_sets(rule)
            if not scout.holds(rule.condition if kept else without_sets(rule).condition):
                continue
            if not kept or _has_effects(rule):
                return _OPEN
            match rule.verdict:
                case Continue():
                    pass
                case Accept() | Drop() | Reject():
                    return _ending(rule)
                case Return():
                    break
                case Jump(name) | Goto(name) if name in chains and name not in (*stack, chain.name):
                    fate = self._fate(chains[name], 0, scout, (*stack, chain.name))
                    if fate != _BACK:
                        return fate
                    if isinstance(rule.verdict, Goto):
                        break
                case Jump() | Goto():
                    return None
                case _:
                    return _OPEN
        return _fallen(chain)

    @cached_property
    def _asked(self) -> PacketSet:
        """The packets of the doubtful rules."""
        return union(list(self._doubtful.values()), self.space.none)

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
            frame, fallen = _frame(chain), _fallen(chain)
            near = self.left.scouts.near(chain, (rule.condition for rule in self._doubtful))
            ends: dict[_Ending, PacketSet] = {fallen: self._asked}
            for rule in reversed(blocks(chain)):
                if isinstance(rule, Block):
                    ends = self._before_block([r for r in rule.rules if r in near], rule.verdict, frame, ends)
                elif rule in near:
                    ends = self._before(rule, frame, ends, fallen, (*stack, chain.name))
            self._ends[key] = ends
        return self._ends[key]

    def _hit(self, rule: Rule, frame: Frame) -> PacketSet:
        return self.space.cached(rule.key, rule.condition, frame, self._view, self._numbers[rule], rule.understood)

    def _before_block(
        self, rules: Sequence[Rule], verdict: _Ending, frame: Frame, ends: dict[_Ending, PacketSet]
    ) -> dict[_Ending, PacketSet]:
        if not rules:
            return ends
        none = self.space.none
        row = Row(Matched(self.space, rules, frame))
        leaving = (rule for rule in rules if rule in self._gone or named_sets(rule))
        gone = union([may_match(self.space, without_sets(rule), frame) for rule in leaving], none)
        same = ends.get(verdict, none)
        for place in reversed(range(len(rules))):
            hit = self._doubtful.get(rules[place], none)
            if is_empty(hit & gone) and is_empty(row.without(hit & ~same, place + 1, len(rules))):
                self._spared(rules[place])
        return self._without(gone, self._decided(row.union & self._asked, verdict, ends))

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
        if _has_effects(rule):
            return self._without(may_match(self.space, rule, frame), ends)
        if rule in self._gone or named_sets(rule):
            # what a named set holds is nothing to rely on
            return self._without(may_match(self.space, without_sets(rule), frame), ends)
        hit = self._hit(rule, frame) & self._asked
        match rule.verdict:
            case Continue():
                return ends
            case Return():
                return self._decided(hit, fallen, ends)
            case Accept() | Drop() | Reject():
                ending = _ending(rule)
                if is_empty(hit & ~ends.get(ending, none)):
                    self._spared(rule)
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
                        after = self._asked if ending == fallen else none
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

    def _spared(self, rule: Rule) -> None:
        if not is_empty(self._doubtful.get(rule, self.space.none)):
            self._found.add(rule)

    # -- who decides instead -------------------------------------------------------------------------

    def _spare(self, rule: Rule, chain: Chain, steps: int) -> tuple[Spare, int]:
        place, frame, instead = self.left.places[rule], _frame(chain), []
        if steps == 0:
            return Spare(rule, (), place + 1 == len(chain.rules)), 0
        rest = self._hit(rule, frame)
        near = self.left.scouts.near(chain, (rule.condition,))
        for other in islice(chain.rules, place + 1, None):
            if is_empty(rest):
                break
            if steps == 0:
                return Spare(rule, (), False), 0
            steps -= 1
            if other not in near or other in self._gone or other in self._found:
                continue
            if isinstance(other.verdict, Continue):
                continue
            hit = self._hit(other, frame)
            if not is_empty(rest & hit):
                instead.append(other)
                rest = rest & ~hit if not isinstance(other.verdict, Jump) else rest
        return Spare(rule, tuple(instead), not is_empty(rest)), steps


def _frame(chain: Chain) -> Frame:
    return Frame("any", absent=ABSENT[chain.hook] if chain.hook else frozenset())


def _fallen(chain: Chain) -> _Ending:
    """What becomes of packets that fall off the end of a chain."""
    if chain.hook is None:
        return _BACK
    return ("drop", "") if isinstance(chain.policy, Drop) else ("accept", "")


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
