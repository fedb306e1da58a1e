"""What hangs on each rule: the packets that would fare otherwise if they passed it by, or did not.

One pass from the last rule back gives, for every place, the fate of a packet that stands there; one pass forward gives
who gets there. Both together answer "what if this rule matched more, or less" for every rule at the price of a few set
operations each, instead of a walk through the whole ruleset.
"""

from collections import Counter
from collections.abc import Collection, Generator, Iterator, Mapping
from dataclasses import dataclass, replace

from ruleaudit.analysis.pair import Side
from ruleaudit.analysis.space import Frame, Space, View
from ruleaudit.analysis.stretch import Block, Release, Stretch, released, shares, stretches
from ruleaudit.analysis.verdicts import ACCEPT, DROP, Verdict
from ruleaudit.analysis.walk import ABSENT, ABSENT_OF_OWN, PATHS, Walk, chains_from, early_chains, mentions_state
from ruleaudit.model.condition import Condition, Masked, Values, all_of, tests
from ruleaudit.model.fields import Field, Hook, State
from ruleaudit.model.ruleset import (
    CONNTRACK_PRIORITY,
    Accept,
    Chain,
    Continue,
    Drop,
    EffectKind,
    Goto,
    Jump,
    Queue,
    Reject,
    Return,
    Rule,
    Ruleset,
    Unknown,
)
from ruleaudit.packets.diagram import PacketSet, is_empty


@dataclass(frozen=True)
class Fate:
    """What becomes of a packet that stands at some place.

    ends      a partition by verdict
    touches   who may meet an effect on the way: a mark, a limit, a list
    shared    who meets one that is the same as those of other rules: a mark, a translation
    counted   who is counted or written down in this base chain, by rules that stand nowhere else
    goes_on   who comes to the next base chain
    """

    ends: dict[Verdict, PacketSet]
    touches: PacketSet
    shared: PacketSet
    counted: PacketSet
    goes_on: PacketSet

    def accepted(self, none: PacketSet) -> PacketSet:
        return self.ends.get(ACCEPT, none)


@dataclass(frozen=True)
class Ways:
    """The two ways that a packet may go from a rule, whether it matches or not.

    differs     packets whose fate (verdict and kind) is not the same on both; `accept_differs`: accept or not
    touches     packets that may meet an effect on one of them
    doubtful    packets of which it cannot be told whether these are the same effects on both
    counted     packets that a limit or a list would see on one of them only
    lives       packets that are accepted on one of them
    """

    differs: PacketSet
    accept_differs: PacketSet
    touches: PacketSet
    doubtful: PacketSet
    counted: PacketSet
    lives: PacketSet


@dataclass(frozen=True)
class Visit:
    """One rule in one place of a path.

    reach       packets that get to the rule
    matched     those that match; `without_state`: those that would without its state tests
    others      packets that match the stateless test in the state tests' place, if one was given
    ways        what hangs on whether a packet matches here
    once        the rule stands in no other place of this path
    """

    path: str
    rule: Rule
    reach: PacketSet
    matched: PacketSet
    without_state: PacketSet
    others: PacketSet
    ways: Ways
    once: bool


def is_plain(ruleset: Ruleset) -> bool:
    """No rule tests a mark that another one sets, and none leaves packets untracked that conntrack has looked at: only
    then is the fate of a packet a function of its place alone.
    """
    early = early_chains(ruleset)
    notracks = (r for r in ruleset.rules() if any(e.kind is EffectKind.NOTRACK for e in r.effects))
    if any((r.table, r.chain) not in early for r in notracks):
        return False
    if not any(e.kind is EffectKind.MARK for r in ruleset.rules() for e in r.effects):
        return True
    return not any(
        isinstance(t, Masked | Values) and t.field is Field.MARK for r in ruleset.rules() for t in tests(r.condition)
    )


