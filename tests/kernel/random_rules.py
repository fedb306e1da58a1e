"""Random rules whose meaning is exact: the text of every match that says something definite about one packet."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ruleaudit.matches import MATCHES, conntrack, icmp, icmp6, pkttype
from ruleaudit.model.condition import Opaque, tests
from ruleaudit.model.fields import Family

Text = Callable[[random.Random], str]

ADDRESSES = {
    Family.IPV4: (
        *("10.9.0.1", "10.9.0.254", "10.9.1.254", "10.9.1.2", "10.9.0.255", "10.64.3.7", "10.100.200.1", "10.64.3.8"),
        *("198.51.100.7", "203.0.113.200", "172.16.5.4", "224.0.0.1", "239.1.2.3", "255.255.255.255", "240.0.0.1"),
    ),
    Family.IPV6: (
        *("fd09::1", "fd09::fe", "fd09:1::fe", "fd09:1::2", "fd64::3:7", "fd64:1:2::8", "2001:db8::7", "2001:db8:9::9"),
        *("2001:db8:ffff::1", "ff02::1", "ff05::1:3", "fe80::7", "3fff::1"),
    ),
}
_MASKS = {
    Family.IPV4: ("255.0.255.0", "0.0.0.255", "255.255.0.7", "0.255.0.0", "255.255.255.0", "127.255.255.255"),
    Family.IPV6: ("ffff::ffff", "::ff", "ffff:0:ffff::", "ffff:ffff::", "f0ff::f"),
}
INTERFACES = ("r0", "r1", "r+", "r0+", "r", "lo", "l+", "eth0", "eth+", "+", "r11")
PORTS = (0, 1, 22, 53, 79, 80, 81, 443, 1023, 1024, 4242, 32768, 65534, 65535)
_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")
_NOT_IN_IPTABLES = ("udplite",)  #: the kernel has the match, iptables 1.8.9 has no way to write it
_NUMBERS = {"tcp": 6, "udp": 17, "udplite": 136, "sctp": 132, "dccp": 33}
_PROTOCOLS = ("tcp", "udp", "udplite", "sctp", "dccp", "gre", "esp", "47", "112", "all", "0", "255", "igmp")


@dataclass(frozen=True)
class Drawn:
    """A rule without its target, and the extensions in it (`general` where there is none)."""

    text: str
    kinds: tuple[str, ...]


def exact_extensions(family: Family) -> set[str]:
    """The match extensions of a family that have an exact meaning for some options, and that iptables can load."""
    return {
        e.name
        for e in MATCHES.values()
        if e.family in (None, family) and e.name not in _NOT_IN_IPTABLES
        for example in e.examples
        if example.condition is not None and not any(isinstance(t, Opaque) for t in tests(example.condition))
    }


def rules(rng: random.Random, family: Family, count: int, *, tracked: bool) -> Iterator[Drawn]:
    """Rules, every kind in turn; without `tracked` none that has conntrack look at packets."""
    kinds = [k for k in _matches(family) if tracked or k not in ("conntrack", "state")]
    for number in range(count):
        kind = (*kinds, "general", "general")[number % (len(kinds) + 2)]
        yield _rule(rng, family, kind, tracked)


def covered(family: Family) -> set[str]:
    """The extensions that rules are drawn for."""
    return set(_matches(family))


def _rule(rng: random.Random, family: Family, kind: str, tracked: bool) -> Drawn:
    protocol, text = "", ""
    kinds = [kind]
    if kind == "general":
        text = _general(rng, family, rng.choice((1, 1, 2)))
        if rng.random() < 0.3:
            protocol = (
                _maybe_not(rng) + "-p " + rng.choice((*_PROTOCOLS, "icmp" if family is Family.IPV4 else "icmpv6"))
            )
            protocol = protocol.replace("! -p all", "-p all").replace("! -p 0", "-p 0")
    else:
        make = _matches(family)[kind]
        text = f"-m {kind} {make(rng)}"
        if kind in _NUMBERS:
            protocol = f"-p {kind}"
        elif kind == "multiport":
            protocol = f"-p {rng.choice(tuple(_NUMBERS))}"
        elif kind in ("icmp", "icmp6"):
            protocol = "-p icmp" if kind == "icmp" else "-p icmpv6"
        elif rng.random() < 0.25:
            protocol = f"-p {rng.choice(('tcp', 'udp'))}"
        if rng.random() < 0.2:
            text = f"{_general(rng, family, 1)} {text}"
        if rng.random() < 0.15:
            more = rng.choice([k for k in ("mark", "addrtype", "pkttype", "iprange", "state") if k != kind])
            if more != "state" or tracked:
                kinds.append(more)
                text += f" -m {more} {_matches(family)[more](rng)}"
    return Drawn(" ".join(f"{protocol} {text}".split()), tuple(kinds))


def _maybe_not(rng: random.Random) -> str:
    return "! " if rng.random() < 0.35 else ""


def _general(rng: random.Random, family: Family, count: int) -> str:
    choices = ["-s", "-d", "-i", "-o", *(["-f"] if family is Family.IPV4 else [])]
    words: list[str] = []
    lists = False
    for option in rng.sample(choices, count):
        negated = _maybe_not(rng)
        if option == "-f":
            words.append(f"{negated}-f")
        elif option in "-i-o":
            words.append(f"{negated}{option} {rng.choice(INTERFACES)}")
        elif rng.random() < 0.25 and not any(w.startswith("! ") for w in words):
            lists = True
            words.append(f"{option} {','.join(_network(rng, family) for _ in range(rng.randint(2, 3)))}")
        else:
            network = _network(rng, family)
            # iptables-nft refuses what excludes every address, both refuse ! beside several addresses
            words.append(f"{'' if lists or network.endswith('/0') else negated}{option} {network}")
    return " ".join(words)


def _network(rng: random.Random, family: Family) -> str:
    address, bits = rng.choice(ADDRESSES[family]), family.address_bits
    form = rng.random()
    if form < 0.3:
        return address
    if form < 0.45:
        return f"{address}/{rng.choice(_MASKS[family])}"
    whole, half = (8, 16, 23, 24, 25, 28, 30, 31), (16, 32, 48, 64, 65, 96, 112, 127)
    return f"{address}/{rng.choice((0, 1, bits - 1, bits, *(whole if bits == 32 else half)))}"


def _range(rng: random.Random) -> str:
    low, high = sorted(rng.choices(PORTS, k=2))
    return rng.choice((f"{low}", f"{low}:{high}", f"{low}:", f":{high}", f"{low}:{low}", "0:65535"))


def _ports(rng: random.Random) -> str:
    options = rng.sample(("--sport", "--dport"), rng.choice((0, 1, 1, 1, 2)))
    return " ".join(f"{_maybe_not(rng)}{option} {_range(rng)}" for option in options)


def _tcp(rng: random.Random) -> str:
    def flags() -> str:
        chosen = rng.sample(_FLAGS, rng.randint(0, 3))
        return rng.choice((",".join(chosen), ",".join(chosen), "ALL", "NONE")) or "NONE"

    form = rng.random()
    if form < 0.4:
        return _ports(rng)
    if form < 0.6:
        return f"{_ports(rng)} {_maybe_not(rng)}--syn"
    mask = flags()
    inside = mask.split(",") if mask not in ("ALL", "NONE") else list(_FLAGS)
    value = ",".join(rng.sample(inside, rng.randint(1, len(inside)))) if rng.random() < 0.7 else flags()
    return f"{_maybe_not(rng)}--tcp-flags {mask} {value}"


def _multiport(rng: random.Random) -> str:
    words = []
    for _ in range(rng.randint(1, 4)):
        low, high = sorted(rng.choices(PORTS, k=2))
        words.append(f"{low}:{high}" if low < high and rng.random() < 0.3 else f"{low}")
    return f"{_maybe_not(rng)}{rng.choice(('--sports', '--dports', '--ports'))} {','.join(words)}"


def _icmp(rng: random.Random) -> str:
    name = rng.choice((*icmp.NAMES, "any"))
    number = f"{rng.choice((0, 3, 5, 8, 11, 12, 13, 17, 18, 40, 254))}"
    word = rng.choice((name, number, f"{number}/{rng.choice((0, 1, 4, 13, 255))}", "any", "255"))
    return f"{_maybe_not(rng)}--icmp-type {word}"


def _icmp6(rng: random.Random) -> str:
    number = f"{rng.choice((0, 1, 2, 3, 4, 127, 128, 129, 133, 135, 143, 254, 255))}"
    names = [name for name in icmp6.NAMES if not name.startswith("mld")]  # these came after iptables 1.8.9
    word = rng.choice((rng.choice(names), number, f"{number}/{rng.choice((0, 1, 4, 255))}"))
    return f"{_maybe_not(rng)}--icmpv6-type {word}"


def _iprange(family: Family) -> Text:
    def make(rng: random.Random) -> str:
        words = []
        for option in rng.sample(("--src-range", "--dst-range"), rng.choice((1, 1, 2))):
            low = rng.choice([a for a in ADDRESSES[family] if a[-1] in "1237"])
            words.append(f"{_maybe_not(rng)}{option} {rng.choice((low, f'{low}-{low[:-1]}9', f'{low}-{low}'))}")
        return " ".join(words)

    return make


def _mark(rng: random.Random) -> str:
    value, mask = (rng.choice((0, 1, 2, 0x10, 0xFF, 0x8000, 0x4001, 0x80000000, 0xFFFFFFFF)) for _ in "vm")
    word = rng.choice((f"{value}", f"{value:#x}/{mask:#x}", f"{value & mask:#x}/{mask:#x}", f"{value & mask}/{mask}"))
    return f"{_maybe_not(rng)}--mark {word}"


def _addrtype(family: Family) -> Text:
    names = ("UNICAST", "LOCAL", "MULTICAST", *(("BROADCAST",) if family is Family.IPV4 else ()))

    def make(rng: random.Random) -> str:
        words = []
        for option in rng.sample(("--src-type", "--dst-type"), rng.choice((1, 1, 2))):
            chosen = rng.sample(names, rng.choice((1, 1, 2, 3)))
            words.append(f"{_maybe_not(rng)}{option} {','.join(chosen)}")
        return " ".join(words)

    return make


def _pkttype(rng: random.Random) -> str:
    return f"{_maybe_not(rng)}--pkt-type {rng.choice((*pkttype.NAMES, 'otherhost'))}"


def _states(rng: random.Random) -> str:
    return ",".join(rng.sample(conntrack.STATES[:5], rng.choice((1, 1, 2, 2, 3, 5))))


def _conntrack(rng: random.Random) -> str:
    state = f"{_maybe_not(rng)}--ctstate {_states(rng)}"
    direction = f"--ctdir {rng.choice(('ORIGINAL', 'REPLY'))}"
    return rng.choice((state, state, state, direction, f"{state} {direction}"))


def _matches(family: Family) -> dict[str, Text]:
    """The options of each extension."""
    return {
        "tcp": _tcp,
        "udp": _ports,
        "sctp": _ports,
        "dccp": _ports,
        "multiport": _multiport,
        **({"icmp": _icmp} if family is Family.IPV4 else {"icmp6": _icmp6}),
        "iprange": _iprange(family),
        "mark": _mark,
        "addrtype": _addrtype(family),
        "pkttype": _pkttype,
        "conntrack": _conntrack,
        "state": lambda rng: f"{_maybe_not(rng)}--state {_states(rng)}",
        "recent": lambda rng: f"{_maybe_not(rng)}--set --name seen --rsource",
        "comment": lambda rng: '--comment "from the office"',
    }
