"""One ruleset, and the packets that cover it: the way of each in the reference interpreter, and in the kernel."""

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Self

import ruleaudit
from ruleaudit.analysis.space import TRACKED_STATES
from ruleaudit.analysis.trace import Packet, Trace, trace
from ruleaudit.analysis.witness import describe
from ruleaudit.diagnostics import Severity
from ruleaudit.model.condition import Opaque, tests
from ruleaudit.model.fields import Family, Field, State
from ruleaudit.model.from_ipset import sets_of
from ruleaudit.model.ruleset import Rule, Ruleset
from ruleaudit.packets.diagram import is_empty
from ruleaudit.source import SourceFile
from tests.kernel.bench import Bench
from tests.kernel.covering import Covering, Wanted
from tests.kernel.kernel_trace import Event, handles
from tests.kernel.random_iptables import TABLES, Whole
from tests.kernel.realising import Realiser, Sent

Place = tuple[str, str, int]  #: table, chain, number of a rule


@dataclass
class Figures:
    """What was compared.

    decisions  base chains that a packet went through, each with the rules that it met there and the verdict
    other      packets that conntrack put in another state than was meant; they are followed in that one
    lost       packets that the kernel discarded outside of any chain
    """

    rulesets: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    packets: int = 0
    decisions: int = 0
    unmade: int = 0
    other: int = 0
    lost: int = 0
    states: Counter[State] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    counters: int = 0
    wrong: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)  #: of what was refused

    def __iadd__(self, other: "Figures") -> Self:
        for name in ("rulesets", "refused", "states", "ways", "verdicts"):
            getattr(self, name).update(getattr(other, name))
        for name in ("packets", "decisions", "unmade", "other", "lost", "counters"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.wrong += other.wrong
        self.reasons += other.reasons
        return self

    def __str__(self) -> str:
        def row(counts: Counter[str]) -> str:
            return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))

        states = Counter({state.value: count for state, count in self.states.items()})
        return "\n".join([
            f"rulesets: {row(self.rulesets)}; refused: {row(self.refused) or 'none'}",
            f"{self.packets} packets, {self.decisions} decisions of base chains, {self.counters} counters of legacy",
            f"states: {row(states)}; ways: {row(self.ways)}; verdicts: {row(self.verdicts)}",
            f"{self.unmade} packets could not be made, {self.other} were in another state than meant, {self.lost} lost",
            f"{len(self.wrong)} disagreements", *self.wrong[:12],
        ])  # fmt: skip


