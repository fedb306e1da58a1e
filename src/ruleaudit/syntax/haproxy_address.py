"""The addresses of haproxy.cfg: `:443`, `ipv6@:80`, `[::1]:8000-8010`, `quic4@:443`, `web.example:+1000`, `unix@/path`.

The rules are those of str2sa_range() and str2ip2() in HAProxy's tools.c.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from ruleaudit.syntax.refusal import Refused

_VARIABLE = re.compile(r"\$\{?(\w*)\}?", re.ASCII)
#: what stands before an address: protocol (empty: as the keyword has it) and family (0: either)
_PREFIXES = {
    "ip@": ("", 0), "ipv4@": ("", 4), "ipv6@": ("", 6),
    "tcp@": ("tcp", 0), "tcp4@": ("tcp", 4), "tcp6@": ("tcp", 6),
    "mptcp@": ("tcp", 0), "mptcp4@": ("tcp", 4), "mptcp6@": ("tcp", 6),
    "udp@": ("udp", 0), "udp4@": ("udp", 4), "udp6@": ("udp", 6),
    "quic4@": ("quic", 4), "quic6@": ("quic", 6),
}  # fmt: skip
#: no packet of such a socket ever meets a rule
_LOCAL = ("unix@", "uxst@", "uxdg@", "abns@", "abnsz@", "fd@", "sockpair@", "rhttp@", "rev@", "/")
_PORT = re.compile(r"[0-9]+")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a socket is, or what it connects to.

    host       None: `name` is a host name, whose address is not known here
    protocol   tcp or udp; QUIC is udp
    ports      first and last; None: the port is that of the connection from the client, plus `offset`
    """

    host: IPv4Address | IPv6Address | None
    name: str
    protocol: str
    ports: tuple[int, int] | None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a keyword takes for an address; `protocols` are those that it takes, its own first."""

    protocols: tuple[str, ...] = ("tcp", "quic")
    port: bool = True  #: it has to name one
    many: bool = False  #: or a range of them
    offset: bool = False  #: or one relative to the client's


BIND = Wanted(many=True)
RECEIVER = Wanted(("udp",), many=True)
SERVER = Wanted(port=False, offset=True)
#: `check addr`, `dispatch`, `socks4`
TARGET = Wanted(("tcp",))
CHECK = Wanted(("tcp",), port=False)
LOG = Wanted(("udp", "tcp"), port=False)
NAMESERVER = Wanted(("udp", "tcp"))


def expanded(text: str, environment: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """An address with its variables put in, quoted or not, and the names of those that are not set."""
    if "$" not in text:
        return text, ()
    unset = tuple(name for name in _VARIABLE.findall(text) if name not in environment)
    return _VARIABLE.sub(lambda found: environment.get(found[1], ""), text), unset


def address(text: str, wanted: Wanted) -> Place | None:
    """One address; None for a socket that is none of the network. Raises Refused for what HAProxy does not take."""
    if not text:
        raise Refused("an empty address")
    protocol, rest, family = wanted.protocols[0], text, 0
    for kind, name in (("stream+", "tcp"), ("dgram+", "udp")):
        if rest.startswith(kind):
            protocol, rest = name, rest.removeprefix(kind)
    prefix = rest[: rest.find("@") + 1]
    if rest.startswith(_LOCAL):
        return None
    if prefix in _PREFIXES:
        named, family = _PREFIXES[prefix]
        protocol, rest = named or protocol, rest.removeprefix(prefix)
    if protocol not in wanted.protocols:
        raise Refused(f'{"datagrams" if protocol == "udp" else protocol} are not taken here: "{text}"')
    # the last colon parts the port, except one in brackets
    at = max(rest.rfind(":"), rest.rfind("]"))
    colon = at >= 0 and rest[at] == ":"
    if not colon and wanted.port:
        raise Refused(f'a port is missing in "{text}"')
    host, port = (rest[:at], rest[at + 1 :]) if colon else (rest, "")
    ports, offset = _ports(port, wanted, text)
    found = _host(host, family, text)
    return Place(found, "" if found is not None else host, "tcp" if protocol == "tcp" else "udp", ports, offset)


def _ports(text: str, wanted: Wanted, whole: str) -> tuple[tuple[int, int] | None, int]:
    if text[:1].isdigit() and text.isascii():
        low, dash, high = text.partition("-")
        if dash and not wanted.many:
            raise Refused(f'no range of ports is taken here: "{whole}"')
        first = _port(low, wanted)
        last = _port(high, wanted) if dash else first
        if first > last:
            raise Refused(f'bad range of ports "{text}": {first} is greater than {last}')
        # port 0 is none
        return ((first, last), 0) if first else (None, 0)
    if text[:1] in ("+", "-"):
        if not wanted.offset:
            raise Refused(f'no port relative to another is taken here: "{whole}"')
        digits = _PORT.match(text, 1)
        value = int(digits[0][:6]) if digits else 0
        return None, value if text[0] == "+" else -value
    if text:
        raise Refused(f'bad port "{text}" in "{whole}"')
    if wanted.port:
        raise Refused(f'a port is missing in "{whole}"')
    return None, 0


def _port(text: str, wanted: Wanted) -> int:
    digits = _PORT.match(text)
    value = int(digits[0][:6]) if digits else 0
    if not wanted.port <= value <= 65535 or not digits:
        raise Refused(f'bad port "{text}"')
    return value


def _host(text: str, family: int, whole: str) -> IPv4Address | IPv6Address | None:
    """The address; None for a host name."""
    if text[:1] == "[":
        if text[-1:] != "]" or len(text) < 4:
            raise Refused(f'bad address "{text}" in "{whole}"')
        text = text[1:-1]
    if text in ("", "*"):
        return IPv6Address(0) if family == 6 else IPv4Address(0)
    for number, kind in ((6, IPv6Address), (4, IPv4Address)):
        if family in (0, number) and "%" not in text:
            try:
                return _as_seen(kind(text))
            except ValueError:
                pass
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", text):
        raise Refused(f'bad address "{text}" in "{whole}"')
    return None


def _as_seen(host: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The packets to `::ffff:127.0.0.1` are of IPv4."""
    mapped = host.ipv4_mapped if isinstance(host, IPv6Address) else None
    return mapped or host
