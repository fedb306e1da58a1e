"""A connection table, counted: what conntrack held on a host when somebody saved it."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

from ruleaudit.model.fields import Family
from ruleaudit.model.service import Service

Address = IPv4Address | IPv6Address

#: the directions of connections: from others to this host, the other way, through it, to itself; or nobody can say
DIRECTIONS = ("in", "out", "forward", "local", "unknown")
#: what stands where others have a port is no port
PORTLESS = ("icmp", "icmpv6")


@dataclass(frozen=True, slots=True)
class Held:
    """Entries of one service that conntrack holds in the same way.

    direction   one of DIRECTIONS
    protocol    its name, or its number where it has none here
    port        destination port of the original direction; None: it has none
    state       as conntrack calls it; UNREPLIED, REPLIED or ASSURED for protocols without states
    translated  NAT: the answers come from or go to others than the original direction says
    """

    direction: str
    protocol: str
    port: int | None
    state: str
    unreplied: bool
    assured: bool
    offloaded: bool
    translated: bool
    zone: int
    entries: int


@dataclass(frozen=True, slots=True)
class Connections:
    """Entries of a table that no rule tells apart: they differ in source ports, and in addresses of one region.

    port        destination port of the original direction; of ICMP the type; None: it has none, or it is of many
    source, target  addresses of one of them in the original direction; None: they are of many, or not known
    one_target  all of them have this target
    usual_client  their source ports are of CLIENT_PORTS
    """

    family: Family | None
    direction: str
    protocol: str
    port: int | None
    source: Address | None
    target: Address | None
    one_target: bool
    usual_client: bool
    translated: bool
    entries: int

    @property
    def service(self) -> tuple[str, str, int | None]:
        """Direction, protocol and port: what people call a service; pings have no port."""
        return self.direction, self.protocol, None if self.protocol in PORTLESS else self.port


@dataclass(frozen=True, slots=True)
class ConnectionTable:
    """All entries of a table, counted twice: as what conntrack holds, and as what rules see; most of them first.

    own        what was taken for this host's addresses; `learned`: from the table itself
    whole      `own` holds all of its addresses, as far as the table shows
    unread     the first lines that are no entry: (line, text); `more` further ones
    announced  how many entries the table's last line says it has
    """

    held: tuple[Held, ...]
    classes: tuple[Connections, ...]
    own: tuple[Address, ...] = ()
    learned: bool = True
    whole: bool = False
    unread: tuple[tuple[int, str], ...] = ()
    more: int = 0
    announced: int | None = None

    @property
    def entries(self) -> int:
        return sum(some.entries for some in self.held)

    def services(self, path: str) -> Iterator[Service]:
        """What fills the table: services of this host, and those of others that it opens connections to.

        Of the others, few addresses have to have most of the connections. `path` is what the table is called.
        """
        by_port: defaultdict[tuple[str, str, int, Family], list[Connections]] = defaultdict(list)
        for some in self.classes:
            counts = some.direction in ("in", "out") and some.protocol in ("tcp", "udp") and not some.translated
            if counts and some.port and some.family is not None:
                by_port[some.direction, some.protocol, some.port, some.family].append(some)
        for (direction, protocol, port, _), classes in by_port.items():
            number = sum(some.entries for some in classes)
            ports, origin = ((port, port),), f"{path}: {number:,} entries"
            if direction == "in" and number >= _FILLS * self.entries:
                yield Service("in", protocol, ports, origin=origin, entries=number)
            elif direction == "out" and number >= _WORTH * self.entries:
                hosts = _main_hosts(classes)
                if hosts:
                    yield Service("out", protocol, ports, hosts, origin=origin, entries=number)


def _main_hosts(classes: Iterable[Connections]) -> tuple[IPv4Network | IPv6Network, ...]:
    """The few addresses that have the connections; nothing where there are many."""
    hosts: Counter[Address] = Counter()
    for some in classes:
        if not some.one_target or some.target is None:
            return ()
        hosts[some.target] += some.entries
    number = hosts.total()
    main = [host for host, entries in hosts.items() if entries >= _WORTH * number]
    return tuple(ip_network(host) for host in sorted(main, key=int)) if len(main) <= _MOST_HOSTS else ()


#: the part of a table from which on what this host opens is worth a rule of its own, at so many hosts
_WORTH, _MOST_HOSTS = 0.01, 16
#: the part of a table that a service of this host has to fill, to be named as one that does
_FILLS = 0.05
