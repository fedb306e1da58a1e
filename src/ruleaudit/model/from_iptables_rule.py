"""Rule texts of one file to their meaning, fast: rules that differ in addresses, ports and chains share a plan.

A text is cut at ` -` into its options. The first rule of a kind is gone through option by option
(`from_iptables_options`). What that finds out, which options belong to which extension, holds for every rule with the
same options and `-m`, `-p` and target words; equal options at equal places are one match object then. Whatever is not
in perfect order goes the long way, where it gets its findings.
"""

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from itertools import accumulate
from operator import itemgetter
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from ruleaudit.matches.extension import Context, Given, MatchExtension, Meaning
from ruleaudit.model.condition import Opaque, Values, tests
from ruleaudit.model.fields import Family
from ruleaudit.model.from_iptables_meanings import Meanings
from ruleaudit.model.from_iptables_options import BASE_CHAINS, GENERAL, Complaint, Place, ReadRule, RuleInProgress
from ruleaudit.model.ruleset import Consumer, Effect, Goto, Jump, Match, Verdict
from ruleaudit.syntax.addresses import HostName
from ruleaudit.syntax.refusal import Refused
from ruleaudit.syntax.shapes import Malformed, options, unquoted, words
from ruleaudit.targets import TARGETS
from ruleaudit.targets.extension import Action, TargetExtension

if TYPE_CHECKING:
    from ruleaudit.model.ipset import IpSet

#: long options of iptables whose values say what the other options mean
_FREE = ("-s", "-d", "-i", "-o")
_DECIDING = [s for spec in GENERAL if spec.name not in _FREE for s in (spec.name, *spec.aliases)]
_APPEND, _TARGET = ("-A", "--append"), ("-j", "--jump", "-g", "--goto")
#: an option that has its values as words of their own; most are like this, with a string at the end or without
_ALONE = re.compile("O[VS]*")
_PLAIN = re.compile(r'([A-Za-z]|-[A-Za-z][^ \t"=]*)((?: [^ \t"!-][^ \t"]*)*)( "[^"\\]*")?( !)?')


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
    """One option in a plan: the piece of the text that holds its values."""

    name: str
    negated: bool
    piece: int
    pattern: re.Pattern[str] | None


#: what tells rules of one plan apart: the pieces with the values
_Key = Callable[[Sequence[str]], Hashable]


class _MatchPlan(NamedTuple):
    """A match in a plan; without an extension it is one of iptables' own options."""

    extension: MatchExtension | None
    slots: tuple[_Slot, ...]
    first: int  #: the pieces that it was written with, for its place
    last: int
    shift: int  #: from the pieces before it to its place
    key: _Key
    meanings: dict[Hashable, Meaning]
    known: dict[tuple[int, Hashable], Match]


class _Plan(NamedTuple):
    matches: tuple[_MatchPlan, ...]
    context: Context
    action: Action | None
    target: TargetExtension | type[Jump] | type[Goto] | None
    target_slots: tuple[_Slot, ...]
    key: _Key
    known: dict[Hashable, Action]
    position: int | None
    skipped: bool


