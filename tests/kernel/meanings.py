"""Random rules against the kernel, in whatever language they are written: who sends, who counts, who compares.

The kernel counts; the reference interpreter follows the packet; the packet set of a rule holds the packet or does not,
also when the packet is looked at as one of the opposite direction.
"""

import random
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol, Self, TypeVar

from ruleaudit.analysis.pair import make_space
from ruleaudit.analysis.space import ICMP_ANSWERS, Frame, Space, View
from ruleaudit.analysis.trace import Packet, Trace, trace
from ruleaudit.analysis.walk import ABSENT
from ruleaudit.analysis.witness import describe
from ruleaudit.model import condition as conditions
from ruleaudit.model.condition import Masked, Opaque, Values
from ruleaudit.model.fields import Field, Hook, State
from ruleaudit.model.ruleset import Rule, Ruleset
from ruleaudit.packets.diagram import PacketSet, is_empty
from tests.kernel.lab import Lab
from tests.kernel.random_packets import Crafted, Scene, Workshop, state_of
from tests.kernel.sender import Sender


@dataclass
class Figures:
    """What a run compared, by extension: [rules, rules that were both true and false, pairs, true pairs]."""

    kinds: dict[str, list[int]] = field(default_factory=dict)
    pairs: int = 0
    true: int = 0
    variants: int = 0  #: pairs in which the kernel is known to read something else (Batch.left_out)
    open: int = 0  #: pairs whose answer hangs on what no model knows; the kernel's was one of ours
    unseen: int = 0
    sent: int = 0
    states: Counter[State] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)  #: rules that the program that loads them does not take

    def __iadd__(self, other: "Figures") -> Self:
        for kind, row in other.kinds.items():
            self.kinds[kind] = [a + b for a, b in zip(self.kinds.get(kind, [0] * 4), row, strict=True)]
        self.pairs, self.true = self.pairs + other.pairs, self.true + other.true
        self.variants, self.open = self.variants + other.variants, self.open + other.open
        self.unseen, self.sent = self.unseen + other.unseen, self.sent + other.sent
        self.states += other.states
        self.wrong, self.refused = self.wrong + other.wrong, self.refused + other.refused
        return self

    def __str__(self) -> str:
        lines = [f"{'match':16}{'rules':>8}{'both':>8}{'pairs':>10}{'true':>10}"]
        for kind, (count, both, pairs, true) in sorted(self.kinds.items()):
            lines.append(f"{kind:16}{count:>8}{both:>8}{pairs:>10}{true:>10}")
        lines.append(f"{self.pairs} pairs, {self.true} true; {self.sent} packets, {self.unseen} more never arrived")
        lines.append(f"{self.open} pairs more may be true or not; {self.variants} left out")
        lines.append(f"{len(self.refused)} rules refused: {'; '.join(self.refused[:20])}")
        lines.append("packets by state: " + ", ".join(f"{s.value} {n}" for s, n in self.states.items()))
        return "\n".join([*lines, f"{len(self.wrong)} disagreements", *self.wrong[:40]])


@dataclass(frozen=True)
class Item:
    """What one counter of the kernel counts: the rules of the model that do, of the rule drawn as number `drawn`."""

    drawn: int  #: -1: every packet of ours
    name: str
    text: str
    rules: tuple[Rule, ...]


class Drawing(Protocol):
    """A rule that was drawn: its text, and what is in it, for the figures."""

    @property
    def text(self) -> str: ...
    @property
    def kinds(self) -> tuple[str, ...]: ...


Drawn = TypeVar("Drawn", bound=Drawing)


