"""Everything that the rules say of one file: each of them asked, what is true of both families said once, and what
somebody has seen and accepted left out.
"""

import gc
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from types import ModuleType
from typing import TYPE_CHECKING

import ruleaudit
from ruleaudit import config, rules, suppress
from ruleaudit.analysis.pair import Pair, make_space
from ruleaudit.analysis.stretch import steps
from ruleaudit.analysis.tracking import judge_in, together, undecided
from ruleaudit.analysis.walk import called_chains
from ruleaudit.config import Settings
from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.model.condition import Never
from ruleaudit.model.ruleset import Ruleset
from ruleaudit.packets.diagram import FIRST_ROOM, LAST_ROOM, OutOfRoom, with_room
from ruleaudit.results import FileReport, Tracking
from ruleaudit.rules import (
    not_understood,
    places,
    unexplained_suppression,
    unmet_expectation,
    unrendered_template,
    unused_suppression,
    v4_v6_mismatch,
)
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.source import SourceFile, Span

if TYPE_CHECKING:
    from ruleaudit.model.expectation import Expectation
    from ruleaudit.model.ipset import IpSet
    from ruleaudit.results.expectation import Unmet

DEFAULT = Settings()


def check_source(
    source: SourceFile,
    language: str | None = None,
    sets: "Mapping[str, IpSet]" = ruleaudit.NO_SETS,
    twin: Ruleset | None = None,
    settings: Settings = DEFAULT,
    includes: "ruleaudit.Includes | None" = None,
) -> FileReport:
    """Everything that is to be said about one file; `twin` are the rules of the other family on the same host.

    `includes` gives what an nft ruleset includes, see `ruleaudit.lower`.

    Raises SourceError for what is no ruleset at all.
    """
    if language is None:
        template = unrendered_template.find(source)
        if template is not None:
            return FileReport(source, None, 0, 0, (), (template,), None)
    reading = ruleaudit.lower(source, language, sets, includes)
    source = reading.document.source
    source, expectations = _expectations(source, reading.rulesets, reading.findings, settings)
    missed: dict[Ruleset, tuple[Unmet, ...]] = {}
    if settings.expect:
        from ruleaudit.analysis.expected import unmet

        missed = {ruleset: unmet(ruleset, some) for ruleset, some in expectations}
    wrong = [u for some in missed.values() for u in some]
    chosen = tuple(rule for rule in rules.RULES if settings.preview or not rules.in_preview(rule))
    asked = [_Asked(chosen, source, r, reading.findings, twin, missed.pop(r, ())) for r in reading.rulesets]
    asked += [_Asked(chosen, source, ruleset, unmet=some) for ruleset, some in missed.items() if some]
    judged = [one.judged() for one in asked]
    # what is true of both address families is said once
    first: dict[tuple[str, Span, str], Finding] = {}
    for finding in _true_in_all(source, reading.rulesets, [some for _, some in judged]):
        first.setdefault(
            (finding.code, finding.span, "" if finding.code in rules.SAME_IN_ALL else finding.message), finding
        )
    findings = [f for f in first.values() if (rules.SILENT_BESIDE.get(f.code), f.span, "") not in first]
    tracking = together([one for one, _ in judged])
    read = {r.span: r for ruleset in reading.rulesets for r in ruleset.rules()}
    opaque = {r.span: r for ruleset in reading.rulesets for r in ruleset.rules() if not r.understood}
    found = [settings.weighed(f) for f in sorted(findings, key=lambda f: (f.span.start, f.span.end, f.code))]
    # a comment is of use where it covers what nobody asked for in this run
    applied = suppress.apply_to(source, found, rules.REDIRECTS) if settings.comments else suppress.Applied(tuple(found))
    silent = [rule for rule in rules.RULES if rule not in chosen]
    silent += [v4_v6_mismatch] * (twin is None) + [unmet_expectation] * (not expectations)
    unused = [c for c in applied.unused if not any(c.names(r.CODE, r.NAME, rules.REDIRECTS) for r in silent)]
    about = [unused_suppression.finding(source, c) for c in unused]
    about += [unexplained_suppression.finding(c) for c in applied.unexplained]
    about = [settings.weighed(f) for f in about if settings.wants(f, source)]
    kept = [f for f in applied.kept if settings.wants(f, source)]
    told = tuple(sorted((*kept, *about), key=lambda f: (f.span.start, f.span.end, f.code)))
    if reading.rulesets[0].language == "nft-json":
        # the spans are those of texts inside the JSON
        told = tuple(replace(f, fix=replace(f.fix, edits=())) if f.fix else f for f in told)
    return FileReport(
        source,
        reading.rulesets[0],
        len(read),
        len(read) - len(opaque),
        tuple(sorted(opaque.values(), key=lambda r: r.span)),
        told,
        tracking,
        tuple(f for f in applied.covered if settings.wants(f, source)),
        expected=len({e for _, some in expectations for e in some}),
        unmet=len({u.expectation for u in wrong}),
        unchecked=0 if expectations else len(settings.expectations(source)),
    )


def check_example(example: Example) -> FileReport:
    """What is said about a ruleset that comes with a rule, its twin and its configuration beside it."""
    twin = ruleaudit.lower(SourceFile("rules.v6", example.twin)).rulesets[0] if example.twin else None
    settings = config.load(SourceFile("ruleaudit.toml", example.configuration), [(r.CODE, r.NAME) for r in rules.RULES])
    return check_source(SourceFile("ruleset", example.text), example.language, twin=twin, settings=settings)