@cache
def _is_free(option: str) -> bool:
    """Whether the value of an option has no say in what other options mean."""
    if option[:2] != "--":
        return option in _FREE
    return not any(spelling.startswith(option) for spelling in _DECIDING)


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

    def __init__(self, family: Family, sets: "Mapping[str, IpSet]" = MappingProxyType({})) -> None:
        self.meanings = Meanings(family, sets)
        self._kind: Callable[[str], str] = _Kinds().__getitem__
        self._plans: dict[tuple[str, tuple[str, ...]], _Plan | None] = {}
        self._places: dict[Place, Place] = {}  #: equal ones are one object
        self._slow: dict[tuple[str, str], ReadRule] = {}

    def read(self, table: str, text: str) -> Reading:
        """The meaning of a rule's text; places count from its first character that is no blank."""
        pieces = text[1:].split(" -")
        if '"' in text and any(" -" in string for string in text.split('"')[1::2]):
            pieces = _whole(pieces)
        kind = tuple(map(self._kind, pieces))
        if text[:1] != "-" or not all(kind):
            return _of_text(self._the_long_way(table, text)[0], text)
        plan = self._plans.get((table, kind))
        if plan is not None:
            reading = self._by_plan(plan, pieces)
            if reading is not None:
                return reading
        read, progress = self._the_long_way(table, text)
        if progress is not None and not read.complaints and (table, kind) not in self._plans:
            self._plans[table, kind] = self._planned(progress, read, pieces)
        return _of_text(read, text)

    def read_slowly(self, table: str, text: str) -> Reading:
        """The same without plans: the definition that `read` must agree with."""
        return _of_text(RuleInProgress(self.meanings, table, text).read(), text)

    def _the_long_way(self, table: str, text: str) -> tuple[ReadRule, RuleInProgress | None]:
        found = self._slow.get((table, text))
        if found is not None:
            return found, None
        progress = RuleInProgress(self.meanings, table, text)
        read = progress.read()
        if read.complaints:
            self._slow[table, text] = read
        return read, progress

    def _planned(self, progress: RuleInProgress, read: ReadRule, pieces: Sequence[str]) -> _Plan | None:
        """The plan for rules of this kind; None: an option has values that are no words of its own."""
        begins, ends = _word_ranges(pieces)
        shape = progress.words.shape

        def piece_at(place: Place) -> int:
            return begins[place[0] + (shape[place[0]] == "!")]

        def slot(given: Given, place: Place, pattern: str = "") -> _Slot:
            piece = piece_at(place)
            if ends[place[1]] != piece or _values(pieces[piece]) != given.values:
                raise KeyError(place)
            return _Slot(given.name, given.negated, piece, re.compile(pattern) if pattern else None)

        def of_extension(found: tuple[Given, Place], extension: MatchExtension | TargetExtension) -> _Slot:
            given, place = found
            return slot(given, place, next(spec.pattern for spec in extension.options if spec.name == given.name))

        def match(extension: MatchExtension | None, slots: tuple[_Slot, ...], run: Place) -> _MatchPlan:
            first, last = piece_at(run), ends[run[1]]
            shift = 2 * first - 2 * (shape[run[0]] == "!")
            return _MatchPlan(extension, slots, first, last, shift, _key(slots), {}, {})

        if any(loaded.extension is None for loaded in progress.loaded):
            return None
        try:
            matches = [match(None, (slot(given, place),), place) for given, place in progress.general_words]
            for loaded in progress.loaded:
                assert loaded.extension is not None
                slots = tuple(of_extension(found, loaded.extension) for found in loaded.given)
                matches.append(match(loaded.extension, slots, progress.run_words(loaded)))
            target, target_slots = self._target(progress, slot, of_extension)
        except KeyError:
            return None
        action = None if target_slots else Action(read.verdict, read.effects, read.consumers)
        return _Plan(
            tuple(matches),
            progress.context(),
            action,
            target,
            target_slots,
            _key(target_slots),
            {},
            read.position,
            read.skipped,
        )

    @staticmethod
    def _target(
        progress: RuleInProgress,
        slot: Callable[[Given, Place], _Slot],
        of_extension: Callable[[tuple[Given, Place], TargetExtension], _Slot],
    ) -> tuple[TargetExtension | type[Jump] | type[Goto] | None, tuple[_Slot, ...]]:
        if progress.target is None:
            return None, ()
        option, name, place = progress.target
        target = TARGETS.get(name) if option == "-j" else None
        if target is not None:
            return target, tuple(of_extension(found, target) for found in progress.target_given)
        if progress.target_given:
            raise KeyError(name)
        chain = slot(Given(option, False, (name,)), place)
        return Goto if option == "-g" else Jump, (chain,)

    def _by_plan(self, plan: _Plan, pieces: Sequence[str]) -> Reading | None:
        """None: something is not in order, or its meaning is to be reported."""
        before = [0, *accumulate(map(len, pieces))]
        matches: list[Match] = []
        for match in plan.matches:
            at = before[match.first] + match.shift
            key = at, match.key(pieces)
            found = match.known.get(key)
            if found is None:
                found = self._match(match, plan.context, pieces, (at, before[match.last + 1] + 2 * match.last + 1))
                if found is None:
                    return None
                match.known[key] = found
            matches.append(found)
        action = plan.action
        if action is None:
            said = plan.key(pieces)
            action = plan.known.get(said)
            if action is None:
                action = self._action(plan, pieces)
                if action is None:
                    return None
                plan.known[said] = action
        return Reading(
            tuple(matches), action.effects, action.verdict, action.consumers, True, (), plan.position, plan.skipped
        )

    def _match(self, plan: _MatchPlan, context: Context, pieces: Sequence[str], place: Place) -> Match | None:
        if pieces[plan.last][-2:] == " !":
            place = place[0], place[1] - 2
        try:
            if plan.extension is None:
                name, negated, piece, _ = plan.slots[0]
                value = "" if name == "-f" else _values(pieces[piece])[0]
                condition = self.meanings.general_test(name, value, negated)
                if type(condition) is not Values and any(isinstance(test, Opaque) for test in tests(condition)):
                    return None  # a host name
                return Match("", self._places.setdefault(place, place), condition)
            said = plan.key(pieces)
            meaning = plan.meanings.get(said)
            if meaning is None:
                given = _given(plan.slots, pieces)
                if given is None:
                    return None
                meaning = plan.meanings[said] = self.meanings.meaning(plan.extension, given, context)
        except (Refused, HostName):
            return None
        place = self._places.setdefault(place, place)
        return Match(plan.extension.name, place, meaning.condition, meaning.consumer, meaning.memory, meaning.writes)

    def _action(self, plan: _Plan, pieces: Sequence[str]) -> Action | None:
        if not isinstance(plan.target, TargetExtension):
            assert plan.target is not None
            return Action(plan.target(_values(pieces[plan.target_slots[0].piece])[0]))
        given = _given(plan.target_slots, pieces)
        try:
            return None if given is None else plan.target.read(given, plan.context)
        except (Refused, HostName):
            return None


