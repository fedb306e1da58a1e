"""Values of nft selectors, spelled in every way: numbers, names, ranges, prefixes, none twice in a set."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from ruleaudit.model import from_nftables_values as words
from ruleaudit.model.fields import Family
from tests.kernel.random_rules import ADDRESSES, INTERFACES, PORTS

#: spells a number
Spell = Callable[[random.Random, int], str]


@dataclass(frozen=True)
class Kind:
    """What a selector can be compared with.

    pool    numbers that packets have, and others
    bits    its width; 0: it is neither compared by size nor masked
    prefix  its numbers are addresses
    """

    pool: Sequence[int]
    spell: Spell
    bits: int = 0
    prefix: bool = False

    def one(self, rng: random.Random) -> str:
        """A single value."""
        return self.spell(rng, rng.choice(self.pool))

    def value(self, rng: random.Random) -> str:
        """A value, a range, or a network."""
        form = rng.random()
        if self.prefix and form < 0.35:
            return self._network(rng, rng.choice(self.pool))
        if self.bits and form < 0.55:
            low, high = sorted(rng.choices(self.pool, k=2))
            return f"{self.spell(rng, low)}-{self.spell(rng, high)}" if low < high else self.spell(rng, low)
        return self.one(rng)

    def elements(self, rng: random.Random, count: int, *, ranges: bool = True) -> list[str]:
        """Values and ranges that do not overlap."""
        chosen = sorted(rng.sample(sorted(set(self.pool)), min(2 * count, len(set(self.pool)))))
        out = []
        while chosen and len(out) < count:
            low = chosen.pop(0)
            if self.bits and ranges and chosen and rng.random() < 0.35:
                out.append(f"{self.spell(rng, low)}-{self.spell(rng, chosen.pop(0))}")
            else:
                out.append(self.spell(rng, low))
        rng.shuffle(out)
        return out

    def _network(self, rng: random.Random, number: int) -> str:
        length = rng.choice((1, 8, 16, 24, 25, 31, 32) if self.bits == 32 else (1, 16, 48, 64, 65, 112, 128))
        # nft takes 10.1.2.3/8 as well
        kept = number if rng.random() < 0.3 else number >> self.bits - length << self.bits - length
        return f"{self.spell(rng, kept)}/{length}"


def _number(rng: random.Random, value: int) -> str:
    # a number that begins with 0 is octal
    return rng.choice((f"{value}", f"{value}", f"{value}", f"{value:#x}", f"0{value:o}"))


def _named(names: dict[str, int]) -> Spell:
    by_number: dict[int, list[str]] = {}
    for name, number in names.items():
        by_number.setdefault(number, []).append(name)

    def spell(rng: random.Random, value: int) -> str:
        return rng.choice((*by_number.get(value, ()), *by_number.get(value, ()), _number(rng, value)))

    return spell


def named(names: dict[str, int], more: Iterable[int] = (), bits: int = 0) -> Kind:
    """Names, and numbers."""
    return Kind((*names.values(), *more), _named(names), bits)


def addresses(family: Family) -> Kind:
    """Addresses of the lab, and of elsewhere."""
    make = IPv4Address if family is Family.IPV4 else IPv6Address
    pool = [int(make(a)) for a in ADDRESSES[family]]
    return Kind(pool, lambda rng, value: str(make(value)), family.address_bits, prefix=True)


PORT = Kind(PORTS, _named({"ssh": 22, "domain": 53, "http": 80, "https": 443}), 16)
_PROTOCOLS = {"icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "icmpv6": 58, "ipv6-icmp": 58}
PROTOCOL = named({**_PROTOCOLS, "sctp": 132, "dccp": 33, "udplite": 136, "vrrp": 112}, (0, 255, 7, 16, 18), 8)
ICMP_TYPE, ICMP_CODE = named(words.ICMP_TYPES, (40, 254), 8), named(words.ICMP_CODES, (5, 255), 8)
ICMPV6_TYPE, ICMPV6_CODE = named(words.ICMPV6_TYPES, (0, 127, 255), 8), named(words.ICMPV6_CODES, (2, 255), 8)
MARK = Kind((0, 1, 2, 0x10, 0xFF, 0x8000, 0x4001, 0x80000000, 0xFFFFFFFF), _number, 32)
PACKET_TYPE = named(words.PACKET_TYPES)
ADDRESS_TYPE = named({"unicast": 1, "local": 2, "broadcast": 3, "multicast": 5})
NFPROTO, ETHER_TYPE = named(words.NFPROTO, (3,)), named(words.ETHER_TYPES)
VERSION = Kind((4, 6, 5), _number)
NAMES = tuple(f"{i[:-1]}*" if i.endswith("+") else i for i in INTERFACES if i != "+")
INTERFACE_NAME = Kind(range(len(NAMES)), lambda rng, value: f'"{NAMES[value]}"')
INTERFACE = Kind((1, 2, 3), lambda rng, value: rng.choice(({1: "lo", 2: "r0", 3: "r1"}[value],) * 2))