class Comparison:
    """One ruleset, loaded; and the packets that cover it."""

    def __init__(self, bench: Bench, program: str, family: Family, whole: Whole, rng: random.Random, name: str) -> None:
        self.bench, self.program, self.family = bench, program, family
        self.whole, self.rng, self.name = whole, rng, name
        self.figures = Figures()
        self.ruleset = self._lowered()
        self.places, self.rules = _places(self.ruleset)
        self.unknown: dict[Place, list[Opaque]] = {}
        self.possible: dict[tuple[tuple[int, ...], State], bool] = {}

    def _lowered(self) -> Ruleset:
        sets, problems = sets_of(SourceFile("sets", self.whole.sets))
        assert not problems, problems
        language = (
            "nft" if self.program == "nft" else "ip6tables-save" if self.family is Family.IPV6 else "iptables-save"
        )
        reading = ruleaudit.lower(SourceFile(self.name, self.whole.text), language, sets)
        errors = [f for f in reading.findings if f.severity is Severity.ERROR]
        if errors:
            raise Unread(f"{errors[0].message}: {reading.document.source.slice(errors[0].span)!r}")
        found = [r for r in reading.rulesets if r.family is self.family]
        return found[0] if found else replace(reading.rulesets[0], family=self.family, tables={})

    def run(self, count: int) -> Figures:
        """Send packets and compare."""
        bench, family = self.bench, self.family
        covering = Covering(self.ruleset, self.rng)
        active = covering.active
        realiser = Realiser(self.rng, family)
        asked: dict[int, Wanted] = {}
        made: list[Sent] = []
        for wanted in covering.wanted(count):
            one = realiser.make(wanted, len(made) + 1)
            if one is None:
                self.figures.unmade += 1
                continue
            made.append(one)
            asked[len(made)] = wanted
        bench.clear(self.program, family, exchange=active)
        if active:
            bench.send(family, realiser.before)
        else:
            bench.wait_for_silence(family)
        bench.load(self.program, family, self.whole, exchange=active)
        legacy = self.program == "iptables-legacy"
        numbers = {} if legacy else self._numbers()
        heard = bench.send(family, made)
        self.figures.rulesets[self.program] += 1
        met: Counter[Place] = Counter()
        for number, wanted in asked.items():
            followed = self._compare(covering, wanted, heard.get(number, []), numbers, active)
            if followed is not None:
                met.update(self.places[s.rule] for s in followed.steps if s.matched)
        if legacy:
            self._compare_counters(met)
        return self.figures

    def _numbers(self) -> dict[tuple[str, int], Place]:
        """The rule that each handle of a table belongs to."""
        found: dict[tuple[str, int], Place] = {}
        for (table, chain), listed in handles(self.bench.lab.hosts["router"]).items():
            name = table if self.program == "nft" else table.partition(" ")[2]
            rules = self.rules.get((name, chain))
            if rules is None:
                continue
            copies = [n for n, rule in enumerate(rules) for _ in range(_copies(rule) if self.program != "nft" else 1)]
            if len(copies) != len(listed):
                self._wrong(f"{table} {chain}: {len(listed)} rules in the kernel, {len(copies)} in the model")
            found |= {(table, handle): (name, chain, number) for handle, number in zip(listed, copies, strict=False)}
        return found

    # -- one packet

    def _compare(
        self,
        covering: Covering,
        wanted: Wanted,
        heard: list[Event],
        numbers: dict[tuple[str, int], Place],
        active: bool,
    ) -> Trace | None:
        seen = next((e for e in heard if e.state is not None and e.chain.startswith("tracked_")), None)
        ends = [e for e in heard if e.chain.startswith("end_")]
        accepted = bool(ends) and ends[-1].chain == (
            "end_input" if wanted.path in ("in", "local") else "end_postrouting"
        )
        dropped = next((e for e in heard if e.drops and not e.table.endswith(" watch")), None)
        legacy = self.program == "iptables-legacy"
        state, original = wanted.state, wanted.packet.original
        if seen is not None and seen.state in TRACKED_STATES:
            state, original = seen.state, seen.original if seen.state is not State.INVALID else original
        wanted_state = wanted.state if active else State.INVALID
        if seen is not None and seen.state is not State.UNTRACKED and state is not wanted_state:
            self.figures.other += 1
        packet = replace(wanted.packet, original=original)
        place = None if legacy else _alone(n for e in heard if e.handle and (n := numbers.get((e.table, e.handle))))
        followed = self._followed(replace(wanted, packet=packet, state=state), place, active)
        verdict = "accept" if followed.verdict[0] == "accept" else "drop"
        if followed.verdict[0] in ("queue", "unknown"):
            return None
        if not legacy and dropped is None and not accepted:
            self.figures.lost += 1
            if (
                place is not None
                and _alone(self.places[s.rule] for s in followed.steps if s.matched)[: len(place)] == place
            ):
                return None
        self.figures.packets += 1
        self.figures.decisions += len(followed.decisions)
        self.figures.ways[wanted.path] += 1
        self.figures.verdicts[followed.verdict[0]] += 1
        self.figures.states[State.UNTRACKED if followed.untracked or not active else state] += 1
        problems = []
        met = _alone(self.places[s.rule] for s in followed.steps if s.matched)
        if place is not None and met != place:
            problems.append(self._difference(met, place))
        if (verdict == "accept") is not accepted:
            problems.append(
                f"the model says {verdict} by {self._who(followed)}, the kernel {'accept' if accepted else 'drop'}"
            )
        if legacy:
            problems += self._looked_at(wanted.path, followed, heard)
        if heard and accepted and heard[-1].mark != followed.mark:
            problems.append(f"the mark is {followed.mark:#x} in the model, {heard[-1].mark:#x} in the kernel")
        last = next((e.state for e in reversed(heard) if e.state is not None), None)
        if active and accepted and (last is State.UNTRACKED) is not followed.untracked:
            problems.append(f"untracked in the model: {followed.untracked}; in the kernel: {last}")
        if seen is not None and not active and seen.state not in (State.INVALID, State.UNTRACKED):
            problems.append("the kernel tracks it, and no rule asks for that")
        if (
            seen is not None
            and active
            and seen.state is not State.UNTRACKED
            and not self._can_be(covering, packet, state)
        ):
            problems.append(f"no such packet is {state.value} in the model")
        hit = any(s.rule is wanted.rule and s.matched for s in followed.steps)
        come = any(s.rule is wanted.rule for s in followed.steps)
        known = not any(isinstance(t, Opaque) for s in followed.steps for t in tests(s.rule.condition))
        as_meant = state is wanted.state and original is wanted.packet.original
        if known and as_meant and (not come or hit is not wanted.match):
            problems.append(
                f"the packet sets say that it {'meets' if wanted.match else 'misses'} {self._rule(wanted.rule)}"
            )
        if problems:
            text = describe(wanted.packet, wanted.path, state)
            extra = {f.value: wanted.packet.values[f] for f in (Field.PKTTYPE, Field.SRC_TYPE, Field.DST_TYPE)}
            self._wrong(f"{text} {extra} original={original}\n    " + "\n    ".join(problems))
        return followed

    def _followed(self, one: Wanted, kernel: list[Place] | None, active: bool) -> Trace:
        """The way in the model; a test whose answer no ruleset knows answers as the kernel's way shows, if it can."""
        guesses: Counter[Place] = Counter()

        def answer(test: Opaque, rule: Rule) -> bool:
            place = self.places[rule]
            return bool(guesses[place] >> self._open_tests(place).index(test) & 1)

        while True:
            followed = trace(self.ruleset, one.path, one.packet, one.state, answer, active=active)
            if kernel is None:
                return followed
            met = _alone(self.places[s.rule] for s in followed.steps if s.matched)
            at = next((n for n, (a, b) in enumerate(zip_longest(met, kernel)) if a != b), None)
            if at is None:
                return followed
            for place in (*met[max(at - 1, 0) : at + 1], *kernel[at : at + 1]):
                if guesses[place] + 1 < 1 << min(len(self._open_tests(place)), 8):
                    guesses[place] += 1
                    break
            else:
                return followed

    def _open_tests(self, place: Place) -> list[Opaque]:
        """The tests of one rule that the model cannot answer."""
        if place not in self.unknown:
            parts = [rule for rule, its in self.places.items() if its == place]
            found = dict.fromkeys(t for r in parts for t in tests(r.condition) if isinstance(t, Opaque))
            self.unknown[place] = list(found)
        return self.unknown[place]

    def _can_be(self, covering: Covering, packet: Packet, state: State) -> bool:
        """The model knows of packets like this one in this state."""
        looks = tuple(packet.values[f] for f in (Field.PROTOCOL, Field.TCP_FLAGS, Field.ICMP_TYPE, Field.ICMP_CODE))
        if (looks, state) not in self.possible:
            one = covering.possible & covering.space.in_state(state)
            for name, value in zip(
                (Field.PROTOCOL, Field.TCP_FLAGS, Field.ICMP_TYPE, Field.ICMP_CODE), looks, strict=True
            ):
                one = one & covering.space.is_(name, value)
            self.possible[looks, state] = not is_empty(one)
        return self.possible[looks, state]

    def _looked_at(self, path: str, followed: Trace, heard: list[Event]) -> Iterator[str]:
        """After each table of iptables-legacy: the packet is there, or not."""
        seen = {e.chain for e in heard}
        for (table, chain), _ in followed.decisions[:-1] if followed.verdict[0] != "accept" else followed.decisions:
            if chain in TABLES.get(table, ()) and f"{chain.lower()}_{table}" not in seen:
                yield f"it does not come through {table} {chain}"
        if followed.verdict[0] != "accept" and followed.decisions:
            table, chain = followed.decisions[-1][0]
            if f"{chain.lower()}_{table}" in seen:
                yield f"it comes through {table} {chain}, where {self._who(followed)} drops it in the model"

    def _compare_counters(self, met: Counter[Place]) -> None:
        for (table, chain), counts in self.bench.counters(self.family).items():
            rules = self.rules.get((table, chain), [])
            copies = [n for n, rule in enumerate(rules) for _ in range(_copies(rule))]
            if len(copies) != len(counts):
                self._wrong(f"{table} {chain}: {len(counts)} rules in the kernel, {len(copies)} in the model")
                continue
            summed: Counter[int] = Counter()
            for number, count in zip(copies, counts, strict=True):
                summed[number] += count
            for number, rule in enumerate(rules):
                self.figures.counters += 1
                if summed[number] != met[table, chain, number]:
                    self._wrong(
                        f"{self._rule(rule)}: met by {summed[number]}, in the model by {met[table, chain, number]}"
                    )

    # -- in words

    def _difference(self, model: list[Place], kernel: list[Place]) -> str:
        for number, (ours, theirs) in enumerate(zip_longest(model, kernel)):
            if ours != theirs:
                before = self._at(model[number - 1]) if number else "the beginning"
                return (
                    f"after {before}\n      the model meets {self._at(ours)}\n      the kernel meets {self._at(theirs)}"
                )
        return ""

    def _at(self, place: Place | None) -> str:
        return "nothing more" if place is None else self._rule(self.rules[place[:2]][place[2]])

    def _rule(self, rule: Rule) -> str:
        return f"[{rule.table} {rule.chain}: {rule.text}]"

    def _who(self, followed: Trace) -> str:
        by = followed.decided_by
        return self._rule(by) if isinstance(by, Rule) else f"the policy of {by.table} {by.name}" if by else "nobody"

    def _wrong(self, text: str) -> None:
        self.figures.wrong.append(f"{self.name}\n  {text}")


