"""Which addresses of a connection table are those of the host that kept it.

Every connection of a plain host has one of its addresses at one end, so that few addresses that meet many others are
at one end of everything. A router's table has no such addresses; what is sure there is what its NAT shows.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

#: (source, target, where answers come from, where they go) of an entry, as written
Ends = tuple[bytes, bytes, bytes, bytes]

#: a host has no more addresses, as far as a table can teach
_MOST = 64
#: so many pairs of addresses that meet each other alone are nothing strange
_PAIRS = 2


@dataclass(frozen=True, slots=True)
class Own:
    """What a table teaches of a host's addresses, as the table writes them.

    whole        what has none of them at either end goes through the host
    translating  the host translates sources of what it forwards
    either       of addresses that meet only one other each: one of the two is the host's
    """

    addresses: frozenset[bytes]
    whole: bool
    translating: bool = False
    either: frozenset[bytes] = frozenset()


def loopback(address: bytes) -> bool:
    return address.startswith(b"127.") or address in (b"::1", b"0000:0000:0000:0000:0000:0000:0000:0001")


def to_many(address: bytes) -> bool:
    """A multicast or broadcast address, as far as one can see."""
    if b":" in address:
        return address[:2] in (b"ff", b"FF")
    first = address[: address.find(b".")]
    return address == b"255.255.255.255" or (first.isdigit() and 224 <= int(first) <= 239)


def given(addresses: Iterable[str]) -> Own:
    """Addresses that somebody knows, in every way in which tables write them."""
    from ipaddress import ip_address

    known = [ip_address(text) for text in addresses]
    return Own(frozenset(text.encode() for a in known for text in (str(a), a.exploded)), True)


def learned(ends: Collection[Ends]) -> Own:
    """The addresses of the host whose table has entries with such ends; a sample of them is enough."""
    sure: set[bytes] = set()
    translating = False
    for source, _, _, to in ends:
        if to != source and not loopback(source):
            translating = True
            sure.add(to)  # whose answers come to another address: NAT put one of the host's in its place
    edges: set[tuple[bytes, bytes]] = set()
    for source, target, back, to in ends:
        plain = (back, to) == (target, source)
        if plain and not (loopback(source) or loopback(target) or to_many(target) or _nobody(source)):
            edges.add((source, target))
    if translating:
        return Own(frozenset(sure), False, True)
    # whom others come to, and who answers from elsewhere: a published port
    sure = {target for source, target, back, _ in ends if back != target and not loopback(target)}
    picked = _covering(edges, sure)
    alone = {frozenset(edge) for edge in edges if not picked.intersection(edge)}
    if 0 < len(picked) <= _MOST and len(alone) <= max(_PAIRS, len(picked)):
        return Own(frozenset(picked), True, either=frozenset(address for pair in alone for address in pair))
    return Own(frozenset(sure), False)


def _nobody(address: bytes) -> bool:
    return address in (b"0.0.0.0", b"::", b"0000:0000:0000:0000:0000:0000:0000:0000")


def _covering(edges: Collection[tuple[bytes, bytes]], sure: Collection[bytes]) -> set[bytes]:
    """Few addresses that are at one end of every connection: those that meet the most others, one after the other.

    Two addresses that meet each other alone stay: either may be the host's.
    """
    peers: dict[bytes, set[bytes]] = defaultdict(set)
    for source, target in edges:
        if source != target:
            peers[source].add(target)
            peers[target].add(source)
    picked: set[bytes] = set()

    def take(address: bytes) -> None:
        picked.add(address)
        for peer in peers.pop(address, set()):
            if peer in peers:
                peers[peer].discard(address)

    for address in sure:
        take(address)
    while peers and len(picked) <= _MOST:
        address, others = max(peers.items(), key=lambda item: len(item[1]))
        if len(others) < 2:
            break
        take(address)
    return picked
