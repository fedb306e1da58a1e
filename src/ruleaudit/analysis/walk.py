"""Who reaches what: packets sent through the base chains of a path, in the order in which the kernel runs them.

Everything is computed as a function of the packet *on entry*: the mark is a vector of sets, the UNTRACKED tag is a set.
So the outcome of every packet is exact, also behind rules that rewrite the mark, and two walks can be compared.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from itertools import takewhile
from typing import TypeVar, cast
from weakref import WeakKeyDictionary

from ruleaudit.analysis.cone import Cone
from ruleaudit.analysis.decisions import Decisions
from ruleaudit.analysis.late_sets import LateSets
from ruleaudit.analysis.settled import Settled, is_shared, settled
from ruleaudit.analysis.space import BY_RULE, UNTRACKED_ICMPV6, Frame, Space, UnknownTest, View, seen_through
from ruleaudit.analysis.stretch import Block, Release, Step, Stretch, released, shares, stretches
from ruleaudit.analysis.verdicts import ACCEPT, DROP, Verdict
from ruleaudit.model.condition import Condition, Direction, Never, Opaque, Scope, States, tests
from ruleaudit.model.fields import Family, Field, Hook, State
from ruleaudit.model.ruleset import (
    CONNTRACK_PRIORITY,
    Accept,
    Chain,
    Consumer,
    Continue,
    Drop,
    Effect,
    EffectKind,
    Goto,
    Jump,
    Match,
    Queue,
    Reject,
    Return,
    Rule,
    Ruleset,
    Table,
    Unknown,
)
from ruleaudit.packets.diagram import PacketSet, is_empty

#: the hooks that a packet passes, by the path that it takes (design section 2)
PATHS: dict[str, tuple[Hook, ...]] = {
    "in": (Hook.PREROUTING, Hook.INPUT),
    "out": (Hook.OUTPUT, Hook.POSTROUTING),
    "forward": (Hook.PREROUTING, Hook.FORWARD, Hook.POSTROUTING),
    "local": (Hook.OUTPUT, Hook.POSTROUTING, Hook.PREROUTING, Hook.INPUT),
    "looped": (Hook.OUTPUT, Hook.POSTROUTING, Hook.PREROUTING, Hook.INPUT),
}

ABSENT = {
    Hook.PREROUTING: frozenset({Field.OIF}),
    Hook.INPUT: frozenset({Field.OIF}),
    Hook.FORWARD: frozenset[Field](),
    Hook.OUTPUT: frozenset({Field.IIF}),
    Hook.POSTROUTING: frozenset[Field](),
}
#: a packet of this host itself came by no interface
ABSENT_OF_OWN = {**ABSENT, Hook.POSTROUTING: frozenset({Field.IIF})}

Key = TypeVar("Key")

#: effects are compared by kind and parameters, those with memory by the rule too
EffectKey = tuple[EffectKind | str, str, int]

CREATING = (EffectKind.NAT, EffectKind.ENTRY, EffectKind.TRACK, EffectKind.ZONE)


@dataclass(frozen=True, eq=False)
class Identities:
    """Which rule of one ruleset is which rule of the other: rules with the same number are the same rule."""

    numbers: Mapping[Rule, int]
    origin: "Identities | None" = None  #: whose numbers these are, besides those of rules that were changed

    @staticmethod
    def of(ruleset: Ruleset) -> "Identities":
        """The rules of one ruleset, numbered; the same for everybody who asks."""
        found = _identities.get(ruleset)
        if found is None:
            numbers = {rule: number for number, rule in enumerate(ruleset.rules())}
            found = _identities[ruleset] = Identities(numbers)
        return found


_identities: WeakKeyDictionary[Ruleset, Identities] = WeakKeyDictionary()


@lru_cache(maxsize=64)
def conntrack_users(ruleset: Ruleset) -> tuple[Rule, ...]:
    """The rules that switch tracking on, dead ones included (facts section 2)."""
    return tuple(rule for chain in ruleset.chains() for rule in _read(chain).users)


def chains_from(ruleset: Ruleset, bases: Iterable[Chain]) -> frozenset[tuple[str, str]]:
    """(table, chain) of some chains and of all that they lead to."""
    found: set[tuple[str, str]] = set()
    todo = [(chain.table, chain.name) for chain in bases]
    while todo:
        table, name = todo.pop()
        if (table, name) in found or name not in ruleset.tables[table].chains:
            continue
        found.add((table, name))
        todo += [(table, called) for called in _read(ruleset.tables[table].chains[name]).leads_to]
    return frozenset(found)


@dataclass(frozen=True)
class _Read:
    """What is asked of all rules of a chain again and again: which of them track, and the chains that they lead to."""

    users: tuple[Rule, ...]
    leads_to: tuple[str, ...]


_of_chains: WeakKeyDictionary[Chain, _Read] = WeakKeyDictionary()


def _read(chain: Chain) -> _Read:
    found = _of_chains.get(chain)
    if found is None:
        users = tuple(rule for rule in chain.rules if uses_conntrack(rule))
        calls = (rule for rule in chain.rules if rule.leads_to and not isinstance(rule.condition, Never))
        found = _of_chains[chain] = _Read(users, tuple(dict.fromkeys(rule.leads_to for rule in calls)))
    return found


def filtering_chains(ruleset: Ruleset, hook: Hook) -> frozenset[tuple[str, str]]:
    """(table, chain) of the chains that filter at a hook."""
    return chains_from(ruleset, (c for c in ruleset.base_chains(hook) if not c.nat))


def called_chains(ruleset: Ruleset) -> frozenset[tuple[str, str]]:
    """(table, chain) of every chain that a packet can get to."""
    every = (c for table in ruleset.tables.values() for c in table.chains.values())
    return chains_from(ruleset, (c for c in every if c.hook is not None))


def early_chains(ruleset: Ruleset) -> frozenset[tuple[str, str]]:
    """(table, chain) of every chain that a packet can get to before conntrack looks at it."""
    every = (c for table in ruleset.tables.values() for c in table.chains.values())
    return chains_from(ruleset, (c for c in every if c.before_conntrack))


def is_tracking(ruleset: Ruleset) -> bool:
    """The kernel tracks connections while this ruleset is loaded."""
    return bool(ruleset.tracks) or bool(conntrack_users(ruleset))


def uses_conntrack(rule: Rule) -> bool:
    """The rule makes the kernel register conntrack: a state or entry test, a consumer, NAT, CT other than --notrack."""
    if rule.consumers or any(e.kind in CREATING for e in rule.effects):
        return True
    # `ct state != a,b` holds for every packet, and tracks every packet all the same
    return any(m.consumer or m.name.startswith("ct ") or mentions_state(m.condition) for m in rule.matches)


def mentions_state(condition: Condition) -> bool:
    """A condition that reads conntrack's state, direction or entry."""
    return any(
        isinstance(t, States | Direction) or (isinstance(t, Opaque) and t.scope is Scope.ENTRY)
        for t in tests(condition)
    )


