"""`check` as SARIF 2.1.0 (OASIS), for code scanning."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath
from types import ModuleType
from urllib.parse import quote

from ruleaudit.diagnostics import Finding, Fix, Label, Severity
from ruleaudit.report.check_gitlab import fingerprint
from ruleaudit.results import FileReport
from ruleaudit.source import SourceFile, Span

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


def render(reports: Sequence[FileReport], rules: Sequence[ModuleType], failed: Sequence[tuple[str, str]] = ()) -> str:
    """One run; `rules` is the catalogue, `failed` holds (path, message) of files that could not be read."""
    from ruleaudit import __version__

    seen: Counter[str] = Counter()
    places = {rule.CODE: index for index, rule in enumerate(rules)}
    results = [_result(r.source, f, places, seen) for r in reports for f in r.findings]
    troubles = [{"level": "error", "message": {"text": message}} for _, message in failed]
    driver = {"name": "ruleaudit", "version": __version__, "rules": [_rule(rule) for rule in rules]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": not failed, "toolExecutionNotifications": troubles}],
        "results": results,
    }
    schema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
    text = json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") + "\n"


def _rule(rule: ModuleType) -> dict[str, object]:
    page = (rule.__doc__ or "").strip()
    return {
        "id": rule.CODE,
        "name": rule.NAME,
        "shortDescription": {"text": page.split("\n")[0]},
        "fullDescription": {"text": page.split("\n")[0]},
        "help": {"text": page},
        "defaultConfiguration": {"level": _LEVELS[rule.SEVERITY]},
    }


def _result(source: SourceFile, finding: Finding, places: dict[str, int], seen: Counter[str]) -> dict[str, object]:
    told = [finding.message, finding.label, *(f"{kind}: {text}" for kind, text in finding.notes)]
    if finding.witness:
        told.append(f"e.g. {finding.witness.packet}: {finding.witness.description}")
    result: dict[str, object] = {
        "ruleId": finding.code,
        "level": _LEVELS[finding.severity],
        "message": {"text": "\n".join(filter(None, told))},
        "locations": [_location(source, finding.span)],
        "partialFingerprints": {"ruleauditText/v1": fingerprint(source, finding, seen)},
        "properties": {"certainty": finding.certainty},
    }
    if finding.code in places:
        result["ruleIndex"] = places[finding.code]
    if finding.related:
        result["relatedLocations"] = [_related(source, label) for label in finding.related]
    if finding.fix and finding.fix.edits:
        changes = _changes(source, finding.fix)
        result["fixes"] = [{"description": {"text": finding.fix.description}, "artifactChanges": changes}]
    return result


def _changes(source: SourceFile, fix: Fix) -> list[dict[str, object]]:
    """What a fix changes in each file."""
    found: dict[str, list[object]] = {}
    for edit in fix.edits:
        replacement = {"deletedRegion": _region(source, edit.span), "insertedContent": {"text": edit.text}}
        found.setdefault(_uri(source, edit.span), []).append(replacement)
    return [{"artifactLocation": {"uri": uri}, "replacements": some} for uri, some in found.items()]


def _related(source: SourceFile, label: Label) -> dict[str, object]:
    return {**_location(source, label.span), "message": {"text": label.text}}


def _location(source: SourceFile, span: Span) -> dict[str, object]:
    region = {**_region(source, span), "snippet": {"text": source.slice(span)}}
    place = {"artifactLocation": {"uri": _uri(source, span)}, "region": region}
    return {"physicalLocation": place}


def _uri(source: SourceFile, span: Span) -> str:
    """The file of a place: a relative path as a URI reference; an absolute one as a file URI."""
    path = PurePath(source.position(span.start).path)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix(), errors="replace")


def _region(source: SourceFile, span: Span) -> dict[str, int]:
    start, end = source.position(span.start), source.position(span.end)
    return {"startLine": start.line, "startColumn": start.column, "endLine": end.line, "endColumn": end.column}
