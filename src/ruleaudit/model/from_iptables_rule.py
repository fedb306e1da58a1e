"""Rule texts of one file to their meaning, fast: rules that differ in addresses and ports only share a plan.

The first rule of a kind is gone through option by option (`from_iptables_options`). What that finds out, which words
are the values of which extension, holds for every rule with the same options, `-m`, `-j` and `-p` words; only values
are looked at then. Whatever is not in perfect order goes the long way, where it gets its findings.
"""

import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

from ruleaudit.matches.extension import Context, Given, MatchExtension, Meaning
from ruleaudit.model.condition import Condition
from ruleaudit.model.fields import Family
from ruleaudit.model.from_iptables_meanings import Meanings
from ruleaudit.model.from_iptables_options import GENERAL, Complaint, Place, ReadRule, RuleInProgress
from ruleaudit.model.ipset import IpSet
from ruleaudit.model.ruleset import Consumer, Effect, Match, Verdict
from ruleaudit.source import Span
from ruleaudit.syntax.addresses import HostName
from ruleaudit.syntax.refusal import Refused
from ruleaudit.syntax.shapes import Malformed, Words, options, unquoted, words
from ruleaudit.targets import TARGETS
from ruleaudit.targets.extension import Action, TargetExtension

#: long options of iptables whose values say what the other options mean
_FREE = ("-s", "-d", "-i", "-o")
_DECIDING = [s for spec in GENERAL if spec.name not in _FREE for s in (spec.name, *spec.aliases)]
_ORDINARY = frozenset("OVS!")


class Reading(NamedTuple):
    """What one rule line says; see model.ruleset.Rule."""

    matches: tuple[Match, ...]
    effects: tuple[Effect, ...]
    verdict: Verdict
    consumers: tuple[Consumer, ...]
    understood: bool
    complaints: tuple[Complaint, ...] = ()
    position: int | None = None
    skipped: bool = False


class _Slot(NamedTuple):
    """One option in a plan: its values are the words [first, last)."""

    name: str
    negated: bool
    first: int
    last: int
    patterns: re.Pattern[str] | None


class _MatchPlan(NamedTuple):
    extension: MatchExtension
    slots: tuple[_Slot, ...]
    run: Place  #: its words, for the span
    known: dict[tuple[str, ...], Meaning]


class _Plan(NamedTuple):
    general: tuple[tuple[str, bool, int, Place, Condition | None], ...]
    matches: tuple[_MatchPlan, ...]
    context: Context
    action: Action | None
    target: TargetExtension | None
    target_slots: tuple[_Slot, ...]
    target_known: dict[tuple[str, ...], Action]
    position: int | None
    skipped: bool


@cache
def _decides(option: str) -> bool:
    """Whether the value of an option has a say in what other options mean."""
    if option[:2] != "--":
        return option not in _FREE
    return any(spelling.startswith(option) for spelling in _DECIDING)


def specification(text: str) -> tuple[tuple[str, bool, tuple[str, ...]], ...] | str:
    """What `-D` compares: the options behind the command."""
    _, raw = options(text)
    if isinstance(raw, Malformed):
        return text
    return tuple(
        (o.name, o.negated, o.values)
        for o in raw
        if o.name not in ("-A", "-I", "-D", "--append", "--insert", "--delete")
    )


