"""Synthetic nft rulesets of a given size, each as text and as JSON; no rule has a set of its own in braces.

nft makes a set of the kernel's for every pair of braces, and thousands of them in one transaction stop the machine.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rulesets import dotted, scattered

#: a test: what is looked at, and its value; a list of values stands for any of them
Test = tuple[str, str | int | list[str]]


@dataclass(frozen=True)
class Rule:
    """Tests and a verdict: accept, drop, or the name of a chain to jump to."""

    tests: tuple[Test, ...]
    verdict: str

    @property
    def text(self) -> str:
        """As nft writes it."""
        words = [f"{left} {','.join(right) if isinstance(right, list) else right}" for left, right in self.tests]
        return " ".join([*words, self.verdict if self.verdict in ("accept", "drop") else f"jump {self.verdict}"])

    @property
    def json(self) -> list[object]:
        """As nft writes it in JSON."""
        tests = [{"match": {"op": "in" if isinstance(v, list) else "==", "left": _left(s), "right": v}}
                 for s, v in self.tests]  # fmt: skip
        last = {self.verdict: None} if self.verdict in ("accept", "drop") else {"jump": {"target": self.verdict}}
        return [*tests, last]


def _left(selector: str) -> object:
    header, name = selector.split()
    return {header: {"key": name}} if header in ("ct", "meta") else {"payload": {"protocol": header, "field": name}}


@dataclass(frozen=True)
class Elements:
    """A named set of IPv4 addresses, or of intervals that nft merges."""

    values: Sequence[str]
    intervals: bool


@dataclass(frozen=True)
class Ruleset:
    """One table: sets and chains by name; the chain `input` is the base chain."""

    chains: dict[str, list[Rule]]
    sets: dict[str, Elements] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The ruleset in nft's language."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield "table inet filter {"
        for name, elements in self.sets.items():
            yield f"\tset {name} {{"
            yield "\t\ttype ipv4_addr"
            if elements.intervals:
                yield "\t\tflags interval"
                yield "\t\tauto-merge"
            yield f"\t\telements = {{ {f',{chr(10)}			     '.join(elements.values)} }}"
            yield "\t}"
        for name, rules in self.chains.items():
            yield f"\tchain {name} {{"
            if name == "input":
                yield "\t\ttype filter hook input priority filter; policy drop;"
            yield from (f"\t\t{rule.text}" for rule in rules)
            yield "\t}"
        yield "}"

    @property
    def json(self) -> str:
        """The ruleset as `nft -j list ruleset` prints it."""
        where = {"family": "inet", "table": "filter"}
        objects: list[object] = [{"table": {"family": "inet", "name": "filter"}}]
        for name, elements in self.sets.items():
            made: dict[str, object] = {**where, "name": name, "type": "ipv4_addr"}
            if elements.intervals:
                made |= {"flags": ["interval"], "auto-merge": True}
            objects.append({"set": made | {"elem": [_element(value) for value in elements.values]}})
        for name in self.chains:
            hook = {"type": "filter", "hook": "input", "prio": 0, "policy": "drop"} if name == "input" else {}
            objects.append({"chain": {**where, "name": name, **hook}})
        for name, rules in self.chains.items():
            objects += [{"rule": {**where, "chain": name, "expr": rule.json}} for rule in rules]
        return json.dumps({"nftables": [{"metainfo": {"json_schema_version": 1}}, *objects]})


def _element(value: str) -> object:
    if "-" in value:
        return {"range": value.split("-")}
    address, slash, length = value.partition("/")
    return {"prefix": {"addr": address, "len": int(length)}} if slash else value


_FIRST = (
    Rule((("meta iifname", "lo"),), "accept"),
    Rule((("ct state", ["invalid"]),), "drop"),
    Rule((("ct state", ["established", "related"]),), "accept"),
    Rule((("icmp type", "echo-request"),), "accept"),
)
_LAST = (
    Rule((("ip saddr", "10.9.1.0"), ("tcp dport", 22), ("ct state", ["new"])), "accept"),
    Rule((("tcp dport", 80), ("ct state", ["new"])), "accept"),
    Rule((("tcp dport", 443), ("ct state", ["new"])), "accept"),
)


def blocklist(rules: int) -> Ruleset:
    """A web server behind a list of blocked sources."""
    blocked = (Rule((("ip saddr", dotted(scattered(n))),), "drop") for n in range(rules - 7))
    return Ruleset({"input": [*_FIRST, *blocked, *_LAST]})


def acl(rules: int) -> Ruleset:
    """A host with services that are each open to one source and on one of its addresses."""

    def services() -> Iterable[Rule]:
        for n in range(rules - 7):
            ends = ("ip saddr", dotted(scattered(n))), ("ip daddr", f"10.9.{n % 7}.{n % 251}")
            yield Rule((*ends, ("tcp dport", 1024 + n * 31 % 60000), ("ct state", ["new"])), "accept")

    return Ruleset({"input": [*_FIRST, *services(), *_LAST]})


def chains(rules: int) -> Ruleset:
    """A chain for each of some ports, with the sources that may use it."""
    wide = 500
    parts: dict[str, list[Rule]] = {}
    for n in range(rules - 7):
        port = 1024 + n // wide
        rule = Rule((("ip saddr", dotted(scattered(n))),), "accept")
        parts.setdefault(f"port-{port}", []).append(rule)
    jumps = [Rule((("tcp dport", int(name.removeprefix("port-"))),), name) for name in parts]
    return Ruleset({**parts, "input": [*_FIRST, *jumps, *_LAST]})


def addresses(elements: int) -> Ruleset:
    """A web server behind a named set of addresses."""
    values = [dotted(scattered(n)) for n in range(elements)]
    return _with_set(Elements(values, intervals=False))


def intervals(elements: int) -> Ruleset:
    """A web server behind a named set of prefixes and ranges, some of which overlap: nft merges them."""

    def values() -> Iterable[str]:
        for n in range(elements):
            low = scattered(n) & ~0xF
            yield f"{dotted(low)}/{28 + n % 5}" if n % 4 else f"{dotted(low)}-{dotted(low + 1 + n % 40)}"

    return _with_set(Elements([*values()], intervals=True))


def _with_set(blocked: Elements) -> Ruleset:
    return Ruleset({"input": [*_FIRST, Rule((("ip saddr", "@blocked"),), "drop"), *_LAST]}, {"blocked": blocked})


def verdict_map(elements: int) -> str:
    """The services of a cluster: a map from address and port to the chain of each; as text alone."""
    number = min(elements, 500)
    lines = ["table ip bench {"]
    for n in range(number):
        lines.append(f"\tchain service{n} {{\n\t\tmeta l4proto tcp dnat to {dotted(0x0AF40001 + n)}:8080\n\t}}")
    pairs = (f"{dotted(0x0A600000 + n)} . {80 + n % 3} : goto service{n % number}" for n in range(elements))
    lines.append("\tmap services {\n\t\ttype ipv4_addr . inet_service : verdict")
    lines.append(f"\t\telements = {{ {(',' + chr(10) + chr(9) * 3).join(pairs)} }}\n\t}}")
    lines.append("\tchain prerouting {\n\t\ttype nat hook prerouting priority dstnat; policy accept;")
    lines.append("\t\tip daddr . tcp dport vmap @services\n\t}\n}")
    return "\n".join(lines) + "\n"


def tables(rules: int) -> str:
    """Tenants with a table of fifty rules each, each on the way in; as text alone."""
    lines = []
    for number in range(max(1, rules // 50)):
        lines.append(f"table {('ip', 'ip6', 'inet')[number % 3]} tenant{number} {{")
        lines.append("\tchain raw_in {")
        lines.append(f"\t\ttype filter hook prerouting priority {-300 + number % 50}; policy accept;")
        if number % 4 == 0:
            lines.append(f"\t\ttcp dport {1000 + number} notrack")
        lines.append("\t}\n\tchain input {")
        lines.append(f"\t\ttype filter hook input priority {number % 100}; policy accept;")
        lines.append("\t\tct state established,related accept")
        for n in range(48):
            port = 1024 + (number * 48 + n) * 31 % 60000
            lines.append((
                f"\t\ttcp dport {port} counter packets 0 bytes 0 accept",
                f'\t\tiifname "eth{n % 4}" udp dport {port}-{port + 10} drop',
                f"\t\ttcp dport {port} ct count over {1 + n} reject with tcp reset",
                f'\t\tmeta mark {port:#x} limit rate 5/minute log prefix "tenant{number} "',
            )[n % 4])  # fmt: skip
        lines.append("\t}\n}")
    return "\n".join(lines) + "\n"


#: each shape of one table
KINDS: dict[str, Callable[[int], Ruleset]] = {
    "blocklist": blocklist,
    "acl": acl,
    "chains": chains,
    "addresses": addresses,
    "intervals": intervals,
}
#: each shape that is written as text alone
TEXTS: dict[str, Callable[[int], str]] = {"verdict map": verdict_map, "tables": tables}