class Batch(ABC, Generic[Drawn]):
    """Some rules in one chain, loaded; and the packets that are sent through it."""

    def __init__(self, lab: Lab, scene: Scene, drawn: Sequence[Drawn], rng: random.Random) -> None:
        self.lab, self.scene, self.rng = lab, scene, rng
        self.figures = Figures()
        self.marks = [0, *(rng.choice((rng.getrandbits(32), 1 << rng.randrange(32))) for _ in range(15))]
        self.drawn = drawn
        self.drawn = self.kept()
        aims = [t for item in self.items_of(self.lowered()) for r in item.rules for t in conditions.tests(r.condition)]
        marks = [t for t in aims if isinstance(t, Masked | Values) and t.field is Field.MARK]
        for number, test in enumerate(rng.sample(marks, min(14, len(marks))), 1):
            self.marks[number] = _marked(test, self.marks[number], number % 2 == 0)
        self.ruleset = self.lowered()
        self.items = self.items_of(self.ruleset)
        self.space = make_space((self.ruleset,), 1 << 20)
        self.sets: dict[tuple[object, ...], list[PacketSet]] = {}

    # -- what each language does in its own way

    @abstractmethod
    def kept(self) -> Sequence[Drawn]:
        """The drawn rules that are asked about."""

    @abstractmethod
    def lowered(self) -> Ruleset:
        """The model of the rules, with what leads to them."""

    @abstractmethod
    def items_of(self, ruleset: Ruleset) -> list[Item]:
        """What is counted; first, every packet of ours."""

    @abstractmethod
    def load(self) -> None:
        """Have the kernel hold the rules."""

    @abstractmethod
    def counts(self) -> dict[str, int]:
        """The counters by the names of the items, and `last`."""

    @abstractmethod
    def known(self, test: str, one: Crafted) -> bool | None:
        """The answer to an opaque test that is known from how a packet was made."""

    def left_out(self, item: Item, one: Crafted) -> bool:
        """The kernel is known to read something else here."""
        return False

    @property
    def name(self) -> str:
        return f"{self.scene.table} {self.scene.hook.name}"

    # -- asking

    def run(self, count: int) -> Figures:
        """Send packets and compare."""
        workshop = Workshop(self.rng, self.scene, self.marks)
        asked = [item for item in self.items[1:] if item.rules]
        aims = [self.rng.choice(asked[n % len(asked)].rules).condition for n in range(count)]
        crafted = [workshop.make(aim) for aim in aims]
        self.load()
        if self.scene.tracked and workshop.entries.lines:
            lines = "\n".join(workshop.entries.lines) + "\n"
            self.lab.run("router", "conntrack", "-R", self.lab.file("entries", lines))
        seen = [[0, 0] for _ in self.drawn]
        before = self.counts()
        with Sender(self.lab, self.scene) as sender:
            for one in crafted:
                counts, before = self._send(sender, one, before)
                if not counts[self.items[0].name]:
                    self.figures.unseen += 1
                    continue
                state, original = state_of(one, workshop.entries)
                one.packet = replace(one.packet, original=original)
                for number, truth in self._compare(one, state, counts):
                    seen[number][truth] += 1
        for drawn, (false, true) in zip(self.drawn, seen, strict=True):
            for kind in drawn.kinds:
                row = self.figures.kinds.setdefault(kind, [0] * 4)
                self.figures.kinds[kind] = [
                    a + b for a, b in zip(row, (1, bool(false and true), false + true, true), strict=True)
                ]
        return self.figures

    def _send(self, sender: Sender, one: Crafted, before: dict[str, int]) -> tuple[dict[str, int], dict[str, int]]:
        """How often each counter counted one packet, and the counters afterwards."""
        sender.send(one)
        deadline = time.monotonic() + 10
        while self.scene.hook is not Hook.OUTPUT and self.counts()["last"] == before["last"]:
            assert time.monotonic() < deadline, "the packet behind it never arrived"
        after = self.counts()  # once more: a listing is not made in one moment
        counts = {name: after[name] - before[name] for name in after}
        ours = counts[self.items[0].name]
        assert ours <= 1, f"{ours} packets at once: {describe(one.packet, self.scene.path)}"
        return counts, after

    # -- our answers

    def _compare(self, one: Crafted, state: State, counts: dict[str, int]) -> Iterator[tuple[int, bool]]:
        """The kernel's answer for each counter, after a look at ours."""
        ways = [self._followed(one, state, guess) for guess in _GUESSES]
        matched = [{step.rule for step in followed.steps if step.matched} for followed in ways]
        here = _state_here(self.scene, ways[0], state)
        self.figures.sent += 1
        self.figures.states[here] += 1
        held = self._held(one, here, ways[0].mark)
        values = {**one.packet.values, Field.MARK: ways[0].mark}
        packet = describe(replace(one.packet, values=values), self.scene.path, here)
        if is_empty(_one(self.space, one.packet, Frame("")) & self.space.domain):
            self.figures.wrong.append(f"{self.name}\n  {packet}\n  is no packet of the space: {one.packet.values}")
        for item, sets in zip(self.items, held, strict=True):
            truth = counts[item.name] > 0
            if self.left_out(item, one):
                self.figures.variants += 1
                continue
            interpreted = {not found.isdisjoint(item.rules) for found in matched}
            if any(truth not in answers for answers in (interpreted, *sets)):
                ours = f"interpreter {interpreted}, packet set {sets[0]}, mirrored {sets[1]}"
                extra = {f.value: one.packet.values.get(f, 0) for f in (Field.PKTTYPE, Field.SRC_TYPE, Field.DST_TYPE)}
                self.figures.wrong.append(
                    f"{self.name}\n  {item.text} ({item.name})\n  {packet} {extra} {one.packet.original=}\n"
                    f"  kernel {counts[item.name]}, {ours}"
                )
            if item.drawn < 0:
                continue
            if len(interpreted) > 1:
                self.figures.open += 1
                continue
            self.figures.pairs += 1
            self.figures.true += truth
            yield item.drawn, truth

    def _followed(self, one: Crafted, state: State, guess: tuple[bool, bool]) -> Trace:
        def answer(test: Opaque, rule: Rule) -> bool:
            known = self.known(test.name, one)
            if known is not None:
                return known
            open_tests = [t for t in conditions.tests(rule.condition) if isinstance(t, Opaque)]
            return guess[open_tests.index(test) % 2]

        return trace(self.ruleset, self.scene.path, one.packet, state, answer)

    def _held(self, crafted: Crafted, state: State, mark: int) -> Iterator[tuple[set[bool], set[bool]]]:
        """Whether the packet set of each item holds the packet, seen forwards and backwards; or maybe."""
        packet = crafted.packet
        icmp = packet.values[Field.PROTOCOL] == self.scene.family.icmp
        request = icmp and packet.values.get(Field.ICMP_TYPE) in ICMP_ANSWERS[self.scene.family]
        # seen backwards, a request is the answer to another message
        frames = [Frame("", back, ABSENT[self.scene.hook]) for back in ((False,) if request else (False, True))]
        rows = []
        for frame in frames:
            key = (frame, state, mark, packet.original)
            if key not in self.sets:
                everything, nothing = self.space.all, self.space.none
                bits = [everything if mark >> 31 - place & 1 else nothing for place in range(32)]
                states = {s: everything if s is state else nothing for s in State}
                view = View(states, bits, everything if packet.original else nothing)
                self.sets[key] = [self._set(item, frame, view) for item in self.items]
            one = _one(self.space, packet, frame)
            for number, test in self.space.unknown_tests.items():
                known = self.known(test.name, crafted)
                if known is not None:
                    bit = self.space.diagrams.bit(number)
                    one = one & (bit if known else ~bit)
            rows.append([_answers(found, one) for found in self.sets[key]])
        return zip(*rows, strict=True)

    def _set(self, item: Item, frame: Frame, view: View) -> PacketSet:
        out = self.space.none
        for rule in item.rules:
            out = out | self.space.condition(rule.condition, frame, view)
        return out