class Consequences:
    """The visits of the rules of interest along every path."""

    def __init__(self, space: Space, side: Side, interest: Collection[Rule], instead: Mapping[Rule, Condition]) -> None:
        self.space, self.side, self.interest, self.instead = space, side, frozenset(interest), instead

    def visits(self, path: str, walk: Walk) -> Iterator[Visit]:
        """Every visit along one path behind conntrack; `walk` has run there and knows the tag, the states, who is
        left.
        """
        self.walk, self.path = walk, path
        self.view: View = walk.view()
        self.ways: dict[tuple[int, ...], Ways] = {}
        chains = list(self._base_chains(path))
        met = Counter(c for chain, _ in chains for c in chains_from(self.side.ruleset, (chain,)))
        self.met_twice = {chain for chain, times in met.items() if times > 1}
        if not any((rule.table, rule.chain) in met for rule in self.interest):
            return
        fate = self._end(ACCEPT)
        for chain, frame in reversed(chains):
            fate = self._fate_of_base(chain, frame, fate)
        self.places = Counter(number for *_, number in self.ways)
        alive = walk.looked_up
        for chain, frame in chains:
            meets = alive & self._nat_only(chain)
            if self.space.none == meets:
                continue
            self._accepted = self.space.none
            rest = yield from self._forward(chain, frame, (), meets)
            if isinstance(chain.policy, Accept):
                self._accepted = self._accepted | rest
            alive = (alive & ~meets) | self._accepted

    def _base_chains(self, path: str) -> Iterator[tuple[Chain, Frame]]:
        looked_up = False
        for hook in PATHS[path]:
            for chain in self.side.ruleset.base_chains(hook):
                if chain.nat and looked_up and PATHS[path][0] is Hook.OUTPUT and hook in (Hook.PREROUTING, Hook.INPUT):
                    continue
                early = chain.priority < CONNTRACK_PRIORITY and hook.value in ("prerouting", "output") and not looked_up
                if chain.rules or isinstance(chain.policy, Drop):
                    if early:
                        continue
                    own = PATHS[path][0] is Hook.OUTPUT
                    yield chain, Frame("any", False, (ABSENT_OF_OWN if own else ABSENT)[hook])
            looked_up = True

    def _nat_only(self, chain: Chain) -> PacketSet:
        if not chain.nat:
            return self.space.all
        return self.view.states[State.NEW] if self.side.active else self.space.none

    def _instead(self, rule: Rule, frame: Frame) -> PacketSet:
        return self.space.condition(self.instead[rule], frame, self.view)

    # -- backwards -----------------------------------------------------------------------------------

    def _fate_of_base(self, chain: Chain, frame: Frame, after: Fate) -> Fate:
        none = self.space.none
        self.beyond = after.counted
        accepted = Fate(after.ends, after.touches, after.shared, none, self.space.all)
        policy = accepted if isinstance(chain.policy, Accept) else self._end(DROP)
        inside = self._backward(chain, frame, (), policy, accepted)
        whole = replace(inside, counted=inside.counted | (inside.goes_on & after.counted), goes_on=none)
        return self._either(self._nat_only(chain), whole, after) if chain.nat else whole

    def _end(self, verdict: Verdict) -> Fate:
        none = self.space.none
        return Fate({verdict: self.space.all}, none, none, none, none)

    def _backward(self, chain: Chain, frame: Frame, stack: tuple[int, ...], returned: Fate, accepted: Fate) -> Fate:
        space, numbers = self.space, self.side.identities.numbers
        table = self.side.ruleset.tables[chain.table]
        alone = (chain.table, chain.name) not in self.met_twice
        following = returned
        for rule in reversed(stretches(chain)):
            if isinstance(rule, Stretch):
                for verdict, packets in shares(space, rule, frame).ends.items():
                    target = accepted if verdict == ACCEPT else self._end(verdict)
                    following = self._either(packets, target, following)
                continue
            if isinstance(rule, Release):
                hit = released(space, rule, frame).together
                following = replace(following, touches=following.touches | hit, shared=following.shared | hit)
                continue
            if isinstance(rule, Block):
                refused = self._end(rule.verdict)
                following = self._either(space.block(rule, frame, self.view), refused, following)
                continue
            if rule.is_idle and rule not in self.interest:
                if rule.is_seen:
                    following = replace(following, touches=space.all)
                continue
            number = numbers[rule]
            hit = space.cached(rule.key, rule.condition, frame, self.view, number, rule.understood)
            match rule.verdict:
                case Continue():
                    target = following
                case Accept():
                    target = accepted
                case Drop():
                    target = self._end(DROP)
                case Reject(kind):
                    target = self._end(("reject", kind))
                case Queue(queue):
                    target = self._end(("queue", queue))
                case Return():
                    target = returned
                case Jump(name) | Goto(name):
                    called = table.chains.get(name)
                    back = returned if isinstance(rule.verdict, Goto) else following
                    if called is None or len(stack) > 64:
                        target = self._end(("unknown", name))
                    else:
                        target = self._backward(called, frame, (*stack, number), back, accepted)
                case Unknown(text):
                    target = self._end(("unknown", text))
            if rule in self.interest:
                self.ways[(*stack, number)] = self._ways(rule, target, following)
            new = self._either(hit, target, following) if target is not following else following
            if any(e.kind is not EffectKind.LOG for e in rule.effects) or rule.is_seen:
                new = replace(new, touches=new.touches | (space.all if rule.is_seen else hit))
            if any(e.kind not in (EffectKind.LOG, EffectKind.WRITE) for e in rule.effects):
                new = replace(new, shared=new.shared | hit)
            counted = self._counted(rule, frame, hit)
            # a rule that stands in the way twice counts a packet once
            new = replace(new, counted=new.counted | counted) if alone else replace(new, shared=new.shared | counted)
            following = new
        return following

    def _counted(self, rule: Rule, frame: Frame, hit: PacketSet) -> PacketSet:
        """The packets that a rule counts, or writes down, of all that come to it; logs apart."""
        out = hit if any(e.kind is EffectKind.WRITE for e in rule.effects) else self.space.none
        if not rule.is_seen or rule.is_idle:
            return out
        seen, number = self.space.all, self.side.identities.numbers[rule]
        for match in rule.matches:
            if match.memory:
                out = out | seen
            seen = seen & self.space.condition(match.condition, frame, self.view, number, match.understood)
            if match.writes:
                out = out | seen
        return out

    def _ways(self, rule: Rule, target: Fate, following: Fate) -> Ways:
        none = self.space.none
        differs = none
        for key in {*target.ends, *following.ends}:
            differs = differs | (target.ends.get(key, none) ^ following.ends.get(key, none))
        accepted = target.accepted(none), following.accepted(none)
        touches = target.touches | following.touches
        doubtful = target.shared | following.shared | (target.counted & following.counted)
        if rule.is_seen or any(e.kind is not EffectKind.LOG for e in rule.effects):
            touches = doubtful = self.space.all
        counted = target.counted | following.counted | (self.beyond & (target.goes_on ^ following.goes_on))
        return Ways(differs, accepted[0] ^ accepted[1], touches, doubtful, counted, accepted[0] | accepted[1])

    def _either(self, hit: PacketSet, one: Fate, other: Fate) -> Fate:
        none = self.space.none
        ends: dict[Verdict, PacketSet] = {}
        for key in {*one.ends, *other.ends}:
            found = hit.ite(one.ends.get(key, none), other.ends.get(key, none))
            if not is_empty(found):
                ends[key] = found
        return Fate(
            ends,
            hit.ite(one.touches, other.touches),
            hit.ite(one.shared, other.shared),
            hit.ite(one.counted, other.counted),
            hit.ite(one.goes_on, other.goes_on),
        )

    # -- forwards ------------------------------------------------------------------------------------

    def _forward(
        self, chain: Chain, frame: Frame, stack: tuple[int, ...], alive: PacketSet
    ) -> Generator[Visit, None, PacketSet]:
        """The visits of one chain; returns the packets that fall off its end."""
        space = self.space
        numbers = self.side.identities.numbers
        table = self.side.ruleset.tables[chain.table]
        back = space.none
        for rule in stretches(chain):
            if is_empty(alive):
                break
            if isinstance(rule, Stretch):
                found = shares(space, rule, frame)
                self._accepted = self._accepted | (alive & found.ends.get(ACCEPT, space.none))
                alive = alive & ~found.taken
                continue
            if isinstance(rule, Release):
                continue
            if isinstance(rule, Block):
                alive = alive & ~space.block(rule, frame, self.view)
                continue
            if rule.is_idle and rule not in self.interest:
                continue
            number = numbers[rule]
            hit = alive & space.cached(rule.key, rule.condition, frame, self.view, number, rule.understood)
            if rule in self.interest:
                loose = all_of(m.condition for m in rule.matches if not mentions_state(m.condition))
                key = (*rule.key, "stateless")
                wide = alive & space.cached(key, loose, frame, self.view, number, rule.understood)
                others = wide & self._instead(rule, frame) if rule in self.instead else hit
                ways = self.ways[(*stack, number)]
                yield Visit(self.path, rule, alive, hit, wide, others, ways, self.places[number] == 1)
            if is_empty(hit):
                continue
            match rule.verdict:
                case Continue() | Unknown():
                    continue
                case Accept():
                    self._accepted = self._accepted | hit
                case Return():
                    back = back | hit
                case Jump(name) | Goto(name) if name in table.chains and len(stack) <= 64:
                    returned = yield from self._forward(table.chains[name], frame, (*stack, number), hit)
                    if isinstance(rule.verdict, Goto):
                        back = back | returned
                    else:
                        alive = (alive & ~hit) | returned
                        continue
            alive = alive & ~hit
        return alive | back
