"""From the entries of a connection table to classes that are counted, in bounded memory.

The table is read once. Its first entries tell whose addresses are this host's (a table is in no order: they are a
sample); clients and far servers are told apart only while they are few, or where rules tell them apart.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import chain, islice
from socket import AF_INET, AF_INET6, inet_pton

from ruleaudit.model.connection_table import PORTLESS, Address, Connections, ConnectionTable, Held
from ruleaudit.model.fields import CLIENT_PORTS, Family
from ruleaudit.model.own_addresses import Own, given, learned, loopback, to_many
from ruleaudit.syntax.conntrack import Entry, Reading, entries

#: so many entries are looked at before it is said whose addresses are this host's
SAMPLE = 20_000
#: so many addresses at one end of a service are told apart one by one, in so many classes; of so many regions
_FEW, _CLASSES, _MOST_REGIONS = 64, 512, 4096
#: so many services have classes of their own, with so many classes in all
_SERVICES, _ALL = 4096, 1 << 16

#: what conntrack holds: direction, protocol, port, state, unreplied, assured, offloaded, translated, zone
_Held = tuple[str, bytes, bytes, bytes, bool, bool, bool, bool, bytes]
#: what a class differs from others of its service in: source, target, usual client, translated
_Key = tuple[bytes, bytes, bool, bool]


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
    """The addresses at one end of a service's connections: each for itself, one for each region, or none."""

    __slots__ = ("each", "known")

    def __init__(self, each: bool) -> None:
        self.each = each
        self.known: dict[int, bytes] = {}  #: one address of each region

    def stands_for(self, address: bytes, regions: Regions | None) -> bytes:
        if self.each:
            return address
        return b"" if regions is None else self.known.setdefault(regions.number(address), address)


class _Service:
    """The classes of entries with one direction, protocol, port and family."""

    __slots__ = ("counts", "limit", "regions", "sources", "targets")

    def __init__(self, regions: Regions | None, each: bool) -> None:
        self.regions = regions
        self.sources, self.targets = _Ends(each), _Ends(each)
        self.counts: dict[_Key, int] = {}
        self.limit = _CLASSES

    def add(self, key: _Key, number: int = 1) -> None:
        source, target, usual, translated = key
        regions = self.regions
        key = (self.sources.stands_for(source, regions), self.targets.stands_for(target, regions), usual, translated)
        self.counts[key] = self.counts.get(key, 0) + number

    def put_together(self, few: int = _FEW) -> None:
        """Tell only regions apart at an end with more than a few addresses; nothing where those are too many."""
        for at, ends in enumerate((self.sources, self.targets)):
            if ends.each and len({key[at] for key in self.counts}) > few:
                ends.each = False
        if len(self.counts) > _MOST_REGIONS:
            self.sources.each = self.targets.each = False
            self.regions = None
        counts, self.counts = self.counts, {}
        for key, number in counts.items():
            self.add(key, number)
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
    counting = _Counting(regions)
    counting.count(every, _Directions(known))
    addresses = {_address(text) for text in known.addresses}
    mine = sorted((a for a in addresses if a is not None), key=lambda a: (a.version, int(a)))
    return ConnectionTable(
        tuple(sorted(counting.all_held(), key=lambda some: -some.entries)),
        tuple(sorted(counting.classes(), key=lambda some: -some.entries)),
        tuple(mine),
        learned=not own,
        whole=known.whole,
        unread=tuple(reading.unread),
        more=reading.more,
        announced=reading.announced,
    )


class _Counting:
    """Entries, counted as they come."""

    def __init__(self, regions: Regions | None) -> None:
        self.regions = regions
        self.held: dict[_Held, int] = {}
        self.services: dict[tuple[bytes, str, bytes, bool], _Service] = {}
        self.each = True  #: addresses are told apart while they are few
        self.number = 0  #: of classes, about

    def count(self, every: Iterable[Entry], directions: "_Directions") -> None:
        first, last = CLIENT_PORTS
        held, direction_of, service_of = self.held, directions.direction, self._service
        for e in every:
            direction = direction_of(e)
            held_as = (
                direction, e.protocol, e.port, e.state, e.unreplied, e.assured, e.offloaded, e.translated, e.zone
            )  # fmt: skip
            held[held_as] = held.get(held_as, 0) + 1
            service = service_of(e.protocol, direction, e.port, b":" in e.source)
            before = len(service.counts)
            service.add((e.source, e.target, first <= int(e.sport or 0) <= last, e.translated))
            if len(service.counts) > before:
                self._more_classes(service)

    def _service(self, protocol: bytes, direction: str, port: bytes, six: bool) -> _Service:
        key = (protocol, direction, port, six)
        found = self.services.get(key)
        if found is None:
            if len(self.services) > _SERVICES:
                key = (protocol, direction, b"", six)
            found = self.services.setdefault(key, _Service(self.regions, self.each))
        return found

    def _more_classes(self, service: _Service) -> None:
        self.number += 1
        if len(service.counts) > service.limit:
            service.put_together()
        if self.number > _ALL and self.each:
            self.each = False
            for some in self.services.values():
                some.put_together(few=1)
            self.number = sum(len(some.counts) for some in self.services.values())

    def all_held(self) -> Iterator[Held]:
        """What conntrack holds."""
        for what, number in self.held.items():
            direction, protocol, port, state, unreplied, assured, offloaded, translated, zone = what
            yield Held(
                direction,
                protocol.decode("utf-8", "replace"),
                None if protocol.decode("utf-8", "replace") in PORTLESS else _port(port),
                state.decode() or ("UNREPLIED" if unreplied else "ASSURED" if assured else "REPLIED"),
                unreplied,
                assured,
                offloaded,
                translated,
                int(zone),
                number,
            )

    def classes(self) -> Iterator[Connections]:
        """What rules see."""
        for (protocol, direction, port, six), service in self.services.items():
            for (source, target, usual, translated), number in service.counts.items():
                yield Connections(
                    Family.IPV6 if six else Family.IPV4,
                    direction,
                    protocol.decode("utf-8", "replace"),
                    _port(port),
                    _address(source),
                    _address(target),
                    service.targets.each,
                    usual,
                    translated,
                    number,
                )


def _port(text: bytes) -> int | None:
    return int(text) if text.isdigit() and len(text) < 6 else None


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
        if not own or e.source in self.own.either:
            return "unknown"
        if to_many(e.target) or (e.unreplied and e.target.endswith(b".255") and self.own.whole):
            return "in"
        return "forward" if e.translated or self.own.whole else "unknown"


def _address(text: bytes) -> Address | None:
    if not text:
        return None
    try:
        return ip_address(text.decode("ascii", "replace"))
    except ValueError:
        return None
