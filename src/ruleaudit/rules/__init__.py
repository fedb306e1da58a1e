"""The lint rules, in one list; a new one is a module and an entry here.

A rule is a module: its docstring is its page (`ruleaudit rule RA201`), CODE, NAME, SEVERITY and SINCE say what it is,
EXAMPLES are rulesets that it catches and leaves alone, and `check` yields its findings about one file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import ModuleType

import ruleaudit
from ruleaudit import suppress
from ruleaudit.analysis.expected import unmet
from ruleaudit.analysis.pair import make_space
from ruleaudit.analysis.tracking import judge, judge_in, together
from ruleaudit.analysis.walk import steps
from ruleaudit.config import Settings
from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.model.expectation import Expectation
from ruleaudit.model.ipset import IpSet
from ruleaudit.model.ruleset import Ruleset
from ruleaudit.packets.diagram import FIRST_ROOM, OutOfRoom, with_room
from ruleaudit.results import FileReport, Tracking, Unmet
from ruleaudit.rules import (
    always_true_test,
    contradictory_rule,
    jump_loop,
    late_notrack,
    nat_on_untracked,
    needless_tracking,
    needs_tracking,
    not_understood,
    one_way_notrack,
    pmtu_blackhole,
    redundant_rule,
    rule_after_verdict,
    shadowed_rule,
    state_test_on_untracked,
    syntax,
    undefined_chain,
    unexplained_suppression,
    unmet_expectation,
    unreachable_chain,
    unrendered_template,
    unused_suppression,
    v4_v6_mismatch,
)
from ruleaudit.rules.audit import Audit
from ruleaudit.source import SourceFile, Span

#: every rule, in the order of the codes
RULES: tuple[ModuleType, ...] = (
    syntax,
    not_understood,
    unused_suppression,
    unexplained_suppression,
    unrendered_template,
    needs_tracking,
    needless_tracking,
    one_way_notrack,
    state_test_on_untracked,
    pmtu_blackhole,
    nat_on_untracked,
    late_notrack,
    v4_v6_mismatch,
    undefined_chain,
    shadowed_rule,
    unreachable_chain,
    jump_loop,
    always_true_test,
    redundant_rule,
    contradictory_rule,
    rule_after_verdict,
    unmet_expectation,
)


DEFAULT = Settings()
#: findings whose message names packets of one address family, and that are one finding all the same;
#: of the others several may be about one place
SAME_IN_ALL = frozenset(rule.CODE for rule in RULES) - {syntax.CODE, not_understood.CODE, unmet_expectation.CODE}
#: findings that say of a place what has to be true of it in both address families; `refuted` are the places of which
#: it is not
TRUE_IN_ALL: tuple[ModuleType, ...] = (
    shadowed_rule,
    unreachable_chain,
    redundant_rule,
    contradictory_rule,
    rule_after_verdict,
)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is to be said about the rules of one family; `refuted` are the places, by code, of which something that the
    other family's rules suggest is not true.
    """

    tracking: Tracking
    findings: tuple[Finding, ...]
    refuted: Mapping[str, frozenset[Span]]


def find(word: str) -> ModuleType | None:
    """The rule with a code or name."""
    return next((rule for rule in RULES if word.lower() in (rule.CODE.lower(), rule.NAME)), None)


