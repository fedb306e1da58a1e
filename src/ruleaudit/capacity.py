"""How full a connection table is, what fills it, how long it lasts: numbers of the kernel, and what follows from them.

The kernel drops the packet that would make entry max + 1. An entry stays for a while after the last packet, so that a
table lasts for max / seconds connections a second.
"""

from dataclasses import dataclass

from ruleaudit.model.conntrack import Conntrack
from ruleaudit.results.suggestion import Flow, Suggestion
from ruleaudit.results.table import TableUse


@dataclass(frozen=True)
class Advice:
    """What to set of the connection table, and why.

    setting       a sysctl, or a file below /sys
    memory_bytes  more than now, once the table is full
    formula       how the value comes about; empty: it is a round one
    code          of the rule that says so, where one does
    """

    setting: str
    value: int
    reason: str
    memory_bytes: int
    formula: str = ""
    code: str = ""


@dataclass(frozen=True)
class Freed:
    """How many entries of the connection table the rewrite of the rules does without; `share` of all, 0 to 1.

    suggestions   the rewrites, for each address family
    """

    entries: int
    share: float
    suggestions: tuple[Suggestion, ...] = ()

    @property
    def flows(self) -> tuple[Flow, ...]:
        """What leaves, and has entries; none: nothing does, or nothing needs tracking."""
        return tuple(flow for one in self.suggestions for flow in one.flows if flow.entries)


@dataclass(frozen=True)
class Capacity:
    """How full a connection table is, and what to do.

    table        what the machine says; None: only a saved table is known
    use          what fills it: all of it, or a sample; None: nobody looked
    entry_bytes  what an entry takes; None: nothing is known of the machine
    freed        None: no rules, or no table
    """

    table: Conntrack | None
    use: TableUse | None = None
    entry_bytes: int | None = None
    freed: Freed | None = None
    advice: tuple[Advice, ...] = ()

    @property
    def limit(self) -> int:
        return (self.table.max if self.table else None) or 0

    @property
    def count(self) -> int:
        return (self.table.count if self.table else None) or 0

    @property
    def share(self) -> float:
        """How full it is, 0 to 1."""
        return self.count / self.limit if self.limit else 0.0

    @property
    def full(self) -> bool:
        """Entries come and go: at 99 of 100 packets are dropped now and then."""
        return self.share >= 0.99

    def counter(self, name: str) -> int:
        """One of `conntrack -S`, all CPUs together."""
        now = self.table.now if self.table else None
        return now.counters.get(name, 0) if now else 0

    @property
    def no_room(self) -> int:
        """Packets dropped because the table was full: what clashes dropped is in both counters."""
        return max(0, self.counter("drop") - self.counter("insert_failed"))

    @property
    def growth(self) -> float:
        """Entries a second; 0 where two counts differ by less than ten."""
        table = self.table
        if table is None or table.first is None or table.later is None:
            return 0.0
        return (table.per_second() or 0.0) if abs(table.later.count - table.first.count) >= 10 else 0.0

    @property
    def dropping(self) -> float:
        """Packets a second for which there was no room."""
        return max(0.0, (self.table.per_second("drop") or 0.0)) if self.table and self.full else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Until it is full at the earliest: at the present rate, if no entry times out; None: never."""
        return (self.limit - self.count) / self.growth if self.growth > 0 and not self.full else None

    @property
    def time_wait(self) -> int:
        return self.table.settings.get("tcp_timeout_time_wait", 120) if self.table else 120

    @property
    def kept(self) -> int:
        """Seconds that an entry stays which no packet refreshes: the mean of all but open TCP connections."""
        settings = self.table.settings if self.table else {}
        stays = [(1, self.time_wait)] if self.use is None else []
        for one in self.use.services if self.use else ():
            if one.protocol == "udp":
                stays.append((one.unreplied, settings.get("udp_timeout", 30)))
                stays.append((one.entries - one.unreplied, settings.get("udp_timeout_stream", 120)))
            elif one.protocol in ("icmp", "icmpv6"):
                stays.append((one.entries, settings.get("icmp_timeout", 30)))
            else:
                stays.append((one.entries - one.by_state.get("ESTABLISHED", 0), self.time_wait))
        number = sum(entries for entries, _ in stays)
        return round(sum(entries * seconds for entries, seconds in stays) / number) if number else self.time_wait

    @property
    def wanted(self) -> int:
        """Entries there would be, were things to go on as now: some more come, and a full table turns some away."""
        return round(self.count + (max(0.0, self.growth) + self.dropping) * self.kept)

    def part(self, state: str) -> float:
        """The share of a state of TCP in what fills the table."""
        return self.use.by_state.get(state, 0) / self.use.entries if self.use and self.use.entries else 0.0

    def of_protocol(self, name: str) -> float:
        if self.use is None or not self.use.entries:
            return 0.0
        return sum(one.entries for one in self.use.services if one.protocol == name) / self.use.entries

    def closed(self, direction: str) -> int:
        """Entries in TIME_WAIT of one direction."""
        services = self.use.services if self.use else ()
        return sum(one.by_state.get("TIME_WAIT", 0) for one in services if one.direction == direction)

    @property
    def per_connection(self) -> float:
        """Entries for each connection that comes in: a proxy without keep-alive opens another one for each."""
        incoming, outgoing = self.closed("in"), self.closed("out")
        return round(1 + outgoing / incoming, 1) if incoming and outgoing <= 4 * incoming else 1.0

    @property
    def per_second(self) -> float | None:
        """Connections that end in a second, as far as entries in TIME_WAIT show it; None: nobody looked."""
        if self.use is None or not self.use.entries or not self.time_wait:
            return None
        return self.part("TIME_WAIT") * (self.count or self.use.entries) / self.time_wait / self.per_connection

    def lasts(self, seconds: int) -> int:
        """For how many connections a second the table lasts, if each stays for so long after its end."""
        return int(self.limit / (self.per_connection * seconds)) if seconds else 0
