"""What a proxy's configuration says of a host: where it listens, what it connects to, what is in the way."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from ruleaudit.model.condition import merged
from ruleaudit.model.service import Interval, Service

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
_EVERYWHERE = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a configuration, and its beginning in words: `bind :443`."""

    path: str
    line: int
    text: str

    @property
    def origin(self) -> str:
        """`haproxy.cfg:12 bind :443`."""
        return f"{self.path}:{self.line} {self.text}"


@dataclass(frozen=True, slots=True)
class Listener:
    """A TCP or UDP socket that the proxy opens.

    address    where it listens; None: a host name that was not looked up
    both       a socket on `::` that takes IPv4 too
    foreign    it takes connections to other hosts' addresses (transparent)
    """

    address: Address | None
    port: int
    protocol: str
    place: Place
    name: str = ""
    interface: str = ""
    both: bool = False
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """What the proxy opens connections to, or sends datagrams to.

    address    None: a host name that was not looked up, or (no name either) wherever the client wanted to go
    port       None: not known
    foreign    the connections leave with the client's address (usesrc)
    """

    address: Address | None
    port: int | None
    protocol: str
    place: Place
    name: str = ""
    foreign: bool = False


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to know about a line.

    kind   refused: the proxy does not start with it; unknown: it could not be understood, so that something may be
           missing; conflict: traffic that rules for this host's own addresses do not meet; note: the rest
    """

    kind: str
    place: Place
    message: str

    @property
    def text(self) -> str:
        """`haproxy.cfg:12: ...`."""
        return f"{self.place.path}:{self.place.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy's whole configuration, of as many files as it has."""

    paths: tuple[str, ...]
    listeners: tuple[Listener, ...]
    targets: tuple[Target, ...]
    remarks: tuple[Remark, ...]


def services(proxy: Proxy) -> tuple[Service, ...]:
    """The services of a proxy: one for each line that listens, one for all targets that have their ports in common.

    Sockets that take or send with other hosts' addresses are none: rules for this host's own do not meet them. Nor is
    a target with a name alone: its port at any host would be far more than what goes there.
    """
    return (*_listening(proxy.listeners), *_connecting(proxy.targets))


def _listening(listeners: Iterable[Listener]) -> Iterator[Service]:
    lines: dict[tuple[Place, str, str], list[Listener]] = {}
    for one in listeners:
        if not one.foreign:
            lines.setdefault((one.place, one.protocol, one.interface), []).append(one)
    for (place, protocol, interface), sockets in lines.items():
        ends = [(network, one.port) for one in sockets for network in _networks(one)]
        for ports, networks in _alike(ends):
            anywhere = None in networks or set(_EVERYWHERE) <= set(networks)
            addresses = () if anywhere else tuple(n for n in networks if n is not None)
            yield Service("in", protocol, ports, addresses, interface, place.origin)


def _networks(one: Listener) -> list[Network | None]:
    """Where a socket is reached; a wildcard is all of its family, None anywhere."""
    if one.address is None:
        return [None]
    if int(one.address) == 0:
        return [*_EVERYWHERE] if one.both else [_EVERYWHERE[one.address.version == 6]]
    return [ip_network(one.address)]


def _connecting(targets: Iterable[Target]) -> Iterator[Service]:
    groups: dict[tuple[str, bool], list[Target]] = {}
    for one in targets:
        if not one.foreign and one.port is not None and not (one.address is None and one.name):
            groups.setdefault((one.protocol, one.address is None), []).append(one)
    for (protocol, _), some in groups.items():
        lines: dict[int, dict[Place, None]] = {}
        ends: list[tuple[Network | None, int]] = []
        for one in some:
            lines.setdefault(one.port or 0, {})[one.place] = None
            ends.append((None if one.address is None else ip_network(one.address), one.port or 0))
        for ports, networks in _alike(ends):
            places = list(dict.fromkeys(p for port in lines if _within(port, ports) for p in lines[port]))
            more = f" and {len(places) - 1:,} more" if len(places) > 1 else ""
            addresses = tuple(n for n in networks if n is not None)
            yield Service("out", protocol, ports, addresses, "", places[0].origin + more)


def _within(port: int, ports: Iterable[Interval]) -> bool:
    return any(low <= port <= high for low, high in ports)


def _alike(
    ends: Iterable[tuple[Network | None, int]],
) -> Iterator[tuple[tuple[Interval, ...], tuple[Network | None, ...]]]:
    """Ports that have the same addresses, together."""
    networks: dict[int, dict[Network | None, None]] = {}
    for network, port in ends:
        networks.setdefault(port, {})[network] = None
    together: dict[tuple[Network | None, ...], list[int]] = {}
    for port, some in networks.items():
        together.setdefault(tuple(some), []).append(port)
    yield from ((intervals(ports), some) for some, ports in together.items())


def intervals(ports: Iterable[int]) -> tuple[Interval, ...]:
    """Ports as closed intervals, neighbours in one.

    >>> intervals([80, 8001, 8000])
    ((80, 80), (8000, 8001))
    """
    return merged((port, port) for port in ports)
