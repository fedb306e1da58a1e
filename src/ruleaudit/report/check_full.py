"""`check`, full: each finding with an excerpt, a caret, and what happens on the wire."""

from collections.abc import Iterator, Sequence

from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.report.excerpt import Mark, excerpt, gutter_width
from ruleaudit.report.style import PLAIN, Style
from ruleaudit.report.wording import printable, shortened
from ruleaudit.results import FileReport
from ruleaudit.source import SourceFile

#: what concerns the reading of the file, and the comments in it, is shown even where it is a note
_READING = ("RA001", "RA002", "RA003", "RA004", "RA005")
#: no message is longer, whatever it quotes
LONGEST = 1000


def render(reports: Sequence[FileReport], *, notes: bool = False, style: Style = PLAIN) -> str:
    """Every finding of every file; mere notes only where `notes` is set."""
    blocks = [
        "\n".join(one(report.source, finding, style)) + "\n"
        for report in reports
        for finding in report.findings
        if notes or is_shown(finding)
    ]
    return "\n".join(blocks)


def is_shown(finding: Finding) -> bool:
    """Whether a finding is shown without -v: errors, warnings, and what concerns the reading of the file."""
    return finding.severity is not Severity.NOTE or finding.code in _READING


def fixable(finding: Finding) -> str:
    """The mark before the message of a finding that --fix would mend."""
    return "[*] " if finding.fixable else ""


def one(source: SourceFile, finding: Finding, style: Style = PLAIN) -> Iterator[str]:
    """The lines of one finding."""
    paint = {Severity.ERROR: style.bad, Severity.WARNING: style.warning, Severity.NOTE: style.place}[finding.severity]
    head = paint(f"{finding.severity.value}[{finding.code}]")
    message = fixable(finding) + style.bold(shortened(finding.message, LONGEST))
    yield f"{head}: {message}  {style.faint(finding.name)}"
    marks = [Mark(finding.span, "^", finding.label), *(Mark(r.span, "-", r.text) for r in finding.related)]
    place = source.position(finding.span.start)
    width = gutter_width(source, marks)
    yield f"{'':{width}}{style.place('-->')} {printable(place.path)}:{place.line}:{place.column}"
    yield from excerpt(source, marks, style)
    notes = list(notes_of(finding))
    longest = max((len(kind) for kind, _ in notes), default=0) + 1
    for kind, text in notes:
        name = style.bold(f"{kind + ':':{longest}}")
        yield f"{'':{width}} {style.place('=')} {name} {shortened(text, LONGEST)}"


def notes_of(finding: Finding) -> Iterator[tuple[str, str]]:
    """What stands below the excerpt, as (kind, text)."""
    yield from finding.notes
    if finding.certainty != "proved":
        yield "certainty", finding.certainty
    if finding.witness is not None:
        yield "packet", f"{finding.witness.packet} ({finding.witness.description})"
    if finding.fix is not None:
        yield "fix", f"{finding.fix.kind.value}: {finding.fix.description}"