@dataclass
class Walk:
    """One set of packets on its way; the results are in the fields below when `run` has returned.

    states  how the packets that are not left alone are classified by conntrack: a partition
    immune  notrack rules have no effect on these packets (the answers of iptables' REJECT, [a06])
    cone    the rules that these packets may meet; None: any
    """

    space: Space
    ruleset: Ruleset
    identities: Identities
    frame: Frame
    states: Mapping[State, PacketSet]
    original: PacketSet
    active: bool = True
    immune: bool = False
    cone: Cone | None = None

    outcomes: dict[Verdict, PacketSet] = field(default_factory=dict)
    decided: Decisions = field(default_factory=Decisions)
    effects: LateSets[EffectKey] = field(default_factory=LateSets)
    evaluated: LateSets[EffectKey] = field(default_factory=LateSets)
    on_entries: LateSets[EffectKey] = field(default_factory=LateSets)  #: effects that only packets with an entry meet
    consumed: LateSets[tuple[Rule, Consumer]] = field(default_factory=LateSets)
    matched: LateSets[Rule] = field(default_factory=LateSets)
    retracked: dict[int, PacketSet] = field(default_factory=dict)  #: by the number of a rule that sets a zone
    rest: PacketSet = field(init=False)  #: the packets that fall off the end of a settled chain
    looked_up: PacketSet = field(init=False)  #: the packets that got as far as conntrack
    unfollowed: list[Rule] = field(default_factory=list)
    _view: tuple[tuple[int, bool, PacketSet], View] | None = None  #: the last one, and what it was made of
    _version: int = 0  #: grows whenever the tag or the mark of some packet changes

    def __post_init__(self) -> None:
        self.none = self.space.none
        self.looked_up = self.rest = self.none
        self.tag: PacketSet = self.none
        self.template = self.none
        self.mark: Sequence[PacketSet] = self.space.mark
        self._stack: list[str] = []

    # -- along the path ----------------------------------------------------------------------------

    def run(self, path: Iterable[Hook], packets: PacketSet) -> PacketSet:
        """Send packets through every base chain of the hooks; returns those that no chain drops."""
        alive = packets
        for hook in path:
            self._sent = self._sent or hook is Hook.OUTPUT
            if hook in (Hook.PREROUTING, Hook.OUTPUT):
                first = not self._is_tagged_copy(hook)
                self._again = not first
                alive = self._base_chains(hook, alive, before=True)
                self._again = False
                if first:
                    self._look_up()
                    self.looked_up = alive
                self.template = self.none
                self._version += 1
                alive = self._base_chains(hook, alive, before=False)
            else:
                alive = self._base_chains(hook, alive, before=None)
        self._add(self.outcomes, ACCEPT, alive)
        return alive

    def _is_tagged_copy(self, hook: Hook) -> bool:
        return hook is Hook.PREROUTING and self._looked_up

    _looked_up: bool = False
    _sent: bool = False  #: the packet is this host's own
    _whole: bool = False  #: every packet there could be is sent: a chain that one rule calls is seen once
    _again: bool = False  #: it is on lo, and conntrack looks once more at what it found no entry for

    def alone(self, chain: Chain, untracked: PacketSet, packets: PacketSet) -> None:
        """Send packets through one chain, in every state, the untracked among them; a user chain has no hook.

        What comes to prerouting by lo has been looked up in output.
        """
        self._looked_up = chain.hook is not Hook.OUTPUT or chain.priority >= CONNTRACK_PRIORITY
        self._whole = True
        self.tag = untracked
        self._base_chain(chain, chain.hook, packets)

    def skip_look_up(self) -> None:
        """The packets enter behind conntrack: their states hold from the first rule on."""
        self._looked_up = True

    def _look_up(self) -> None:
        """Conntrack, at -200: what carries no tag gets its state; some ICMPv6 is left alone by nature."""
        self._looked_up = True
        if self.space.family is Family.IPV6 and self.active:
            natural = self.space.is_(Field.PROTOCOL, 58) & self.space.diagrams.within(
                self.space.bits[Field.ICMP_TYPE], UNTRACKED_ICMPV6
            )
            self.tag = self.tag | natural

    def view(self) -> View:
        """States, mark and direction as the next rule sees them."""
        now = (self._version, self._looked_up, self.tag)
        if self._view is None or self._view[0] != now:
            self._view = now, self._fresh_view()
        return self._view[1]

    def _fresh_view(self) -> View:
        free = ~self.tag
        if not self._looked_up:
            states = dict.fromkeys(State, self.none)
            states[State.INVALID] = free
        else:
            states = {s: self.states.get(s, self.none) & free for s in State}
        # a template is an entry until conntrack looks
        states = {s: found & ~self.template for s, found in states.items()}
        states[State.NEW] = states[State.NEW] | (self.template & free)
        states[State.UNTRACKED] = self.tag
        return View(states, self.mark, self.original | self.template)

    def _base_chains(self, hook: Hook, alive: PacketSet, before: bool | None) -> PacketSet:
        for chain in self.ruleset.base_chains(hook):
            early = chain.priority < CONNTRACK_PRIORITY
            if before is not None and early is not before:
                continue
            if chain.nat and self._sent and hook in (Hook.PREROUTING, Hook.INPUT):
                continue  # NAT of a packet of this host was settled when it left
            if chain.nat:
                meets = self.view().states[State.NEW] if self.active else self.none
                alive = (alive & ~meets) | self._base_chain(chain, hook, alive & meets)
            else:
                alive = self._base_chain(chain, hook, alive)
        return alive

    def _base_chain(self, chain: Chain, hook: Hook | None, packets: PacketSet) -> PacketSet:
        if not chain.rules and isinstance(chain.policy, Accept):
            return packets
        self.space.diagrams.check_room()
        absent = (ABSENT_OF_OWN if self._sent else ABSENT)[hook] if hook else frozenset[Field]()
        self._frame = replace(self.frame, absent=self.frame.absent | absent)
        self._accepted = self.none
        table = self.ruleset.tables[chain.table]
        rest = self._chain(table, chain, packets)
        if isinstance(chain.policy, Drop):
            self._decide(chain, DROP, rest)
        else:
            self._decide(chain, ACCEPT, rest)
        return self._accepted

    # -- one chain ---------------------------------------------------------------------------------

    def _chain(self, table: Table, chain: Chain, alive: PacketSet) -> PacketSet:
        """Walk one chain; returns the packets that fall off its end or return from it."""
        back = self.none
        self._stack.append(chain.name)
        view, version = self.view(), self._version
        cached, numbers, cone = self.space.cached, self.identities.numbers, self.cone
        for rule in self._steps(chain):
            if is_empty(alive):
                break
            if isinstance(rule, Stretch):
                alive = self._along(rule, alive)
                continue
            if isinstance(rule, Release):
                found = released(self.space, cone.of_release(rule) if cone else rule, self._frame)
                self.matched.put_off_all(found.rules, alive)
                self._untrack(alive & found.together)
                continue
            if isinstance(rule, Block):
                hit = alive & self.space.block(rule, self._frame, view)
                self._decide(rule, rule.verdict, hit)
                alive = alive & ~hit
                continue
            if cone and not cone.holds(rule):
                continue
            if version != self._version:
                view, version = self.view(), self._version
            if rule.is_idle:
                self._pass_by(rule, alive, view)
                continue
            number = numbers[rule]
            hit = alive & cached(rule.key, rule.condition, self._frame, view, number, rule.understood)
            if rule.is_seen:
                self._evaluate(rule, number, alive, view)
            if is_empty(hit):
                continue
            self.matched.add(rule, hit)
            for consumer in rule.consumers:
                self.consumed.add((rule, consumer), hit)
            for effect in rule.effects:
                self._effect(effect, number, hit)
            match rule.verdict:
                case Continue():
                    pass
                case Accept():
                    self._decide(rule, ACCEPT, hit)
                    alive = alive & ~hit
                case Drop():
                    self._decide(rule, DROP, hit)
                    alive = alive & ~hit
                case Reject(kind):
                    self._decide(rule, ("reject", kind), hit)
                    alive = alive & ~hit
                case Queue(queue):
                    self._decide(rule, ("queue", queue), hit)
                    alive = alive & ~hit
                case Return():
                    back = back | hit
                    alive = alive & ~hit
                case Jump(name) | Goto(name):
                    called = self._called(table, rule, name, hit)
                    alive = alive & ~hit
                    if isinstance(rule.verdict, Goto):
                        back = back | called
                    else:
                        alive = alive | called
                case Unknown(text):
                    ends = self.space.unknown(
                        ("target", text, number, self.frame.role),
                        UnknownTest(f"-j {text}", Scope.MEMORY, number, self.frame.role, False),
                    )
                    self._decide(rule, ("unknown", text), hit & ends)
                    alive = alive & ~(hit & ends)
        self._stack.pop()
        return alive | back

    def _steps(self, chain: Chain) -> Iterator[Step]:
        """The steps of a chain; behind a rule that sets marks those of a stretch that asks for them come one by one."""
        for step in stretches(chain):
            if isinstance(step, Stretch) and step.asks_marks and self.mark is not self.space.mark:
                yield from (one for one, _ in step.steps)
            else:
                yield step

    def _along(self, stretch: Stretch, alive: PacketSet) -> PacketSet:
        """Walk a stretch of rules; returns the packets about which none of them decides."""
        found = shares(self.space, self.cone.of_stretch(stretch) if self.cone else stretch, self._frame)
        here = alive & found.taken
        if is_empty(here):
            return alive
        for verdict, packets in found.ends.items():
            self._end(verdict, here & packets)
        self.decided.put_off(here, found.about)
        self.matched.put_off_all(found.rules, here)
        return alive & ~found.taken

    def _called(self, table: Table, rule: Rule, name: str, hit: PacketSet) -> PacketSet:
        target = table.chains.get(name)
        chain = settled(table, name)
        if target is not None and chain is not None and (not self._whole or is_shared(table, name)):
            return self._cut(self._passage(table, target, chain), hit)
        if target is None or name in self._stack:
            self.unfollowed.append(rule)
            ends = self.space.unknown(
                ("chain", name, self.frame.role),
                UnknownTest(f"chain {name}", Scope.MEMORY, None, self.frame.role, False),
            )
            self._decide(rule, ("unknown", name), hit & ends)
            return hit & ~ends
        return self._chain(table, target, hit)

    def _passage(self, table: Table, chain: Chain, key: Settled) -> "Walk":
        """What a settled chain does with every packet that there could be."""
        frame = self._frame
        rules = (self.identities.origin or self.identities) if key.needs & BY_RULE else None
        name = (key, seen_through(frame, key.needs), rules, self.cone)
        found = self.space.remembered.get(name)
        if found is None:
            self.space.diagrams.check_room()
            walk = Walk(self.space, self.ruleset, self.identities, frame, {}, self.space.all, cone=self.cone)
            walk._frame, walk._accepted, walk._whole, walk._looked_up = frame, self.none, True, True
            walk.rest = walk._chain(table, chain, self.space.all)
            found = self.space.remembered[name] = walk
        return cast(Walk, found)

    def _cut(self, passage: "Walk", packets: PacketSet) -> PacketSet:
        """Send packets through a settled chain; returns those that fall off its end."""
        self._accepted = self._accepted | (packets & passage._accepted)
        for verdict, ended in passage.outcomes.items():
            self._end(verdict, packets & ended)
        self.decided.put_off(packets, passage.decided.about)
        self.matched.put_off_all(passage.matched, packets)
        self.effects.put_off_all(passage.effects, packets)
        self.on_entries.put_off_all(passage.on_entries, packets & ~self.tag)
        self.evaluated.put_off_all(passage.evaluated, packets)
        self.consumed.put_off_all(passage.consumed, packets)
        if passage.turns:
            mark = list(self.mark)
            for place, (on, off) in passage.turns.items():
                # cut out first: the bit is as large as all that others have made of it
                had = packets & mark[place]
                mark[place] = packets.ite((had & on) | (packets & ~had & off), mark[place])
            self.mark = mark
            self._version += 1
        return packets & passage.rest

    @cached_property
    def turns(self) -> Mapping[int, tuple[PacketSet, PacketSet]]:
        """The bits of the mark that a settled chain changes: the packets with the bit behind it, of those that had it
        before, and of those that had not.
        """
        found = {}
        for place, (before, after) in enumerate(zip(self.space.mark, self.mark, strict=True)):
            if after != before:
                cube = self.space.diagrams.cube([self.space.bits[Field.MARK][place]])
                found[place] = (after & before).exists(cube), (after & ~before).exists(cube)
        return found

    def _decide(self, by: Rule | Block | Chain, verdict: Verdict, packets: PacketSet) -> None:
        if not is_empty(packets):
            self._end(verdict, packets)
            self.decided.add(by, verdict, packets)

    def _end(self, verdict: Verdict, packets: PacketSet) -> None:
        if verdict == ACCEPT:
            self._accepted = self._accepted | packets
        else:
            self._add(self.outcomes, verdict, packets)

    # -- effects -----------------------------------------------------------------------------------

    def _effect(self, effect: Effect, number: int, hit: PacketSet) -> None:
        match effect.kind:
            case EffectKind.NOTRACK:
                self._untrack(hit)
            case EffectKind.TRACK:
                if not self._looked_up or self._again:
                    self.template = self.template | (hit & self._unattached())
                    self._version += 1
                if not self._looked_up:
                    self.effects.add((effect.kind, effect.text, 0), hit & ~self.tag)
            case EffectKind.ZONE:
                if not self._looked_up:
                    self._add(self.retracked, number, hit & self.tag)
                    self.template = self.template | hit
                    self.tag = self.tag & ~hit
                    self._version += 1
                self.effects.add((effect.kind, effect.text, 0), hit & ~self.tag)
            case EffectKind.MARK:
                self._set_mark(effect, hit)
            case EffectKind.WRITE:
                self.effects.add((effect.kind, effect.text, number), hit)
            case EffectKind.NAT | EffectKind.ENTRY:
                # what hangs on the entry happens to no packet that has none
                self.on_entries.add((effect.kind, effect.text, 0), hit & ~self.tag)
            case _:
                self.effects.add((effect.kind, effect.text, 0), hit)

    def _untrack(self, hit: PacketSet) -> None:
        if not self.immune and not is_empty(hit):
            self.tag = self.tag | (hit & self._unattached() & ~self.template)
            self._version += 1

    def _unattached(self) -> PacketSet:
        """The packets that carry neither an entry nor the tag: behind conntrack, those that it calls invalid."""
        if not self._looked_up:
            return ~self.tag
        return self.view().states[State.INVALID] if self.active else self.none

    def _set_mark(self, effect: Effect, hit: PacketSet) -> None:
        self.effects.add((EffectKind.MARK, effect.text, 0), hit)
        if not self.space.mark_bits:
            return
        self._version += 1
        mark = list(self.mark)
        for place in range(32):
            index = 31 - place
            if not self.space.mark_bits >> place & 1:
                continue
            if effect.mask is None:
                free = self.space.unknown(
                    ("mark", effect.text, place),
                    UnknownTest(effect.text, Scope.ENTRY, None, self.frame.role, True),
                )
                with_entry = hit & ~self.tag
                mark[index] = (with_entry & free) | (~with_entry & mark[index])
                continue
            masked, toggled = effect.mask >> place & 1, effect.value >> place & 1
            if masked:
                mark[index] = (mark[index] | hit) if toggled else (mark[index] & ~hit)
            elif toggled:
                mark[index] = mark[index] ^ hit
        self.mark = mark

    def _evaluate(self, rule: Rule, number: int, alive: PacketSet, view: View) -> None:
        """Record who is seen by each match that remembers, or that reads the entry."""
        seen, place = alive, 0
        for match in rule.matches:
            if match.consumer is not None:
                self.consumed.add((rule, match.consumer), seen)
            if match.memory:
                self.evaluated.add(("memory", _nth(match, place), number), seen)
                place += 1
            here = self.space.condition(match.condition, self._frame, view, number, match.understood)
            seen = seen & here
            if match.writes is not None:
                self.effects.add((EffectKind.WRITE, match.writes, number), seen)

    def _pass_by(self, rule: Rule, alive: PacketSet, view: View) -> None:
        """Note who comes to a rule that changes nothing for anybody; who it sees is told when somebody asks."""
        space, frame, number = self.space, self._frame, self.identities.numbers[rule]

        def hit() -> PacketSet:
            return alive & space.cached(rule.key, rule.condition, frame, view, number, rule.understood)

        def before(match: Match) -> PacketSet:
            seen = alive
            for earlier in takewhile(lambda m: m is not match, rule.matches):
                seen = seen & space.condition(earlier.condition, frame, view, number, earlier.understood)
            return seen

        self.matched.put_off(rule, hit)
        for effect in rule.effects:
            self.effects.put_off((effect.kind, effect.text, 0), hit)
        for place, match in enumerate(m for m in rule.matches if m.memory):
            self.evaluated.put_off(("log", _nth(match, place), number), partial(before, match))

    def _add(self, into: dict[Key, PacketSet], key: Key, packets: PacketSet) -> None:
        known = into.get(key)
        if known is not None:
            into[key] = known | packets
        elif not is_empty(packets):
            into[key] = packets


def effect_changes(
    before: Walk, after: Walk, within: PacketSet, asked: Callable[[EffectKey], bool]
) -> Iterator[tuple[EffectKey, PacketSet]]:
    """Effects, limits and lists, if asked for, that some packets meet in one of two walks only, and these packets."""
    none = before.none
    for ours, theirs in (
        (before.effects, after.effects),
        (before.on_entries, after.on_entries),
        (before.evaluated, after.evaluated),
    ):
        for key in ours.unlike(theirs, within):
            if not asked(key):
                continue
            found = within & (ours.get(key, none) ^ theirs.get(key, none))
            if not is_empty(found):
                yield key, found


def is_log(key: EffectKey) -> bool:
    """An effect that only writes a line somewhere, or a limit of such lines."""
    return key[0] in ("log", EffectKind.LOG)


def _nth(match: Match, place: int) -> str:
    """The name of a match that remembers, told from those of the same rule."""
    return f"{match.name} {place}" if place else match.name
