"""`check`: what is found in the files that are asked for, fixed and told."""

import os
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import ruleaudit
from ruleaudit import outcomes, selection, suppress
from ruleaudit.answer import BUG, DONE, FAILED, FOUND, Answer, style
from ruleaudit.diagnostics import Finding, FixClass, Severity, SourceError, UsageError
from ruleaudit.reading import Reading
from ruleaudit.report.style import Style
from ruleaudit.report.wording import printable
from ruleaudit.results import FileReport
from ruleaudit.results.suggestion import Suggestion
from ruleaudit.source import SourceFile, write

if TYPE_CHECKING:
    from ruleaudit.fixing import Fixed

#: what could not be done: a path, and what is said about it
Failed = list[tuple[str, str]]


@dataclass(frozen=True)
class _Told:
    """What is found in one file, and the task that asked for it."""

    report: FileReport
    task: outcomes.Task


def check(asked: Namespace) -> Answer:
    """What `ruleaudit check` answers."""
    started = time.monotonic()
    paths, failed, remarks = selection.paths(asked)
    if asked.show_files:
        return Answer(FAILED if failed else DONE, "".join(f"{path}\n" for path in paths), errors=_errors(failed))
    choices = selection.Choices(asked)
    settings = {path: choices.of(path) for path in paths}
    if asked.show_settings:
        return Answer(DONE, "\n".join(settings[path].as_toml(path) for path in paths))
    checker, tasks = outcomes.Check(asked), outcomes.tasks(asked, settings)
    found = list(outcomes.outcomes(asked, checker, tasks))
    told = [_Told(one.report, task) for one, task in zip(found, tasks, strict=True) if one.report]
    failed += [(one.path, one.failure) for one in found if one.failure]
    told, failed, said = _whole(told, failed)
    remarks += "".join(choices.remarks) + said
    if asked.fix or asked.diff:
        fixes = _fixed(asked, checker, told)
        remarks += fixes.remarks
        failed += fixes.failed
        if asked.diff:
            code = FAILED if failed else FOUND if fixes.diff and not asked.exit_zero else DONE
            return Answer(code, fixes.diff, remarks, _errors(failed))
        told, failed, _ = _whole(fixes.told, failed)
    told, said = _baselined(asked, told)
    remarks += said
    reports = [one.report for one in told]
    unwritten: Failed = []
    for form, file in asked.formats:
        try:
            if file:
                write(file, _rendered(asked, told, failed, form, Style(False)))
        except SourceError as error:
            unwritten.append((file, str(error)))  # what is found is told all the same
    result = _rendered(asked, told, failed, asked.format, style(asked))
    from ruleaudit.report import check_summary

    remarks += check_summary.render(reports, notes=asked.verbose > 0)
    if asked.verbose > 1:
        remarks += "".join(f"{one.path}: {one.seconds:.2f} s\n" for one in found)
        remarks += f"all of it: {time.monotonic() - started:.2f} s\n"
    traces = [one.trace for one in found if one.trace]
    errors = "".join(traces if asked.verbose else ()) + _errors([*failed, *unwritten]) + f"{BUG}\n" * bool(traces)
    if asked.fix and set(asked.files) == {"-"}:
        # the text is the result; what is still to be said of it goes where errors go
        errors = (result if asked.quiet < 2 else "") + errors
        result = "".join(report.source.text for report in reports)
    return Answer(FAILED if unwritten else _code(asked, told, failed), result, remarks, errors)


def _errors(failed: Failed) -> str:
    return "".join(f"ruleaudit: {printable(message)}\n" for _, message in failed)


def _whole(told: Sequence[_Told], failed: Failed) -> tuple[list[_Told], Failed, str]:
    """What was said of files that are no part of another, whose report speaks of them; and a word about these."""
    from ruleaudit.discovery import fragments, once

    reports = [one.report for one in told]
    parts = fragments(reports, [*(report.source.path for report in reports), *(path for path, _ in failed)])
    kept = [one for one in told if one.report.source.path not in parts]
    said = "".join(f"{part}: checked as a part of {whole}\n" for part, whole in parts.items())
    wrong = [one for one in failed if one[0] not in parts]
    fresh = once([one.report for one in kept])
    return [replace(one, report=report) for one, report in zip(kept, fresh, strict=True)], wrong, said


