"""What fills a connection table and what of it would be freed, in words."""

from collections.abc import Iterator

from ruleaudit.report.style import Style
from ruleaudit.report.wording import WIDTH, count, printable, shortened, wrapped
from ruleaudit.results.table import Relief, ServiceUse, TableUse

#: so many services are shown; JSON has all of them
_SHOWN = 12
#: so many addresses
_ADDRESSES = 8


def freed_words(relief: Relief) -> str:
    """`would free 251,340 of 262,144 entries (96 %)`."""
    return f"would free {relief.freed:,} of {entries(relief.use.entries)} ({percent(relief.freed, relief.use.entries)})"


def entries(number: int) -> str:
    """`1 entry`, `262,144 entries`."""
    return "1 entry" if number == 1 else f"{number:,} entries"


def percent(part: int, whole: int) -> str:
    """`96 %`; `<1 %` for what is not nothing, `>99 %` for what is not all."""
    if not part:
        return "0 %"
    if part == whole:
        return "100 %"
    return "<1 %" if part * 100 < whole else ">99 %" if part * 100 > 99 * whole else f"{part * 100 / whole:.0f} %"


def read_words(use: TableUse) -> str:
    """What was read of a table, and what not."""
    said = f"{printable(use.path)}: {entries(use.entries)} read"
    lines = len(use.unread) + use.table.more
    if lines:
        number, text = use.unread[0]
        said += f"; {count(lines, 'line')} {'is' if lines == 1 else 'are'} none, line {number}: {shortened(text, 60)}"
    if use.table.announced not in (None, use.entries):
        said += f"; its last line says {use.table.announced:,}"
    return said


def service_words(use: ServiceUse) -> str:
    """`tcp/443`, `to tcp/8080`, `forwarded icmp`."""
    name = use.protocol if use.protocol[0].isalpha() else f"protocol {use.protocol}"
    text = name if use.port is None else f"{name}/{use.port}"
    return {"in": text, "out": f"to {text}", "forward": f"forwarded {text}", "local": f"{text} on lo"}.get(
        use.direction, f"{text} (in or out)"
    )


def section(relief: Relief, style: Style) -> Iterator[str]:
    """The section WHAT FILLS THE TABLE."""
    use = relief.use
    if not use.entries:
        return
    yield style.bold("WHAT FILLS THE TABLE") + f"  ({printable(use.path)}: {entries(use.entries)})"
    shown = relief.services[:_SHOWN]
    names = [service_words(one) for one, _, _ in shown]
    width = max(map(len, names), default=0)
    for name, (one, rule, freed) in zip(names, shown, strict=True):
        fate = "freed" if freed == one.entries else f"{freed:,} freed" if freed else "stays"
        where = f"{rule.where}: {rule.text}" if rule else ""
        row = f"  {one.entries:>11,} {percent(one.entries, use.entries):>6}  {name:<{width}}  {fate:<6}  "
        yield (row + shortened(where, max(WIDTH - len(row), 24))).rstrip()
    rest = relief.services[_SHOWN:]
    if rest:
        yield f"  {sum(one.entries for one, _, _ in rest):>11,} {'':>6}  {count(len(rest), 'other service')}"
    yield from _known(relief)


def _known(relief: Relief) -> Iterator[str]:
    """Whose addresses are this host's, and what could not be told."""
    table = relief.use.table
    some = ", ".join(map(str, table.own[:_ADDRESSES]))
    more = f" and {len(table.own) - _ADDRESSES} more" if len(table.own) > _ADDRESSES else ""
    if table.own:
        yield wrapped(f"taken for this host's addresses, from the table: {some}{more}", "  ")
    else:
        yield "  The table does not show which addresses are this host's."
    if relief.unclear:
        said = "perhaps freed too; the table does not tell by which interface they come, or whether they come or go"
        yield wrapped(f"{entries(relief.unclear)}: {said}", "  ")
    if relief.refused:
        said = "these rules would not have let them be; they came before the rules, or the table is another host's"
        yield wrapped(f"{entries(relief.refused)}: {said}", "  ")
    if relief.unasked:
        yield wrapped(f"{entries(relief.unasked)}: of no address family or protocol that these rules are about", "  ")
