"""Whole rulesets against the kernel: which rules each packet meets, on all of its way, and what becomes of it.

A ruleset is loaded; packets that cover it (`covering`) are made real (`realising`) and sent through it; the kernel's
trace of each is held against that of the reference interpreter, rule by rule. iptables-legacy has no trace: there the
kernel says after each table whether the packet is still there, and with which mark; the rules are compared by counters.

A long run:

    python -m tests.kernel.differential --seed 1 --rulesets 100
    python -m tests.kernel.differential --corpus
"""

import argparse
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from types import TracebackType
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
from tests.kernel import packets, random_iptables, random_nftables
from tests.kernel.covering import Covering, Wanted
from tests.kernel.kernel_trace import Event, Listener, handles
from tests.kernel.lab import BEHIND, BEHIND6, CLIENT, CLIENT6, ROUTER, ROUTER6, Lab
from tests.kernel.random_iptables import TABLES, Whole
from tests.kernel.random_packets import prepare
from tests.kernel.realising import ASKED, BEFORE, Realiser, Sent, Wires, numbered
from tests.kernel.sender import mac

PROGRAMS = ("nft", "iptables-nft", "iptables-legacy")
#: the packet behind the others, and one that is asked what conntrack says of it
LAST, PROBE = 60000, 59999
_FIRST = (
    *(f"ip ttl {ASKED} meta nftrace set 1", f"ip id {LAST} drop", f"ip ttl != {{ {ASKED}, {BEFORE} }} drop"),
    f"ip6 hoplimit {ASKED} meta nftrace set 1",
    *(f"ip6 flowlabel {LAST} drop", f"ip6 hoplimit != {{ {ASKED}, {BEFORE} }} drop"),
)
_END = 2147483000
#: where a packet is looked at between the tables of iptables-legacy
_BETWEEN = {
    "prerouting": {"raw": -299, "mangle": -149, "nat": -99},
    "input": {"mangle": -149, "filter": 1, "security": 51, "nat": 101},
    "forward": {"mangle": -149, "filter": 1, "security": 51},
    "output": {"raw": -299, "mangle": -149, "nat": -99, "filter": 1, "security": 51},
    "postrouting": {"mangle": -149, "nat": 101},
}
_LINES = re.compile(r"/dev/stdin:(\d+):|line:? (\d+)")
_COUNTED = re.compile(r"^\[(\d+):\d+\] -A (\S+)")

Place = tuple[str, str, int]  #: table, chain, number of a rule


class Refused(Exception):
    """The kernel, or the program that loads it, does not take the ruleset."""


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
            f"{self.packets} packets, {self.decisions} decisions of base chains, {self.counters} counters of legacy rules",
            f"states: {row(states)}; ways: {row(self.ways)}; verdicts: {row(self.verdicts)}",
            f"{self.unmade} packets could not be made, {self.other} in another state than meant, {self.lost} lost on the way",
            f"{len(self.wrong)} disagreements", *self.wrong[:12],
        ])  # fmt: skip


