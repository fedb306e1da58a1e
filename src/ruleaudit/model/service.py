"""A service that somebody besides the rules knows of: a proxy's configuration, a connection table, `ss`."""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

Interval = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Service:
    """Ports that this host answers on (`in`), answers on for others (`forward`), or opens connections to (`out`).

    protocol   tcp or udp
    ports      closed intervals of destination ports of the opening packets
    addresses  of the serving side: this host's own (`in`), the other host's (`out`, `forward`); empty: any
    interface  by which the opening packets come in (`in`); empty: any
    origin     who says so, for people: `haproxy.cfg:12 bind :443`
    is_ssh     people log in through it
    entries    how many connections of a table belong to it; None: nobody counted
    """

    direction: str
    protocol: str
    ports: tuple[Interval, ...]
    addresses: tuple[IPv4Network | IPv6Network, ...] = ()
    interface: str = ""
    origin: str = ""
    is_ssh: bool = False
    entries: int | None = None