# -- what is fixed, and what is told --------------------------------------------------------------------


@dataclass
class _Fixes:
    """What --fix or --diff made of the files: what is found in the new texts, their differences, and words about it."""

    told: list[_Told] = field(default_factory=list)
    diff: str = ""
    remarks: str = ""
    failed: Failed = field(default_factory=list)


def _fixed(asked: Namespace, checker: outcomes.Check, told: Sequence[_Told]) -> _Fixes:
    """The fixes of what is to be told, applied, and written unless only the difference is asked for."""
    from ruleaudit.report.diff import unified

    parts = Counter(p for one in told for p in {os.path.realpath(part.path) for part in one.report.source.included})
    shared = {path for path, number in parts.items() if number > 1}
    out = _Fixes()
    for one in told:
        source = one.report.source
        fixed = _fixed_one(asked, checker, one, shared)
        out.remarks += "".join(f"{said}\n" for said in fixed.refused)
        old = {part.path: part for part, _ in source.parts()}
        out.diff += "".join(unified(old[path], text) for path, text in fixed.texts.items())
        try:
            for path, text in fixed.texts.items():
                if not asked.diff and one.task.path != "-":
                    _rewrite(old[path], text)
        except SourceError as error:
            out.failed.append((one.task.path, str(error)))
            out.told.append(one)
            continue
        out.told.append(replace(one, report=fixed.report))
        if fixed.texts:
            out.remarks += f"{source.path}: {fixed.report.fixed:,} {'would be fixed' if asked.diff else 'fixed'}\n"
    return out


def _fixed_one(asked: Namespace, checker: outcomes.Check, one: _Told, shared: Collection[str]) -> "Fixed":
    """One file, and what it includes, with the fixes of what is to be told of it."""
    from ruleaudit.fixing import Fixed, fix

    def wanted(report: FileReport) -> Sequence[Finding]:
        return _Baselines(asked).without(replace(one, report=report)).report.findings

    def read(source: SourceFile, includes: "ruleaudit.Includes") -> Reading:
        return ruleaudit.lower(source, asked.language, checker.sets(one.task.settings), includes)

    def audit(source: SourceFile, includes: "ruleaudit.Includes") -> FileReport:
        return checker.report(one.task, source, includes).outline

    report = one.report
    if any(f.fixable for f in report.findings):
        return fix(report, wanted, read, audit, shared)
    is_json = report.ruleset is not None and report.ruleset.language == "nft-json"
    exact = is_json and any(f.fix and f.fix.kind is FixClass.EXACT for f in wanted(report))
    return Fixed(report, {}, (f"{report.source.path}: nothing is fixed in nft JSON; give the text",) * exact)


def _rewrite(old: SourceFile, text: str) -> None:
    """Write the new text of a file, if nobody else has done so meanwhile. Raises SourceError."""
    if not os.path.isfile(old.path):
        raise SourceError(f"{old.path}: not written: it is no regular file; for a pipe: --fix -, or --diff")
    if ruleaudit.load(old.path).text != old.text:
        raise SourceError(f"{old.path}: not written: it has changed since it was read")
    write(old.path, text)


class _Baselines:
    """What the baselines know and what of it was not found yet, for one run over some files."""

    def __init__(self, asked: Namespace) -> None:
        self._asked = asked
        self.left: dict[str, Counter[suppress.Known]] = {}

    def of(self, one: _Told) -> str:
        """The path of the baseline for a file; none where a new one is written."""
        path: str = self._asked.baseline or one.task.settings.baseline
        return "" if self._asked.write_baseline else path

    def without(self, one: _Told) -> _Told:
        """What is found in a file but for what its baseline knows. Raises SourceError for one that cannot be read."""
        path = self.of(one)
        if not path:
            return one
        if path not in self.left:
            from ruleaudit.rules import REDIRECTS

            self.left[path] = suppress.read_baseline(ruleaudit.load(path), REDIRECTS)
        report = one.report
        folder = os.path.dirname(path) or "."
        fresh, number = suppress.without_known(report.source, report.findings, self.left[path], folder)
        return replace(one, report=replace(report, findings=tuple(fresh), baselined=number))


