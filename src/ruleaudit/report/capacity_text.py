"""`capacity` as text: how full, what fills it, what that means, what to set."""

from collections.abc import Iterator, Mapping, Sequence
from shlex import quote

from ruleaudit.capacity import Advice, Capacity
from ruleaudit.model.conntrack import Conntrack
from ruleaudit.model.lines import in_words
from ruleaudit.report.relief import percent
from ruleaudit.report.style import PLAIN, Style
from ruleaudit.report.wording import count, flow_words, printable, wrapped
from ruleaudit.results.table import ServiceUse

#: finds a line about a full table in every form: of ip_conntrack, nf_conntrack, and with the network namespace
LOG = "dmesg | grep -E '(nf|ip)_conntrack: table full.*dropping packet'"
_FORMS = (
    "nf_conntrack: nf_conntrack: table full, dropping packet",
    "nf_conntrack: nf_conntrack: table full in netns 4026532536, dropping packet",
    "nf_conntrack: table full, dropping packet",
    "ip_conntrack: table full, dropping packet.",
)
KEEP = (
    "Set with sysctl -w; memory is taken as the table fills. To keep it: a file in /etc/sysctl.d/, and nf_conntrack in"
    " /etc/modules-load.d/, without which the settings do not exist yet when they are read."
)
_SHOWN = 6
_NO_RULES = "Rules: ruleaudit suggest FILE says what can leave connection tracking; more room only puts the end off."


def render(answer: Capacity, *, formulas: bool = False, style: Style = PLAIN) -> str:
    """The whole answer; `formulas`: how each number comes about (-v)."""
    table = answer.table
    if table is not None and table.count is None:
        sections = iter([_no_table(style)])
    else:
        sections = iter(
            [
                _table(answer, style),
                _meaning(answer, style),
                _advice(answer, style),
                _formulas(answer, style) if formulas else iter(()),
            ]
        )
    return "\n".join("".join(line + "\n" for line in lines) for lines in map(list, sections) if lines)


def summary(answer: Capacity) -> str:
    """Lines for standard error: what could not be read."""
    table, use = answer.table, answer.use
    lines = [f"note: {printable(path)}: not read: {printable(why)}" for path, why in (table.unread if table else ())]
    if use is not None and use.unread:
        number = len(use.unread) + use.table.more
        lines.append(f"note: {printable(use.path) or 'the table'}: {count(number, 'line')} not understood")
    return "".join(f"{line}\n" for line in lines)


def _no_table(style: Style) -> Iterator[str]:
    yield style.good("NOTHING IS TRACKED:") + " the kernel has no connection table here: nf_conntrack is not loaded."
    yield wrapped(
        "A container may hide it: /proc/sys/net/netfilter/nf_conntrack_count is missing; ask on the machine.", "  "
    )


# -- how full, and of what -----------------------------------------------------------------------------


def _table(answer: Capacity, style: Style) -> Iterator[str]:
    if answer.table is not None:
        yield _headline(answer, answer.table, style)
    use = answer.use
    if use is not None:
        what = f"state ({use.entries:,} sampled)" if answer.count > use.entries else f"state ({use.entries:,} entries)"
        yield f"  {what:<25}" + "   ".join(f"{name} {percent(n, use.entries)}" for name, n in _most(use.by_state))
        shown = [one for one in use.services[:_SHOWN] if one.entries * 100 >= use.entries]
        parts = [f"{_service(one)} {percent(one.entries, use.entries)}" for one in shown]
        if use.services[len(shown) :]:
            rest = use.entries - sum(one.entries for one in shown)
            others = count(len(use.services) - len(shown), "other" if shown else "service")
            parts.append(f"{others} {percent(rest, use.entries)}")
        yield wrapped("   ".join(parts), "  by service               ")
    if answer.growth:
        words = f"  now                      {answer.growth:+,.0f} entries/s"
        left = answer.seconds_left
        yield words + (
            style.warning(f": full in {_time(left)} at the earliest") if left is not None and left < 86_400 else ""
        )
    if answer.dropping:
        yield f"  now                      {answer.dropping:,.0f} packets/s dropped"


def _headline(answer: Capacity, table: Conntrack, style: Style) -> str:
    if not answer.limit:
        return f"TABLE {answer.count:,} entries, without a limit"
    text = f"TABLE {answer.count:,} of {answer.limit:,}"
    if answer.full:
        word = style.bad("FULL")
    else:
        word = percent(answer.count, answer.limit)
        word = style.warning(word) if answer.share >= 0.8 else word
    if table.now is None or not table.now.counters:
        return f"{text}   {word}"
    since = "boot" if table.initial else "this namespace was made"
    return f"{text}   {word}   drops since {since} {answer.counter('drop'):,} (conntrack -S: drop)"


