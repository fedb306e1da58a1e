"""`check` as JSON."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.model.ruleset import Rule
from ruleaudit.report.schema import Json, document, place, rule_place, witness
from ruleaudit.results import FileReport, RuleClass
from ruleaudit.source import Span


def render(reports: Sequence[FileReport], failed: Sequence[tuple[str, str]] = ()) -> str:
    """One object for all files; `failed` holds (path, message) of files that could not be read."""
    by = Counter(f.severity for report in reports for f in report.findings)
    values: dict[str, Json] = {
        "files": [*map(_file, reports), *(_failed(*one) for one in failed)],
        "findings": [one for report in reports for one in findings(report)],
        "summary": {
            "errors": by[Severity.ERROR],
            "warnings": by[Severity.WARNING],
            "notes": by[Severity.NOTE],
            "suppressed": sum(len(report.suppressed) for report in reports),
            "baselined": sum(report.baselined for report in reports),
            "fixable": sum(f.fixable for report in reports for f in report.findings),
            "fixed": sum(report.fixed for report in reports),
        },
    }
    if failed:
        values = {"outcome": "error", "error": "; ".join(message for _, message in failed), **values}
    return document(values)


def _file(report: FileReport) -> dict[str, Json]:
    needing = [j for j in report.tracking.judgements if j.kind is RuleClass.REQUIRED] if report.tracking else []
    return {
        "path": report.source.path,
        "language": report.ruleset.language if report.ruleset else None,
        "rules": report.rules,
        "exact": report.exact,
        "opaque": [rule_place(report.source, rule) for rule in report.opaque],
        "required": [rule_place(report.source, j.rule) for j in needing],
        "expectations": {"checked": report.expected, "unmet": report.unmet, "unchecked": report.unchecked},
    }


def _failed(path: str, message: str) -> dict[str, Json]:
    return {"path": path, "language": None, "rules": 0, "exact": 0, "opaque": [], "required": [], "error": message}


def findings(report: FileReport) -> list[dict[str, Json]]:
    """The findings about one file, as objects."""
    rules = sorted(report.ruleset.rules(), key=lambda r: r.span) if report.ruleset else []
    starts = [rule.span.start for rule in rules]

    def holding(span: Span) -> Rule | None:
        index = bisect_right(starts, span.start) - 1
        return rules[index] if index >= 0 and span.start < rules[index].span.end else None

    def at(span: Span) -> dict[str, Json]:
        return place(report.source, span, holding(span))

    def finding(found: Finding) -> dict[str, Json]:
        fix: Json = None
        if found.fix is not None:
            edits: list[Json] = [{"place": at(edit.span), "text": edit.text} for edit in found.fix.edits]
            fix = {"class": found.fix.kind.value, "description": found.fix.description, "edits": edits}
        return {
            "code": found.code,
            "name": found.name,
            "severity": found.severity.value,
            "certainty": found.certainty,
            "message": found.message,
            "label": found.label,
            "place": at(found.span),
            "related": [{"place": at(label.span), "label": label.text} for label in found.related],
            "notes": [{"kind": kind, "text": text} for kind, text in found.notes],
            "witness": witness(found.witness),
            "fix": fix,
        }

    return [finding(found) for found in report.findings]
