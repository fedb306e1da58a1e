"""One packet on its way through a ruleset, in every state that it can have: what `explain --packet` answers.

The way is that of the reference interpreter. A value that was left open is chosen, and named when another one would
have met another verdict; a test that nobody can answer here is tried both ways.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from ruleaudit.analysis.connection import path_domain, possible_states
from ruleaudit.analysis.pair import Pair, spoken_of
from ruleaudit.analysis.space import TRACKED_STATES, Frame, Space
from ruleaudit.analysis.stretch import steps
from ruleaudit.analysis.trace import Packet, Trace, decider, trace
from ruleaudit.analysis.walk import PATHS
from ruleaudit.analysis.witness import sample
from ruleaudit.diagnostics import UsageError
from ruleaudit.model.condition import Opaque, merged
from ruleaudit.model.fields import PORT_PROTOCOLS, Family, Field, Fragment, State
from ruleaudit.model.packet import AskedPacket
from ruleaudit.model.ruleset import (
    Accept,
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
from ruleaudit.model.traffic import Traffic
from ruleaudit.packets.diagram import PacketSet, is_empty, with_room
from ruleaudit.results.packet import Followed, PathStep

Answer = TypeVar("Answer")

#: opaque tests are tried both ways in this many runs at most
RUNS = 64

_NAMES = {
    Field.SADDR: "the source address",
    Field.DADDR: "the destination address",
    Field.SPORT: "the source port",
    Field.DPORT: "the destination port",
    Field.PROTOCOL: "the protocol",
    Field.IIF: "the input interface",
    Field.OIF: "the output interface",
    Field.TCP_FLAGS: "the TCP flags",
    Field.ICMP_TYPE: "the ICMP type",
    Field.ICMP_CODE: "the ICMP code",
    Field.MARK: "the mark",
    Field.SRC_TYPE: "whose address the source is",
    Field.DST_TYPE: "whose address the destination is",
    Field.PKTTYPE: "the link-layer type",
    Field.FRAGMENT: "whether it is a fragment",
}


def follow(ruleset: Ruleset, asked: AskedPacket) -> tuple[Followed, ...]:
    """The packet in each state that it can have, or in those that were asked for. Raises UsageError for a packet that
    cannot be.
    """
    return answered(ruleset, asked, lambda room: tuple(Asked(ruleset, asked, asked.path, room).all()))


def answered(ruleset: Ruleset, asked: AskedPacket, question: Callable[[int], Answer]) -> Answer:
    """The answer to a question about a packet. Raises UsageError for one of another family, or too many packets."""
    if asked.family not in (None, ruleset.family):
        mine = "IPv4" if ruleset.family is Family.IPV4 else "IPv6"
        raise UsageError(f"{asked.text}: no such packet meets this ruleset, which is for {mine}")
    found = with_room(question, steps(ruleset))
    if found is None:
        raise UsageError(f"{asked.text}: the packets that it stands for do not fit into memory")
    return found


class Asked:
    """What somebody asks of one packet, in a space of its own; `path` is where it goes (interface.md, or `local`)."""

    def __init__(self, ruleset: Ruleset, asked: AskedPacket, path: str, room: int) -> None:
        self.ruleset, self.asked, self.path = ruleset, asked, path
        spoken = spoken_of((ruleset,))
        spoken.names |= {n for n in (asked.iif, asked.oif) if n}
        self.space = spoken.space(ruleset.family, room)
        self.pair = Pair.alone(self.space, ruleset)
        self.active = self.pair.old.active

    def all(self) -> Iterator[Followed]:
        """The packet in each of its states."""
        region = self.region()
        chosen = sample(self.space, region, self.path, Frame("any"))
        states = self.asked.states or self._states(chosen.packet, region)
        done: set[State] = set()
        for state in states:
            runs = ways(self.ruleset, self.path, chosen.packet, state, self.active)
            seen = State.UNTRACKED if runs[0].untracked or not self.active else state
            if seen in done:
                continue
            done.add(seen)
            yield self.followed(runs, chosen.text, seen, self.open_fields(region, state))

    def region(self) -> PacketSet:
        """Every packet that the question may mean."""
        region = meant(self.space, self.asked)
        if is_empty(region):
            raise UsageError(f"{self.asked.text}: there is no such packet")
        usual = region & path_domain(self.space, self.path, False, self.pair.transparent)
        return region if is_empty(usual) else usual

    def _states(self, packet: Packet, region: PacketSet) -> tuple[State, ...]:
        """The states that the chosen packet can have."""
        if not self.active:
            return (State.UNTRACKED,)
        space = self.space
        point = region
        for name, value in packet.values.items():
            point = point & space.is_(name, value)
        possible = point & possible_states(space, self.pair.helpers, self.path)
        return tuple(s for s in TRACKED_STATES if not is_empty(possible & space.in_state(s))) or (State.INVALID,)

    def followed(self, runs: list[Trace], text: str, seen: State, fields: list[str], role: str = "") -> Followed:
        """What the ways of a packet say of it; `fields` are those that were left open and decide."""
        verdicts = {run.verdict for run in runs}
        first = runs[0]
        verdict, detail = first.verdict if len(verdicts) == 1 else ("undecided", "")
        if verdict == "unknown":
            verdict, detail = "undecided", ""
        open_tests = _varying(runs)
        opened = [rule.where for rule in open_tests] if verdict == "undecided" else []
        opened += fields
        return Followed(
            self.asked.text,
            f"{text} state {seen.value}",
            seen.value,
            verdict,
            detail,
            self.active and seen is not State.UNTRACKED,
            None if verdict == "undecided" else decider(self.ruleset, first),
            tuple(
                PathStep(s.hook.value, s.rule, None if s.rule in open_tests else s.matched, action(s.rule))
                for s in first.steps
            ),
            self.ruleset,
            tuple(opened),
            role,
        )

    def open_fields(self, region: PacketSet, state: State) -> list[str]:
        """The fields that were left open, and of which another value meets another verdict."""
        asked, space = self.asked, self.space
        if is_empty(region):
            return []
        walk = self.pair.walk(self.pair.old, Frame("any"), {state: space.all}, space.all)
        walk.run(PATHS[self.path], region)
        fields = {
            Field.SADDR: asked.source,
            Field.DADDR: asked.target,
            Field.PROTOCOL: asked.protocol,
            Field.IIF: asked.iif if self.path != "out" else "",
            Field.OIF: asked.oif if self.path != "in" else "",
            Field.TCP_FLAGS: asked.flags,
            Field.ICMP_TYPE: asked.icmp,
        }
        if asked.protocol is None or asked.protocol in PORT_PROTOCOLS:
            fields |= {Field.SPORT: asked.sport, Field.DPORT: asked.dport}
        found = []
        for name, said in fields.items():
            if said is not None:
                continue
            forgotten = space.diagrams.cube(list(space.bits[name]))
            outcomes = [packets & region for packets in walk.outcomes.values()]
            if any(not is_empty(p.exists(forgotten) & region & ~p) for p in outcomes):
                found.append(_NAMES[name])
        return found


def meant(space: Space, asked: AskedPacket) -> PacketSet:
    """Every packet that a text may mean, wherever it is; without a flag that it does not name."""
    region = space.domain & header(space, Traffic.of(asked), 0xFF)
    region = region & space.is_(Field.FRAGMENT, asked.fragment or Fragment.WHOLE)
    return region if asked.mark is None else region & space.is_(Field.MARK, asked.mark)


def header(space: Space, traffic: Traffic, flags: int) -> PacketSet:
    """The packets of which this was said, fragment, mark and state apart; `flags` are the bits that flags speak of."""
    found = space.all
    for name, intervals in (
        (Field.SADDR, traffic.source),
        (Field.DADDR, traffic.target),
        (Field.SPORT, traffic.sports),
        (Field.DPORT, traffic.dports),
    ):
        if intervals:
            found = found & space.values(name, merged(intervals))
    for side, interface in ((Field.IIF, traffic.iif), (Field.OIF, traffic.oif)):
        if interface is not None:
            found = found & space.interface(side, interface)
    if traffic.protocol is not None:
        found = found & space.is_(Field.PROTOCOL, traffic.protocol)
    if traffic.flags is not None:
        found = found & space.flags(flags, traffic.flags)
    if traffic.icmp is not None:
        found = found & space.is_(Field.ICMP_TYPE, traffic.icmp[0])
        if traffic.icmp[1] is not None:
            found = found & space.is_(Field.ICMP_CODE, traffic.icmp[1])
    return found


@dataclass
class _Answers:
    """Answers to opaque tests: those given, and False for the others, which are noted."""

    given: dict[tuple[object, ...], bool]
    asked: list[tuple[object, ...]] = field(default_factory=list)

    def __call__(self, test: Opaque, rule: Rule) -> bool:
        scope = test.scope.value
        key: tuple[object, ...] = (scope, test.name, test.reads)
        if scope == "memory":
            key = (scope, test.name, rule)
        if key not in self.given and key not in self.asked:
            self.asked.append(key)
        return self.given.get(key, False)


def ways(ruleset: Ruleset, path: str, packet: Packet, state: State, active: bool) -> list[Trace]:
    """The ways of a packet for every combination of answers to the opaque tests that it meets, and RUNS at most."""
    todo: list[dict[tuple[object, ...], bool]] = [{}]
    runs: list[Trace] = []
    while todo and len(runs) < RUNS:
        answers = _Answers(todo.pop(0))
        runs.append(trace(ruleset, path, packet, state, answers, active=active))
        for place, key in enumerate(answers.asked):
            todo.append({**answers.given, **dict.fromkeys(answers.asked[:place], False), key: True})
    return runs


def _varying(runs: list[Trace]) -> set[Rule]:
    """The rules that match in some runs and not in others."""
    seen: dict[Rule, bool] = {}
    varying: set[Rule] = set()
    for step in (s for run in runs for s in run.steps):
        if seen.setdefault(step.rule, step.matched) is not step.matched:
            varying.add(step.rule)
    return varying


def action(rule: Rule) -> str:
    """What a rule does with the packets that it matches."""
    words = [e.text if e.kind is not EffectKind.NOTRACK else "notrack" for e in rule.effects]
    match rule.verdict:
        case Accept():
            words.append("accept")
        case Drop():
            words.append("drop")
        case Reject(kind):
            words.append(f"reject {kind}".strip())
        case Queue(number):
            words.append(f"queue {number}".strip())
        case Jump(chain):
            words.append(f"jump {chain}")
        case Goto(chain):
            words.append(f"goto {chain}")
        case Return():
            words.append("return")
        case Unknown(text):
            words.append(text)
        case Continue():
            pass
    return ", ".join(words) or "continue"
