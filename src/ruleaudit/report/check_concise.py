"""`check`, concise: `path:line:column: CODE severity message [name]`, one finding a line, as editors read it."""

from collections.abc import Sequence

from ruleaudit.diagnostics import Finding
from ruleaudit.report.check_full import LONGEST, fixable, is_shown
from ruleaudit.report.style import PLAIN, Style
from ruleaudit.report.wording import printable, shortened
from ruleaudit.results import FileReport
from ruleaudit.source import SourceFile


def render(reports: Sequence[FileReport], *, notes: bool = False, style: Style = PLAIN) -> str:
    """Every finding of every file; mere notes only where `notes` is set."""
    return "".join(
        one(report.source, finding) + "\n"
        for report in reports
        for finding in report.findings
        if notes or is_shown(finding)
    )


def one(source: SourceFile, finding: Finding) -> str:
    """One finding in one line."""
    place = source.position(finding.span.start)
    where = f"{printable(place.path)}:{place.line}:{place.column}"
    message = fixable(finding) + shortened(finding.message, LONGEST)
    return f"{where}: {finding.code} {finding.severity.value} {message} [{finding.name}]"