def _true_in_all(source: SourceFile, rulesets: tuple[Ruleset, ...], found: list[list[Finding]]) -> Iterator[Finding]:
    """The findings of all families, without those about a line or a chain that says something in another one, and that
    are not true there.
    """
    told = [{(f.code, f.span) for f in some} for some in found[: len(rulesets)]]
    read = [_read(source, ruleset) for ruleset in rulesets] if len(rulesets) > 1 else [[]]
    for number, some in enumerate(found):
        for finding in some:
            others = [n for n in range(len(rulesets)) if n != number] if finding.code in rules.TRUE_IN_ALL else []
            if all((finding.code, finding.span) in told[n] or not _holds(read[n], finding.span) for n in others):
                yield finding


def _read(source: SourceFile, ruleset: Ruleset) -> list[Span]:
    """Where a ruleset has rules that match something, and the names of chains that packets may get to, in order."""
    called = called_chains(ruleset)
    chains = [c for t in ruleset.tables.values() for c in t.chains.values() if (c.table, c.name) in called]
    read = {rule.span for chain in chains for rule in chain.rules if not isinstance(rule.condition, Never)}
    return sorted(read | {places.chain_name(chain, source) for chain in chains if chain.span is not None})


def _holds(spans: list[Span], span: Span) -> bool:
    """Whether a span lies in one of some spans, which are in order and apart."""
    place = bisect_right(spans, span.start, key=lambda one: one.start) - 1
    return place >= 0 and span.end <= spans[place].end


def _expectations(
    source: SourceFile, rulesets: tuple[Ruleset, ...], read: tuple[Finding, ...], settings: Settings
) -> "tuple[SourceFile, list[tuple[Ruleset, list[Expectation]]]]":
    """What is expected of the rules of each family; the file with its configuration behind it, so that both can be
    pointed at.

    Nothing is expected of a file that holds errors: no loader would take it.
    """
    stated = settings.expectations(source)
    wanted = settings.wants_code(unmet_expectation.CODE, unmet_expectation.NAME, source)
    if settings.source is None or not stated or not wanted or any(f.severity is Severity.ERROR for f in read):
        return source, []
    base = sum(len(file.text) + 1 for file in (source, *source.included))
    source = replace(source, included=(*source.included, settings.source))
    stated = tuple(replace(e, span=Span(e.span.start + base, e.span.end + base)) if e.span.end else e for e in stated)
    about = [(r, [e for e in stated if e.traffic.family in (None, r.family)]) for r in rulesets]
    first, families = rulesets[0], {r.family for r in rulesets}
    silent = {e.traffic.family for e in stated if e.traffic.family is not None} - families
    if first.is_nft and not first.partial:
        # an nft file that says nothing of a family refuses nothing in it
        about += [
            (replace(first, family=f, tables={}, tracks=()), [e for e in stated if e.traffic.family is f])
            for f in silent
        ]
    return source, about


@dataclass(frozen=True)
class _Asked:
    """What the rules are asked: the text, the ruleset of one family, and what is known of both beside it."""

    rules: Sequence[ModuleType]
    source: SourceFile
    ruleset: Ruleset
    read: tuple[Finding, ...] = ()
    twin: Ruleset | None = None
    unmet: "tuple[Unmet, ...]" = ()

    def judged(self) -> tuple[Tracking, list[Finding]]:
        """Who needs tracking, and what the rules find."""
        unknown = tracking = undecided(self.ruleset)
        told: dict[str, list[Finding]] = {}

        def findings(room: int) -> list[Finding]:
            nonlocal tracking
            told.clear()
            whole = self._whole(room)
            tracking = judge_in(whole)
            audit = self._audit(tracking, whole)
            for rule in self.rules:
                told[rule.CODE] = list(rule.check(audit))
            return list(chain.from_iterable(told.values()))

        found = with_room(findings, steps(self.ruleset))
        if found is None:
            found = self._what_fits(tracking, told)
            if tracking is unknown and tracking.judgements:
                found.append(
                    _too_large("which rules need connection tracking was not found out: each counts as if it did")
                )
        return tracking, found

    def _what_fits(self, tracking: Tracking, told: dict[str, list[Finding]]) -> list[Finding]:
        """The rules whose packets fit into memory beside those of others or alone, and a word about the rest; what was
        told before the memory was full stands.
        """
        audit, room = None, LAST_ROOM
        for rule in self.rules:
            while rule.CODE not in told:
                alone = audit is None
                audit = audit or self._audit(tracking, self._whole(room))
                try:
                    told[rule.CODE] = list(rule.check(audit))
                except OutOfRoom:
                    audit = None
                    gc.collect()  # so that there is one set of diagrams at a time
                    if alone:
                        told[rule.CODE] = [_too_large(f"{rule.NAME} ({rule.CODE}) was not looked for")]
                        room = FIRST_ROOM  # it takes long to fill the largest one, and the next rule may do so too
        return [finding for rule in self.rules for finding in told[rule.CODE]]

    def _whole(self, room: int) -> Pair:
        return Pair.alone(make_space((self.ruleset,), room), self.ruleset)

    def _audit(self, tracking: Tracking, whole: Pair) -> Audit:
        return Audit(self.source, self.ruleset, tracking, whole, self.read, self.twin, self.unmet)


def _too_large(what: str) -> Finding:
    message = f"the packets of this ruleset do not fit into memory: {what}"
    return Finding(not_understood.CODE, not_understood.NAME, Severity.WARNING, message, Span(0, 0))
