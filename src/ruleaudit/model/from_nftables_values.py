"""The words of nft as numbers: addresses, ports, protocols, types, flags, marks (nft(8), DATA TYPES).

Every reader turns one word into the closed interval of numbers that it stands for, and raises Unknown for what it does
not know.
"""

import re
from collections.abc import Callable

from ruleaudit.model.condition import Interval
from ruleaudit.model.fields import AddressType
from ruleaudit.syntax.addresses import HostName, network
from ruleaudit.syntax.addresses import numeric as address_number
from ruleaudit.syntax.numbers import decimal
from ruleaudit.syntax.refusal import Refused
from ruleaudit.syntax.services import port_range, protocol

Read = Callable[[str], Interval]


class Unknown(Exception):
    """A word, or an expression, whose value is not known here; the text says why."""


_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*")


def number(word: str) -> int:
    """A decimal, hexadecimal or, with a 0 in front, octal number."""
    if _NUMBER.fullmatch(word) is None:
        raise Unknown(f'"{word}" is no number')
    if word[0] != "0":
        return decimal(word) or 0
    return int(word, 16 if word[:2] in ("0x", "0X") else 8)


def plain(word: str) -> Interval:
    """A number and nothing else."""
    value = number(word)
    return value, value


def mark(word: str) -> Interval:
    """A mark of 32 bits; a negative one is as C has it."""
    value = number(word.removeprefix("-"))
    value = (-value if word.startswith("-") else value) & 0xFFFFFFFF
    return value, value


def named(names: dict[str, int]) -> Read:
    """A name of a list, or a number."""

    def read(word: str) -> Interval:
        value = names.get(word)
        return (value, value) if value is not None else plain(word)

    return read


def address(bits: int) -> Read:
    """An address, or a network as `10.0.0.0/8`."""

    def read(word: str) -> Interval:
        if "/" not in word:
            value = address_number(word, bits)
            if value is None or (bits == 32 and word.count(".") != 3):
                raise Unknown(f'the address of "{word}" is not in this file')
            return value, value
        try:
            base, mask = network(word, bits)
        except (HostName, Refused):
            raise Unknown(f'"{word}" is no network') from None
        rest = (1 << bits) - 1 ^ mask
        if rest & (rest + 1):
            raise Unknown(f'the mask of "{word}" is no prefix')
        return base, base | rest

    return read


def port(word: str) -> Interval:
    """A port or the name of a service, of whatever protocol."""
    try:
        return port_range(word, None)
    except Refused as error:
        raise Unknown(error.message) from None


def transport(word: str) -> Interval:
    """A protocol number or name."""
    try:
        value = protocol(word)
    except Refused as error:
        raise Unknown(error.message) from None
    return value, value


ICMP_TYPES = {
    "echo-reply": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5, "echo-request": 8,
    "router-advertisement": 9, "router-solicitation": 10, "time-exceeded": 11, "parameter-problem": 12,
    "timestamp-request": 13, "timestamp-reply": 14, "info-request": 15, "info-reply": 16, "address-mask-request": 17,
    "address-mask-reply": 18,
}  # fmt: skip
ICMP_CODES = {
    "net-unreachable": 0, "host-unreachable": 1, "prot-unreachable": 2, "port-unreachable": 3, "frag-needed": 4,
    "net-prohibited": 9, "host-prohibited": 10, "admin-prohibited": 13,
}  # fmt: skip
ICMPV6_TYPES = {
    "destination-unreachable": 1, "packet-too-big": 2, "time-exceeded": 3, "parameter-problem": 4,
    "echo-request": 128, "echo-reply": 129, "mld-listener-query": 130, "mld-listener-report": 131,
    "mld-listener-done": 132, "mld-listener-reduction": 132, "nd-router-solicit": 133, "nd-router-advert": 134,
    "nd-neighbor-solicit": 135, "nd-neighbor-advert": 136, "nd-redirect": 137, "router-renumbering": 138,
    "ind-neighbor-solicit": 141, "ind-neighbor-advert": 142, "mld2-listener-report": 143,
}  # fmt: skip
ICMPV6_CODES = {
    "no-route": 0, "admin-prohibited": 1, "addr-unreachable": 3, "port-unreachable": 4, "policy-fail": 5,
    "reject-route": 6,
}  # fmt: skip
TCP_FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ecn": 64, "cwr": 128}
#: the bits of conntrack's state (linux/netfilter/nf_conntrack_common.h)
STATES = {"invalid": 1, "established": 2, "related": 4, "new": 8, "untracked": 64}
NFPROTO = {"ipv4": 2, "ipv6": 10}
ETHER_TYPES = {"ip": 0x0800, "arp": 0x0806, "ip6": 0x86DD, "vlan": 0x8100, "8021q": 0x8100, "8021ad": 0x88A8}
PACKET_TYPES = {"host": 0, "unicast": 0, "broadcast": 1, "multicast": 2, "other": 3}
#: routing's address types (linux/rtnetlink.h) that model.fields.AddressType has a number for
ADDRESS_TYPES = {
    "unicast": AddressType.UNICAST, "1": AddressType.UNICAST, "local": AddressType.LOCAL, "2": AddressType.LOCAL,
    "broadcast": AddressType.BROADCAST, "3": AddressType.BROADCAST, "multicast": AddressType.MULTICAST,
    "5": AddressType.MULTICAST,
}  # fmt: skip


def address_type(word: str) -> Interval:
    """Routing's name for an address; what is rarer than these has no name of its own in the model."""
    known = ADDRESS_TYPES.get(str(number(word)) if _NUMBER.fullmatch(word) else word)
    if known is None:
        raise Unknown(f'the model has no address type "{word}"')
    return int(known), int(known)
