"""`check` as Markdown, for comments in pull requests and job summaries."""

from collections import Counter
from collections.abc import Iterator, Sequence

from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.report.check_full import is_shown
from ruleaudit.report.wording import count, printable
from ruleaudit.results import FileReport
from ruleaudit.source import SourceFile


def render(reports: Sequence[FileReport], failed: Sequence[tuple[str, str]] = (), *, notes: bool = False) -> str:
    """A heading with the totals, then a table for each file with findings, included ones too."""
    return "".join(line + "\n" for line in _lines(reports, failed, notes))


def _lines(reports: Sequence[FileReport], failed: Sequence[tuple[str, str]], notes: bool) -> Iterator[str]:
    by = Counter(f.severity for r in reports for f in r.findings)
    total = f"{count(by[Severity.ERROR], 'error')}, {count(by[Severity.WARNING], 'warning')}"
    yield f"## ruleaudit: {total} in {count(len(reports), 'file')}"
    for path, message in failed:
        yield ""
        yield f"**{_cell(path)}** could not be checked: {_cell(message)}"
    for report in reports:
        shown = [f for f in report.findings if notes or is_shown(f)]
        if not shown:
            continue
        yield ""
        by_path: dict[str, list[Finding]] = {}
        for finding in shown:
            by_path.setdefault(report.source.position(finding.span.start).path, []).append(finding)
        for number, (path, mine) in enumerate(by_path.items()):
            if number:
                yield ""
            yield f"### {_cell(path)}"
            yield ""
            yield "| line | | finding | e.g. |"
            yield "| ---: | --- | --- | --- |"
            yield from (_row(report.source, f) for f in mine)


def _row(source: SourceFile, finding: Finding) -> str:
    line = source.position(finding.span.start).line
    text = _code(source.line(line, finding.span.start).strip())
    witness = _code(finding.witness.packet) if finding.witness else ""
    what = f"**{finding.code}** {_cell(finding.message)}<br>{text}"
    return f"| {line} | {finding.severity.value} | {what} | {witness} |"


def _cell(text: str) -> str:
    """Text that Markdown takes for text."""
    out = printable(text)
    for letter in "\\`*_[]<>|":
        out = out.replace(letter, f"\\{letter}")
    return out.replace("\n", " ")


def _code(text: str) -> str:
    """A piece of a ruleset, whatever is in it."""
    plain = printable(text).replace("|", "\\|")
    fence = "`" * (max((len(run) for run in plain.split() if set(run) == {"`"}), default=0) + 1)
    return f"{fence}{plain}{fence}" if "`" not in plain else f"<code>{_cell(text)}</code>"
