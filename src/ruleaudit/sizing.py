"""What to set of a connection table: sizes with what they take of memory, timeouts, and settings that do harm.

An entry is a slab object (256 bytes on kernels from 5.15 on), and 128 bytes more where counters, timestamps or events
hang on it. The kernel makes max as large as the number of buckets from 5.15 on, and four times as large before; an
entry hangs in two of them.
"""

from collections.abc import Iterator, Sequence
from math import ceil

from ruleaudit.capacity import Advice, Capacity, Freed
from ruleaudit.model.conntrack import Conntrack
from ruleaudit.results.suggestion import Suggestion
from ruleaudit.results.table import TableUse

#: five days
ESTABLISHED = 432_000
#: what is suggested instead of the timeouts, in seconds
_DAY, _SHORT_TIME_WAIT, _SHORT_UDP = 86_400, 30, 10
_EXTENSION, _BUCKET = 128, 8
#: room for peaks, over what is needed now
_PEAKS = 1.25
#: sizes are rounded up to a multiple of this: what the kernel allocates of buckets in one go is one of 512
_STEP = 4096
#: more entries in a bucket than any kernel plans for
_MOST_IN_BUCKET = 4
PREFIX = "net.netfilter.nf_conntrack_"
_HASHSIZE = "/sys/module/nf_conntrack/parameters/hashsize"


def capacity(table: Conntrack | None, use: TableUse | None = None, suggestions: Sequence[Suggestion] = ()) -> Capacity:
    """The answer of the command.

    `suggestions` are what can be done with the rules of the host, for each family, and what that frees of `use`.
    """
    use = use if use is not None and use.entries else None
    freed = _freed(table, use, suggestions) if use is not None and suggestions else None
    answer = Capacity(table, use, freed=freed)
    if table is None or not table.max or table.count is None:
        return answer
    size = entry_bytes(table)
    return Capacity(table, use, size, freed, tuple(_advice(answer, table, size)))


def _freed(table: Conntrack | None, use: TableUse, suggestions: Sequence[Suggestion]) -> Freed:
    """What all rewrites together free of the whole table, if the sample is like it."""
    reliefs = [one.relief for one in suggestions if one.relief is not None]
    share = sum(one.freed for one in reliefs) / (use.entries or 1)
    whole = use.entries if table is None or table.count is None else table.count
    return Freed(round(share * whole), share, tuple(suggestions))


def entry_bytes(table: Conntrack) -> int:
    """What an entry takes of memory, at most: without what NAT, labels and helpers hang on it."""
    known = table.object_bytes or (256 if table.version is None or table.version >= (5, 15) else 320)
    more = any(table.settings.get(name) == 1 for name in ("acct", "timestamp", "events"))
    return known + _EXTENSION if more else known


def _advice(answer: Capacity, table: Conntrack, size: int) -> Iterator[Advice]:
    """What to set, the most telling first."""
    sizes = list(_sizes(answer, table, size))
    yield from sizes
    if not sizes:
        yield from _buckets(table, table.max or 0)
    if sizes:
        yield from _timeouts(answer, table)
    if table.settings.get("tcp_loose") == 0:
        why = (
            "with 0, connections that have no entry (after NOTRACK is taken back, or the table was emptied)"
            " are INVALID and cut; set 1 before such a change"
        )
        yield Advice(f"{PREFIX}tcp_loose", 1, why, 0, code="RA403")


def _sizes(answer: Capacity, table: Conntrack, size: int) -> Iterator[Advice]:
    """Sizes for as many connections as now, and for twice as many, where the table has no room for them."""
    limit, wanted = table.max or 0, answer.wanted
    for times, words in ((1, "as many connections as now"), (2, "twice as many connections")):
        value = ceil(times * wanted * _PEAKS / _STEP) * _STEP
        if value <= limit:
            continue
        formula = (
            f"{value:,} = {times} x {wanted:,} entries x {_PEAKS} for peaks, rounded up to a multiple of {_STEP:,}"
        )
        rate = answer.per_second or 0
        if rate >= 10:
            words = f"{times * rate:,.0f} connections/s, {'as now' if times == 1 else 'twice as many'}"
        reason = f"for {words}"
        if times == 1 and answer.full:
            reason += " at least"
        yield Advice(f"{PREFIX}max", value, reason, (value - limit) * size, formula)
        yield from _buckets(table, value)


def _buckets(table: Conntrack, limit: int) -> Iterator[Advice]:
    """Buckets for a limit: for a new one as many as the kernel itself would take, for the present one if it must."""
    buckets, now = table.buckets, table.max or 0
    if not buckets:
        return
    new = table.version is None or table.version >= (5, 15)
    each = 1 if new else 4
    crowded = buckets * (each if limit != now else _MOST_IN_BUCKET) < limit
    if not crowded:
        return
    value = ceil(limit / each)
    reason = "this kernel's own ratio is 1:1" if new else "this kernel's own ratio is 1:4"
    if limit == now:
        reason = f"{now / buckets:.0f} entries for each bucket when the table is full, each in two: {reason}"
    setting = _HASHSIZE if table.version is not None and table.version < (4, 8) else f"{PREFIX}buckets"
    formula = f"{(value - buckets) * _BUCKET:,} bytes = ({value:,} - {buckets:,}) x {_BUCKET}"
    yield Advice(setting, value, reason, (value - buckets) * _BUCKET, formula, "RA401" if limit == now else "")


def _timeouts(answer: Capacity, table: Conntrack) -> Iterator[Advice]:
    """Shorter timeouts, where they matter: with a sample, only for what fills the table."""
    settings = table.settings
    closed = settings.get("tcp_timeout_time_wait", 0)
    if closed > _SHORT_TIME_WAIT and (answer.use is None or answer.part("TIME_WAIT") >= 0.1):
        longer = f"{closed} -> {_SHORT_TIME_WAIT} s: the present table lasts for {answer.lasts(_SHORT_TIME_WAIT):,}"
        why = f"{longer} connections/s; late packets of closed connections are INVALID, or new, that much earlier"
        formula = f"{answer.lasts(_SHORT_TIME_WAIT):,} = {_formula(answer, _SHORT_TIME_WAIT)}"
        yield Advice(f"{PREFIX}tcp_timeout_time_wait", _SHORT_TIME_WAIT, why, 0, formula)
    alone = settings.get("udp_timeout", 0)
    if alone > _SHORT_UDP and answer.use is not None and answer.of_protocol("udp") >= 0.3:
        why = (
            f"{alone} -> {_SHORT_UDP} s: an answer that takes longer finds no entry, and is dropped as a new packet is"
        )
        yield Advice(f"{PREFIX}udp_timeout", _SHORT_UDP, why, 0)
    established = settings.get("tcp_timeout_established", 0)
    if established >= ESTABLISHED and (answer.use is None or answer.part("ESTABLISHED") >= 0.1):
        why = (
            f"{established} -> {_DAY} s: connections whose end was never seen stay for 1 day, not"
            f" {established / _DAY:.0f}; a value below your longest idle WebSocket or SSH session cuts it"
        )
        yield Advice(f"{PREFIX}tcp_timeout_established", _DAY, why, 0, code="RA402")


def _formula(answer: Capacity, seconds: int) -> str:
    each = answer.per_connection
    return f"{answer.limit:,} entries / ({each:g} x {seconds} s)"
