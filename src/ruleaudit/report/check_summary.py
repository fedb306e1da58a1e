"""The lines that `check` writes to standard error: what was read, what was found, and who depends on conntrack."""

from collections import Counter
from collections.abc import Iterator, Sequence

from ruleaudit.diagnostics import Severity
from ruleaudit.report.check_full import is_shown
from ruleaudit.report.wording import count, lines, printable
from ruleaudit.results import FileReport, Judgement, RuleClass


def render(reports: Sequence[FileReport], *, notes: bool = False) -> str:
    """The summary of each file, one or two lines."""
    return "".join(line + "\n" for report in reports for line in _one(report, notes))


def _one(report: FileReport, notes: bool) -> Iterator[str]:
    path = printable(report.source.path)
    by = Counter(f.severity for f in report.findings)
    hidden = 0 if notes else sum(not is_shown(f) for f in report.findings)
    found = [count(by[Severity.ERROR], "error"), count(by[Severity.WARNING], "warning")]
    if by[Severity.NOTE]:
        found.append(count(by[Severity.NOTE], "note") + (f" ({hidden} shown with -v)" if hidden else ""))
    if report.suppressed:
        found.append(f"{len(report.suppressed):,} ignored")
    if report.baselined:
        found.append(f"{report.baselined:,} baselined")
    yield f"{path}: {_read(report)}. {', '.join(found)}."
    if report.expected:
        held = report.expected - report.unmet
        yield f"{held:,} of {count(report.expected, 'expectation')} {'holds' if held == 1 else 'hold'}."
    if report.unchecked:
        yield f"{count(report.unchecked, 'expectation')} not checked: the file holds errors, or RA501 is not selected."
    if report.tracking is not None and report.tracking.judgements:
        yield _tracking(report.tracking.judgements) + f" Why: ruleaudit explain {path}"


def _read(report: FileReport) -> str:
    if report.ruleset is None:
        return "not read"
    read = f"{count(report.rules, 'rule')} read"
    if report.exact == report.rules:
        return f"{read}, all understood"
    part = f"{read}, {report.exact:,} understood exactly"
    if report.opaque:
        part += f"; {lines(report.opaque)} may or may not match"
    return part


def _tracking(judgements: Sequence[Judgement]) -> str:
    needing = [j.rule for j in judgements if j.kind is RuleClass.REQUIRED]
    every = lines(j.rule for j in judgements)
    if not needing:
        return f"No rule really depends on connection tracking; {count(len(judgements), 'rule')} mention it ({every})."
    verb = "depends" if len(needing) == 1 else "depend"
    return (
        f"{count(len(needing), 'rule')} really {verb} on connection tracking ({lines(needing)}),"
        f" of {len(judgements):,} that mention it ({every})."
    )
