"""The packet language: `in tcp 198.51.100.7:4242 > 10.9.0.2:443 flags S iif eth0`.

    <path> <protocol> <source> > <destination> [key value]...

An address or a port that is `*` or left out is open. What is wrong is said with the word, and what was expected.
"""

import re

from ruleaudit.model.fields import ICMP, ICMPV6, PORT_PROTOCOLS, TCP, Family, Fragment, State
from ruleaudit.model.packet import AskedPacket
from ruleaudit.syntax import services
from ruleaudit.syntax.addresses import numeric
from ruleaudit.syntax.numbers import decimal
from ruleaudit.syntax.refusal import Refused, did_you_mean

PATHS = ("in", "out", "forward")
KEYS = ("iif", "oif", "flags", "type", "mark", "fragment", "state")
#: keys whose field in AskedPacket, and in Traffic, is called otherwise
FIELDS = {"type": "icmp", "state": "states"}
_FLAGS = "FSRPAU"
#: what people write who think of a chain, a hook or another tool
_PATH_WORDS = {
    "input": "in", "incoming": "in", "inbound": "in", "prerouting": "in", "ingress": "in",
    "output": "out", "outgoing": "out", "outbound": "out", "egress": "out", "postrouting": "out",
    "forwarded": "forward", "fwd": "forward", "routed": "forward",
}  # fmt: skip
_KEY_WORDS = {
    "from": "source > destination", "to": "source > destination", "saddr": "source > destination",
    "daddr": "source > destination", "sport": "address:port", "dport": "address:port",
    "iifname": "iif", "oifname": "oif", "ct": "state", "ctstate": "state", "icmp-type": "type",
}  # fmt: skip
_TYPES = {
    ICMP: {
        "echo-reply": (0, None), "destination-unreachable": (3, None), "network-unreachable": (3, 0),
        "host-unreachable": (3, 1), "port-unreachable": (3, 3), "fragmentation-needed": (3, 4),
        "redirect": (5, None), "echo-request": (8, None), "time-exceeded": (11, None),
        "parameter-problem": (12, None), "timestamp-request": (13, None), "timestamp-reply": (14, None),
    },
    ICMPV6: {
        "destination-unreachable": (1, None), "port-unreachable": (1, 4), "packet-too-big": (2, None),
        "time-exceeded": (3, None), "parameter-problem": (4, None), "echo-request": (128, None),
        "echo-reply": (129, None), "router-solicitation": (133, None), "router-advertisement": (134, None),
        "neighbour-solicitation": (135, None), "neighbour-advertisement": (136, None), "redirect": (137, None),
        "neighbor-solicitation": (135, None), "neighbor-advertisement": (136, None),
    },
}  # fmt: skip
_END = re.compile(r"(?:\[(?P<six>[^\]]*)\]|(?P<four>[^:\[\]]*))(?::(?P<port>[^:]*))?")


def asked_packet(text: str) -> AskedPacket:
    """Raises Refused for a text that names no packet; its `word` is what is wrong."""
    words = text.split()
    if not words:
        raise Refused("a packet looks like: in tcp 198.51.100.7:4242 > 10.9.0.2:443 flags S")
    path_word(words[0])
    if len(words) < 2 or words[1] == ">":
        raise Refused("the protocol is missing: tcp, udp, icmp, icmpv6 or a number")
    protocol = None if words[1] == "*" else protocol_word(words[1])
    ends = words[2:]
    if ">" not in ends:
        glued = next((word for word in ends if ">" in word), None)
        if glued is not None:
            raise Refused(f'"{glued}": a blank stands before and behind the ">"', glued)
        raise Refused('" > " is missing between source and destination', words[-1], f"{' '.join(words[:2])} * > *:443")
    at = ends.index(">")
    if at > 1:
        raise Refused(f'unexpected "{ends[1]}": one address stands before the ">"', ends[1])
    source = _end(ends[0] if at else "*", protocol)
    rest = ends[at + 1 :]
    has_target = bool(rest) and rest[0] not in (*KEYS, *_KEY_WORDS)
    target = _end(rest[0] if has_target else "*", protocol)
    families = {f for f in (source[0], target[0], {ICMP: Family.IPV4, ICMPV6: Family.IPV6}.get(protocol or 0)) if f}
    if len(families) > 1:
        raise Refused("it is IPv4 and IPv6 at once", rest[0] if has_target else words[1])
    keys = _keys(rest[1:] if has_target else rest, protocol)
    family = families.pop() if families else None
    return AskedPacket(
        text,
        words[0],
        protocol,
        family,
        source[1],
        source[2],
        target[1],
        target[2],
        **keys,  # type: ignore[arg-type]
    )


def path_word(word: str) -> str:
    """The path that a word names. Raises Refused."""
    if word in PATHS:
        return word
    meant = _PATH_WORDS.get(word.lower())
    hint = f"did you mean {meant}?" if meant else did_you_mean(word, PATHS)
    raise Refused(f'"{word}" is no path: in, out or forward', word, hint)