class Unread(Exception):
    """The kernel takes the ruleset, and the reader does not."""


def _places(ruleset: Ruleset) -> tuple[dict[Rule, Place], dict[tuple[str, str], list[Rule]]]:
    """Where each rule stands; what is one rule in the text is one rule, whatever the model makes of its verdict map."""
    places: dict[Rule, Place] = {}
    rules: dict[tuple[str, str], list[Rule]] = {}
    for table in ruleset.tables.values():
        for chain in table.chains.values():
            row = rules.setdefault((table.name, chain.name), [])
            for rule in chain.rules:
                if not (ruleset.is_nft and row and row[-1].span == rule.span):
                    row.append(rule)
                places[rule] = (table.name, chain.name, len(row) - 1)
    return places, rules


def _copies(rule: Rule) -> int:
    """How many rules iptables makes of one: one for each pair of addresses."""
    found = 1
    for addresses in re.findall(r"(?:^| )(?:-[sd]|--source|--destination|--src|--dst) (\S+)", rule.text):
        found *= addresses.count(",") + 1
    return found


def _alone(places: Iterable[Place]) -> list[Place]:
    """Without repetitions: a rule for several addresses is several rules."""
    out: list[Place] = []
    for place in places:
        if not out or out[-1] != place:
            out.append(place)
    return out