class Bench:
    """The lab, its wires and its ears; use it as a context manager."""

    def __init__(self) -> None:
        self.legacy: set[Family] = set()  #: where iptables-legacy holds rules

    def __enter__(self) -> Self:
        self.lab = Lab(router=True)
        self.lab.__enter__()
        prepare(self.lab)
        router = self.lab.hosts["router"]
        router.sysctl("net.netfilter.nf_conntrack_checksum", 1)
        router.sysctl("net.netfilter.nf_conntrack_tcp_be_liberal", 1)
        for device in ("all", "r0", "r1"):
            router.sysctl(f"net.ipv4.conf.{device}.accept_redirects", 0)
        self._know_the_neighbours()
        self.listener = Listener(router)
        self.listener.__enter__()
        self.wires = Wires(self.lab)
        self.wires.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wires.__exit__()
        self.listener.__exit__()
        self.lab.close()

    def _know_the_neighbours(self) -> None:
        """Everybody is behind the client or the server: a packet to nobody would wait for an answer, and fill buffers."""
        lab = self.lab
        for network, by, device, host, end in (
            ("10.9.0.0/24", CLIENT, "r0", "client", "c0"), ("10.9.1.0/24", BEHIND, "r1", "server", "s0"),
            ("fd09::/64", CLIENT6, "r0", "client", "c0"), ("fd09:1::/64", BEHIND6, "r1", "server", "s0"),
        ):  # fmt: skip
            with lab.hosts[host].inside():
                link = mac(end).hex(":")
            version = "-6" if ":" in by else "-4"
            lab.run("router", "ip", version, "neigh", "replace", by, "lladdr", link, "dev", device, "nud", "permanent")
            lab.run("router", "ip", version, "route", "del", network, "dev", device)
            lab.run("router", "ip", version, "route", "add", network, "via", by, "dev", device, "onlink")

    # -- rulesets

    def clear(self, program: str, family: Family, *, exchange: bool) -> None:
        """Nothing is loaded but what watches, and what lets connections come about."""
        for other in self.legacy:
            self._restore("iptables-legacy", other, _EMPTY)
        self.legacy = {family} if program == "iptables-legacy" else set()
        self._nft("flush ruleset\n" + _watch(program == "iptables-legacy") + (_PRELUDE if exchange else ""))
        self.lab.run("router", "ipset", "destroy", check=False)
        self.lab.forget("router")

    def load(self, program: str, family: Family, whole: Whole, *, exchange: bool) -> None:
        """The ruleset; raises Refused. The entries stay."""
        away = "delete table inet prelude\n" if exchange else ""
        try:
            if whole.sets:
                self.lab.run("router", "ipset", "restore", text=whole.sets)
            if program == "nft":
                self._nft(whole.text + away)
            else:
                self._restore(program, family, whole.text)
                self._nft(away)
        except RuntimeError as error:
            raise Refused(str(error).partition("\n*")[0]) from error

    def _nft(self, text: str) -> None:
        if text:
            self.lab.run("router", "nft", "-f", "-", text=text)

    def _restore(self, program: str, family: Family, text: str) -> None:
        word = program.replace("iptables", "ip6tables" if family is Family.IPV6 else "iptables")
        self.lab.run("router", f"{word}-restore", text=text)

    def counters(self, family: Family) -> dict[tuple[str, str], list[int]]:
        """How often each rule of iptables-legacy was met, by table and chain."""
        word = "ip6tables" if family is Family.IPV6 else "iptables"
        found: dict[tuple[str, str], list[int]] = {}
        table = ""
        for line in self.lab.run("router", f"{word}-legacy-save", "-c").splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif counted := _COUNTED.match(line):
                found.setdefault((table, counted[2]), []).append(int(counted[1]))
        return found

    # -- packets

    def send(self, family: Family, some: Sequence[Sent]) -> dict[int, list[Event]]:
        """What is heard of packets."""
        for one in some:
            self.wires.send(one)
        self.wires.send(_signal(family, LAST))
        return self.listener.packets(LAST)

    def wait_for_silence(self, family: Family) -> None:
        """Conntrack looks at packets no more: what used it is let go a little later."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            heard = self.send(family, [_signal(family, PROBE)])
            if not any(e.state is State.NEW for e in heard[PROBE]):
                return
            time.sleep(0.005)
        raise TimeoutError("conntrack is still on")


def _signal(family: Family, number: int) -> Sent:
    source, to = ("2001:db8::99", ROUTER6) if family is Family.IPV6 else ("198.51.100.99", ROUTER)
    return Sent(numbered(packets.udp(source, 9, to, 9), number), "r0", to)


_EMPTY = "".join(
    f"*{table}\n" + "".join(f":{chain} ACCEPT [0:0]\n" for chain in chains) + "COMMIT\n"
    for table, chains in TABLES.items()
)
_PRELUDE = (
    "table inet prelude {\nchain tracking {\ntype filter hook forward priority 0;\nct state new\n}\n"
    # an entry that was made without NAT would still meet the nat chains with its errors
    + "".join(
        f"chain nat_{hook} {{\ntype nat hook {hook} priority {priority};\n}}\n"
        for hook, priority in (("prerouting", -100), ("input", 100), ("output", -100), ("postrouting", 100))
    )
    + "}\n"
)


def _watch(between: bool) -> str:
    """The table that turns tracing on, drops what the router says by itself, and sees who comes to the end."""
    lines = ["table inet watch {"]
    for hook in ("prerouting", "output"):
        lines += [f"chain first_{hook} {{", f"type filter hook {hook} priority -500;", *_FIRST, "}"]
        lines += [f"chain tracked_{hook} {{", f"type filter hook {hook} priority -199;", "}"]
    for hook in ("input", "forward", "postrouting"):
        lines += [f"chain end_{hook} {{", f"type filter hook {hook} priority {_END};", "}"]
    for hook, tables in _BETWEEN.items() if between else ():
        for table, priority in tables.items():
            lines += [f"chain {hook}_{table} {{", f"type filter hook {hook} priority {priority};", "}"]
    return "\n".join([*lines, "}", ""])


# -- one ruleset --------------------------------------------------------------------------------------


class Comparison:
    """One ruleset, loaded; and the packets that cover it."""

    def __init__(self, bench: Bench, program: str, family: Family, whole: Whole, rng: random.Random, name: str) -> None:
        self.bench, self.program, self.family = bench, program, family
        self.whole, self.rng, self.name = whole, rng, name
        self.figures = Figures()
        self.ruleset = self._lowered()
        self.places, self.rules = _places(self.ruleset)
        self.possible: dict[tuple[tuple[int, ...], State], bool] = {}

    def _lowered(self) -> Ruleset:
        sets, problems = sets_of(SourceFile("sets", self.whole.sets))
        assert not problems, problems
        language = "nft" if self.program == "nft" else "ip6tables-save" if self.family is Family.IPV6 else "iptables-save"
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
        self, covering: Covering, wanted: Wanted, heard: list[Event], numbers: dict[tuple[str, int], Place], active: bool
    ) -> Trace | None:
        seen = next((e for e in heard if e.state is not None and e.chain.startswith("tracked_")), None)
        ends = [e for e in heard if e.chain.startswith("end_")]
        accepted = bool(ends) and ends[-1].chain == ("end_input" if wanted.path in ("in", "local") else "end_postrouting")
        dropped = next((e for e in heard if e.drops and not e.table.endswith(" watch")), None)
        legacy = self.program == "iptables-legacy"
        state, original = wanted.state, wanted.packet.original
        if seen is not None and seen.state in TRACKED_STATES:
            state, original = seen.state, seen.original if seen.state is not State.INVALID else original
        wanted_state = wanted.state if active else State.INVALID
        if seen is not None and seen.state is not State.UNTRACKED and state is not wanted_state:
            self.figures.other += 1
        packet = replace(wanted.packet, original=original)
        place = None if legacy else [n for e in heard if e.handle and (n := numbers.get((e.table, e.handle)))]
        followed = self._followed(wanted, replace(wanted, packet=packet, state=state), place, active)
        verdict = "accept" if followed.verdict[0] == "accept" else "drop"
        if followed.verdict[0] in ("queue", "unknown"):
            return None
        if not legacy and dropped is None and not accepted:
            self.figures.lost += 1
            if place is not None and _alone(self.places[s.rule] for s in followed.steps if s.matched)[: len(place)] == place:
                return None
        self.figures.packets += 1
        self.figures.decisions += len(followed.decisions)
        self.figures.ways[wanted.path] += 1
        self.figures.verdicts[followed.verdict[0]] += 1
        self.figures.states[State.UNTRACKED if followed.untracked or not active else state] += 1
        problems = []
        met = _alone(self.places[s.rule] for s in followed.steps if s.matched)
        if place is not None and met != _alone(place):
            problems.append(self._difference(met, _alone(place)))
        if (verdict == "accept") is not accepted:
            problems.append(f"the model says {verdict} by {self._who(followed)}, the kernel {'accept' if accepted else 'drop'}")
        if legacy:
            problems += self._looked_at(wanted.path, followed, heard)
        if heard and accepted and heard[-1].mark != followed.mark:
            problems.append(f"the mark is {followed.mark:#x} in the model, {heard[-1].mark:#x} in the kernel")
        last = next((e.state for e in reversed(heard) if e.state is not None), None)
        if active and accepted and (last is State.UNTRACKED) is not followed.untracked:
            problems.append(f"untracked in the model: {followed.untracked}; in the kernel: {last}")
        if seen is not None and not active and seen.state not in (State.INVALID, State.UNTRACKED):
            problems.append("the kernel tracks it, and no rule asks for that")
        if seen is not None and active and seen.state is not State.UNTRACKED and not self._can_be(covering, packet, state):
            problems.append(f"no such packet is {state.value} in the model")
        hit = any(s.rule is wanted.rule and s.matched for s in followed.steps)
        come = any(s.rule is wanted.rule for s in followed.steps)
        known = not any(isinstance(t, Opaque) for s in followed.steps for t in tests(s.rule.condition))
        as_meant = state is wanted.state and original is wanted.packet.original
        if known and as_meant and (not come or hit is not wanted.match):
            problems.append(f"the packet sets say that it {'meets' if wanted.match else 'misses'} {self._rule(wanted.rule)}")
        if problems:
            text = describe(wanted.packet, wanted.path, state)
            extra = {f.value: wanted.packet.values[f] for f in (Field.PKTTYPE, Field.SRC_TYPE, Field.DST_TYPE)}
            self._wrong(f"{text} {extra} original={original}\n    " + "\n    ".join(problems))
        return followed

    def _followed(self, wanted: Wanted, one: Wanted, kernel: list[Place] | None, active: bool) -> Trace:
        """The way in the model; a test whose answer no ruleset knows answers as the kernel's way shows, if it can."""
        guesses: dict[Rule, int] = {}

        def answer(test: Opaque, rule: Rule) -> bool:
            unknown = list(dict.fromkeys(t for t in tests(rule.condition) if isinstance(t, Opaque)))
            return bool(guesses.get(rule, 0) >> unknown.index(test) & 1)

        while True:
            followed = trace(self.ruleset, one.path, one.packet, one.state, answer, active=active)
            if kernel is None:
                return followed
            steps = [s for s in followed.steps if s.matched]
            met = [self.places[s.rule] for s in steps]
            at = next((n for n, (a, b) in enumerate(zip_longest(met, kernel)) if a != b), None)
            if at is None:
                return followed
            there = {met[at] if at < len(met) else None, kernel[at] if at < len(kernel) else None}
            for step in followed.steps:
                unknown = {t for t in tests(step.rule.condition) if isinstance(t, Opaque)}
                if self.places[step.rule] in there and guesses.get(step.rule, 0) + 1 < 1 << min(len(unknown), 6):
                    guesses[step.rule] = guesses.get(step.rule, 0) + 1
                    break
            else:
                return followed

    def _can_be(self, covering: Covering, packet: Packet, state: State) -> bool:
        """The model knows of packets like this one in this state."""
        looks = tuple(packet.values[f] for f in (Field.PROTOCOL, Field.TCP_FLAGS, Field.ICMP_TYPE, Field.ICMP_CODE))
        if (looks, state) not in self.possible:
            one = covering.possible & covering.space.in_state(state)
            for name, value in zip((Field.PROTOCOL, Field.TCP_FLAGS, Field.ICMP_TYPE, Field.ICMP_CODE), looks, strict=True):
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
                    self._wrong(f"{self._rule(rule)}: met by {summed[number]}, in the model by {met[table, chain, number]}")

    # -- in words

    def _difference(self, model: list[Place], kernel: list[Place]) -> str:
        for number, (ours, theirs) in enumerate(zip_longest(model, kernel)):
            if ours != theirs:
                before = self._at(model[number - 1]) if number else "the beginning"
                return f"after {before}\n      the model meets {self._at(ours)}\n      the kernel meets {self._at(theirs)}"
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


