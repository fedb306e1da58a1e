"""The reference interpreter: one packet, one ruleset; which rule decides, and how.

Slow and obvious on purpose, and written without the packet sets: it checks every witness before it is printed, and it
is what the kernel is compared with.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from ruleaudit.analysis.space import UNTRACKED_ICMPV6
from ruleaudit.analysis.walk import PATHS
from ruleaudit.model.condition import (
    Always,
    And,
    Condition,
    Direction,
    Interface,
    Masked,
    Never,
    Not,
    Opaque,
    Or,
    States,
    Values,
)
from ruleaudit.model.fields import Family, Field, Hook, State
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

#: answers an opaque test for the packet at hand: (test, rule) -> does it match
Answers = Callable[[Opaque, Rule], bool]


@dataclass(frozen=True, slots=True)
class Packet:
    """One concrete packet; interfaces are names, everything else integers."""

    family: Family
    values: Mapping[Field, int]
    iif: str = ""
    oif: str = ""
    original: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that was looked at, and whether it matched."""

    hook: Hook
    rule: Rule
    matched: bool


@dataclass
class Trace:
    """The way of one packet: its verdict (accept, drop, reject, queue, unknown; and the detail), who decided, and how.

    decisions  for each base chain on the way, as (table, chain): the rule or the chain (its policy) that decided there
    """

    verdict: tuple[str, str]
    decided_by: Rule | Chain | None
    untracked: bool
    mark: int
    steps: list[Step] = field(default_factory=list)
    decisions: list[tuple[tuple[str, str], Rule | Chain | None]] = field(default_factory=list)


def trace(
    ruleset: Ruleset,
    path: str | Iterable[Hook],
    packet: Packet,
    state: State,
    answers: Answers = lambda test, rule: False,
    *,
    active: bool = True,
    immune: bool = False,
) -> Trace:
    """Send one packet through a ruleset; `state` is what conntrack says of it unless a rule leaves it untracked."""
    hooks = PATHS[path] if isinstance(path, str) else tuple(path)
    return _Run(ruleset, packet, state, answers, active, immune).run(hooks)


_Asked = tuple[tuple[Rule, tuple[tuple[str, int, int], ...]], ...]
_asked_of: WeakKeyDictionary[Chain, _Asked] = WeakKeyDictionary()


def _asked(chain: Chain) -> _Asked:
    """The rules of a chain, with (field, lowest, highest) of the header tests that a packet has to pass in any case.

    By one of them it passes by most rules of a long chain.
    """
    found = _asked_of.get(chain)
    if found is None:
        found = _asked_of[chain] = tuple((rule, tuple(_plain(rule.condition))) for rule in chain.rules)
    return found


def _plain(condition: Condition) -> Iterator[tuple[str, int, int]]:
    for item in condition.items if isinstance(condition, And) else (condition,):
        if isinstance(item, Values) and item.field is not Field.MARK and len(item.intervals) == 1:
            yield (item.field.value, *item.intervals[0])


