"""`check` as workflow commands of GitHub Actions: annotations in a pull request.

Source: "Workflow commands for GitHub Actions". Ten annotations of each kind are drawn for a step, so the total comes
first.
"""

from collections.abc import Sequence

from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.report.check_full import is_shown
from ruleaudit.report.wording import count
from ruleaudit.results import FileReport
from ruleaudit.source import SourceFile

_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def render(reports: Sequence[FileReport], *, notes: bool = False) -> str:
    """The number of findings, then a command for each."""
    shown = [(r.source, f) for r in reports for f in r.findings if notes or is_shown(f)]
    return f"ruleaudit: {count(len(shown), 'finding')}\n" + "".join(_command(*one) for one in shown)


def _command(source: SourceFile, finding: Finding) -> str:
    start, end = source.position(finding.span.start), source.position(finding.span.end)
    properties = {
        "title": f"{finding.code} {finding.name}",
        "file": start.path,
        "line": str(start.line),
        "endLine": str(end.line),
        "col": str(start.column),
    }
    if start.line == end.line:
        properties["endColumn"] = str(end.column)
    told = [finding.message, finding.label, *(f"{kind}: {text}" for kind, text in finding.notes)]
    if finding.witness:
        told.append(f"e.g. {finding.witness.packet}: {finding.witness.description}")
    words = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{_LEVELS[finding.severity]} {words}::{_data(chr(10).join(filter(None, told)))}\n"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
