"""Random nft rules: every selector with an exact meaning in every form of nft, and some whose answer is open."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ruleaudit.model.fields import Family
from ruleaudit.model.from_nftables_selectors import Unknowable, looked_at
from ruleaudit.syntax.nft_tokens import CT_KEYS, FIELDS, META_KEYS
from tests.kernel import random_nft_values as values
from tests.kernel.random_nft_values import Kind

_TRANSPORTS = ("tcp", "udp", "udplite", "sctp", "dccp", "th")
_FLAGS = {
    "tcp flags": ("fin", "syn", "rst", "psh", "ack", "urg", "ecn", "cwr"),
    "ct state": ("new", "established", "related", "invalid", "untracked"),
}
#: tests in a form of their own that are exact all the same
_SPECIAL = {
    "ct direction": (
        "ct direction original",
        "ct direction reply",
        "ct direction != original",
        "ct direction { reply }",
    ),
    "ip frag-off": (
        *("ip frag-off & 0x1fff != 0", "ip frag-off & 0x1fff == 0", "ip frag-off and 0x3fff > 0"),
        *("ip frag-off & 0x3fff != 0", "ip frag-off & 0x3fff 0"),
    ),
    "exthdr frag": ("exthdr frag exists", "exthdr frag missing"),
}
#: what no ruleset knows; all that is asked is where the answer cannot be yes (an entry, a header that is missing)
_OPEN = (
    *(
        "ip ttl 64",
        "ip ttl != 64",
        "ip length > 40",
        "ip dscp != cs1",
        "ip6 hoplimit < 65",
        "ip6 length != 20",
        "ip id 1",
    ),
    *(
        "tcp sequence != 1",
        "tcp window { 65535, 1 }",
        "tcp doff 5",
        "tcp option maxseg exists",
        "udp length != 9",
        "udp checksum 0",
    ),
    *("icmp id != 0", "icmp sequence 0", "icmpv6 id 1", "icmpv6 packet-too-big != 7", "sctp vtag != 1"),
    "dccp type != request",
    *("esp spi != 1", "ah spi != 1", "comp cpi != 1", "gre protocol != ip", "udplite csumcov != 8", "meta length > 60"),
    *(
        "frag more-fragments 1",
        "frag id != 7",
        "ether saddr != 02:00:00:00:00:01",
        "ether type ip",
        "ether type != ip6",
    ),
    *(
        "meta iiftype ether",
        "meta priority != none",
        "meta iifgroup != 0",
        "meta skuid != 5",
        "meta cpu != 99",
        "rt type != 5",
    ),
    *(
        "ip hdrlength 5",
        "exthdr dst exists",
        "dst nexthdr tcp",
        "tcp flags & syn == syn ip ttl != 1",
        "meta random < 7",
    ),
    *("th dport 0", "th dport != 80", "th sport { 0-1000 }", "fib daddr . iif type local", "fib saddr oif != 0"),
    *("fib daddr type anycast", "fib saddr type { unreachable, local }", "fib daddr type != blackhole"),
)
_OPEN_TRACKED = (
    *(
        "ct mark 0",
        "ct mark != 1",
        "ct mark { 0, 1 }",
        "ct status confirmed",
        "ct status != snat",
        "ct status ! dnat",
        "ct zone 0",
    ),
    *('ct helper "ftp"', 'ct helper != "ftp"', "ct expiration > 0s", "ct original proto-dst != 1", "ct label != 1"),
    *(
        "ct id != 7",
        "ct bytes < 5",
        "ct original packets >= 0",
        "ct original zone 0",
        "ct protocol != 17",
        "ct mark & 1 == 0",
    ),
    *("ct original ip saddr != 192.0.2.77", "ct original ip6 daddr != ::7", "ct l3proto ipv4", "ct avgpkt >= 0"),
)


@dataclass(frozen=True)
class Drawn:
    """A rule without its counter.

    chains   those that its verdict map leads to
    counted  the name of its own counter; "" if it has none
    sets     declarations of the sets that it names
    """

    text: str
    kinds: tuple[str, ...]
    chains: tuple[str, ...]
    counted: str
    sets: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """As it is loaded."""
        return f'{self.text} counter name "{self.counted}"' if self.counted else self.text

    @property
    def counters(self) -> tuple[str, ...]:
        """The names of all that counts for it."""
        return (self.counted, *self.chains) if self.counted else self.chains


def selectors(family: Family) -> dict[str, Kind]:
    """What single values are compared with, by the selectors of a family; flags are apart."""
    four = family is Family.IPV4
    ip = "ip" if four else "ip6"
    icmp = "icmp" if four else "icmpv6"
    return {
        f"{ip} saddr": values.addresses(family),
        f"{ip} daddr": values.addresses(family),
        **{f"{header} {side}": values.PORT for header in _TRANSPORTS for side in ("sport", "dport")},
        "meta l4proto": values.PROTOCOL,
        ("ip protocol" if four else "ip6 nexthdr"): values.PROTOCOL,
        f"{icmp} type": values.ICMP_TYPE if four else values.ICMPV6_TYPE,
        f"{icmp} code": values.ICMP_CODE if four else values.ICMPV6_CODE,
        "meta mark": values.MARK,
        "meta pkttype": values.PACKET_TYPE,
        "fib saddr type": values.ADDRESS_TYPE,
        "fib daddr type": values.ADDRESS_TYPE,
        **{f"meta {side}name": values.INTERFACE_NAME for side in ("iif", "oif")},
        **{f"meta {side}": values.INTERFACE for side in ("iif", "oif")},
        "meta nfproto": values.NFPROTO,
        "meta protocol": values.ETHER_TYPE,
        "ether type": values.ETHER_TYPE,
        f"{ip} version": values.VERSION,
    }


def exact_selectors(family: Family) -> set[str]:
    """The selectors that the model gives an exact meaning in a family."""
    texts = [f"{header} {name}" for header, names in FIELDS.items() for name in names.split()]
    texts += [f"meta {key}" for key in META_KEYS] + [f"ct {key}" for key in CT_KEYS]
    texts += [f"fib {side} type" for side in ("saddr", "daddr")]
    return {t for t in texts if not isinstance(looked_at(t, family) or Unknowable, Unknowable | type)}


def covered(family: Family) -> set[str]:
    """The selectors that rules are drawn for."""
    return {*selectors(family), *_FLAGS}


def rules(rng: random.Random, family: Family, count: int, *, tracked: bool, inet: bool) -> Iterator[Drawn]:
    """Rules, every selector in turn; without `tracked` none that has conntrack look at packets."""
    frag = "ip frag-off" if family is Family.IPV4 else "exthdr frag"
    kinds = [*selectors(family), "tcp flags", frag, "open", "concatenation", "concatenation", "meta mark"]
    kinds += ["ct state", "ct state", "ct direction", "open entry"] if tracked else []
    kinds += ["other family"] if inet else []
    start = rng.randrange(len(kinds))
    for number in range(1, count + 1):
        yield _Maker(rng, family, tracked, number).rule(kinds[(start + number) % len(kinds)])


class _Maker:
    def __init__(self, rng: random.Random, family: Family, tracked: bool, number: int) -> None:
        self.rng, self.tracked, self.number = rng, tracked, number
        self.family = family
        self.selectors = selectors(family)
        self.sets: list[str] = []
        self.chains: list[str] = []
        self.itself = True

    def rule(self, kind: str) -> Drawn:
        rng = self.rng
        kinds = [kind]
        text = self._match(kind)
        if self.itself and rng.random() < 0.25:
            more = rng.choice([*self.selectors, *(["ct state"] if self.tracked else [])])
            kinds.append(more)
            text = f"{self._simple(more)} {text}" if rng.random() < 0.5 else f"{text} {self._simple(more)}"
        counted = f"r{self.number}" if self.itself else ""
        return Drawn(text, tuple(kinds), tuple(self.chains), counted, tuple(self.sets))

    def _match(self, kind: str) -> str:
        rng = self.rng
        match kind:
            case "open":
                return rng.choice(_OPEN)
            case "open entry":
                return rng.choice(_OPEN_TRACKED)
            case "other family":
                other = Family.IPV6 if self.family is Family.IPV4 else Family.IPV4
                foreign = [s for s in selectors(other) if s not in self.selectors]
                chosen = rng.choice(foreign)
                return f"{chosen} {rng.choice(('', '!= '))}{selectors(other)[chosen].one(rng)}"
            case "concatenation":
                return self._concatenation()
            case _ if kind in _SPECIAL:
                return rng.choice(_SPECIAL[kind])
            case _ if kind in _FLAGS:
                return self._flags(kind)
            case _:
                return self._of_value(kind, self.selectors[kind])

    def _simple(self, kind: str) -> str:
        if kind in _FLAGS:
            return f"{kind} {self.rng.choice(_FLAGS[kind])}"
        return f"{self._spelled(kind)} {self._not()}{self.selectors[kind].one(self.rng)}"

    def _spelled(self, selector: str) -> str:
        short = selector.removeprefix("meta ")
        return (
            short
            if short in ("mark", "iifname", "oifname", "iif", "oif", "pkttype") and self.rng.random() < 0.5
            else selector
        )

    def _not(self) -> str:
        return self.rng.choice(("", "", "", "== ", "!= ", "!= "))

    def _of_value(self, selector: str, kind: Kind) -> str:
        rng, left = self.rng, self._spelled(selector)
        form = rng.random()
        if form < 0.3:
            return f"{left} {self._not()}{kind.value(rng)}"
        if form < 0.5:
            return f"{left} {self._not()}{self._set(selector, kind.elements(rng, rng.randint(1, 4)))}"
        if form < 0.65:
            return f"{left} vmap {self._map(kind.elements(rng, rng.randint(1, 4)), left)}"
        if not kind.bits or form < 0.7:
            return f"{left} {self._not()}{kind.one(rng)}"
        if form < 0.8:
            return f"{left} {rng.choice(('<', '>', '<=', '>=', 'lt', 'ge'))} {kind.one(rng)}"
        mask, value = kind.one(rng), kind.one(rng)
        operator = rng.choice(("&", "&", "&", "and", "|", "^", "xor"))
        if rng.random() < 0.2:
            left = f"{left} & {kind.one(rng)} {rng.choice('|^')} {mask}"
        else:
            left = f"{left} {operator} {mask}"
        last = rng.random()
        if last < 0.15:
            return f"{left} {self._not()}{{ {', '.join(kind.elements(rng, 2, ranges=False))} }}"
        if last < 0.25:
            return f"{left} vmap {self._map(kind.elements(rng, 2, ranges=False), left)}"
        return f"{left} {rng.choice(('', '== ', '== ', '!= ', '> '))}{value}"

    def _set(self, typeof: str, elements: Sequence[str]) -> str:
        """In place, or with a name."""
        if self.rng.random() < 0.6:
            return f"{{ {', '.join(elements)} }}"
        flags = self.rng.choice(("flags interval\n", "flags interval\nauto-merge\n", "flags constant, interval\n"))
        if not any("-" in e or "/" in e or "*" in e for e in elements) and self.rng.random() < 0.5:
            flags = ""
        name = f"s{self.number}"
        self.sets.append(f"set {name} {{\ntypeof {typeof}\n{flags}elements = {{ {', '.join(elements)} }}\n}}\n")
        return f"@{name}"

    def _map(self, elements: Sequence[str], key: str = "") -> str:
        """A verdict map: an element may lead on in the rule, every other one to a chain that counts."""
        rng = self.rng
        rows = []
        self.itself = False
        # of a packet without ports `*` takes what stands in their place (docs/semantics.md)
        if rng.random() < 0.2 and "th " not in key:
            elements = [*elements, "*"]
        for number, element in enumerate(elements):
            if rng.random() < 0.2 and not self.itself:
                self.itself = True
                rows.append(f"{element} : continue")
            else:
                name = f"r{self.number}_{number}"
                self.chains.append(name)
                rows.append(f"{element} : jump {name}")
        return f"{{ {', '.join(rows)} }}"

    def _concatenation(self) -> str:
        rng = self.rng
        transport = rng.choice(_TRANSPORTS[:5])
        mine = [s for s in self.selectors if s.split()[0] not in _TRANSPORTS or s.startswith(transport)]
        mine = [s for s in mine if "version" not in s and not s.startswith("icmp")]
        parts = rng.sample([*mine, *(["ct state"] if self.tracked else [])], rng.choice((2, 2, 3)))
        columns = []
        for part in parts:
            kind = self.selectors.get(part)
            names = [n for n in kind.pool for _ in "x"] if kind else []
            pick = (
                [kind.value(rng) if kind else rng.choice(_FLAGS[part]) for _ in range(3)] if names or not kind else []
            )
            columns.append(pick)
        elements = [" . ".join(row) for row in zip(*columns, strict=True)]
        elements = list(dict.fromkeys(elements))[: rng.randint(1, 3)]
        left = " . ".join(self._spelled(p) for p in parts)
        if rng.random() < 0.35:
            return f"{left} vmap {self._map(elements, left)}"
        if rng.random() < 0.2 and not any(c in elements[0] for c in "-/*"):
            return f"{left} {rng.choice(('', '!= '))}{{ {elements[0]} }}"
        return f"{left} {rng.choice(('', '!= '))}{self._set(' . '.join(parts), elements)}"

    def _flags(self, selector: str) -> str:
        rng, names = self.rng, _FLAGS[selector]

        def some(count: int) -> list[str]:
            return rng.sample(names, rng.randint(1, count))

        def bits(count: int) -> str:
            chosen = some(count)
            return f"({' | '.join(chosen)})" if len(chosen) > 1 else chosen[0]

        def row(count: int) -> str:
            return ",".join(some(count))

        form = rng.randrange(11)
        if form < 2:
            return f"{selector} {row(3)}"
        if form < 4:
            return f"{selector} {rng.choice(('==', '!=', '!', '! '))} {rng.choice((row(1), row(2)))}"
        if form < 6:
            right = rng.choice(("0", bits(2), bits(1)))
            return f"{selector} & {bits(4)} {rng.choice(('==', '!=', ''))} {right}"
        if form == 6:
            return f"{selector} {rng.choice(('', '== ', '!= '))}{row(2)} / {row(4)}"
        if form == 7:
            return f"{selector} {rng.choice(('', '!= '))}{self._set(selector, self._words(names))}"
        if form == 8:
            return f"{selector} vmap {self._map(self._words(names))}"
        if form == 9:
            number = rng.choice(("0x2", "2", "8", "0x12", "0x40", "0x10", "4"))
            return f"{selector} {rng.choice(('', '== ', '!= ', '< ', '>= ', '! '))}{number}"
        mask = bits(4)
        return f"{selector} & {mask} {rng.choice(('', '!= '))}{{ {', '.join(self._words(names)[:2])} }}"

    def _words(self, names: Sequence[str]) -> list[str]:
        """Words of which no two are the same flags."""
        rng = self.rng
        found = {frozenset(rng.sample(names, rng.choice((1, 1, 1, 2)))) for _ in range(3)}
        return [" | ".join(sorted(one)) for one in sorted(found, key=sorted)]