def protocol_word(word: str) -> int:
    """The number of a protocol. Raises Refused."""
    if "," in word:
        raise Refused(f'"{word}": one protocol at a time, such as {word.split(",")[0] or "tcp"}', word)
    if numeric(word, 128) is not None or word.count(".") == 3:
        raise Refused(f'"{word}" stands where the protocol belongs: tcp, udp, icmp, icmpv6 or a number', word)
    return services.protocol(word)


def _end(word: str, protocol: int | None) -> tuple[Family | None, int | None, int | None]:
    """Family, address and port of one side."""
    if word == "*":
        return None, None, None
    six = numeric(word, 128)
    if six is not None:
        return Family.IPV6, six, None
    found = _END.fullmatch(word)
    if found is None:
        raise Refused(f'"{word}" is no address: 192.0.2.1:80, [2001:db8::1]:80 or *:80', word)
    port = None
    if found["port"] not in (None, "", "*"):
        if protocol is not None and protocol not in PORT_PROTOCOLS:
            raise Refused("this protocol has no ports", word)
        port = services.port(found["port"], protocol)
    address = found["six"] if found["six"] is not None else found["four"]
    if address in ("", "*"):
        return None, None, port
    family = Family.IPV6 if found["six"] is not None else Family.IPV4
    value = numeric(address, family.address_bits)
    if value is None or (family is Family.IPV4 and address.count(".") != 3):
        hint = "one packet has one address, not a network" if "/" in address or "-" in address else ""
        raise Refused(f'"{address}" is no {"IPv6" if family is Family.IPV6 else "IPv4"} address', address, hint)
    return family, value, port


def _keys(words: list[str], protocol: int | None) -> dict[str, object]:
    out: dict[str, object] = {}
    at = 0
    while at < len(words):
        key = words[at]
        if key not in KEYS:
            meant = _KEY_WORDS.get(key)
            hint = f"here it is written {meant}" if meant else did_you_mean(key, KEYS)
            raise Refused(f'unknown key "{key}"', key, hint or f"known: {', '.join(KEYS)}")
        name = FIELDS.get(key, key)
        if name in out:
            raise Refused(f"{key} is given twice", key)
        out[name] = key_value(key, words[at + 1] if at + 1 < len(words) else "", protocol)
        at += 2
    return out


#: what a value looks like
_VALUES = {
    "iif": "the name of an interface, such as eth0", "oif": "the name of an interface, such as eth0",
    "flags": f"letters of {_FLAGS}, or none", "type": "8, 3/4 or a name", "mark": "a number, such as 0x1",
    "fragment": "first or later", "state": ", ".join((*(state.value for state in State), "any")),
}  # fmt: skip


def key_value(key: str, word: str, protocol: int | None) -> object:
    """What a key of KEYS and its word say. Raises Refused."""
    if not word:
        raise Refused(f"{key} needs a value: {_VALUES[key]}", key)
    match key:
        case "flags" if protocol != TCP:
            raise Refused("flags are for tcp only", key)
        case "flags":
            if word != "none" and set(word) - set(_FLAGS):
                raise Refused(f'bad flags "{word}": {_VALUES[key]}', word, _flags_meant(word))
            return sum(1 << place for place, letter in enumerate(_FLAGS) if word != "none" and letter in word)
        case "type":
            return _type(word, protocol)
        case "mark":
            mark = services.number(word)
            if mark is None or mark > 0xFFFFFFFF:
                raise Refused(f'bad mark "{word}": a number, such as 0x1, below 0x100000000', word)
            return mark
        case "fragment":
            if word not in ("first", "later"):
                hint = did_you_mean(word, ("first", "later"))
                raise Refused(f'bad fragment "{word}": first or later', word, hint)
            return Fragment.FIRST if word == "first" else Fragment.LATER
        case "state":
            names = (*(state.value for state in State), "any")
            if word not in names:
                raise Refused(f'unknown state "{word}": {_VALUES[key]}', word, did_you_mean(word, names))
            return () if word == "any" else (State(word),)
        case _:
            return word


def _flags_meant(word: str) -> str:
    """`syn,ack` and `sa` as they are written here."""
    names = {"FIN": "F", "SYN": "S", "RST": "R", "PSH": "P", "ACK": "A", "URG": "U"}
    words = [w for w in re.split("[,|+]", word.upper()) if w]
    letters = "".join(names.get(w, w) for w in words)
    return f"did you mean {letters}?" if letters and not set(letters) - set(_FLAGS) else ""


def _type(word: str, protocol: int | None) -> tuple[int, int | None]:
    names = _TYPES.get(protocol or 0)
    if names is None:
        raise Refused("type is for icmp and icmpv6 only", "type")
    if word in names:
        return names[word]
    first, slash, second = word.partition("/")
    kind, code = decimal(first), decimal(second)
    if kind is None or kind > 255 or (slash and (code is None or code > 255)):
        raise Refused(f'bad ICMP type "{word}": 8, 3/4 or a name', word, did_you_mean(word, names))
    return kind, code