def _alone(places: "Iterator[Place] | list[Place]") -> list[Place]:
    """Without repetitions: a rule for several addresses is several rules."""
    out: list[Place] = []
    for place in places:
        if not out or out[-1] != place:
            out.append(place)
    return out


# -- random rulesets ----------------------------------------------------------------------------------


def compare(bench: Bench, program: str, family: Family, seed: str, count: int) -> Figures:
    """A random ruleset; the rules that the program refuses are left out of it."""
    rng = random.Random(f"{seed} {program} {family.value}")
    if program == "nft":
        lines, sets = random_nftables.ruleset(rng, family), ""
    else:
        drawn = random_iptables.ruleset(rng, family, program)
        lines, sets = drawn.text.splitlines(), drawn.sets
    figures = Figures()
    for _ in range(40):
        whole = Whole("\n".join([*lines, ""]), sets)
        bench.clear(program, family, exchange=False)
        try:
            bench.load(program, family, whole, exchange=False)
            break
        except Refused as error:
            wrong = {int(a or b) - 1 for a, b in _LINES.findall(str(error))}
            less = _without(lines, wrong, program)
            if less == lines:
                figures.reasons.append(f"{program}: {str(error)[:300]}")
                figures.refused[program] += 1
                return figures
            lines = less
    if program == "iptables-legacy":
        # without a trace the kernel cannot be asked what a test answered that nobody else can answer
        whole = replace(whole, text=_exact(whole, family))
    name = f"seed {seed} {program} {family.value}"
    try:
        return Comparison(bench, program, family, whole, rng, name).run(count)
    except Unread as error:
        figures.wrong.append(f"{name}\n  the kernel takes it, the reader does not: {error}")
    return figures


