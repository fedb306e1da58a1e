"""`explain --packet` as text: the chains and rules that a packet meets, in every state that it can have."""

from collections.abc import Iterator, Sequence

from ruleaudit.model.ruleset import Chain, Rule
from ruleaudit.report.style import PLAIN, Style
from ruleaudit.report.wording import printable, shortened, wrapped
from ruleaudit.results.packet import Exchange, Followed

_TEXT = 72
_FATES = {"accept": "ACCEPTED", "drop": "DROPPED", "reject": "REJECTED", "queue": "QUEUED", "undecided": "UNDECIDED"}


def render(packets: Sequence[Followed], *, style: Style = PLAIN) -> str:
    """A block for each packet and state."""
    return "\n".join("".join(line + "\n" for line in _packet(p, style)) for p in packets)


def connections(exchanges: Sequence[Exchange], *, notes: bool = False, style: Style = PLAIN) -> str:
    """A block for each connection: whether it works, then its packets; `notes` adds the way of each."""
    return "\n".join("".join(line + "\n" for line in _connection(one, notes, style)) for one in exchanges)


_ANSWERS = {True: "WORKS", False: "DOES NOT WORK", None: "UNDECIDED"}


def _connection(found: Exchange, notes: bool, style: Style) -> Iterator[str]:
    paint = style.good if found.works else style.warning
    yield f"{paint(_ANSWERS[found.works])}: {found.reason}"
    for remark in found.remarks:
        yield wrapped(remark, "  but ")
    yield ""
    for packet in found.packets:
        if notes:
            yield f"{style.bold(packet.role)}:"
            yield from _packet(packet, style)
            continue
        yield f"  {packet.role:<11}  {packet.packet}"
        yield f"  {'':<11}  {_fate(packet, style)}"
        if packet.open:
            yield f"  {'':<11}  it depends on {', '.join(packet.open)}"
    if not notes:
        yield ""
        yield style.faint("Rule by rule: -v")


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
    yield f"  {_fate(found, style)}"
    if found.open:
        yield f"  it depends on {', '.join(found.open)}"


def _fate(found: Followed, style: Style) -> str:
    fate = _FATES[found.verdict] + (f" ({found.detail})" if found.detail else "")
    paint = style.good if found.verdict == "accept" else style.warning
    tracked = "tracked" if found.tracked else "not tracked"
    return f"{paint(fate)}{_by(found.decided_by)}; {tracked}"


def _by(by: Rule | Chain | None) -> str:
    match by:
        case Rule():
            return f" by {by.where}"
        case Chain():
            return f" by the policy of {by.name}"
        case None:
            return ""