def _most(states: Mapping[str, int]) -> list[tuple[str, int]]:
    """States, most entries first; what is below one of a hundred is put together."""
    named = sorted(((name or "no state", n) for name, n in states.items()), key=lambda part: -part[1])
    whole = sum(n for _, n in named)
    few = [n for _, n in named if n * 100 < whole]
    return [part for part in named if part[1] * 100 >= whole] + ([("other", sum(few))] if few else [])


def _service(one: ServiceUse) -> str:
    """`:443 in`, `-> :8080 out`, `forwarded :53/udp`."""
    port = "" if one.port is None else f":{one.port}"
    name = port if one.protocol == "tcp" and port else f"{port}/{one.protocol}" if port else one.protocol
    if one.protocol in ("icmp", "icmpv6"):
        name = one.protocol
    words = {"in": f"{name} in", "out": f"-> {name} out", "forward": f"forwarded {name}", "local": f"{name} local"}
    return words.get(one.direction, name)


def _time(seconds: float) -> str:
    """`45 s`, `12 min`, `5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


# -- what that means -----------------------------------------------------------------------------------


def _meaning(answer: Capacity, style: Style) -> Iterator[str]:
    lines = list(_lasting(answer)) + list(_drops(answer)) + list(_logged(answer)) + list(_peculiar(answer))
    if lines:
        yield style.bold("WHAT THAT MEANS")
        yield from lines


def _lasting(answer: Capacity) -> Iterator[str]:
    if answer.limit and answer.time_wait:
        each, entries = answer.per_connection, "1 entry" if answer.per_connection == 1 else ""
        costs = entries or f"{each:g} entries (it comes in, and opens others)"
        rate = answer.per_second
        then = ""
        if answer.full:
            then = " You are past that."
        elif rate is not None and rate >= 1:
            then = f" Now about {rate:,.0f} end in a second."
        text = (
            f"A connection costs {costs} for {answer.time_wait} s after its end, so {answer.limit:,} entries last for"
            f" {answer.lasts(answer.time_wait):,} connections/s.{then}"
        )
        yield wrapped(text, "  ")
    if answer.freed is not None:
        whole = answer.count or (answer.use.entries if answer.use else 0)
        left = whole - answer.freed.entries
        flows = list(dict.fromkeys(map(flow_words, answer.freed.flows)))
        if left == whole:
            yield wrapped("No rewrite of these rules frees any of it; why:", "  ")
        else:
            what = f"NOTRACK of {in_words(flows)}" if flows else "Rules without state tests, which nothing here needs,"
            yield wrapped(f"{what} would leave about {left:,} entries ({percent(left, whole)}):", "  ")
        table = quote(answer.use.path) if answer.use else ""
        for suggestion in answer.freed.suggestions:
            yield f"    ruleaudit suggest {quote(suggestion.source.path)} --conntrack {table}"


def _drops(answer: Capacity) -> Iterator[str]:
    """Which counter means what; only those that are not 0."""
    if answer.no_room:
        dropped = answer.counter("drop")
        some = f"{answer.no_room:,} or more of them" if answer.no_room < dropped else "packets"
        yield wrapped(f"drop {dropped:,}: {some} for which the full table had no entry left.", "  ")
    early, failed = answer.counter("early_drop"), answer.counter("insert_failed")
    if early:
        yield wrapped(f"early_drop {early:,}: entries that were not ASSURED, thrown out to make room for others.", "  ")
    long = answer.counter("chaintoolong")
    if long:
        yield wrapped(f"chaintoolong {long:,}: packets dropped because too many entries hang in one bucket.", "  ")
    if failed - long > 0:
        what = "packets whose entry was there already, as two DNS questions from one port, or after source NAT"
        yield wrapped(f"insert_failed {failed - long:,}: {what}; a larger table does not help.", "  ")


def _logged(answer: Capacity) -> Iterator[str]:
    table = answer.table
    if table is None or not answer.limit:
        return
    named = [(line, line.partition(" in netns ")[2].partition(",")[0]) for line in table.log]
    others = sorted({number for _, number in named if number and number != str(table.netns)})
    mine = [line for line, number in named if (number == str(table.netns) if number else table.initial)]
    if mine:
        yield wrapped(f"The kernel's log still has {count(len(mine), 'line')} about it; the last one:", "  ")
        yield f"    {printable(mine[-1])}"
    elif answer.full or answer.no_room:
        yield wrapped("The kernel's log, limited to a few lines, has lost it or cannot be read. It is found by:", "  ")
        yield f"    {LOG}"
    if others:
        where = ", ".join(others[:5])
        yield wrapped(
            f"The tables of other network namespaces of this machine were full: {where} (lsns -t net says whose).", "  "
        )


def _peculiar(answer: Capacity) -> Iterator[str]:
    if answer.part("SYN_SENT") + answer.part("SYN_RECV") >= 0.2:
        yield wrapped(
            "Many openings that nobody completes: a flood, or a peer that is down. No size is enough for a flood;"
            " see SYNPROXY, and rate limits.",
            "  ",
        )
    sockets = answer.table.sockets if answer.table else None
    if sockets is not None and answer.use is not None and answer.use.entries:
        mine = [one for one in answer.use.services if one.direction in ("in", "out")]
        open_ = sum(one.by_state.get("ESTABLISHED", 0) for one in mine)
        entries = round(open_ * max(answer.count, answer.use.entries) / answer.use.entries)
        if entries > 1000 and entries > 2 * sockets:
            yield wrapped(
                f"{entries:,} entries of this host's own connections are ESTABLISHED, and it has"
                f" {count(sockets, 'TCP socket')}: the others are connections whose end was never seen.",
                "  ",
            )


# -- what to set ---------------------------------------------------------------------------------------


def _advice(answer: Capacity, style: Style) -> Iterator[str]:
    table = answer.table
    if table is None or not answer.limit:
        return
    if not any(advice.setting.endswith("_max") for advice in answer.advice):
        yield style.good("ENOUGH ROOM") + " for twice as many connections as now."
    elif answer.advice:
        yield style.bold("IF YOU CANNOT CHANGE RULES TONIGHT")
    yield from _settings(answer.advice, style)
    timeouts = [advice.setting for advice in answer.advice if "_timeout_" in advice.setting]
    if timeouts and not any(setting.endswith("_established") for setting in timeouts):
        yield wrapped(
            "Shortening tcp_timeout_established below your longest idle WebSocket or SSH session cuts it.", "  "
        )
    if any(a.setting.endswith(("_max", "_buckets", "hashsize")) for a in answer.advice) and not table.initial:
        yield wrapped(
            "max and buckets are read-only here: they belong to the machine, and hold for each of its network"
            " namespaces. Set them outside.",
            "  ",
        )
    if answer.advice:
        yield wrapped(KEEP, "  ")
    if answer.freed is None and answer.share >= 0.5:
        yield wrapped(_NO_RULES, "  ")


def _settings(advice: Sequence[Advice], style: Style) -> Iterator[str]:
    """A size and the buckets that go with it in one line, everything else with its reason beneath."""
    rest = list(advice)
    while rest:
        one = rest.pop(0)
        with_it = [rest.pop(0)] if one.setting.endswith("_max") and rest and _of_buckets(rest[0]) else []
        named = [f"{a.setting.removeprefix('net.netfilter.')}={a.value}" for a in (one, *with_it)]
        memory = sum(a.memory_bytes for a in (one, *with_it)) / 2**20
        ratio = " (1:1)" if with_it and with_it[0].value == one.value else ""
        words = [style.bold(named[0]), *([f"{memory:+,.0f} MiB"] if memory >= 1 else []), *map(style.bold, named[1:])]
        code = f" ({one.code})" if one.code else ""
        if one.setting.endswith("_max"):
            yield f"  {one.reason:<42} {'   '.join(words)}{ratio}"
        else:
            yield f"  {'   '.join(words)}"
            yield wrapped(f"{one.reason}{code}", "      ")


def _of_buckets(advice: Advice) -> bool:
    return advice.setting.endswith(("_buckets", "hashsize"))


def _formulas(answer: Capacity, style: Style) -> Iterator[str]:
    if answer.table is None or not answer.limit:
        return
    yield style.bold("FORMULAS")
    yield from _of_entries(answer)
    for advice in answer.advice:
        if advice.formula:
            yield f"  {advice.setting.rpartition('.')[2]}: {advice.formula}"
    yield "  log lines of a full table:"
    yield from (f"    {form}" for form in _FORMS)
    yield f"    {LOG}"


def _of_entries(answer: Capacity) -> Iterator[str]:
    table, size = answer.table, answer.entry_bytes or 0
    assert table is not None
    slab = "slabinfo" if table.object_bytes else "as kernels of this version have it"
    yield f"  entry: {size} bytes (nf_conntrack object: {slab}; 128 more with acct, timestamp or events=1)"
    yield f"  memory: {answer.limit:,} x {size} + {table.buckets or 0:,} buckets x 8 bytes = {_full(answer):,.0f} MiB"
    yield (
        f"  lasts: {answer.limit:,} entries / ({answer.per_connection:g} x {answer.time_wait} s)"
        f" = {answer.lasts(answer.time_wait):,} connections/s"
    )
    yield (
        f"  wanted: {answer.wanted:,} = {answer.count:,} entries + ({max(0.0, answer.growth):,.0f} more/s"
        f" + {answer.dropping:,.0f} dropped/s) x {answer.kept} s"
    )


def _full(answer: Capacity) -> float:
    """MiB of the table when it is full."""
    buckets = (answer.table.buckets if answer.table else None) or 0
    return (answer.limit * (answer.entry_bytes or 0) + buckets * 8) / 2**20
