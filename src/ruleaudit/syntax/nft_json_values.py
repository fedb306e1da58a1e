"""Values of the tree as nft JSON: libnftables-json(5), EXPRESSIONS, in the spelling that nft 1.0 and later read."""

import re
from typing import Any

from ruleaudit.syntax.nft_json_text import is_flags
from ruleaudit.syntax.nft_tree import (
    Braces,
    Concat,
    Element,
    Lookup,
    Match,
    Operation,
    Range,
    Selector,
    SetName,
    Several,
    Value,
    Verdict,
    VerdictMap,
    Word,
)
from ruleaudit.syntax.nft_types import number
from ruleaudit.syntax.numbers import decimal

#: the greatest number in JSON that nft reads
_GREATEST = (1 << 63) - 1
_PREFIX = re.compile(r"([0-9.]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)/([0-9]+)")
_RAW = re.compile(r"@(ll|nh|th|ih),([0-9]+),([0-9]+)")
_RAW_OPTION = re.compile(r"tcp option (?:@([0-9]+),([0-9]+),([0-9]+)|([0-9]+))")
_EXTENSIONS = ("hbh", "rt", "rt0", "rt2", "srh", "frag", "dst", "mh")
_TUNNELS = ("gre", "gretap", "vxlan", "geneve")
_OF_RT = ("classid", "nexthop", "mtu", "ipsec")
_DURATION = re.compile(r"(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s?)?")


class Unwritable(Exception):
    """The tree holds too little of this, or JSON has no word for it."""


def whole(text: str) -> int:
    """A number as nft text has it; Unwritable for more than JSON has for nft.

    >>> whole("80"), whole("0x50"), whole("010")
    (80, 80, 8)
    """
    value = number(text)
    if value is None or value > _GREATEST:
        raise Unwritable(text)
    return value


def seconds(text: str) -> int:
    """`1h30m` as a number.

    >>> seconds("1h30m")
    5400
    """
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        raise Unwritable(text)
    counts = [decimal(count or "0") or 0 for count in found.groups()]
    return sum(count * size for count, size in zip(counts, (86_400, 3_600, 60, 1), strict=True))


def value(node: Value) -> Any:
    """Any value."""
    match node:
        case Word():
            return word(node)
        case Range(low, high):
            return {"range": [word(low), word(high)]}
        case SetName(name):
            return f"@{name}"
        case Concat(parts):
            return {"concat": [value(part) for part in parts]}
        case Several(parts):
            return [value(part) for part in parts]
        case Operation(sign, left, right) if sign != "/":
            return {sign: [value(left), value(right)]}
        case Braces(elements):
            return {"set": [element(each) for each in elements]}
        case Selector(text):
            return selector(text) if not text.startswith("jhash") else jhash(text)
        case Lookup(key, data):
            return {"map": {"key": value(key), "data": value(data)}}
    raise Unwritable(type(node).__name__)


def word(node: Word) -> Any:
    """A number, a prefix, or a string; what is or is not there is true or false."""
    if node.quoted:
        return node.text
    if node.text.isascii() and node.text.isdigit() and (node.text == "0" or node.text[0] != "0"):
        return node.text if (decimal(node.text) or 0) > _GREATEST else int(node.text)
    if node.text in ("exists", "missing"):
        return node.text == "exists"
    prefix = _PREFIX.fullmatch(node.text)
    if prefix is not None:
        return {"prefix": {"addr": prefix[1], "len": whole(prefix[2])}}
    return node.text


def element(node: Element) -> Any:
    """ELEM: the bare key where there is no more to say; with data a pair."""
    key = value(node.key)
    found: dict[str, Any] = {}
    for option in node.options:
        name, _, rest = option.partition(" ")
        if name in ("timeout", "expires"):
            found[name] = seconds(rest)
        elif name == "comment":
            found[name] = rest.strip('"')
        elif option == "counter":
            found[name] = None
        else:
            raise Unwritable(option)
    if found:
        key = {"elem": {"val": key, **found}}
    if node.data is None:
        return key
    return [key, verdict(node.data) if isinstance(node.data, Verdict) else value(node.data)]


def verdict(node: Verdict) -> Any:
    """VERDICT."""
    return {node.name: {"target": node.chain} if node.chain else None}


