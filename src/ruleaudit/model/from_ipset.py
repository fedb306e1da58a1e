"""From the text of `ipset save` to sets whose contents are known (model.ipset)."""

from ruleaudit.matches import icmp, icmp6
from ruleaudit.model.fields import ICMP, ICMPV6, SCTP, TCP, UDP, UDPLITE, Family
from ruleaudit.model.ipset import Element, IpSet, Part, Value
from ruleaudit.source import SourceFile
from ruleaudit.syntax import services
from ruleaudit.syntax.addresses import address_range, network, numeric
from ruleaudit.syntax.ipset import ElementText, SetText, read
from ruleaudit.syntax.problem import Problem
from ruleaudit.syntax.refusal import Refused, did_you_mean

_PARTS = {
    "ip": Part.ADDRESS,
    "net": Part.ADDRESS,
    "port": Part.PORT,
    "iface": Part.INTERFACE,
    "mark": Part.MARK,
    "mac": Part.OTHER,
}
KINDS = (
    "bitmap:ip", "bitmap:ip,mac", "bitmap:port", "hash:ip", "hash:mac", "hash:ip,mac", "hash:net", "hash:net,net",
    "hash:ip,port", "hash:net,port", "hash:ip,port,ip", "hash:ip,port,net", "hash:ip,mark", "hash:net,port,net",
    "hash:net,iface", "list:set",
)  # fmt: skip
#: names that ipset took before version 6
_OLD = {
    "ipmap": "bitmap:ip", "macipmap": "bitmap:ip,mac", "portmap": "bitmap:port", "iphash": "hash:ip",
    "nethash": "hash:net", "ipporthash": "hash:ip,port", "ipportiphash": "hash:ip,port,ip",
    "ipportnethash": "hash:ip,port,net", "setlist": "list:set",
}  # fmt: skip

#: a set of networks holds at most this many networks for one range
_LONGEST_RANGE = 1 << 16


def sets_of(source: SourceFile) -> tuple[dict[str, IpSet], tuple[Problem, ...]]:
    """The sets of a file by name, and what is wrong with it."""
    texts, problems = read(source)
    sets: dict[str, IpSet] = {}
    more: list[Problem] = []
    for text in texts.values():
        found = _set(text, more)
        if found is not None:
            sets[text.name] = found
    return sets, tuple(sorted((*problems, *more), key=lambda p: p.span))


def _set(text: SetText, problems: list[Problem]) -> IpSet | None:
    kind = _OLD.get(text.kind, text.kind)
    if kind not in KINDS:
        problems.append(Problem(text.span, f'unknown type of set "{text.kind}"', did_you_mean(text.kind, KINDS)))
        return None
    names = kind.partition(":")[2].split(",")
    timeouts = text.options.get("timeout", "0") != "0" or any(
        e.options.get("timeout", "0") != "0" for e in text.elements
    )
    if kind == "list:set":
        members = tuple(e.text for e in text.elements)
        return IpSet(text.name, kind, (), members=members, fixed=not timeouts)
    parts = [_PARTS[n] for n in names]
    if any("physdev:" in e.text for e in text.elements):
        parts = [Part.OTHER if p is Part.INTERFACE else p for p in parts]
    family = None
    if Part.ADDRESS in parts:
        family = Family.IPV6 if text.options.get("family") == "inet6" else Family.IPV4
    bits = (family or Family.IPV4).address_bits
    mask, mark_mask = None, 0xFFFFFFFF
    elements: list[Element] = []
    try:
        if "netmask" in text.options:
            mask = network(f"{'::' if bits == 128 else '0.0.0.0'}/{text.options['netmask']}", bits)[1]
        elif "bitmask" in text.options:
            mask = numeric(text.options["bitmask"], bits)
        if "markmask" in text.options:
            mark_mask = int(text.options["markmask"], 0)
    except (Refused, ValueError) as error:
        problems.append(Problem(text.span, f"bad mask of set {text.name}: {error}"))
        return None
    if Part.OTHER not in parts:
        for element in text.elements:
            try:
                elements += _elements(element, names, parts, bits, kind)
            except (Refused, ValueError) as error:
                message = error.message if isinstance(error, Refused) else "not an element of this type"
                problems.append(Problem(element.span, f'bad element "{element.text}" of {kind}: {message}'))
    return IpSet(text.name, kind, tuple(parts), family, tuple(elements), (), mask, mark_mask, not timeouts)