def _baselined(asked: Namespace, told: list[_Told]) -> tuple[list[_Told], str]:
    """What is told without what the baselines know; a new one is written where it is asked for."""
    if asked.write_baseline:
        folder = os.path.dirname(asked.write_baseline) or "."
        found = [(one.report.source, f) for one in told for f in one.report.findings]
        write(asked.write_baseline, suppress.baseline_text(found, folder))
        return told, f"{asked.write_baseline}: written\n"
    baselines = _Baselines(asked)
    out = [baselines.without(one) for one in told]
    if asked.prune_baseline and not baselines.left:
        raise UsageError("--prune-baseline needs --baseline FILE")
    said = ""
    for path, left in baselines.left.items():
        gone = sum(left.values())
        if asked.prune_baseline:
            known = [
                (one.report.source, f)
                for one, fresh in zip(told, out, strict=True)
                if baselines.of(one) == path
                for f in one.report.findings
                if f not in fresh.report.findings
            ]
            write(path, suppress.baseline_text(known, os.path.dirname(path) or "."))
            said += f"{path}: written, without {gone} that are no longer found\n"
        elif gone:
            said += f"{path}: {gone} of its findings are no longer there: --prune-baseline\n"
    return out, said


def _rendered(asked: Namespace, told: Sequence[_Told], failed: Failed, form: str, style: Style) -> str:
    reports = [one.report for one in told]
    notes = asked.verbose > 0
    match form:
        case "json":
            from ruleaudit.report import check_json

            return check_json.render(reports, failed)
        case "jsonl":
            from ruleaudit.report import check_jsonl

            return check_jsonl.render(reports)
        case "concise":
            from ruleaudit.report import check_concise

            return check_concise.render(reports, notes=notes, style=style)
        case "github":
            from ruleaudit.report import check_github

            return check_github.render(reports, notes=notes)
        case "gitlab":
            from ruleaudit.report import check_gitlab

            return check_gitlab.render(reports)
        case "sarif":
            from ruleaudit.report import check_sarif
            from ruleaudit.rules import RULES

            return check_sarif.render(reports, RULES, failed)
        case "junit":
            from ruleaudit.report import check_junit

            return check_junit.render(reports, failed, notes=notes)
        case "markdown":
            from ruleaudit.report import check_markdown

            return check_markdown.render(reports, failed, notes=notes)
        case "html":
            from ruleaudit.report import check_html

            return check_html.render(reports, [_answer_beside(asked, one) for one in told], failed, notes=notes)
        case _:
            from ruleaudit.report import check_full

            return check_full.render(reports, notes=notes, style=style)


def _answer_beside(asked: Namespace, one: _Told) -> Suggestion | str:
    """The suggestion for a file that was checked, or why there is none."""
    source = SourceFile(one.report.source.path, one.report.source.text)  # without what its configuration says
    sets = ruleaudit.read_sets([*one.task.settings.ipset, *asked.ipset])
    try:
        return ruleaudit.suggest(source, language=asked.language, sets=sets)
    except SourceError as error:
        return str(error)


def _code(asked: Namespace, told: Sequence[_Told], failed: Failed) -> int:
    if failed or any(_is_cut_off(one.report) for one in told):
        return FAILED
    severities = (Severity.ERROR, Severity.WARNING, Severity.NOTE)
    found = any(
        severities.index(finding.severity) <= severities.index(one.task.settings.fail_on)
        for one in told
        for finding in one.report.findings
    )
    return FOUND if found and not asked.exit_zero and not asked.write_baseline else DONE


def _is_cut_off(report: FileReport) -> bool:
    """The file ends inside a table: it is not a whole ruleset, and no loader would take it."""
    if report.ruleset is None or not any(f.code == "RA001" for f in report.findings):
        return False
    structure = [
        line[:1] for line in report.source.text.split("\n") if line.startswith("*") or line.strip() == "COMMIT"
    ]
    return structure[-1:] == ["*"]
