"""A connection table, counted: what conntrack held on a host when somebody saved it."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from ruleaudit.model.fields import Family

Address = IPv4Address | IPv6Address

#: the directions of connections: from others to this host, the other way, through it, to itself; or nobody can say
DIRECTIONS = ("in", "out", "forward", "local", "unknown")


@dataclass(frozen=True, slots=True)
class Connections:
    """Entries of a table that no rule tells apart: they differ in source ports, and in addresses of one region.

    direction   one of DIRECTIONS
    port        destination port of the original direction; of ICMP the type; None: it has none
    source, target  addresses of one of them in the original direction; None: what is written is no address
    one_source, one_target  all of them have this address
    state       as conntrack calls it; UNREPLIED, REPLIED or ASSURED for protocols without states
    translated  NAT: the answers come from or go to others than the original direction says
    """

    family: Family | None
    direction: str
    protocol: str
    port: int | None
    source: Address | None
    target: Address | None
    one_source: bool
    one_target: bool
    state: str
    unreplied: bool
    assured: bool
    offloaded: bool
    translated: bool
    zone: int
    entries: int


@dataclass(frozen=True, slots=True)
class ConnectionTable:
    """All entries of a table as classes, most of them first.

    own        what was taken for this host's addresses; `learned`: from the table itself
    whole      `own` holds all of its addresses, as far as the table shows
    unread     the first lines that are no entry: (line, text); `more` further ones
    announced  how many entries the table's last line says it has
    """

    classes: tuple[Connections, ...]
    own: tuple[Address, ...] = ()
    learned: bool = True
    whole: bool = False
    unread: tuple[tuple[int, str], ...] = ()
    more: int = 0
    announced: int | None = None

    @property
    def entries(self) -> int:
        return sum(some.entries for some in self.classes)