def _elements(element: ElementText, names: list[str], parts: list[Part], bits: int, kind: str) -> list[Element]:
    words = element.text.split(",")
    if len(words) != len(names):
        raise Refused(f"it has {len(words)} parts, not {len(names)}")
    combinations: list[tuple[tuple[Value, ...], tuple[int, ...]]] = [((), ())]
    for word, name, part in zip(words, names, parts, strict=True):
        choices: list[tuple[Value, tuple[int, ...]]]
        match part:
            case Part.ADDRESS if name == "net":
                choices = [((low, high), (length,)) for low, high, length in _networks(word, bits)]
            case Part.ADDRESS:
                choices = [(_range(word, bits), ())]
            case Part.PORT:
                choices = [(value, ()) for value in _ports(word, kind)]
            case Part.INTERFACE:
                choices = [((word, "wildcard" in element.options), ())]
            case _:
                choices = [((int(word, 0), 0), ())]
        combinations = [((*values, v), (*level, *more)) for values, level in combinations for v, more in choices]
    return [Element(values, level, "nomatch" in element.options) for values, level in combinations]


def _range(word: str, bits: int) -> tuple[int, int]:
    """`address`, `first-last` or `network/prefix`: every address of it."""
    if "/" in word:
        value, mask = network(word, bits)
        return value, value | (((1 << bits) - 1) ^ mask)
    return address_range(word, bits)


def _networks(word: str, bits: int) -> list[tuple[int, int, int]]:
    """The networks of `network/prefix` or of a range: first and last address, and prefix length."""
    full = (1 << bits) - 1
    if "/" in word:
        value, mask = network(word, bits)
        return [(value, value | (full ^ mask), mask.bit_count())]
    low, high = address_range(word, bits)
    out: list[tuple[int, int, int]] = []
    while low <= high and len(out) < _LONGEST_RANGE:
        size = min(low & -low if low else 1 << bits, 1 << ((high - low + 1).bit_length() - 1))
        out.append((low, low + size - 1, bits - size.bit_length() + 1))
        low += size
    return out


def _ports(word: str, kind: str) -> list[tuple[int, tuple[int, int]]]:
    """`tcp:80-90`, `80` (TCP), `icmp:8/0`, `47:0`: protocol and ports, or ICMP type and code as one number."""
    name, colon, rest = word.rpartition(":")
    protocol = services.protocol(name) if colon else TCP
    if protocol in (ICMP, ICMPV6):
        number, code = _icmp(rest, icmp.NAMES if protocol == ICMP else icmp6.NAMES)
        return [(protocol, (number << 8 | code,) * 2)]
    if protocol not in (TCP, UDP, UDPLITE, SCTP):
        return [(protocol, (0, 0))]
    ports = services.port_range(rest, protocol, "-")
    # bitmap:port knows no protocol: it holds the ports of TCP and UDP
    return [(TCP, ports), (UDP, ports)] if kind == "bitmap:port" else [(protocol, ports)]


def _icmp(word: str, names: dict[str, icmp.Kind]) -> tuple[int, int]:
    """`8/0`, or a name, whose code is 0 where it has none."""
    kind, slash, code = word.partition("/")
    if slash:
        return int(kind), int(code)
    if word not in names:
        raise Refused(f'unknown ICMP type "{word}"', hint=did_you_mean(word, names))
    return names[word][0], names[word][1] or 0
