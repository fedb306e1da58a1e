"""One ruleset, and the packets that cover it: the way of each in the reference interpreter, and in the kernel."""

import random
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice, product, zip_longest

import ruleaudit
from ruleaudit.analysis.space import TRACKED_STATES
from ruleaudit.analysis.trace import Packet, Trace, trace
from ruleaudit.analysis.witness import describe
from ruleaudit.diagnostics import Severity
from ruleaudit.model.condition import Opaque, tests
from ruleaudit.model.fields import Family, Field, State
from ruleaudit.model.from_ipset import sets_of
from ruleaudit.model.ruleset import EffectKind, Queue, Rule, Ruleset, Unknown
from ruleaudit.packets.diagram import is_empty
from ruleaudit.source import SourceFile
from tests.kernel.bench import Bench
from tests.kernel.covering import Covering, Wanted
from tests.kernel.kernel_trace import handles
from tests.kernel.random_iptables import TABLES, Whole
from tests.kernel.realising import Realiser, Sent
from tests.kernel.shown import Figures, Place, Shown, alone

_BEGUN = re.compile(r"\bfirst \d")  #: what the model calls statements that happen before a test of their rule fails
_NAMELESS = "__chain"  #: how the kernel's names of chains begin that stand in place of a name


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

    def prepare(self) -> None:
        """What has to be there before the ruleset is loaded."""

    def _lowered(self) -> Ruleset:
        sets, problems = sets_of(SourceFile("sets", self.whole.sets))
        assert not problems, problems
        reading = ruleaudit.lower(SourceFile(self.name, self.whole.text), language(self.program, self.family), sets)
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
        self.prepare()
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
        self.counted = True  #: which rules were met is known of all packets
        for number, wanted in asked.items():
            shown = Shown.of(wanted.path, heard.get(number, []), numbers)
            followed = self._compare(covering, wanted, shown, active)
            if followed is not None:
                met.update(self.places[s.rule] for s in followed.steps if s.matched)
        if legacy and self.counted:
            self._compare_counters(met)
        return self.figures

    def _numbers(self) -> dict[tuple[str, int], Place]:
        """The rule that each handle of a table belongs to."""
        found: dict[tuple[str, int], Place] = {}
        every = handles(self.bench.lab.hosts["router"])
        # a chain in place of a name: the kernel counts them through all its life
        nameless = sorted((c for c in every if c[1].startswith(_NAMELESS)), key=lambda c: int(c[1][len(_NAMELESS) :]))
        for (table, chain), listed in every.items():
            name = table if self.program.startswith("nft") else table.partition(" ")[2]
            if (table, chain) in nameless:
                chain = f"{_NAMELESS}{[c for t, c in nameless if t == table].index(chain)}"
            rules = self.rules.get((name, chain))
            if rules is None:
                continue
            copies = [n for n, rule in enumerate(rules) for _ in range(1 if self.ruleset.is_nft else _copies(rule))]
            if len(copies) != len(listed):
                self._wrong(f"{table} {chain}: {len(listed)} rules in the kernel, {len(copies)} in the model")
            found |= {(table, handle): (name, chain, number) for handle, number in zip(listed, copies, strict=False)}
        return found

    # -- one packet

    def _compare(self, covering: Covering, wanted: Wanted, shown: Shown, active: bool) -> Trace | None:
        """Note every difference; None: the way in the model is not known as far as the kernel's."""
        state, original = wanted.state, wanted.packet.original
        if shown.found in TRACKED_STATES:
            state, original = shown.found, shown.original if shown.found is not State.INVALID else original
        one = replace(wanted, packet=replace(wanted.packet, original=original), state=state)
        followed = self._followed(one, None if self.program == "iptables-legacy" else shown, active)
        if self._without_end(one, followed, shown):
            return None
        self.figures.packets += 1
        self.figures.decisions += len(followed.decisions)
        self.figures.ways[wanted.path] += 1
        self.figures.verdicts[followed.verdict[0]] += 1
        self.figures.states[State.UNTRACKED if followed.untracked or not active else state] += 1
        meant = wanted.state if active else State.INVALID
        self.figures.other += shown.found is not None and shown.found not in (State.UNTRACKED, meant)
        problems = [*self._of_way(followed, shown), *self._of_states(covering, one, followed, shown, active)]
        if state is wanted.state and original is wanted.packet.original:
            problems += self._of_sets(wanted, followed)
        self._note(one, problems)
        return followed

    def _without_end(self, one: Wanted, followed: Trace, shown: Shown) -> bool:
        """A rule changes the packet, or hands it on: from there on nobody knows its way. Or the kernel has lost it."""
        met = [s.rule for s in followed.steps if s.matched]
        last = next((n for n, rule in enumerate(met) if changes(rule)), None)
        if last is not None:
            self.figures.changed += 1
            mine = alone(self.places[rule] for rule in met[: last + 1])
            if self.program != "iptables-legacy" and shown.places[: len(mine)] != mine:
                self._note(one, [self._difference(mine, shown.places)])
            return True
        if shown.again not in (None, shown.found) and any("zone" in e.text for rule in met for e in rule.effects):
            # output looked for it in another zone than prerouting (docs/semantics.md)
            self.figures.changed += 1
            self.counted = False
            return True
        if self.program == "iptables-legacy" or shown.accepted or shown.dropped:
            return False
        self.figures.lost += 1
        return self._met(followed)[: len(shown.places)] == shown.places

    def _of_way(self, followed: Trace, shown: Shown) -> Iterator[str]:
        """The rules that were met, the verdict, and the mark."""
        met = self._met(followed)
        if self.program != "iptables-legacy" and met != shown.places:
            yield self._difference(met, shown.places)
        ours = "accepts" if followed.verdict[0] == "accept" else "drops"
        theirs = "accepts" if shown.accepted else "drops"
        if ours != theirs:
            yield f"{self._who(followed)} {ours} it in the model, the kernel {theirs} it"
        if self.program == "iptables-legacy":
            yield from self._between(followed, shown)
        if shown.accepted and shown.mark != followed.mark:
            yield f"the mark is {followed.mark:#x} in the model, {shown.mark:#x} in the kernel"

    def _of_states(self, covering: Covering, one: Wanted, followed: Trace, shown: Shown, active: bool) -> Iterator[str]:
        """Who is tracked, and in which state."""
        if not active:
            if shown.found not in (None, State.INVALID, State.UNTRACKED):
                yield "the kernel tracks it, and no rule asks for that"
            return
        if shown.accepted and (shown.last is State.UNTRACKED) is not followed.untracked:
            yield f"untracked in the model: {followed.untracked}; in the kernel: {shown.last}"
        if shown.found in TRACKED_STATES and not self._can_be(covering, one.packet, one.state):
            yield f"no such packet is {one.state.value} in the model"

    def _of_sets(self, wanted: Wanted, followed: Trace) -> Iterator[str]:
        """The packet sets said that this packet comes to a rule, and matches it or not."""
        if any(isinstance(t, Opaque) for s in followed.steps for t in tests(s.rule.condition)):
            return
        steps = [s for s in followed.steps if s.rule is wanted.rule]
        if not steps or any(s.matched for s in steps) is not wanted.match:
            yield f"the packet sets say that it {'meets' if wanted.match else 'misses'} {self._rule(wanted.rule)}"

    def _note(self, one: Wanted, problems: list[str]) -> None:
        if problems:
            text = describe(one.packet, one.path, one.state)
            extra = {f.value: one.packet.values[f] for f in (Field.PKTTYPE, Field.SRC_TYPE, Field.DST_TYPE)}
            self._wrong(f"{text} {extra} original={one.packet.original}\n    " + "\n    ".join(problems))

    def _followed(self, one: Wanted, shown: Shown | None, active: bool) -> Trace:
        """The way in the model; a test whose answer no ruleset knows answers as the kernel's way shows, if it can."""
        guesses: Counter[Place] = Counter()

        def answer(test: Opaque, rule: Rule) -> bool:
            place = self.places[rule]
            return bool(guesses[place] >> self._open_tests(place).index(test) & 1)

        def attempt() -> tuple[tuple[int, int], list[Place], Trace]:
            """How many rules are those of the kernel, and how many were looked at before the next; all, and the way."""
            followed = trace(self.ruleset, one.path, one.packet, one.state, answer, active=active)
            met = self._met(followed)
            if shown is None:
                return (sys.maxsize, 0), met, followed
            differing = (n for n, (a, b) in enumerate(zip_longest(met, shown.places)) if a != b)
            same_end = (followed.verdict[0] == "accept") is shown.accepted
            agreed = next(differing, sys.maxsize if same_end else len(met))
            matched = [
                n for n, step in enumerate(followed.steps) if step.matched and not _BEGUN.search(step.rule.variant)
            ]
            looked_at = matched[agreed] if agreed < len(matched) else len(followed.steps)
            return (agreed, looked_at), met, followed

        agreed, met, followed = attempt()
        while shown is not None and agreed[0] < sys.maxsize:
            here = shown.places[agreed[0] : agreed[0] + 1] + met[max(agreed[0] - 1, 0) : agreed[0] + 1]
            # a rule may have led into the right chain by a jump instead of a goto: that shows where the chain ends
            here += [place for place in met[: agreed[0]] if self._open_tests(place)][-1:]
            for guess in self._guesses(here):
                before = guesses.copy()
                guesses.update({place: guess[place] - guesses[place] for place in guess})
                further, *rest = attempt()
                if further > agreed:
                    agreed, met, followed = further, *rest
                    break
                guesses = before
            else:
                break
        return followed

    def _met(self, followed: Trace) -> list[Place]:
        """The rules that were met; those of which only the first statements happened are none in the kernel's trace."""
        return alone(self.places[s.rule] for s in followed.steps if s.matched and not _BEGUN.search(s.rule.variant))

    def _guesses(self, places: Iterable[Place]) -> Iterator[dict[Place, int]]:
        """Every answer that the open tests of some rules may give together."""
        rows = {place: range(1 << min(len(self._open_tests(place)), 6)) for place in dict.fromkeys(places)}
        for values in islice(product(*rows.values()), 4096):
            yield dict(zip(rows, values, strict=True))

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
            one = covering.possible("out") & covering.space.in_state(state)  # there may be most
            for name, value in zip(
                (Field.PROTOCOL, Field.TCP_FLAGS, Field.ICMP_TYPE, Field.ICMP_CODE), looks, strict=True
            ):
                one = one & covering.space.is_(name, value)
            self.possible[looks, state] = not is_empty(one)
        return self.possible[looks, state]

    def _between(self, followed: Trace, shown: Shown) -> Iterator[str]:
        """After each table of iptables-legacy: the packet is there, or not."""
        seen = {e.chain for e in shown.events}
        gone = followed.verdict[0] != "accept"
        for (table, chain), _ in followed.decisions[:-1] if gone else followed.decisions:
            if chain in TABLES.get(table, ()) and f"{chain.lower()}_{table}" not in seen:
                yield f"it does not come through {table} {chain}"
        if gone and followed.decisions:
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


def language(program: str, family: Family) -> str:
    """What a text for a program is written in."""
    if program.startswith("nft"):
        return program
    return "ip6tables-save" if family is Family.IPV6 else "iptables-save"


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


def changes(rule: Rule) -> bool:
    """What becomes of the packet behind this rule is not said by the rules alone."""
    if isinstance(rule.verdict, Queue | Unknown):
        return True
    kinds = (EffectKind.NAT, EffectKind.CHANGE)
    return any(e.kind in kinds or (e.kind is EffectKind.MARK and e.mask is None) for e in rule.effects)


def _copies(rule: Rule) -> int:
    """How many rules iptables makes of one: one for each pair of addresses."""
    found = 1
    for addresses in re.findall(r"(?:^| )(?:-[sd]|--source|--destination|--src|--dst) (\S+)", rule.text):
        found *= addresses.count(",") + 1
    return found
