"""What was read of HAProxy's configuration, as text."""

from collections.abc import Iterable, Iterator, Sequence

from ruleaudit.model.condition import interval_text
from ruleaudit.model.proxy import Listener, Proxy, Remark, Target, intervals
from ruleaudit.report.style import Style
from ruleaudit.report.wording import count, printable, wrapped

#: remarks of one kind that are printed
_MOST = 8
#: ports and ranges of them, of one protocol
_MOST_PORTS = 12
_HEADS = {
    "refused": "HAProxy refuses",
    "unknown": "not understood",
    "conflict": "in the way",
    "note": "note",
}


def section(proxy: Proxy, style: Style) -> Iterator[str]:
    """The section HAPROXY: sockets and servers by port, then what is to be said about lines."""
    yield style.bold("HAPROXY") + f"  ({', '.join(map(printable, proxy.paths))})"
    yield wrapped(_ends(proxy.listeners, "socket"), "  listens       ")
    yield wrapped(_ends(proxy.targets, "target"), "  connects to   ")
    for kind, head in _HEADS.items():
        mine = [remark for remark in proxy.remarks if remark.kind == kind]
        for remark in mine[:_MOST]:
            yield wrapped(remark.text, f"  {head:<16}", " " * 18)
        if len(mine) > _MOST:
            yield f"  {head:<16}{len(mine) - _MOST:,} more"


def summary(proxy: Proxy) -> str:
    """A line for standard error."""
    paths = ", ".join(map(printable, proxy.paths))
    read = f"{count(len(proxy.listeners), 'socket')}, {count(len(proxy.targets), 'target')} of connections"
    wrong = [remark for remark in proxy.remarks if remark.kind in ("refused", "unknown")]
    return f"{paths}: {read}{_not_read(wrong, several=len(proxy.paths) > 1)}.\n"


def _not_read(wrong: Sequence[Remark], several: bool) -> str:
    places = dict.fromkeys((remark.place.path, remark.place.line) for remark in wrong)
    if not places:
        return ", all understood"
    shown = [f"{printable(path)}:{line}" if several else str(line) for path, line in places]
    words = ", ".join(shown[:_MOST]) + (", ..." if len(shown) > _MOST else "")
    return f"; {'line' if len(shown) == 1 else 'lines'} {words} not understood"


def _ends(ends: Iterable[Listener | Target], noun: str) -> str:
    """`3 sockets: tcp/80,8000-8001`."""
    every = list(ends)
    ports: dict[str, set[int]] = {}
    for one in every:
        if one.port is not None:
            ports.setdefault(one.protocol, set()).add(one.port)
    words = (f"{protocol}/{_numbers(numbers)}" for protocol, numbers in ports.items())
    return count(len(every), noun) + (f": {', '.join(words)}" if ports else "")


def _numbers(ports: Iterable[int]) -> str:
    found = [interval_text(one) for one in intervals(ports)]
    more = f" and {len(found) - _MOST_PORTS} more" if len(found) > _MOST_PORTS else ""
    return ",".join(found[:_MOST_PORTS]) + more