def _key(slots: tuple[_Slot, ...]) -> _Key:
    return itemgetter(*(slot.piece for slot in slots)) if slots else lambda pieces: None


def _given(slots: tuple[_Slot, ...], pieces: Sequence[str]) -> tuple[Given, ...] | None:
    out: list[Given] = []
    for name, negated, piece, pattern in slots:
        values = _values(pieces[piece])
        if pattern is not None and not all(pattern.fullmatch(v) for v in values):
            return None
        out.append(Given(name, negated, values))
    return tuple(out)


# -- the pieces of a text ---------------------------------------------------------------------------


def _whole(pieces: Sequence[str]) -> list[str]:
    """The pieces, those put together again between which a string was cut."""
    out: list[str] = []
    inside = False
    for piece in pieces:
        if inside:
            out[-1] += f" -{piece}"
        else:
            out.append(piece)
        inside ^= piece.count('"') % 2 == 1
    return out


class _Kinds(dict[str, str]):
    """What each piece says but for its free values."""

    def __missing__(self, piece: str) -> str:
        kind = self[piece] = _kind(piece)
        return kind


def _kind(piece: str) -> str:
    """Everything of an option but its free values; empty: it is not in perfect order."""
    plain = _PLAIN.fullmatch(piece)
    if plain is not None:
        option, said, text, negation = plain.groups("")
        number = said.count(" ") + (text != "")
        said += text
    else:
        body = piece.removesuffix(" !")
        split = words(f"-{body}")
        if _ALONE.fullmatch(split.shape) is None or " ".join(split.text) != f"-{body}":
            return ""
        option, said, negation = split.text[0][1:], body[len(split.text[0]) - 1 :], piece[len(body) :]
        number = len(split.text) - 1
    if _is_free(f"-{option}") or (number == 1 and _names_a_chain(f"-{option}", said[1:])):
        return _of_any_value(option, number, negation)
    return f"-{option}{said}{negation}"


@cache
def _of_any_value(option: str, number: int, negation: str) -> str:
    return f"-{option} {number}{negation}"


def _names_a_chain(option: str, value: str) -> bool:
    """The value is a chain of which nothing depends on its name."""
    if option in _APPEND:
        return value not in BASE_CHAINS
    return option in _TARGET and value not in TARGETS and value.isascii() and len(value) <= 28 and '"' not in value


def _values(piece: str) -> tuple[str, ...]:
    """The values of an option that is in order."""
    body = piece[:-2] if piece[-1] == "!" else piece
    if '"' not in body:
        return tuple(body.split(" ")[1:])
    before, _, text = body.partition(' "')
    if '"' not in before and "\\" not in text and text.find('"') == len(text) - 1:
        return (*before.split(" ")[1:], text[:-1])
    return tuple([unquoted(word) for word in words(f"-{body}").text[1:]])


def _word_ranges(pieces: Sequence[str]) -> tuple[dict[int, int], dict[int, int]]:
    """Which piece begins with, and which ends before, a word of the text."""
    begins: dict[int, int] = {}
    ends: dict[int, int] = {}
    at = 0
    for number, piece in enumerate(pieces):
        begins[at] = number
        at += 1 + len(_values(piece))
        ends[at] = number
        at += piece.endswith(" !")
    return begins, ends


def _of_text(read: ReadRule, text: str) -> Reading:
    blanks = len(text) - len(text.lstrip(" \t"))
    matches = tuple(
        Match(
            m.name,
            (m.place[0] - blanks, m.place[1] - blanks),
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