class RuleReader:
    """Reads the rules of one file."""

    def __init__(self, family: Family, sets: Mapping[str, IpSet] = MappingProxyType({})) -> None:
        self.meanings = Meanings(family, sets)
        self._plans: dict[tuple[str, str, tuple[str | None, ...]], _Plan | None] = {}
        self._slow: dict[tuple[str, str], ReadRule] = {}

    def read(self, table: str, text: str, base: int) -> Reading:
        """The meaning of a rule's text that stands at offset `base`."""
        split = words(text)
        key = _kind(table, split)
        if key is None:
            return _placed(self._the_long_way(table, text)[0], base)
        plan = self._plans.get(key)
        if plan is not None:
            reading = self._by_plan(plan, split, base)
            if reading is not None:
                return reading
        read, progress = self._the_long_way(table, text)
        if plan is None and progress is not None and not read.complaints and key is not None:
            self._plans[key] = self._planned(progress, read)
        return _placed(read, base)

    def read_slowly(self, table: str, text: str, base: int) -> Reading:
        """The same without plans: the definition that `read` must agree with."""
        return _placed(RuleInProgress(self.meanings, table, text).read(), base)

    def _the_long_way(self, table: str, text: str) -> tuple[ReadRule, RuleInProgress | None]:
        found = self._slow.get((table, text))
        if found is not None:
            return found, None
        progress = RuleInProgress(self.meanings, table, text)
        read = progress.read()
        if read.complaints:
            self._slow[table, text] = read
        return read, progress

    def _planned(self, progress: RuleInProgress, read: ReadRule) -> _Plan | None:
        split = progress.words
        text = split.text

        def slot(given: Given, place: Place, extension: MatchExtension | TargetExtension) -> _Slot | None:
            first = place[1] - len(given.values)
            pattern = next(spec.pattern for spec in extension.options if spec.name == given.name)
            if tuple(_value(w) for w in text[first : place[1]]) != given.values:
                return None
            return _Slot(given.name, given.negated, first, place[1], re.compile(pattern) if pattern else None)

        general: list[tuple[str, bool, int, Place, Condition | None]] = []
        for given, place in progress.general_words:
            if given.values and _value(text[place[1] - 1]) != given.value:
                return None
            fixed = (
                self.meanings.general_test(given.name, given.value, given.negated)
                if given.name in ("-p", "-f")
                else None
            )
            general.append((given.name, given.negated, place[1] - 1, place, fixed))
        matches: list[_MatchPlan] = []
        for loaded in progress.loaded:
            if loaded.extension is None:
                return None
            slots = [slot(given, place, loaded.extension) for given, place in loaded.given]
            if any(s is None for s in slots):
                return None
            matches.append(_MatchPlan(loaded.extension, tuple(s for s in slots if s), progress.run_words(loaded), {}))
        target = TARGETS.get(progress.target[1]) if progress.target and progress.target[0] == "-j" else None
        target_slots = [slot(given, place, target) for given, place in progress.target_given] if target else []
        if any(s is None for s in target_slots) or (target is None and progress.target_given):
            return None
        action = None if target_slots else Action(read.verdict, read.effects, read.consumers)
        return _Plan(
            tuple(general),
            tuple(matches),
            progress.context(),
            action,
            target,
            tuple(s for s in target_slots if s),
            {},
            read.position,
            read.skipped,
        )

    def _by_plan(self, plan: _Plan, split: Words, base: int) -> Reading | None:
        """None: something is not in order, or its meaning is to be reported."""
        text, starts, _ = split
        meanings = self.meanings
        matches: list[Match] = []
        try:
            for name, negated, at, (first, last), fixed in plan.general:
                condition = fixed or meanings.general_test(name, _value(text[at]), negated)
                span = Span(base + starts[first], base + starts[last - 1] + len(text[last - 1]))
                if fixed is None and meanings.holds_host_name(condition):
                    return None
                matches.append(Match("", span, condition))
            for extension, slots, (first, last), known in plan.matches:
                values = tuple([w for s in slots for w in text[s.first : s.last]])
                meaning = known.get(values)
                if meaning is None:
                    given = _given(slots, text)
                    if given is None:
                        return None
                    meaning = known[values] = meanings.meaning(extension, given, plan.context)
                span = Span(base + starts[first], base + starts[last - 1] + len(text[last - 1]))
                matches.append(
                    Match(extension.name, span, meaning.condition, meaning.consumer, meaning.memory, meaning.writes)
                )
            action = plan.action
            if action is None:
                values = tuple([w for s in plan.target_slots for w in text[s.first : s.last]])
                action = plan.target_known.get(values)
                if action is None:
                    given = _given(plan.target_slots, text)
                    if given is None or plan.target is None:
                        return None
                    action = plan.target_known[values] = meanings.action(plan.target, given, plan.context)
        except (Refused, HostName):
            return None
        return Reading(
            tuple(matches), action.effects, action.verdict, action.consumers, True, (), plan.position, plan.skipped
        )


def _value(word: str) -> str:
    return unquoted(word) if '"' in word else word


def _given(slots: tuple[_Slot, ...], text: tuple[str, ...]) -> tuple[Given, ...] | None:
    out: list[Given] = []
    for name, negated, first, last, pattern in slots:
        values = tuple([_value(w) for w in text[first:last]])
        if pattern is not None and not all(pattern.fullmatch(v) for v in values):
            return None
        out.append(Given(name, negated, values))
    return tuple(out)


def _kind(table: str, split: Words) -> tuple[str, str, tuple[str | None, ...]] | None:
    """Everything of a rule but its free values; None: no plan for it."""
    shape = split.shape
    if not _ORDINARY.issuperset(shape):
        return None
    kind: list[str | None] = []
    keep = False
    for word, letter in zip(split.text, shape, strict=True):
        if letter == "O":
            keep = _decides(word)
            kind.append(word)
        else:
            kind.append(word if keep else None)
    return table, shape, tuple(kind)


def _placed(read: ReadRule, base: int) -> Reading:
    matches = tuple(
        Match(
            m.name,
            Span(base + m.place[0], base + m.place[1]),
            m.condition,
            m.consumer,
            m.memory,
            m.writes,
            m.understood,
            m.reason,
        )
        for m in read.matches
    )
    return Reading(
        matches,
        read.effects,
        read.verdict,
        read.consumers,
        read.understood,
        read.complaints,
        read.position,
        read.skipped,
    )
