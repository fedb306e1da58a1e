"""From the entries of a connection table to classes that are counted, in bounded memory.

The table is read once. Its first entries tell whose addresses are this host's (a table is in no order: they are a
sample); clients and far servers are told apart only while they are few, or where rules tell them apart.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from itertools import chain, islice
from socket import AF_INET, AF_INET6, inet_pton

from ruleaudit.model.connection_table import CLIENT_PORTS, Address, Connections, ConnectionTable
from ruleaudit.model.fields import Family
from ruleaudit.model.own_addresses import Own, given, learned, loopback, to_many
from ruleaudit.syntax.conntrack import Entry, Reading, entries

#: so many entries are looked at before it is said whose addresses are this host's
SAMPLE = 20_000
#: so many addresses of a service are told apart one by one, in so many classes
_FEW, _CLASSES = 64, 512
#: a service that has more states, zones and addresses than this is counted without its addresses
_MOST_CLASSES = 4096

#: what a class differs from others in, besides its service
_Key = tuple[bytes, bytes, bytes, bool, bool, bool, bool, bytes, bool]


@dataclass(frozen=True, slots=True)
class Regions:
    """The parts of all addresses that the borders of networks cut out: rules treat those in one part alike."""

    borders: dict[Family, list[int]]

    @staticmethod
    def of(borders: Iterable[tuple[Family, int]]) -> "Regions":
        """`borders`: the first address of each network, and the first one behind it."""
        found: dict[Family, set[int]] = {Family.IPV4: set(), Family.IPV6: set()}
        for family, border in borders:
            found[family].add(border)
        return Regions({family: sorted(some) for family, some in found.items()})

    def number(self, address: bytes) -> int:
        """In which part an address lies; -1 for what is none."""
        six = b":" in address
        borders = self.borders[Family.IPV6 if six else Family.IPV4]
        if not borders:
            return 0
        try:
            packed = inet_pton(AF_INET6 if six else AF_INET, address.decode("ascii", "replace"))
        except OSError:
            return -1
        return bisect_right(borders, int.from_bytes(packed, "big"))


class _Ends:
    """The addresses at one end of a service's connections: each for itself, or one for each region."""

    __slots__ = ("few", "known")

    def __init__(self) -> None:
        self.few = True
        self.known: dict[int, bytes] = {}  #: one address of each region

    def stands_for(self, address: bytes, regions: Regions) -> bytes:
        return address if self.few else self.known.setdefault(regions.number(address), address)


@dataclass(slots=True)
class _Service:
    """The entries with one direction, protocol, port and family."""

    sources: _Ends = field(default_factory=_Ends)
    targets: _Ends = field(default_factory=_Ends)
    counts: dict[_Key, int] = field(default_factory=dict)
    limit: int = _CLASSES

    def add(self, key: _Key, number: int, regions: Regions) -> None:
        key = (self.sources.stands_for(key[0], regions), self.targets.stands_for(key[1], regions), *key[2:])
        self.counts[key] = self.counts.get(key, 0) + number
        if len(self.counts) > self.limit:
            self._put_together(regions)

    def _put_together(self, regions: Regions) -> None:
        for at, ends in enumerate((self.sources, self.targets)):
            if ends.few and len({key[at] for key in self.counts}) > _FEW:
                ends.few = False
        if len(self.counts) > _MOST_CLASSES:
            self.sources.few = self.targets.few = False
            regions = Regions.of(())
            self.sources.known, self.targets.known = {}, {}
        counts, self.counts, self.limit = self.counts, {}, 1 << 60
        for key, number in counts.items():
            self.add(key, number, regions)
        self.limit = max(_CLASSES, 2 * len(self.counts))


def table_of(blocks: Iterable[bytes], own: Sequence[str] = (), regions: Regions | None = None) -> ConnectionTable:
    """The table of a text that comes in pieces.

    `own`: addresses that are known to be this host's; without any they are learned. `regions`: what rules tell apart.
    """
    reading = Reading()
    found = entries(blocks, reading)
    if own:
        known, every = given(own), found
    else:
        sample = list(islice(found, SAMPLE))
        known = learned([(e.source, e.target, e.reply_source, e.reply_target) for e in sample])
        every = chain(sample, found)
    classes = sorted(_counted(every, known, regions or Regions.of(())), key=lambda some: -some.entries)
    addresses = {_address(text) for text in known.addresses}
    mine = sorted((a for a in addresses if a is not None), key=lambda a: (a.version, int(a)))
    return ConnectionTable(
        tuple(classes),
        tuple(mine),
        learned=not own,
        whole=known.whole,
        apart=regions is not None,
        unread=tuple(reading.unread),
        more=reading.more,
        announced=reading.announced,
    )


def _counted(every: Iterable[Entry], own: Own, regions: Regions) -> Iterator[Connections]:
    services: dict[tuple[bytes, str, bytes, bool], _Service] = {}
    direction_of = _Directions(own).direction
    first, last = CLIENT_PORTS
    for e in every:
        direction = direction_of(e)
        key = (e.protocol, direction, e.port, b":" in e.source)
        service = services.get(key)
        if service is None:
            service = services[key] = _Service()
        usual = first <= int(e.sport or 0) <= last
        what = (e.source, e.target, e.state, e.unreplied, e.assured, e.offloaded, e.translated, e.zone, usual)
        service.add(what, 1, regions)
    for (protocol, direction, port, _), service in services.items():
        for what, number in service.counts.items():
            source, target, state, unreplied, assured, offloaded, translated, zone, usual = what
            one, other = _address(source), _address(target)
            known = one or other
            yield Connections(
                (Family.IPV4 if known.version == 4 else Family.IPV6) if known is not None else None,
                direction,
                protocol.decode("utf-8", "replace"),
                int(port) if port.isdigit() and len(port) < 6 else None,
                one,
                other,
                service.sources.few,
                service.targets.few,
                usual,
                state.decode() or ("UNREPLIED" if unreplied else "ASSURED" if assured else "REPLIED"),
                unreplied,
                assured,
                offloaded,
                translated,
                int(zone),
                number,
            )


@dataclass(frozen=True, slots=True)
class _Directions:
    own: Own

    def direction(self, e: Entry) -> str:
        """Where a connection goes, seen from the host that tracks it."""
        own = self.own.addresses
        if loopback(e.source) or (e.source in own and e.target in own):
            return "local"
        if e.source in own:
            return "out"
        if e.target in own:
            # a port that is published for another host goes there
            if e.reply_source == e.target or e.reply_source in own or loopback(e.reply_source):
                return "in"
            return "forward" if self.own.whole or self.own.translating else "unknown"
        if not own:
            return "unknown"
        if to_many(e.target) or (e.unreplied and e.target.endswith(b".255") and self.own.whole):
            return "in"
        return "forward" if e.translated or self.own.whole else "unknown"


@cache
def _address(text: bytes) -> Address | None:
    try:
        return ip_address(text.decode("ascii", "replace"))
    except ValueError:
        return None
