"""`check`: the files that are asked for, what is found in them, and what of it is told."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ruleaudit
from ruleaudit.answer import DONE, FAILED, FOUND, Answer, load_source, style
from ruleaudit.config import Settings
from ruleaudit.diagnostics import Finding, Severity, SourceError, UsageError
from ruleaudit.report.style import Style
from ruleaudit.results import FileReport
from ruleaudit.source import SourceFile, write


def check(asked: Namespace) -> Answer:
    paths: list[str] = asked.files
    remarks = ""
    if not paths:
        from ruleaudit.discovery import rulesets

        paths = list(rulesets())
        if not paths:
            raise SourceError("no ruleset below this folder (rules.v4, iptables.rules, *.nft...); name the files")
        remarks = f"checking {', '.join(paths)}\n"
    settings = {path: _settings(asked, path) for path in paths}
    if asked.show_settings:
        return Answer(DONE, "".join(f"{path}: {settings[path]}\n" for path in paths))
    reports: list[FileReport] = []
    failed: list[tuple[str, str]] = []
    sources: list[tuple[SourceFile, Settings]] = []
    bars: list[Severity] = []
    for path in paths:
        try:
            sources.append((load_source(path, asked), settings[path]))
        except SourceError as error:
            failed.append((path, str(error)))
    for source, chosen in sources:
        try:
            sets = ruleaudit.read_sets([*chosen.ipset, *asked.ipset])
            beside = [other for other, _ in sources]
            reports += ruleaudit.check([source], language=asked.language, sets=sets, beside=beside, settings=chosen)
            bars.append(chosen.fail_on)
        except SourceError as error:
            failed.append((source.path, str(error)))
    reports, bars, failed, said = _whole(reports, bars, failed)
    remarks += said
    reports, said = _baselined(asked, reports, settings[paths[0]].baseline)
    remarks += said
    from ruleaudit.report import check_summary

    for form, file in asked.formats:
        if file:
            write(file, _checked(asked, reports, failed, form, Style(False)))
    result = _checked(asked, reports, failed, asked.format, style(asked))
    summary = check_summary.render(reports, notes=asked.verbose)
    errors = "".join(f"ruleaudit: {message}\n" for _, message in failed)
    return Answer(_check_code(asked, list(zip(reports, bars, strict=True)), failed), result, remarks + summary, errors)


def _whole(
    reports: list[FileReport], bars: list[Severity], failed: list[tuple[str, str]]
) -> tuple[list[FileReport], list[Severity], list[tuple[str, str]], str]:
    """What was said of files that are no part of another, whose report speaks of them; and a word about these."""
    from ruleaudit.discovery import fragments, once

    parts = fragments(reports, [*(report.source.path for report in reports), *(path for path, _ in failed)])
    kept = [(report, bar) for report, bar in zip(reports, bars, strict=True) if report.source.path not in parts]
    said = "".join(f"{part}: checked as a part of {whole}\n" for part, whole in parts.items())
    wrong = [one for one in failed if one[0] not in parts]
    return once([report for report, _ in kept]), [bar for _, bar in kept], wrong, said


def _settings(asked: Namespace, path: str) -> Settings:
    """The settings of the configuration file, and what the command line says instead."""
    from ruleaudit import config
    from ruleaudit.discovery import nearest_config
    from ruleaudit.rules import RULES

    known = [(rule.CODE, rule.NAME) for rule in RULES]
    found = asked.config or (None if asked.no_config else nearest_config(path))
    settings = config.load(ruleaudit.load(found, _near(found)), known) if found else config.Settings()

    def codes(words: Sequence[str]) -> tuple[str, ...]:
        return tuple(config.known_code(word, known) for word in words)

    select = codes(asked.select) or settings.select
    select += codes(asked.extend_select) if select else ()
    settings = replace(settings, select=select, ignore=(*settings.ignore, *codes(asked.ignore)))
    if asked.fail_on:
        settings = replace(settings, fail_on=Severity(asked.fail_on))
    return replace(settings, comments=not asked.no_ignores)


def _near(path: str) -> str:
    """A path as seen from the current folder, if it is below it."""
    here, there = Path.cwd(), Path(path).resolve()
    return str(there.relative_to(here)) if there.is_relative_to(here) else path


def _baselined(asked: Namespace, reports: list[FileReport], configured: str) -> tuple[list[FileReport], str]:
    """The reports without what the baseline knows; a new one is written where it is asked for."""
    from ruleaudit import suppress

    if asked.write_baseline:
        text = suppress.baseline_text((r.source, f) for r in reports for f in r.findings)
        write(asked.write_baseline, text)
        return reports, f"{asked.write_baseline}: written\n"
    path = asked.baseline or configured
    if not path:
        if asked.prune_baseline:
            raise UsageError("--prune-baseline needs --baseline FILE")
        return reports, ""
    left = suppress.read_baseline(ruleaudit.load(path))
    out: list[FileReport] = []
    known: list[tuple[SourceFile, Finding]] = []
    for report in reports:
        fresh, number = suppress.without_known(report.source, report.findings, left)
        known += [(report.source, f) for f in report.findings if f not in fresh]
        out.append(replace(report, findings=tuple(fresh), baselined=number))
    gone = sum(left.values())
    if asked.prune_baseline:
        write(path, suppress.baseline_text(known))
        return out, f"{path}: written, without {gone} that are no longer found\n"
    return out, f"{path}: {gone} of its findings are no longer there: --prune-baseline\n" if gone else ""


def _checked(
    asked: Namespace, reports: list[FileReport], failed: list[tuple[str, str]], form: str, style: Style
) -> str:
    notes: bool = asked.verbose
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
        case _:
            from ruleaudit.report import check_full

            return check_full.render(reports, notes=notes, style=style)


def _check_code(asked: Namespace, reports: list[tuple[FileReport, Severity]], failed: list[tuple[str, str]]) -> int:
    if failed or any(_is_cut_off(report) for report, _ in reports):
        return FAILED
    severities = (Severity.ERROR, Severity.WARNING, Severity.NOTE)

    found = any(
        severities.index(finding.severity) <= severities.index(bar)
        for report, bar in reports
        for finding in report.findings
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