def _without(lines: list[str], wrong: set[int], program: str) -> list[str]:
    """The ruleset without the rules on some lines; if a set is wrong, without all that name it."""
    if program != "nft":
        return [line for n, line in enumerate(lines) if n not in wrong or not line.startswith("-A")]
    out = list(lines)
    for number in sorted(wrong & set(range(len(lines))), reverse=True):
        begin = next(n for n in range(number, -1, -1) if lines[n].endswith("{") or lines[n] == "}")
        words = lines[begin].split()
        if words[0] == "chain" and not lines[number].startswith(("type ", "chain ", "}")):
            out[number] = ""
        elif words[0] in ("set", "map"):
            end = lines.index("}", begin)
            table = max(n for n in range(begin) if lines[n].startswith("table "))
            after = next((n for n in range(begin, len(lines)) if lines[n].startswith("table ")), len(lines))
            out[begin : end + 1] = [""] * (end + 1 - begin)
            for n in range(table, after):
                if f"@{words[1]}" in re.findall(r"@\w+", lines[n]):
                    out[n] = ""
    return [line for line in out if line] if out != lines else lines


def _exact(whole: Whole, family: Family) -> str:
    """The text without the rules whose meaning is open."""
    language = "ip6tables-save" if family is Family.IPV6 else "iptables-save"
    reading = ruleaudit.lower(SourceFile("rules", whole.text), language, sets_of(SourceFile("sets", whole.sets))[0])
    is_open = {r.line for r in reading.rulesets[0].rules() if any(isinstance(t, Opaque) for t in tests(r.condition))}
    return "".join(f"{text}\n" for number, text in enumerate(whole.text.splitlines(), 1) if number not in is_open)


def main() -> int:
    parser = argparse.ArgumentParser(description="compare random rulesets with the kernel, packet by packet")
    parser.add_argument("--rulesets", type=int, default=20, help="for each program and family")
    parser.add_argument("--packets", type=int, default=200, help="through each ruleset")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--program", choices=PROGRAMS, action="append")
    parser.add_argument("--only", type=int, help="the number of one ruleset of the seed")
    options = parser.parse_args()
    total = Figures()
    began = time.monotonic()
    with Bench() as bench:
        for number in [options.only] if options.only is not None else range(options.rulesets):
            for program in options.program or PROGRAMS:
                for family in Family:
                    figures = compare(bench, program, family, f"{options.seed}/{number}", options.packets)
                    total += figures
                    if figures.wrong:
                        print("\n".join(figures.wrong[:3]), flush=True)
    print(f"seed {options.seed}, {time.monotonic() - began:.0f} s\n{total}")
    print(*total.reasons[:10], sep="\n")
    return 1 if total.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
