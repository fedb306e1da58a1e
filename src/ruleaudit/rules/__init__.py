"""The lint rules, in one list; a new one is a module and an entry here.

A rule is a module: its docstring is its page (`ruleaudit rule RA201`), CODE, NAME, SEVERITY and SINCE say what it is,
EXAMPLES are rulesets that it catches and leaves alone, and `check` yields its findings about one file. PREVIEW = True:
it runs only with --preview, so that an upgrade turns no green pipeline red; a major release takes the line out.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import ModuleType

import ruleaudit
from ruleaudit import config, suppress
from ruleaudit.analysis.expected import unmet
from ruleaudit.analysis.pair import make_space
from ruleaudit.analysis.tracking import judge, judge_in, together
from ruleaudit.analysis.walk import called_chains, steps
from ruleaudit.config import Settings
from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.model.condition import Never
from ruleaudit.model.expectation import Expectation
from ruleaudit.model.ipset import IpSet
from ruleaudit.model.ruleset import Ruleset
from ruleaudit.packets.diagram import FIRST_ROOM, OutOfRoom, with_room
from ruleaudit.results import FileReport, Tracking, Unmet
from ruleaudit.rules import (
    always_true_test,
    blanket_untracked_accept,
    contradictory_rule,
    deprecated_spelling,
    dont_fragment_test,
    entry_on_untracked,
    fragments_lost,
    helper_on_untracked,
    jump_loop,
    late_ban,
    late_established_accept,
    late_notrack,
    limit_behind_new_on_untracked,
    lockout,
    loopback_tracked,
    nat_on_untracked,
    needless_tracking,
    needs_tracking,
    neighbour_discovery_dropped,
    neighbour_discovery_untracked,
    new_without_syn,
    no_final_drop,
    not_understood,
    one_way_notrack,
    places,
    pmtu_blackhole,
    redundant_rule,
    replies_dropped,
    rule_after_verdict,
    shadowed_rule,
    state_test_after_accept,
    state_test_on_untracked,
    syntax,
    tracking_by_accident,
    tracking_in_dead_chain,
    undefined_chain,
    unexplained_suppression,
    unmet_expectation,
    unreachable_chain,
    unrendered_template,
    unused_suppression,
    v4_v6_mismatch,
)
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.source import SourceFile, Span

#: every rule, in the order of the codes
RULES: tuple[ModuleType, ...] = (
    syntax,
    not_understood,
    unused_suppression,
    unexplained_suppression,
    unrendered_template,
    deprecated_spelling,
    needs_tracking,
    needless_tracking,
    tracking_by_accident,
    state_test_after_accept,
    loopback_tracked,
    tracking_in_dead_chain,
    new_without_syn,
    one_way_notrack,
    state_test_on_untracked,
    pmtu_blackhole,
    nat_on_untracked,
    helper_on_untracked,
    late_notrack,
    v4_v6_mismatch,
    entry_on_untracked,
    blanket_untracked_accept,
    neighbour_discovery_untracked,
    limit_behind_new_on_untracked,
    fragments_lost,
    undefined_chain,
    shadowed_rule,
    unreachable_chain,
    lockout,
    jump_loop,
    always_true_test,
    redundant_rule,
    contradictory_rule,
    rule_after_verdict,
    replies_dropped,
    neighbour_discovery_dropped,
    dont_fragment_test,
    late_ban,
    no_final_drop,
    late_established_accept,
    unmet_expectation,
)

#: what retired codes and names are called now; both are accepted wherever a rule is named, for ever
REDIRECTS: dict[str, str] = {}

DEFAULT = Settings()
#: findings whose message names packets of one address family, and that are one finding all the same;
#: of the others several may be about one place
SAME_IN_ALL = frozenset(rule.CODE for rule in RULES) - {syntax.CODE, not_understood.CODE, unmet_expectation.CODE}
#: what is said of a line that is read for both address families has to be true in both
TRUE_IN_ALL = frozenset(
    rule.CODE
    for rule in (
        tracking_by_accident,
        state_test_after_accept,
        tracking_in_dead_chain,
        shadowed_rule,
        unreachable_chain,
        redundant_rule,
        contradictory_rule,
        rule_after_verdict,
        replies_dropped,
        late_established_accept,
    )
)
#: of two rules that speak of the same words, the one that is silent then, and the one that speaks
SILENT_BESIDE = {state_test_after_accept.CODE: needless_tracking.CODE}


def find(word: str) -> ModuleType | None:
    """The rule with a code or name, or with one that it used to have."""
    word = REDIRECTS.get(word, word)
    return next((rule for rule in RULES if word.lower() in (rule.CODE.lower(), rule.NAME)), None)


def in_preview(rule: ModuleType) -> bool:
    """Whether a rule is still being tried out."""
    return bool(getattr(rule, "PREVIEW", False))


def check_source(
    source: SourceFile,
    language: str | None = None,
    sets: Mapping[str, IpSet] = ruleaudit.NO_SETS,
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
    missed = {ruleset: unmet(ruleset, some) for ruleset, some in expectations}
    wrong = [u for some in missed.values() for u in some]
    rules = tuple(rule for rule in RULES if settings.preview or not in_preview(rule))
    judged = [
        _judged(rules, source, ruleset, reading.findings, twin, missed.pop(ruleset, ())) for ruleset in reading.rulesets
    ]
    judged += [_judged(rules, source, ruleset, (), None, some) for ruleset, some in missed.items() if some]
    # what is true of both address families is said once
    first: dict[tuple[str, Span, str], Finding] = {}
    for finding in _true_in_all(source, reading.rulesets, [some for _, some in judged]):
        first.setdefault((finding.code, finding.span, "" if finding.code in SAME_IN_ALL else finding.message), finding)
    findings = [f for f in first.values() if (SILENT_BESIDE.get(f.code), f.span, "") not in first]
    tracking = together([one for one, _ in judged])
    read = {r.span: r for ruleset in reading.rulesets for r in ruleset.rules()}
    opaque = {r.span: r for ruleset in reading.rulesets for r in ruleset.rules() if not r.understood}
    found = [settings.weighed(f) for f in sorted(findings, key=lambda f: (f.span.start, f.span.end, f.code))]
    # a comment is of use where it covers what nobody asked for in this run
    applied = suppress.apply_to(source, found, REDIRECTS) if settings.comments else suppress.Applied(tuple(found))
    silent = [rule for rule in RULES if rule not in rules]
    silent += [v4_v6_mismatch] * (twin is None) + [unmet_expectation] * (not expectations)
    unused = [c for c in applied.unused if not any(c.names(r.CODE, r.NAME, REDIRECTS) for r in silent)]
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
    settings = config.load(SourceFile("ruleaudit.toml", example.configuration), [(r.CODE, r.NAME) for r in RULES])
    return check_source(SourceFile("ruleset", example.text), example.language, twin=twin, settings=settings)


def _true_in_all(source: SourceFile, rulesets: tuple[Ruleset, ...], found: list[list[Finding]]) -> Iterator[Finding]:
    """The findings of all families, without those about a line or a chain that says something in another one, and that
    are not true there.
    """
    told = [{(f.code, f.span) for f in some} for some in found[: len(rulesets)]]
    read = [_read(source, ruleset) for ruleset in rulesets] if len(rulesets) > 1 else [[]]
    for number, some in enumerate(found):
        for finding in some:
            others = [n for n in range(len(rulesets)) if n != number] if finding.code in TRUE_IN_ALL else []
            if all((finding.code, finding.span) in told[n] or not _holds(read[n], finding.span) for n in others):
                yield finding


def _read(source: SourceFile, ruleset: Ruleset) -> list[Span]:
    """Where a ruleset has rules that match something, and the names of chains that packets may get to, in order."""
    called = called_chains(ruleset)
    chains = [c for t in ruleset.tables.values() for c in t.chains.values() if (c.table, c.name) in called]
    rules = {rule.span for chain in chains for rule in chain.rules if not isinstance(rule.condition, Never)}
    return sorted(rules | {places.chain_name(chain, source) for chain in chains if chain.span is not None})


def _holds(spans: list[Span], span: Span) -> bool:
    """Whether a span lies in one of some spans, which are in order and apart."""
    place = bisect_right(spans, span.start, key=lambda one: one.start) - 1
    return place >= 0 and span.end <= spans[place].end


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
            (replace(first, family=f, tables={}, tracks=()), [e for e in stated if e.traffic.family is f])
            for f in silent
        ]
    return source, about


def _judged(
    rules: Sequence[ModuleType],
    source: SourceFile,
    ruleset: Ruleset,
    read: tuple[Finding, ...],
    twin: Ruleset | None,
    missed: tuple[Unmet, ...],
) -> tuple[Tracking, list[Finding]]:
    answer = with_room(lambda room: _findings(rules, source, ruleset, read, twin, missed, room), steps(ruleset))
    return answer if answer is not None else _what_fits(rules, source, ruleset, read, twin, missed)


def _findings(
    rules: Sequence[ModuleType],
    source: SourceFile,
    ruleset: Ruleset,
    read: tuple[Finding, ...],
    twin: Ruleset | None,
    missed: tuple[Unmet, ...],
    room: int,
) -> tuple[Tracking, list[Finding]]:
    space = make_space((ruleset,), room)
    audit = Audit(source, ruleset, judge_in(space, ruleset), space, read, twin, missed)
    return audit.tracking, [finding for rule in rules for finding in rule.check(audit)]


def _what_fits(
    rules: Sequence[ModuleType],
    source: SourceFile,
    ruleset: Ruleset,
    read: tuple[Finding, ...],
    twin: Ruleset | None,
    missed: tuple[Unmet, ...],
) -> tuple[Tracking, list[Finding]]:
    """The rules whose packets fit into memory, each tried alone, and a word about the others."""
    tracking = judge(ruleset)
    findings: list[Finding] = []
    for rule in rules:
        try:
            space = make_space((ruleset,), FIRST_ROOM)
            findings += rule.check(Audit(source, ruleset, tracking, space, read, twin, missed))
        except OutOfRoom:
            findings.append(_too_large(rule))
    return tracking, findings


def _too_large(rule: ModuleType) -> Finding:
    message = f"the packets of this ruleset do not fit into memory: {rule.NAME} ({rule.CODE}) was not looked for"
    return Finding(not_understood.CODE, not_understood.NAME, Severity.WARNING, message, Span(0, 0))


def documentation() -> Iterator[tuple[str, str, str]]:
    """(code, name, page) of every rule."""
    for rule in RULES:
        yield rule.CODE, rule.NAME, rule.__doc__ or ""
