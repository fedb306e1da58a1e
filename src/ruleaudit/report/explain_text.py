"""`explain` as text: who needs connection tracking, and why."""

from collections.abc import Iterator

from ruleaudit.report.style import PLAIN, Style
from ruleaudit.report.wording import count, lines, printable, shortened, wrapped
from ruleaudit.results import Judgement, RuleClass, Tracking

_RULE_WIDTH = 86


def render(tracking: Tracking, *, notes: bool = False, style: Style = PLAIN) -> str:
    """The answer, then every rule that mentions conntrack; `notes` adds every witness instead of the first."""
    return "".join(line + "\n" for line in _lines(tracking, notes, style))


def answer(tracking: Tracking) -> str:
    """The first line: nothing needs tracking, only some rules do, or all of them do."""
    every, needing = tracking.judgements, tracking.required
    if not every:
        return "Nothing here needs connection tracking: no rule mentions it."
    mentioning = f"{count(len(every), 'rule')} that mention it ({lines(j.rule for j in every)})"
    if len(every) == 1:
        mentioning = f"only rule that mentions it ({lines([every[0].rule])})"
    if not needing:
        return f"Nothing here needs connection tracking, not even the {mentioning}."
    if len(needing) == len(every):
        return f"Connection tracking is needed by the {mentioning}."
    who = "rule" if len(needing) == 1 else "rules"
    verb = "needs" if len(needing) == 1 else "need"
    where = lines(j.rule for j in needing)
    return f"Only {len(needing):,} {who} {verb} connection tracking ({where}), of the {mentioning}."


def _lines(tracking: Tracking, notes: bool, style: Style) -> Iterator[str]:
    yield style.bold(answer(tracking))
    if not tracking.judgements:
        return
    yield ""
    yield style.bold("WHO NEEDS CONNECTION TRACKING")
    yield f"  {'line':>5}  {'class':<11}  rule"
    yield from _rows(tracking, notes, style)


def _rows(tracking: Tracking, notes: bool, style: Style) -> Iterator[str]:
    path = ""
    for judgement in tracking.judgements:
        if judgement.rule.path != path:
            path = judgement.rule.path
            yield f"  in {printable(path)}"
        yield from _judgement(judgement, notes, style)


def _judgement(judgement: Judgement, notes: bool, style: Style) -> Iterator[str]:
    rule, kind = judgement.rule, judgement.kind
    paint = {
        RuleClass.REQUIRED: style.warning,
        RuleClass.REPLACEABLE: style.good,
        RuleClass.REDUNDANT: style.good,
        RuleClass.DEAD: style.faint,
    }[kind]
    text = rule.text.removeprefix("-A ")
    if " " in rule.table:  # nft: the family and the name
        text = f"{rule.table} {rule.chain}: {text}"
    elif rule.table != "filter":
        text = f"-t {rule.table} {text}"
    yield f"  {rule.line:>5}  {paint(f'{kind.value:<11}')}  {shortened(text, _RULE_WIDTH)}"
    yield from reasons(judgement, " " * 22, notes)


def reasons(judgement: Judgement, indent: str, notes: bool) -> Iterator[str]:
    """Why a rule is in its class, and a connection that shows it."""
    yield wrapped(judgement.reason, indent, indent)
    if judgement.same_work:
        others = lines(judgement.same_work)
        yield wrapped(f"does the same work as {others}: keep one of them", indent, indent)
    for witness in judgement.connections if notes else judgement.connections[:1]:
        yield wrapped(f"e.g. {witness.packet} ({witness.description})", indent, indent + "     ")
