"""The flows that services name: what a proxy's configuration, a connection table or a list of sockets knows of this
host (design section 6, points 4 and 5).

Connections that this host opens are known from nothing else. Of those that it lets in, a service chooses what it
answers on, narrowed to the addresses that it listens at; ssh and its like are left alone all the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, collapse_addresses, summarize_address_range
from itertools import islice

from ruleaudit.analysis.connection import KINDS, PROTOCOL_NAMES, Kind
from ruleaudit.analysis.pair import Pair
from ruleaudit.analysis.space import Space
from ruleaudit.analysis.walk import filtering_chains
from ruleaudit.model.condition import merged
from ruleaudit.model.fields import PORT_PROTOCOLS, Family, Field, Hook
from ruleaudit.model.ruleset import Rule
from ruleaudit.model.service import Service
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.results.flow import Flow
from ruleaudit.rewrite.flows import LEFT_ALONE, Candidate, Interval, port_texts, why_left, without
from ruleaudit.rewrite.narrowing import Narrowing, Network, address_text, narrowing

_NUMBERS = {PROTOCOL_NAMES[number]: number for number in PORT_PROTOCOLS[:2]}
_KINDS = {kind.name: kind for kind in KINDS}
#: where the packets that open a connection of each kind are filtered
_HOOKS = {"in": Hook.INPUT, "out": Hook.OUTPUT, "forward": Hook.FORWARD}
#: an accept of more ports than so many is of no service in particular
_MANY_PORTS = 30000
#: how many networks stand for a part of a service's addresses
_MANY_NETWORKS = 16


@dataclass(frozen=True)
class Named:
    """Ports that services name, all at the same addresses."""

    kind: Kind
    protocol: str
    ports: tuple[Interval, ...]
    addresses: tuple[Network, ...]  #: empty: any
    interfaces: tuple[str, ...]  #: by which the openings come in; empty: any

    def hosts(self, family: Family) -> tuple[Network, ...] | None:
        """The addresses of one family, none if all of it is meant; None where there are only others."""
        found = tuple(a for a in self.addresses if (a.version == 4) is (family is Family.IPV4))
        if self.addresses and not found:
            return None
        return () if any(a.prefixlen == 0 for a in found) else found

    def packets(self, space: Space) -> PacketSet:
        """The packets from client to server."""
        found = space.is_(Field.PROTOCOL, _NUMBERS[self.protocol]) & space.values(Field.DPORT, self.ports)
        if hosts := self.hosts(space.family):
            found = found & space.values(Field.DADDR, tuple(map(_interval, hosts)))
        if self.interfaces:
            ways = space.none
            for name in self.interfaces:
                ways = ways | space.interface(Field.IIF, name)
            found = found & ways
        return found

    def flow(self, ports: Iterable[Interval]) -> Flow:
        """What is named on some of the ports, in words."""
        words = tuple(address_text(a) for a in self.addresses if a.prefixlen)
        own = self.kind.name == "in"
        at, addresses = (words, ()) if own else ((), words)
        return Flow(self.kind.name, self.protocol, port_texts(ports), addresses, (), None, at=at)

    def without(self, ports: Iterable[Interval]) -> "Named":
        return replace(self, ports=without(self.ports, ports))


def named(services: Sequence[Service], direction: str, excluded: Sequence[Interval] = ()) -> Iterator[Named]:
    """What the services of a direction name, each port once: the addresses of all that name it together."""
    for protocol in _NUMBERS:
        mine = [s for s in services if s.direction == direction and s.protocol == protocol and not _is_own(s)]
        groups: dict[tuple[tuple[Network, ...], tuple[str, ...]], list[Interval]] = {}
        for piece in _pieces([port for s in mine for port in s.ports]):
            here = [s for s in mine if any(low <= piece[0] and piece[1] <= high for low, high in s.ports)]
            anywhere = any(not s.addresses for s in here)
            addresses = () if anywhere else _collapsed(a for s in here for a in s.addresses if not a.is_loopback)
            interfaces = () if any(not s.interface for s in here) else tuple(sorted({s.interface for s in here}))
            groups.setdefault((addresses, interfaces), []).append(piece)
        for (addresses, interfaces), pieces in groups.items():
            ports = without(merged(pieces), excluded)
            if ports:
                yield Named(_KINDS[direction], protocol, ports, addresses, interfaces)


def ssh_ports(services: Sequence[Service]) -> tuple[Interval, ...]:
    """Where sshd listens, by those who say so."""
    return tuple(p for s in services if s.direction == "in" and s.is_ssh for p in s.ports)


def choosable(asked: Named, services: Sequence[Service]) -> Named:
    """What is named, without the ports that are left alone whoever names them."""
    alone = [interval for (protocol, interval) in LEFT_ALONE if protocol == asked.protocol]
    return asked.without([*alone, *(ssh_ports(services) if asked.protocol == "tcp" else ())])


def outbound(pair: Pair, services: Sequence[Service]) -> Iterator[Candidate]:
    """The flows that this host opens to servers, by the rule that accepts them; those that it may open."""
    for asked in named(services, "out"):
        yield from accepted(pair, asked, asked.packets(pair.space))


def inbound(pair: Pair, asked: Named, known: Sequence[Candidate]) -> Iterator[Candidate]:
    """Flows to this host, or through it, that are named: those of `known` (the pair's own), and what else is open."""
    space = pair.space
    hosts = asked.hosts(space.family)
    if hosts is None:
        return
    rest = asked.packets(space)
    for flow in known:
        here = flow.connections & space.connection_part(rest)
        if flow.kind is not asked.kind or flow.protocol != asked.protocol or is_empty(here):
            continue
        rest = rest & ~flow.connections
        mine = flow.only(*asked.ports)
        yield replace(_narrowed(space, mine, hosts, here), reason="")
    yield from accepted(pair, asked, rest)


def accepted(pair: Pair, asked: Named, packets: PacketSet) -> Iterator[Candidate]:
    """What the rules accept of the packets that open connections, by the rule that does; None: a policy."""
    space = pair.space
    hosts = asked.hosts(space.family)
    if hosts is None:
        return
    seen = pair.roles(asked.kind, pair.old).opening
    rest = packets & seen.accepted & ~seen.untracked
    hooked = filtering_chains(pair.old.ruleset, _HOOKS[asked.kind.name])
    for by, taken in seen.walk.decided.accepts(None, lambda by: (by.table, by.chain) in hooked):
        mine = space.connection_part(rest & taken)
        if not is_empty(mine):
            rest = rest & ~taken
            yield _flow(space, asked, hosts, by, mine, space.connection_part(taken))
    if not is_empty(rest):
        yield _flow(space, asked, hosts, None, space.connection_part(rest), space.all)


def unopened(pair: Pair, asked: Named) -> tuple[Interval, ...] | None:
    """The ports of which nothing is both accepted and tracked; None where it is a matter of the other family."""
    if asked.hosts(pair.space.family) is None:
        return None
    seen = pair.roles(asked.kind, pair.old).opening
    found = asked.packets(pair.space) & seen.accepted & ~seen.untracked
    return without(asked.ports, pair.space.taken(found, Field.DPORT))


def by_host(asked: Named) -> Iterator[Named]:
    """What is named, one address after the other."""
    if not asked.addresses:
        yield asked
    yield from (replace(asked, addresses=(address,)) for address in asked.addresses)


def _flow(
    space: Space, asked: Named, hosts: tuple[Network, ...], rule: Rule | None, found: PacketSet, taken: PacketSet
) -> Candidate:
    ports = tuple(space.taken(found, Field.DPORT))
    words = narrowing(rule) if rule is not None and not hosts else Narrowing()
    kind = asked.kind.name
    if kind == "out":
        words = replace(words, source=())  # this host's own
    addresses = tuple(words.plain(w) for w in (*words.source, *(words.target if kind != "in" else ())))
    flow = Flow(kind, asked.protocol, port_texts(ports), addresses, (), rule)
    reason = why_left(asked.protocol, ports) if kind == "out" else ""
    protocol = space.is_(Field.PROTOCOL, _NUMBERS[asked.protocol])
    blanket = sum(high - low + 1 for low, high in space.taken(taken & protocol, Field.DPORT)) > _MANY_PORTS
    made = Candidate(flow, asked.kind, asked.protocol, ports, words, rule, found, reason, blanket)
    return _narrowed(space, made, hosts, found)


def _narrowed(space: Space, flow: Candidate, hosts: tuple[Network, ...], found: PacketSet) -> Candidate:
    """The flow at some addresses of the serving side, those of its connections; a rule that names some says it best."""
    if not hosts or flow.narrowed.target:
        return flow
    hosts = _within(space, hosts, found)
    words = tuple(map(address_text, hosts))
    if flow.kind.name == "in":
        said = replace(flow.flow, at=words)
    else:
        said = replace(flow.flow, addresses=(*flow.flow.addresses, *words))
    return replace(flow, narrowed=replace(flow.narrowed, hosts=hosts), flow=said)


def _within(space: Space, hosts: tuple[Network, ...], found: PacketSet) -> tuple[Network, ...]:
    """The part of the networks that the connections go to, as networks; all of them where that would be too many."""
    parts: list[Network] = []
    for host in hosts:
        here = found & space.values(Field.DADDR, (_interval(host),))
        ranges = space.few_taken(here, Field.DADDR, _MANY_NETWORKS)
        few = [n for low, high in ranges or () for n in islice(_networks(space, low, high), _MANY_NETWORKS + 1)]
        parts += few if ranges is not None and len(few) <= _MANY_NETWORKS else [host]
    return _collapsed(parts)


def _networks(space: Space, low: int, high: int) -> Iterator[Network]:
    if space.family is Family.IPV4:
        return summarize_address_range(IPv4Address(low), IPv4Address(high))
    return summarize_address_range(IPv6Address(low), IPv6Address(high))


def _interval(network: Network) -> Interval:
    return int(network.network_address), int(network.broadcast_address)


def _collapsed(addresses: Iterable[Network]) -> tuple[Network, ...]:
    every = list(addresses)
    four = collapse_addresses(a for a in every if isinstance(a, IPv4Network))
    six = collapse_addresses(a for a in every if isinstance(a, IPv6Network))
    return (*four, *six)


def _is_own(service: Service) -> bool:
    """Only asked over lo, which stays tracked."""
    return bool(service.addresses) and all(a.is_loopback for a in service.addresses)


def _pieces(ports: Sequence[Interval]) -> list[Interval]:
    """The ports cut wherever one of the intervals begins or ends."""
    cuts = sorted({edge for low, high in ports for edge in (low, high + 1)})
    pieces = zip(cuts, cuts[1:], strict=False)
    return [(a, b - 1) for a, b in pieces if any(low <= a < high + 1 for low, high in ports)]


def entries(flow: Candidate, services: Sequence[Service]) -> int | None:
    """How many entries of a connection table belong to a flow; None: nobody counted."""
    found = [
        s.entries
        for s in services
        if s.entries is not None
        and (s.direction, s.protocol) == (flow.kind.name, flow.protocol)
        and any(a <= d and c <= b for a, b in flow.ports for c, d in s.ports)
        and _meet(s.addresses, flow.narrowed.hosts)
    ]
    return sum(found) if found else None


def _meet(ones: Sequence[Network], others: Sequence[Network]) -> bool:
    return not ones or not others or any(a.version == b.version and a.overlaps(b) for a in ones for b in others)
