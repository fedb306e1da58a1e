"""Random whole rulesets in nft's language: tables of several families, base chains of several priorities at a hook,
chains that call each other, named sets and verdict maps.

The matches of their rules are those of `random_nft_rules`; what they do is drawn here.
"""

import random
import re
from collections.abc import Sequence

from ruleaudit.model.fields import Family
from tests.kernel import random_nft_rules
from tests.kernel.random_nft_rules import Drawn
from tests.kernel.random_rules import PORTS

_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
_PRIORITIES = (
    "raw",
    "-310",
    "-250",
    "mangle",
    "-150",
    "filter",
    "filter",
    "filter",
    "0",
    "10",
    "security",
    "filter - 5",
)
_USER = ("one", "two", "three")
_STATES = (
    "ct state established,related", "ct state invalid", "ct state new", "ct state untracked", "ct state != established",
    "ct state { new, untracked }", "ct state != { established, related }", "ct state & (established | related) == 0",
    "ct state ! established,related", "ct state new,untracked", "ct state != established,related",
    "ct state != invalid",
    "ct direction reply", "ct direction != reply",
)  # fmt: skip
#: behind a set of protocols with a range in it nft 1.0.6 does not ask for the protocol of a header any more
FORGOTTEN = re.compile(
    r"(?:protocol|l4proto|nexthdr) (?:== )?\{[^}]*-.*\}.* (?:tcp|udp(?:lite)?|sctp|dccp|icmp|icmpv6) "
)


def ruleset(rng: random.Random, family: Family) -> list[str]:
    """The lines of one ruleset: each rule, element and declaration is on a line of its own."""
    tracked = rng.random() < 0.85
    lines: list[str] = []
    for name in "abc"[: rng.choice((1, 2, 2, 3))]:
        table = rng.choice((family.value, "inet"))
        lines += _Maker(rng, family, table == "inet", tracked).table(f"{table} {name}")
    return lines


class _Maker:
    def __init__(self, rng: random.Random, family: Family, inet: bool, tracked: bool) -> None:
        self.rng, self.family, self.inet, self.tracked = rng, family, inet, tracked
        every = random_nft_rules.rules(rng, family, 60, tracked=tracked, inet=inet)
        self.drawn = [d for d in every if not d.kinds[0].startswith("open") and not FORGOTTEN.search(d.text)]
        self.declared: list[str] = []
        self.maps: list[str] = []

    def table(self, name: str) -> list[str]:
        rng = self.rng
        chains: list[str] = []
        for number in range(rng.randint(2, 6)):
            hook = rng.choice(_HOOKS)
            kind, priority = "filter", rng.choice(_PRIORITIES)
            if hook in ("prerouting", "output") and rng.random() < 0.3:
                priority = rng.choice(("raw", "-310", "-250"))
            if rng.random() < 0.08 and hook != "forward":
                kind, priority = "nat", rng.choice(("-100", "100", "110"))
            policy = " policy drop;" if kind == "filter" and rng.random() < 0.2 else ""
            chains += [f"chain base{number} {{", f"type {kind} hook {hook} priority {priority};{policy}"]
            chains += [self._rule(hook, priority, _USER) for _ in range(rng.randint(1, 7))] + ["}"]
        for number, user in enumerate(_USER):
            chains.append(f"chain {user} {{")
            chains += [self._rule("", "", _USER[number + 1 :]) for _ in range(rng.randint(1, 5))] + ["}"]
        return [f"table {name} {{", *self.declared, *chains, "}"]

    def _rule(self, hook: str, priority: str, callees: Sequence[str]) -> str:
        rng = self.rng
        roll = rng.random()
        if roll < 0.1:
            match = ""
        elif roll < 0.25 and self.tracked:
            match = rng.choice(_STATES)
        elif roll < 0.3 and self.tracked:
            verdicts = {
                s: self._word(callees) for s in rng.sample(("new", "established", "related", "invalid", "untracked"), 3)
            }
            return f"ct state vmap {{ {', '.join(f'{s} : {v}' for s, v in verdicts.items())} }}"
        elif roll < 0.4:
            match = f"{rng.choice(('tcp', 'udp', 'th'))} dport {rng.choice(('', '!= '))}{rng.choice(PORTS)}"
        elif roll < 0.48:
            match = f"meta mark {rng.choice(('1', '!= 1', '& 3 == 2', '2-16', '{ 0, 1, 3 }'))}"
        elif roll < 0.55:
            return self._named_map(callees)
        elif self.drawn:
            drawn = self.drawn.pop()
            self.declared += [line for text in drawn.sets for line in text.splitlines()]
            match = self._led(drawn, callees)
            if not drawn.counted:
                return match
        else:
            match = ""
        return (
            " ".join(f"{match} {self._statements(hook, priority)} {self._end(hook, callees, match)}".split())
            or "counter"
        )

    def _led(self, drawn: Drawn, callees: Sequence[str]) -> str:
        """The rule with verdicts of ours in its verdict map."""
        return re.sub(r"jump r\d+_\d+", lambda _: self._word(callees), drawn.text)

    def _word(self, callees: Sequence[str]) -> str:
        words = ["accept", "drop", "return", "continue", *(f"{how} {c}" for c in callees for how in ("jump", "goto"))]
        return self.rng.choice(words)

    def _named_map(self, callees: Sequence[str]) -> str:
        """A verdict map with a name; every rule has its own, as each may call other chains."""
        rng = self.rng
        name = f"m{len(self.maps)}"
        self.maps.append(name)
        ports = sorted(rng.sample(PORTS, rng.randint(1, 4)))
        elements = ", ".join(f"{port} : {self._word(callees)}" for port in ports)
        self.declared += [f"map {name} {{", "type inet_service : verdict;", f"elements = {{ {elements} }}", "}"]
        return f"{rng.choice(('tcp', 'udp'))} {rng.choice(('sport', 'dport'))} vmap @{name}"

    def _statements(self, hook: str, priority: str) -> str:
        rng, out = self.rng, []
        if rng.random() < 0.3:
            out.append("counter")
        if rng.random() < 0.1:
            out.append('log prefix "seen "')
        if rng.random() < 0.25:
            number = rng.choice(("1", "2", "3", "0x10", "0x12"))
            out.append(rng.choice((
                f"meta mark set {number}", f"meta mark set mark | {number}", f"meta mark set mark & {number}",
                f"meta mark set mark ^ {number}", f"meta mark set mark and 0xf0 xor {number}",
            )))  # fmt: skip
        early = hook in ("prerouting", "output") and priority in ("raw", "-310", "-250")
        if rng.random() < (0.35 if early else 0.05):
            out.append("notrack")
        return " ".join(out)

    def _end(self, hook: str, callees: Sequence[str], match: str) -> str:
        rng = self.rng
        ends = [
            "",
            "",
            "accept",
            "accept",
            "drop",
            "return",
            *(f"jump {c}" for c in callees),
            *(f"goto {c}" for c in callees),
        ]
        if hook in ("input", "forward", "output"):
            icmp = "icmp" if self.family is Family.IPV4 else "icmpv6"
            ends += ["reject", f"reject with {icmp} type {rng.choice(('port-unreachable', 'admin-prohibited'))}"]
            if self.inet:
                ends.append("reject with icmpx type host-unreachable")
            if match.startswith("tcp"):
                ends.append("reject with tcp reset")
        return rng.choice(ends)
