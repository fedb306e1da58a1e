"""`check` as a GitLab code quality report (a subset of the Code Climate specification).

A fingerprint has to be unique, and to stay when lines are added above: it is made of the text, not of the line.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence

from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.results import FileReport
from ruleaudit.source import SourceFile

_SEVERITIES = {Severity.ERROR: "critical", Severity.WARNING: "major", Severity.NOTE: "info"}


def render(reports: Sequence[FileReport]) -> str:
    """A list of issues."""
    seen: Counter[str] = Counter()
    issues = [_issue(r.source, f, seen) for r in reports for f in r.findings]
    text = json.dumps(issues, indent=2, ensure_ascii=False)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") + "\n"


def fingerprint(source: SourceFile, finding: Finding, seen: Counter[str]) -> str:
    """What this finding is known by; equal findings about equal lines are counted."""
    place = source.position(finding.span.start)
    line = source.line(place.line, finding.span.start).strip()
    same = "\0".join((place.path, finding.code, finding.message, line))
    seen[same] += 1
    return hashlib.sha256(f"{same}\0{seen[same]}".encode("utf-8", "surrogateescape")).hexdigest()


def _issue(source: SourceFile, finding: Finding, seen: Counter[str]) -> dict[str, object]:
    start, end = source.position(finding.span.start), source.position(finding.span.end)
    return {
        "type": "issue",
        "check_name": f"{finding.code} {finding.name}",
        "description": finding.message,
        "categories": ["Bug Risk"],
        "severity": _SEVERITIES[finding.severity],
        "fingerprint": fingerprint(source, finding, seen),
        "location": {"path": start.path.removeprefix("./"), "lines": {"begin": start.line, "end": end.line}},
    }