def comparison(node: Match) -> Any:
    """MATCH: the operator is always said; `value / mask` is an operation on the left."""
    left = value(node.left)
    sign, right = node.operator, node.right
    if isinstance(right, Operation) and right.operator == "/":
        left, right = {"&": [left, _mask(right.right)]}, right.left
        return {"match": {"op": sign or "==", "left": left, "right": _mask(right)}}
    if not sign:
        sign = "in" if is_flags(left) and not isinstance(right, Braces | SetName) else "=="
    return {"match": {"op": sign, "left": left, "right": value(right)}}


def _mask(node: Value) -> Any:
    """Flags as one value."""
    if not isinstance(node, Several):
        return value(node)
    first, *rest = (value(part) for part in node.parts)
    for each in rest:
        first = {"|": [first, each]}
    return first


def verdict_map(node: VerdictMap) -> Any:
    """VERDICT MAP."""
    return {"vmap": {"key": value(node.key), "data": value(node.map)}}


def selector(text: str) -> Any:
    """What is looked at.

    >>> selector("ct original ip saddr")
    {'ct': {'dir': 'original', 'key': 'ip saddr'}}
    """
    raw = _RAW.fullmatch(text)
    if raw is not None:
        return {"payload": {"base": raw[1], "offset": whole(raw[2]), "len": whole(raw[3])}}
    raw = _RAW_OPTION.fullmatch(text)
    if raw is not None:
        base, offset, length = raw[1] or raw[4], raw[2] or "0", raw[3] or "8"
        return {"tcp option": {"base": whole(base), "offset": whole(offset), "len": whole(length)}}
    first, *rest = text.split()
    match first, rest:
        case "meta", [key]:
            return {"meta": {"key": key}}
        case "ct", ["original" | "reply" as side, *key]:
            return {"ct": {"dir": side, "key": " ".join(key)}}
        case "ct", key:
            return {"ct": {"key": " ".join(key)}}
        case "fib", [*flags, result]:
            return {"fib": {"result": result, "flags": [flag for flag in flags if flag != "."]}}
        case "tcp" | "ip" as header, ["option", name, *field] if len(field) < 2:
            return {f"{header} option": {"name": name} | ({"field": field[0]} if field else {})}
        case "sctp", ["chunk", name, *field] if len(field) < 2:
            return {"sctp chunk": {"name": name} | ({"field": field[0]} if field else {})}
        case "dccp", ["option", kind]:
            return {"dccp option": {"type": whole(kind)}}
        case "exthdr", [name]:
            return {"exthdr": {"name": name}}
        case "rt", [*family, key] if key in _OF_RT:
            return {"rt": {"key": key} | ({"family": family[0]} if family else {})}
        case "socket", [key]:
            return {"socket": {"key": key}}
        case "osf", ["ttl", ttl, key]:
            return {"osf": {"key": key, "ttl": ttl}}
        case "osf", [key]:
            return {"osf": {"key": key}}
        case "numgen" | "symhash" as name, words:
            return {name: _generator(words)}
        case "ipsec", [side, *words]:
            return {"ipsec": _policy(side, words)}
        case name, [field] if name in _EXTENSIONS and name != "rt0":
            return {"exthdr": {"name": name, "field": field}}
        case "ether" | "vlan" | "arp" | "ip" | "icmp" | "igmp" | "ip6" | "icmpv6" | "ah" | "esp" | "comp", [*field]:
            return {"payload": {"protocol": first, "field": " ".join(field)}}
        case "udp" | "udplite" | "tcp" | "dccp" | "sctp" | "th", [field]:
            return {"payload": {"protocol": first, "field": field}}
    if first in _TUNNELS and len(rest) == 2:
        return {"payload": {"tunnel": first, "protocol": rest[0], "field": rest[1]}}
    raise Unwritable(text)


def jhash(text: str) -> Any:
    """HASH: `jhash ip saddr . ip daddr mod 2 seed 1`."""
    key, *words = re.split(r" (mod|seed|offset) ", text.removeprefix("jhash "))
    parts = [selector(part) for part in re.split(r" \. (?=[a-z@])", key)]
    found = {name: whole(given) for name, given in zip(words[::2], words[1::2], strict=True)}
    return {"jhash": {"expr": {"concat": parts} if len(parts) > 1 else parts[0]} | found}


def _generator(words: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"mode": words.pop(0)} if words[0] in ("inc", "random") else {}
    found |= {name: whole(number) for name, number in zip(words[::2], words[1::2], strict=True)}
    return found


def _policy(side: str, words: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {"dir": side}
    if words[0] == "spnum":
        found["spnum"], words = whole(words[1]), words[2:]
    if words[0] in ("ip", "ip6"):
        found["family"], words = words[0], words[1:]
    return found | {"key": words[0]}
