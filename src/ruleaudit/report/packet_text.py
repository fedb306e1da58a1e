"""`explain --packet` as text: the chains and rules that a packet meets, in every state that it can have."""

from collections.abc import Iterator, Sequence

from ruleaudit.model.ruleset import Chain, Rule
from ruleaudit.report.style import PLAIN, Style
from ruleaudit.report.wording import printable, shortened
from ruleaudit.results import Followed

_TEXT = 72
_FATES = {"accept": "ACCEPTED", "drop": "DROPPED", "reject": "REJECTED", "queue": "QUEUED", "undecided": "UNDECIDED"}


def render(packets: Sequence[Followed], *, style: Style = PLAIN) -> str:
    """A block for each packet and state."""
    return "\n".join("".join(line + "\n" for line in _packet(p, style)) for p in packets)


def _packet(found: Followed, style: Style) -> Iterator[str]:
    yield style.bold(found.packet)
    shown = None
    for step in found.path:
        where = (step.hook, step.rule.table, step.rule.path)
        if where != shown:
            file = f", {printable(step.rule.path)}" if step.rule.path else ""
            yield f"  {step.hook}, table {step.rule.table}{file}"
            shown = where
        match = {True: "yes", False: "no", None: "?"}[step.match]
        text = shortened(step.rule.text, _TEXT)
        does = f"  -> {step.action}" if step.match else ""
        line = f"    {step.rule.line:>5}  {match:<3}  {text}{does}"
        yield line if step.match is not False else style.faint(line)
    fate = _FATES[found.verdict] + (f" ({found.detail})" if found.detail else "")
    paint = style.good if found.verdict == "accept" else style.warning
    tracked = "tracked" if found.tracked else "not tracked"
    yield f"  {paint(fate)}{_by(found.decided_by)}; {tracked}"
    if found.open:
        yield f"  it depends on {', '.join(found.open)}"


def _by(by: Rule | Chain | None) -> str:
    match by:
        case Rule():
            return f" by {by.where}"
        case Chain():
            return f" by the policy of {by.name}"
        case None:
            return ""
