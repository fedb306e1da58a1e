"""Traffic in words: `in tcp dport 443 from 192.0.2.0/24`, or a packet of the packet language, open where it is open.

    <path> [protocol] [key value]...

The keys from and to take addresses, networks and ranges, sport and dport take ports and ranges, each also as a list
with commas; the others are those of the packet language.
"""

from dataclasses import replace

from ruleaudit.model.fields import ICMP, ICMPV6, PORT_PROTOCOLS, Family
from ruleaudit.model.traffic import Interval, Traffic
from ruleaudit.syntax import services
from ruleaudit.syntax.addresses import HostName, address_range, network
from ruleaudit.syntax.packet import FIELDS, KEYS, asked_packet, key_value, path_word, protocol_word
from ruleaudit.syntax.refusal import Refused, did_you_mean

_SETS = ("from", "to", "sport", "dport")
#: what nft, iptables and others call the same
_OTHER_WORDS = {
    "saddr": "from", "src": "from", "source": "from", "daddr": "to", "dst": "to", "destination": "to",
    "port": "dport", "ports": "dport", "dports": "dport", "sports": "sport", "iifname": "iif", "oifname": "oif",
    "ct": "state", "ctstate": "state",
}  # fmt: skip


def traffic(text: str) -> Traffic:
    """Raises Refused for a text that names no packets; its `word` is what is wrong."""
    words = text.split()
    if not words:
        raise Refused("traffic looks like: in tcp dport 443")
    if ">" in words:
        return Traffic.of(asked_packet(text))
    path = path_word(words[0])
    rest = words[1:]
    protocol = None
    if rest and rest[0] == "*":
        rest = rest[1:]
    elif rest and not _is_key(rest[0]):
        protocol, rest = protocol_word(rest[0]), rest[1:]
    return _with_keys(Traffic(text, path, protocol or None), rest)


def _is_key(word: str) -> bool:
    return word in (*_SETS, *KEYS, *_OTHER_WORDS)


def _with_keys(found: Traffic, words: list[str]) -> Traffic:
    """What the keys say of the traffic, each said once."""
    said: set[str] = set()
    family = {ICMP: Family.IPV4, ICMPV6: Family.IPV6}.get(found.protocol or 0)
    for at in range(0, len(words), 2):
        key, value = words[at], words[at + 1] if at + 1 < len(words) else ""
        if key not in (*_SETS, *KEYS):
            meant = _OTHER_WORDS.get(key)
            hint = f"did you mean {meant}?" if meant else did_you_mean(key, (*_SETS, *KEYS))
            raise Refused(f'unknown key "{key}"', key, hint or f"known: {', '.join((*_SETS, *KEYS))}")
        if key in said:
            raise Refused(f"{key} is given twice", key)
        said.add(key)
        match key:
            case "from" | "to":
                of, intervals = _addresses(key, value)
                if family not in (None, of):
                    raise Refused("it is IPv4 and IPv6 at once", value)
                family = of
                found = replace(found, source=intervals) if key == "from" else replace(found, target=intervals)
            case "sport" | "dport":
                ports = _ports(key, value, found)
                found = replace(found, sports=ports) if key == "sport" else replace(found, dports=ports)
            case _:
                found = replace(found, **{FIELDS.get(key, key): key_value(key, value, found.protocol)})  # type: ignore[arg-type]
    return replace(found, family=family)


def _addresses(key: str, value: str) -> tuple[Family, tuple[Interval, ...]]:
    """`192.0.2.1`, `10.0.0.0/8`, `10.0.0.1-10.0.0.9`, `2001:db8::/32`, and lists of them of one family."""
    words = _listed(key, value, "an address or a network, such as 192.0.2.0/24")
    family = Family.IPV6 if ":" in words[0] else Family.IPV4
    bits = family.address_bits
    intervals: list[Interval] = []
    for word in words:
        if (":" in word) != (family is Family.IPV6):
            raise Refused("it is IPv4 and IPv6 at once", word)
        if "-" in word and "/" not in word:
            intervals.append(address_range(word, bits))
            continue
        try:
            low, mask = network(word, bits)
        except HostName:
            raise Refused(f'"{word}" is a name; write its address', word) from None
        if (mask | mask - 1) != (1 << bits) - 1:
            raise Refused(f'"{word}": a mask with a gap; write a prefix length', word)
        if family is Family.IPV4 and word.partition("/")[0].count(".") != 3:
            raise Refused(f'"{word}" is no IPv4 address or network', word)
        intervals.append((low, low | ((1 << bits) - 1 ^ mask)))
    return family, tuple(intervals)


def _ports(key: str, value: str, found: Traffic) -> tuple[Interval, ...]:
    if found.protocol is None:
        raise Refused(f"{key} needs a protocol: {found.path} tcp {key} {value}".rstrip(), key)
    if found.protocol not in PORT_PROTOCOLS:
        raise Refused("this protocol has no ports", key)
    words = _listed(key, value, "a port, a range or a name: 443, 8000-8010, https")
    return tuple(services.port_range(word, found.protocol, "-" if "-" in word else ":") for word in words)


def _listed(key: str, value: str, looks: str) -> list[str]:
    words = [word for word in value.split(",") if word]
    if not words:
        raise Refused(f"{key} needs a value: {looks}", key)
    return words
