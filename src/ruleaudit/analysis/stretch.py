"""Neighbouring rules that are taken together, because what they do is the same in every walk.

A block is a run of plain refusals of one kind: one set, whatever their number (blocklists). A stretch is a run of rules
and blocks that decide by the header alone: what each is left with of all packets is found once, and a walk of any
packets only cuts it out; where a rule asks for the mark, as long as none has set one. A release is a run of rules that
leave packets untracked by the header alone.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import groupby
from operator import or_
from typing import cast
from weakref import WeakKeyDictionary

from ruleaudit.analysis.row import Row, union
from ruleaudit.analysis.space import BY_MARK, Frame, Space, View, is_static, needs, seen_through
from ruleaudit.analysis.verdicts import ACCEPT, DROP, Verdict
from ruleaudit.model.condition import Condition, Interval, Never, Values, merged
from ruleaudit.model.fields import Field
from ruleaudit.model.ruleset import Accept, Chain, Continue, Drop, EffectKind, Reject, Rule, Ruleset
from ruleaudit.packets.diagram import PacketSet

#: fewer steps than this are walked one by one
_LEAST = 8
#: so many steps of a stretch are taken one after the other, more of them in halves
_ONE_BY_ONE = 16


class Block:
    """Neighbouring rules that refuse in the same way and do nothing else: one set, whatever their number
    (blocklists).
    """

    __slots__ = ("_hash", "key", "lists", "needs", "others", "rules", "verdict")

    def __init__(self, rules: tuple[Rule, ...], verdict: Verdict) -> None:
        self.rules, self.verdict = rules, verdict
        self.key, self._hash = Keys(tuple(r.key for r in rules)), hash(rules)
        lists: dict[Field, list[Interval]] = {}
        self.others: list[Condition] = []
        for rule in rules:
            match rule.condition:
                case Values((Field.SADDR | Field.DADDR) as side, intervals):
                    lists.setdefault(side, []).extend(intervals)
                case condition:
                    self.others.append(condition)
        self.lists = {side: merged(intervals) for side, intervals in lists.items()}
        self.needs = reduce(or_, map(needs, self.others), 0)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and self.rules == other.rules


class Keys:
    """The keys of the rules of a block as one key: the hash is computed once."""

    __slots__ = ("_hash", "keys")

    def __init__(self, keys: tuple[tuple[str, str], ...]) -> None:
        self.keys, self._hash = keys, hash(keys)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keys) and self._hash == other._hash and self.keys == other.keys


@dataclass(frozen=True)
class Stretch:
    """Neighbouring rules and blocks that decide by the header and the mark alone, and do nothing else."""

    steps: tuple[tuple[Rule | Block, Verdict], ...]

    @cached_property
    def _hash(self) -> int:
        return hash(self.steps)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def needs(self) -> int:
        """Of what of a frame the answer depends (`space.needs`)."""
        return _needs(step for step, _ in self.steps)

    @property
    def asks_marks(self) -> bool:
        """Some rule asks for the mark: what becomes of packets is told by the one that they came with."""
        return bool(self.needs & BY_MARK)


class Shares:
    """What becomes of all packets in a stretch; what each step is left with is found when somebody asks for it."""

    def __init__(self, space: Space, stretch: Stretch, frame: Frame) -> None:
        self._space, self._steps = space, stretch.steps
        self._matched = Matched(space, [step for step, _ in stretch.steps], frame)
        self._row = Row(self._matched)
        self.places = {step: place for place, (step, _) in enumerate(stretch.steps)}
        self._left: dict[int, PacketSet] = {}
        #: the verdict of most steps; its packets are what the others leave of those that are taken
        self._most = Counter(verdict for _, verdict in stretch.steps).most_common(1)[0][0]
        self.ends, self.taken = self._ends(0, len(stretch.steps))
        self.ends[self._most] = reduce(lambda left, ended: left & ~ended, self.ends.values(), self.taken)
        self.rules = _OfRules(self)

    def _ends(self, low: int, high: int) -> tuple[dict[Verdict, PacketSet], PacketSet]:
        """What becomes of the packets that some steps take, but for the verdict of most, and all these packets; of many
        steps in halves, so that no large set meets each small one.
        """
        self._space.diagrams.check_room()
        if high - low <= _ONE_BY_ONE:
            return self._one_by_one(low, high)
        middle = (low + high) // 2
        (out, before), (others, behind) = self._ends(low, middle), self._ends(middle, high)
        for verdict, packets in others.items():
            out[verdict] = before.ite(out.get(verdict, self._space.none), packets)
        return out, before | behind

    def _one_by_one(self, low: int, high: int) -> tuple[dict[Verdict, PacketSet], PacketSet]:
        taken, parts = self._space.none, dict[Verdict, list[PacketSet]]()
        for place in range(low, high):
            verdict, found = self._steps[place][1], self._matched[place]
            if verdict != self._most:
                parts.setdefault(verdict, []).append(found & ~taken)
            taken = taken | found
        return {verdict: union(some, self._space.none) for verdict, some in parts.items()}, taken

    def left(self, step: Rule | Block) -> PacketSet:
        """Of what a step matches, what no earlier one takes."""
        place = self.places[step]
        found = self._left.get(place)
        if found is None:
            found = self._left[place] = self._row.without(self._matched[place], 0, place)
        return found

    def about(
        self, packets: PacketSet, asked: Callable[[Rule | Block, Verdict], bool]
    ) -> Iterator[tuple[Rule | Block, Verdict, PacketSet]]:
        """Who of those that are asked decides about some packets, how, and about which."""
        places = [place for place, step in enumerate(self._steps) if asked(*step)]
        for place, found in self._row.shared(packets, places):
            yield (*self._steps[place], found)


class Matched:
    """What rules and blocks match that decide by the header, and the mark that packets came with; not kept, for of many
    of them it is most of what there is.
    """

    def __init__(self, space: Space, steps: Sequence[Rule | Block], frame: Frame) -> None:
        self._space, self._steps, self._frame = space, steps, frame
        self._entering = View({}, space.mark, space.all)

    def __getitem__(self, place: int) -> PacketSet:
        step = self._steps[place]
        if isinstance(step, Block):
            return self._space.block(step, self._frame, self._entering)
        return self._space.condition(step.condition, self._frame, self._entering)

    def __len__(self) -> int:
        return len(self._steps)


class _OfRules(Mapping[Rule, PacketSet]):
    """What the rules of a stretch are left with; for some it may be nothing."""

    def __init__(self, shares: Shares) -> None:
        self._shares = shares

    def __getitem__(self, rule: Rule) -> PacketSet:
        return self._shares.left(rule)

    def __iter__(self) -> Iterator[Rule]:
        return (step for step in self._shares.places if isinstance(step, Rule))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass(frozen=True, eq=False)
class Release:
    """Neighbouring rules that leave packets untracked by the header alone, and do nothing else."""

    rules: tuple[Rule, ...]

    @cached_property
    def needs(self) -> int:
        """Of what of a frame the answer depends (`space.needs`)."""
        return _needs(self.rules)


@dataclass(frozen=True)
class Released:
    """What the rules of a release match: each, and together."""

    rules: dict[Rule, PacketSet]
    together: PacketSet


def released(space: Space, release: Release, frame: Frame) -> Released:
    """What a release matches, seen through a frame."""
    key = (release, seen_through(frame, release.needs))
    found = space.remembered.get(key)
    if found is None:
        nowhere = View({}, [], space.all)
        rules = {r: space.cached(r.key, r.condition, frame, nowhere, 0, True) for r in release.rules}
        found = space.remembered[key] = Released(rules, union(list(rules.values()), space.none))
    return cast(Released, found)


def shares(space: Space, stretch: Stretch, frame: Frame) -> Shares:
    """What becomes of all packets in a stretch, seen through a frame, with the marks that they have on entry."""
    key = (stretch, seen_through(frame, stretch.needs))
    found = space.remembered.get(key)
    if found is None:
        found = space.remembered[key] = Shares(space, stretch, frame)
    return cast(Shares, found)


def _needs(steps: Iterable[Rule | Block]) -> int:
    return reduce(or_, (step.needs if isinstance(step, Block) else needs(step.condition) for step in steps), 0)


Step = Rule | Block | Stretch | Release

_of_chains: WeakKeyDictionary[Chain, tuple[tuple[Rule | Block, ...], tuple[Step, ...]]]
_of_chains = WeakKeyDictionary()


def blocks(chain: Chain) -> tuple[Rule | Block, ...]:
    """The rules of a chain that some packet may match, with runs of plain refusals taken together."""
    return _known(chain)[0]


def stretches(chain: Chain) -> tuple[Step, ...]:
    """The same, with runs of steps that decide by the header alone taken together."""
    return _known(chain)[1]


def _known(chain: Chain) -> tuple[tuple[Rule | Block, ...], tuple[Step, ...]]:
    found = _of_chains.get(chain)
    if found is None:
        every = _blocks(chain)
        found = _of_chains[chain] = every, tuple(_stretches(every))
    return found


def _stretches(every: Sequence[Rule | Block]) -> Iterator[Step]:
    ended = ((step, step.verdict if isinstance(step, Block) else _verdict(step, marks=True)) for step in every)
    for decides, run in groupby(ended, lambda pair: pair[1] is not None):
        some = [(step, verdict) for step, verdict in run if verdict is not None] if decides else []
        if len(some) >= _LEAST:
            yield Stretch(tuple(some))
        elif decides:
            yield from (step for step, _ in some)
        else:
            yield from _releases(step for step, _ in run)


def _releases(every: Iterable[Rule | Block]) -> Iterator[Step]:
    for releases, run in groupby(every, lambda step: isinstance(step, Rule) and _releases_only(step)):
        some = [step for step in run if isinstance(step, Rule)]
        if releases and len(some) > 1:
            yield Release(tuple(some))
        else:
            yield from some


def _releases_only(rule: Rule) -> bool:
    if not isinstance(rule.verdict, Continue) or [e.kind for e in rule.effects] != [EffectKind.NOTRACK]:
        return False
    return is_by_header(rule)


def _blocks(chain: Chain) -> tuple[Rule | Block, ...]:
    out: list[Rule | Block] = []
    run: list[Rule] = []
    ending: Verdict | None = None

    def close() -> None:
        if len(run) > 1 and ending is not None:
            out.append(Block(tuple(run), ending))
        else:
            out.extend(run)
        run.clear()

    for rule in chain.rules:
        if isinstance(rule.condition, Never) and not rule.is_seen:
            continue
        verdict = _verdict(rule)
        verdict = None if verdict == ACCEPT else verdict
        if verdict is None or verdict != ending:
            close()
        ending = verdict
        if verdict is None:
            out.append(rule)
        else:
            run.append(rule)
    close()
    return tuple(out)


def steps(ruleset: Ruleset) -> int:
    """How many rules and blocks a packet may have to pass; sixteen rules in a block take the room of one outside."""
    chains = (chain for table in ruleset.tables.values() for chain in table.chains.values())
    return sum(len(blocks(chain)) for chain in chains) + ruleset.size // 16


def _verdict(rule: Rule, *, marks: bool = False) -> Verdict | None:
    """The verdict of a rule that decides by the header alone, or by the mark too, and does nothing else; None for
    every other rule.
    """
    match rule.verdict:
        case Accept():
            verdict = ACCEPT
        case Drop():
            verdict = DROP
        case Reject(kind):
            verdict = ("reject", kind)
        case _:
            return None
    return verdict if not rule.effects and is_by_header(rule, marks=marks) else None


def is_by_header(rule: Rule, *, marks: bool = False) -> bool:
    """Whom a rule matches is told by the header, or by the mark too, and nobody keeps count of it."""
    if not rule.understood or rule.consumers or rule.is_seen:
        return False
    return all(is_static(match.condition, marks=marks) for match in rule.matches)