class _Run:
    def __init__(
        self, ruleset: Ruleset, packet: Packet, state: State, answers: Answers, active: bool, immune: bool
    ) -> None:
        self.ruleset, self.packet, self.state, self.answers = ruleset, packet, state, answers
        self.active, self.immune = active, immune
        self.untracked = self.looked_up = False
        self.template = False  #: a CT target gave it something like an entry, which conntrack takes away again
        self.sent = self.again = False  #: the packet is this host's own; on lo, conntrack has yet to look once more
        self.mark = packet.values.get(Field.MARK, 0)
        self.steps: list[Step] = []
        self.decisions: list[tuple[tuple[str, str], Rule | Chain | None]] = []
        self.last: Rule | Chain | None = None
        self.stack: list[str] = []
        self.header = {name.value: packet.values.get(name, 0) for name in Field}

    def run(self, hooks: tuple[Hook, ...]) -> Trace:
        for hook in hooks:
            looks_up = hook in (Hook.PREROUTING, Hook.OUTPUT) and not self.looked_up
            chains = self.ruleset.base_chains(hook)
            self.sent = self.sent or hook is Hook.OUTPUT
            self.template = False
            for chain in chains:
                if chain.nat and self.sent and hook in (Hook.PREROUTING, Hook.INPUT):
                    continue  # NAT of a packet of this host was settled when it left
                early = chain.priority < CONNTRACK_PRIORITY
                if looks_up and not early and not self.looked_up:
                    self._look_up()
                self.again = self.looked_up and early and hook is Hook.PREROUTING
                if not early:
                    self.template = False
                verdict = self._base_chain(chain, hook)
                if verdict[0] != "accept":
                    return Trace(verdict, self.last, self.untracked, self.mark, self.steps, self.decisions)
            if looks_up and not self.looked_up:
                self._look_up()
        return Trace(("accept", ""), self.last, self.untracked, self.mark, self.steps, self.decisions)

    def _look_up(self) -> None:
        self.looked_up = True
        values = self.packet.values
        if self.packet.family is Family.IPV6 and self.active and values.get(Field.PROTOCOL) == 58:
            kind = values.get(Field.ICMP_TYPE, -1)
            if any(low <= kind <= high for low, high in UNTRACKED_ICMPV6):
                self.untracked = True

    @property
    def _state(self) -> State:
        if self.untracked:
            return State.UNTRACKED
        if self.template:
            return State.NEW
        return self.state if self.looked_up else State.INVALID

    @property
    def _unattached(self) -> bool:
        """The packet carries neither an entry nor the tag: behind conntrack, it is invalid."""
        return not self.untracked and (not self.looked_up or (self.active and self.state is State.INVALID))

    def _base_chain(self, chain: Chain, hook: Hook) -> tuple[str, str]:
        if chain.nat and not (self.active and self._state is State.NEW):
            return ("accept", "")
        verdict = self._chain(chain, hook)
        by_policy = verdict is None or verdict[0] == "return"
        if verdict is None or verdict[0] == "return":
            verdict = ("drop", "") if isinstance(chain.policy, Drop) else ("accept", "")
            if chain.rules or verdict[0] == "drop":
                self.last = chain
        self.decisions.append(((chain.table, chain.name), chain if by_policy else self.last))
        return verdict

    def _chain(self, chain: Chain, hook: Hook) -> tuple[str, str] | None:
        """The verdict of a chain, None when the packet falls off its end."""
        self.stack.append(chain.name)
        try:
            header, steps = self.header, self.steps
            for rule, asked in _asked(chain):
                for name, low, high in asked:
                    if not low <= header[name] <= high:
                        matched = False
                        break
                else:
                    matched = self._holds(rule.condition, rule, hook)
                steps.append(Step(hook, rule, matched))
                if matched:
                    verdict = self._act(rule, hook)
                    if verdict is not None:
                        return verdict
            return None
        finally:
            self.stack.pop()

    def _act(self, rule: Rule, hook: Hook) -> tuple[str, str] | None:
        for effect in rule.effects:
            match effect.kind:
                case EffectKind.NOTRACK if self._unattached and not (self.immune or self.template):
                    self.untracked = True
                case EffectKind.TRACK if self._unattached and (self.again or not self.looked_up):
                    self.template = True
                case EffectKind.ZONE if not self.looked_up:
                    self.template, self.untracked = True, False
                case EffectKind.MARK if effect.mask is not None:
                    self.mark = (self.mark & ~effect.mask & 0xFFFFFFFF) ^ effect.value
        match rule.verdict:
            case Continue():
                return None
            case Accept():
                decided = ("accept", "")
            case Drop():
                decided = ("drop", "")
            case Reject(kind):
                decided = ("reject", kind)
            case Queue(number):
                decided = ("queue", number)
            case Return():
                return ("return", "")
            case Jump(name) | Goto(name):
                target = self.ruleset.tables[rule.table].chains.get(name)
                if target is None or name in self.stack:
                    self.last = rule
                    return ("unknown", name)
                inner = self._chain(target, hook)
                if inner is not None and inner[0] != "return":
                    return inner
                return ("return", "") if isinstance(rule.verdict, Goto) else None
            case Unknown(text):
                decided = ("unknown", text)
        self.last = rule
        return decided

    def _holds(self, condition: Condition, rule: Rule, hook: Hook) -> bool:
        match condition:
            case Always():
                return True
            case Never():
                return False
            case And(items):
                return all(self._holds(item, rule, hook) for item in items)
            case Or(items):
                return any(self._holds(item, rule, hook) for item in items)
            case Not(item):
                return not self._holds(item, rule, hook)
            case Values(name, intervals):
                value = self._value(name)
                return any(low <= value <= high for low, high in intervals)
            case Masked(name, mask, value):
                return self._value(name) & mask == value
            case Interface(name, pattern):
                return _named(self._interface(name, hook), pattern)
            case States(states):
                return self._state in states
            case Direction(original):
                return (self.packet.original or self.template) is original
            case Opaque():
                return self.answers(condition, rule)

    def _value(self, name: Field) -> int:
        return self.mark if name is Field.MARK else self.packet.values.get(name, 0)

    def _interface(self, name: Field, hook: Hook) -> str | None:
        if name is Field.IIF:
            absent = hook is Hook.OUTPUT or (hook is Hook.POSTROUTING and self.sent)
            return None if absent else self.packet.iif
        return self.packet.oif if hook in (Hook.FORWARD, Hook.OUTPUT, Hook.POSTROUTING) else None


def _named(interface: str | None, pattern: str) -> bool:
    if interface is None:
        return False
    return interface.startswith(pattern[:-1]) if pattern.endswith("+") else interface == pattern


def decider(ruleset: Ruleset, run: Trace) -> Rule | Chain | None:
    """Who decided: of an accepted packet, the filtering chain of its path."""
    if run.verdict[0] != "accept":
        return run.decided_by
    own = [(ruleset.tables[table].chains[chain], by) for (table, chain), by in run.decisions]
    own = [(chain, by) for chain, by in own if not chain.nat]
    hooks = (Hook.INPUT, Hook.FORWARD, Hook.OUTPUT)
    filtering = [(chain, by) for chain, by in own if chain.hook in hooks and chain.priority == 0]
    for some in (filtering, own):
        rules = [by for _, by in some if isinstance(by, Rule)]
        if rules:
            return rules[-1]
        if some:
            return some[-1][0]
    return None
