"""`explain FILE:LINE` as text: who reaches a rule, what it does with them, and what it needs of connection tracking."""

from collections.abc import Iterator, Sequence

from ruleaudit.model.ruleset import EffectKind
from ruleaudit.report.explain_text import reasons
from ruleaudit.report.style import PLAIN, Style
from ruleaudit.report.wording import lines, printable, wrapped
from ruleaudit.results.reach import Reach, Visitors


def render(found: Sequence[Reach], *, notes: bool = False, style: Style = PLAIN) -> str:
    """A block for each rule, in each address family; `notes` adds every witness of its class."""
    families = len({one.ruleset.family for one in found}) > 1
    return "\n".join("".join(line + "\n" for line in _one(one, families, notes, style)) for one in found)


def _one(found: Reach, families: bool, notes: bool, style: Style) -> Iterator[str]:
    rule = found.rule
    place = found.ruleset.source.position(rule.span.start)
    family = {"ip": ", IPv4", "ip6": ", IPv6"}[found.ruleset.family.value] if families else ""
    called = f", called by {lines(found.callers)}" if found.callers else ""
    where = f"table {rule.table}, chain {rule.chain}{called}{family}"
    yield style.bold(f"{printable(place.path)}:{place.line}") + f"  {where}"
    yield f"  {printable(rule.text)}"
    yield ""
    matched = [v for v in found.visitors if v.matched]
    others = [v for v in found.visitors if not v.matched]
    yield style.bold("WHAT IT DOES") + f"  {found.action}"
    if found.barred:
        yield wrapped(style.warning("nothing") + f", no packet matches it: {found.barred}", "  ")
    if found.open:
        yield wrapped(f"whether it matches depends on {', '.join(found.open)}", "  ")
    yield from _visitors(matched)
    if others:
        yield style.bold("WHO COMES BY AND GOES ON")
        yield from _visitors(others)
    yield style.bold("CONNECTION TRACKING")
    if found.judgement is None:
        leaves = any(e.kind is EffectKind.NOTRACK for e in rule.effects)
        yield "  it leaves what it matches untracked" if leaves else "  it asks for nothing that conntrack knows"
        return
    yield f"  {found.judgement.kind.value}"
    yield from reasons(found.judgement, "    ", notes)


def _visitors(visitors: Sequence[Visitors]) -> Iterator[str]:
    for one in visitors:
        yield f"  {one.path:<7}  {one.state:<11}  {one.words}"
        yield f"  {'':<7}  {'':<11}  e.g. {one.witness.packet}"