def check_source(
    source: SourceFile,
    language: str | None = None,
    sets: Mapping[str, IpSet] = ruleaudit.NO_SETS,
    twin: Ruleset | None = None,
    settings: Settings = DEFAULT,
) -> FileReport:
    """Everything that is to be said about one file; `twin` are the rules of the other family on the same host.

    Raises SourceError for what is no ruleset at all.
    """
    if language is None:
        template = unrendered_template.find(source)
        if template is not None:
            return FileReport(source, None, 0, 0, (), (template,), None)
    reading = ruleaudit.lower(source, language, sets)
    source = reading.document.source
    source, expectations = _expectations(source, reading.rulesets, reading.findings, settings)
    missed = {ruleset: unmet(ruleset, some) for ruleset, some in expectations}
    wrong = [u for some in missed.values() for u in some]
    judged = [_judged(source, ruleset, reading.findings, twin, missed.pop(ruleset, ())) for ruleset in reading.rulesets]
    judged += [_judged(source, ruleset, (), None, some) for ruleset, some in missed.items() if some]
    # what is true of both address families is said once
    first: dict[tuple[str, Span, str], Finding] = {}
    for finding in (f for one in judged for f in one.findings):
        if not any(finding.span in one.refuted.get(finding.code, ()) for one in judged):
            key = (finding.code, finding.span, "" if finding.code in SAME_IN_ALL else finding.message)
            first.setdefault(key, finding)
    findings = first.values()
    tracking = together([one.tracking for one in judged])
    rules = {r.span: r for ruleset in reading.rulesets for r in ruleset.rules()}
    opaque = {r.span: r for ruleset in reading.rulesets for r in ruleset.rules() if not r.understood}
    found = sorted(findings, key=lambda f: (f.span.start, f.span.end, f.code))
    found = [settings.weighed(f) for f in found if settings.wants(f, source)]
    applied = suppress.apply_to(source, found) if settings.comments else suppress.Applied(tuple(found))
    about = [unused_suppression.finding(source, c) for c in applied.unused]
    about += [unexplained_suppression.finding(c) for c in applied.unexplained]
    about = [settings.weighed(f) for f in about if settings.wants(f, source)]
    told = tuple(sorted((*applied.kept, *about), key=lambda f: (f.span.start, f.span.end, f.code)))
    return FileReport(
        source,
        reading.rulesets[0],
        len(rules),
        len(rules) - len(opaque),
        tuple(sorted(opaque.values(), key=lambda r: r.span)),
        told,
        tracking,
        applied.covered,
        expected=len({e for _, some in expectations for e in some}),
        unmet=len({u.expectation for u in wrong}),
        unchecked=0 if expectations else len(settings.expectations(source)),
    )


def _expectations(
    source: SourceFile, rulesets: tuple[Ruleset, ...], read: tuple[Finding, ...], settings: Settings
) -> tuple[SourceFile, list[tuple[Ruleset, list[Expectation]]]]:
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
            (replace(first, family=f, tables={}, tracks=False), [e for e in stated if e.traffic.family is f])
            for f in silent
        ]
    return source, about


def _judged(
    source: SourceFile, ruleset: Ruleset, read: tuple[Finding, ...], twin: Ruleset | None, missed: tuple[Unmet, ...]
) -> _Judged:
    answer = with_room(lambda room: _findings(source, ruleset, read, twin, missed, room), steps(ruleset))
    return answer if answer is not None else _what_fits(source, ruleset, read, twin, missed)


def _findings(
    source: SourceFile,
    ruleset: Ruleset,
    read: tuple[Finding, ...],
    twin: Ruleset | None,
    missed: tuple[Unmet, ...],
    room: int,
) -> _Judged:
    space = make_space((ruleset,), room)
    audit = Audit(source, ruleset, judge_in(space, ruleset), space, read, twin, missed)
    findings = tuple(finding for rule in RULES for finding in rule.check(audit))
    refuted = {rule.CODE: rule.refuted(audit) for rule in TRUE_IN_ALL} if ruleset.is_nft else {}
    return _Judged(audit.tracking, findings, refuted)


def _what_fits(
    source: SourceFile, ruleset: Ruleset, read: tuple[Finding, ...], twin: Ruleset | None, missed: tuple[Unmet, ...]
) -> _Judged:
    """The rules whose packets fit into memory, each tried alone, and a word about the others."""
    tracking = judge(ruleset)
    findings: list[Finding] = []
    refuted: dict[str, frozenset[Span]] = {}
    for rule in RULES:
        try:
            space = make_space((ruleset,), FIRST_ROOM)
            audit = Audit(source, ruleset, tracking, space, read, twin, missed)
            findings += rule.check(audit)
            if rule in TRUE_IN_ALL and ruleset.is_nft:
                refuted[rule.CODE] = rule.refuted(audit)
        except OutOfRoom:
            findings.append(_too_large(rule))
            if rule in TRUE_IN_ALL:
                refuted[rule.CODE] = frozenset(r.span for r in ruleset.rules())
    return _Judged(tracking, tuple(findings), refuted)


def _too_large(rule: ModuleType) -> Finding:
    message = f"the packets of this ruleset do not fit into memory: {rule.NAME} ({rule.CODE}) was not looked for"
    return Finding(not_understood.CODE, not_understood.NAME, Severity.WARNING, message, Span(0, 0))


def documentation() -> Iterator[tuple[str, str, str]]:
    """(code, name, page) of every rule."""
    for rule in RULES:
        yield rule.CODE, rule.NAME, rule.__doc__ or ""
