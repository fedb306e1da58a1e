"""`check` as one HTML page: for each file the verdict, the packet path, the ruleset with its findings in place, the
traffic, and the rewrite beside it. WHATWG HTML; see `html_page`.
"""

from collections import Counter
from collections.abc import Sequence

from markupsafe import Markup

from ruleaudit.diagnostics import Severity
from ruleaudit.report import check_summary, html_answer, html_ruleset, packet_path
from ruleaudit.report.check_full import is_shown
from ruleaudit.report.html_page import Section, failed, fill, page
from ruleaudit.report.wording import count
from ruleaudit.results import FileReport
from ruleaudit.results.suggestion import Suggestion

#: how many findings are named at the top
_MOST = 40


def render(
    reports: Sequence[FileReport],
    answers: Sequence[Suggestion | str],
    unread: Sequence[tuple[str, str]] = (),
    *,
    notes: bool = False,
) -> str:
    """The page; `answers` are the suggestions, or why there is none; `unread` holds (path, message) of others."""
    sections = [
        _section(report, suggested, f"file-{number}", notes)
        for number, (report, suggested) in enumerate(zip(reports, answers, strict=True), 1)
    ]
    return page("check", [*(failed(path, message) for path, message in unread), *sections])


def _section(report: FileReport, answer: Suggestion | str, name: str, notes: bool) -> Section:
    suggestion = None if isinstance(answer, str) else answer
    by = Counter(f.severity for f in report.findings)
    errors, warnings = by[Severity.ERROR], by[Severity.WARNING]
    found = [count(errors, "error")] * bool(errors) + [count(warnings, "warning")] * bool(warnings)
    tone = "bad" if errors else "warning" if warnings else "good"
    word = ", ".join(found) or "No errors, no warnings"
    body = fill(
        "check.html",
        said=check_summary.render([report], notes=True).splitlines(),
        found=_jumps(report, name)[:_MOST],
        left=max(0, len(_jumps(report, name)) - _MOST),
        picture=_picture(report, suggestion, name),
        ruleset=html_ruleset.render(report, suggestion, name, notes),
        traffic=html_answer.traffic(suggestion) if suggestion else "",
        needing=html_answer.needing(report.tracking) if report.tracking else "",
        answer=html_answer.headline(suggestion) if suggestion else None,
        change=html_answer.change(suggestion) if suggestion else html_answer.nothing(f"None was looked for: {answer}"),
    )
    said = html_answer.headline(suggestion)[1] if suggestion else "no rewrite was looked for."
    return Section(report.source.path, tone, f"{word}:", said, body)


def _jumps(report: FileReport, name: str) -> list[tuple[str, str, str, str]]:
    """The findings that are shown, the worst first: tone, code, line and the id of that."""
    found = []
    for finding in sorted(filter(is_shown, report.findings), key=lambda f: list(Severity).index(f.severity)):
        place = report.source.position(finding.span.start)
        id = html_ruleset.line_id(name, report.source, finding.span.start)
        found.append((html_ruleset.TONES[finding.severity], finding.code, f"line {place.line}", id))
    return found


def _picture(report: FileReport, suggestion: Suggestion | None, name: str) -> Markup | str:
    if suggestion is not None:
        return html_answer.picture(suggestion, name)
    if report.ruleset is None or report.tracking is None:
        return ""
    return html_answer.present((packet_path.present(report.ruleset, report.tracking),), name)