#: what the tests of a rule whose answers are not known may answer, by turns
_GUESSES = ((False, False), (True, True), (False, True), (True, False))


def _answers(found: PacketSet, one: PacketSet) -> set[bool]:
    return {truth for truth, part in ((True, found), (False, ~found)) if not is_empty(part & one)}


def _marked(test: Masked | Values, other: int, miss: bool) -> int:
    """A mark that passes a test, or one near it."""
    if isinstance(test, Values):
        low, high = test.intervals[0]
        return (low - 1 if miss else high) & 0xFFFFFFFF
    return test.value | (0 if miss else ~test.mask & other & 0xFFFFFFFF)


def _state_here(scene: Scene, followed: Trace, state: State) -> State:
    if followed.untracked:
        return State.UNTRACKED
    return State.INVALID if scene.table == "raw" or not scene.tracked else state


def without_opaque(rule: Rule) -> bool:
    """What the rule matches hangs on the packet alone."""
    return not any(isinstance(t, Opaque) for t in conditions.tests(rule.condition))


def _one(space: Space, packet: Packet, frame: Frame) -> PacketSet:
    """The set that holds one packet, seen through a frame."""
    out = space.all
    for name, value in packet.values.items():
        out = out & space.is_(name, value, frame.reverse)
    for name, interface in ((Field.IIF, packet.iif), (Field.OIF, packet.oif)):
        prefixes = [s for s in space.alphabet if s.endswith("+") and interface.startswith(s[:-1]) and interface]
        known = interface if interface in space.alphabet else max(prefixes, key=len, default=space.alphabet[-1])
        out = out & space.diagrams.equal(space.bits[name], space.alphabet.index(known))
    return out
