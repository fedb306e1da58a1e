"""The lines that `check` writes to standard error: what was read, what was found, and who depends on conntrack."""

from collections import Counter
from collections.abc import Iterator, Sequence

from ruleaudit.diagnostics import Severity
from ruleaudit.report.check_full import is_shown
from ruleaudit.report.wording import count, lines, printable
from ruleaudit.results import FileReport, Judgement, RuleClass

#: so many files have lines of their own; of more, only the total is told
NAMED = 10


def render(reports: Sequence[FileReport], *, notes: bool = False) -> str:
    """The summary of each file, one or two lines, and of all of them; of many files the latter alone."""
    lines = [line for report in reports for line in _one(report, notes)] if len(reports) <= NAMED or notes else []
    if len(reports) > 1:
        lines.append(_all(reports, notes))
    fixable = sum(finding.fixable for report in reports for finding in report.findings)
    if fixable:
        lines.append(f"{fixable:,} fixable with --fix.")
    return "".join(line + "\n" for line in lines)


def _one(report: FileReport, notes: bool) -> Iterator[str]:
    path = printable(report.source.path)
    yield f"{path}: {_read(report)}. {_found([report], notes)}."
    if report.expected:
        held = report.expected - report.unmet
        yield f"{held:,} of {count(report.expected, 'expectation')} {'holds' if held == 1 else 'hold'}."
    if report.unchecked:
        yield f"{count(report.unchecked, 'expectation')} not checked: the file holds errors, or RA501 is not selected."
    if report.tracking is not None and report.tracking.judgements:
        yield _tracking(report.tracking.judgements) + f" Why: ruleaudit explain {path}"


def _all(reports: Sequence[FileReport], notes: bool) -> str:
    rules, exact = sum(r.rules for r in reports), sum(r.exact for r in reports)
    read = f"{count(rules, 'rule')} read, " + ("all understood" if rules == exact else f"{exact:,} understood exactly")
    unread = sum(r.ruleset is None for r in reports)
    read += f"; {count(unread, 'file')} not read" if unread else ""
    return f"{count(len(reports), 'file')}: {read}. {_found(reports, notes)}."


def _found(reports: Sequence[FileReport], notes: bool) -> str:
    """`0 errors, 1 warning, 0 ignored, 0 baselined`: what was found, and what of it is not shown."""
    by = Counter(f.severity for report in reports for f in report.findings)
    found = [count(by[Severity.ERROR], "error"), count(by[Severity.WARNING], "warning")]
    if by[Severity.NOTE]:
        hidden = 0 if notes else sum(not is_shown(f) for report in reports for f in report.findings)
        found.append(count(by[Severity.NOTE], "note") + (f" ({hidden:,} shown with -v)" if hidden else ""))
    found.append(f"{sum(len(report.suppressed) for report in reports):,} ignored")
    found.append(f"{sum(report.baselined for report in reports):,} baselined")
    fixed = sum(report.fixed for report in reports)
    return ", ".join([*found, f"{fixed:,} fixed"] if fixed else found)


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
        who = "1 rule mentions it" if len(judgements) == 1 else f"{len(judgements):,} rules mention it"
        return f"No rule really depends on connection tracking; {who} ({every})."
    verb = "depends" if len(needing) == 1 else "depend"
    return (
        f"{count(len(needing), 'rule')} really {verb} on connection tracking ({lines(needing)}),"
        f" of {len(judgements):,} that mention it ({every})."
    )
