"""What a kernel says of its connection table: how many entries, the settings, the counters."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Moment:
    """The entries and the counters at one time.

    seconds    on a clock that only serves to subtract
    count      entries in the table of this network namespace
    counters   sums over all CPUs, by the names of `conntrack -S`: drop, early_drop, insert_failed, chaintoolong...
    """

    seconds: float
    count: int
    counters: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Conntrack:
    """The connection table of one network namespace, and what the machine says of it.

    settings      the sysctls net.netfilter.nf_conntrack_*, by what follows nf_conntrack_: max, buckets, tcp_loose...
    first, later  two moments; `later` is None where there was only one
    kernel        its release: 6.1.0-18-amd64; empty: unknown
    object_bytes  the size of an entry in /proc/slabinfo; None: unknown (only root may read it)
    sockets       TCP sockets of this namespace, listening ones too; None: unknown
    initial       whether it is the machine's own namespace, which alone can set max and buckets
    netns         the number of the namespace; None: unknown
    addresses     of this host, loopback left out
    log           lines of the kernel about a full table, the oldest first
    unread        what could not be read, and why
    """

    settings: Mapping[str, int]
    first: Moment | None
    later: Moment | None = None
    kernel: str = ""
    object_bytes: int | None = None
    sockets: int | None = None
    initial: bool = True
    netns: int | None = None
    addresses: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()

    @property
    def now(self) -> Moment | None:
        return self.later or self.first

    @property
    def count(self) -> int | None:
        return None if self.now is None else self.now.count

    @property
    def max(self) -> int | None:
        """None also where the limit is 0, which is none."""
        return self.settings.get("max") or None

    @property
    def buckets(self) -> int | None:
        return self.settings.get("buckets") or None

    @property
    def version(self) -> tuple[int, int] | None:
        """(6, 1) of 6.1.0-18-amd64."""
        numbers = self.kernel.split("-")[0].split(".")[:2]
        return (int(numbers[0]), int(numbers[1])) if len(numbers) == 2 and all(map(str.isdigit, numbers)) else None

    def per_second(self, counter: str = "") -> float | None:
        """How fast a counter, or the number of entries, grew between the two moments."""
        first, later = self.first, self.later
        if first is None or later is None or later.seconds <= first.seconds:
            return None
        if counter:
            grown = later.counters.get(counter, 0) - first.counters.get(counter, 0)
        else:
            grown = later.count - first.count
        return grown / (later.seconds - first.seconds)
