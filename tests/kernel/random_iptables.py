"""Random whole rulesets in the language of iptables-save: tables, policies, chains that call each other, sets.

The matches of their rules are those of `random_rules`; what they do is drawn here.
"""

import random
import re
from dataclasses import dataclass
from ipaddress import ip_network

from ruleaudit.model.fields import Family
from tests.kernel import random_rules
from tests.kernel.random_rules import ADDRESSES, PORTS

TABLES = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
_USER = ("ONE", "TWO", "THREE")
_STATES = (
    "-m conntrack --ctstate ESTABLISHED,RELATED", "-m conntrack --ctstate INVALID", "-m state --state NEW",
    "-m conntrack --ctstate UNTRACKED", "-m conntrack ! --ctstate ESTABLISHED,RELATED", "-m state ! --state INVALID",
    "-m conntrack --ctstate NEW,UNTRACKED", "-m conntrack --ctdir REPLY", "-m conntrack ! --ctstate UNTRACKED",
    "-m conntrack --ctstate ESTABLISHED --ctdir ORIGINAL", "-m conntrack --ctstate UNTRACKED --ctdir REPLY",
)  # fmt: skip
_SETS = {
    "hosts": ("hash:ip", ("src", "dst")),
    "nets": ("hash:net", ("src", "dst")),
    "ends": ("hash:ip,port", ("src,dst", "dst,dst", "src,src")),
    "ports": ("bitmap:port", ("src", "dst")),
}
_REJECTS = {
    Family.IPV4: ("icmp-port-unreachable", "icmp-host-prohibited", "icmp-admin-prohibited", "icmp-net-unreachable"),
    Family.IPV6: ("icmp6-port-unreachable", "icmp6-adm-prohibited", "icmp6-no-route", "icmp6-addr-unreachable"),
}


@dataclass(frozen=True)
class Whole:
    """A ruleset: its text, and that of the ipsets that it names."""

    text: str
    sets: str = ""


def ruleset(rng: random.Random, family: Family, program: str) -> Whole:
    """One ruleset, for iptables or ip6tables.

    iptables-nft has the chains of table security behind those of nat, at 150, where iptables-legacy has them at 50; a
    text does not say which of the two loads it.
    """
    return _Maker(rng, family).ruleset({"nat", "security"} if program == "iptables-nft" else set())


class _Maker:
    def __init__(self, rng: random.Random, family: Family) -> None:
        self.rng, self.family = rng, family
        self.tracked = rng.random() < 0.85
        self.drawn = [
            re.sub(r"(-[sd] [^ ,]+),\S+", r"\1", drawn.text)
            for drawn in random_rules.rules(rng, family, 120, tracked=self.tracked)
        ]

    def ruleset(self, not_together: set[str]) -> Whole:
        rng = self.rng
        tables = [t for t in TABLES if t == "filter" or rng.random() < (0.7 if t in ("raw", "mangle") else 0.3)]
        if not_together and not_together <= set(tables):
            tables.remove("security")
        rng.shuffle(tables)
        return Whole("".join(self._table(t) for t in tables), self._sets())

    def _table(self, table: str) -> str:
        rng, lines = self.rng, [f"*{table}"]
        for chain in TABLES[table]:
            policy = "DROP" if table != "nat" and rng.random() < 0.2 else "ACCEPT"
            lines.append(f":{chain} {policy} [0:0]")
        lines += [f":{chain} - [0:0]" for chain in _USER]
        for chain in TABLES[table]:
            lines += [self._rule(table, chain, _USER) for _ in range(rng.randint(0, 7))]
        for number, chain in enumerate(_USER):
            lines += [self._rule(table, chain, _USER[number + 1 :]) for _ in range(rng.randint(1, 5))]
        return "\n".join([*lines, "COMMIT", ""])

    def _rule(self, table: str, chain: str, callees: tuple[str, ...]) -> str:
        match = self._match(chain)
        return " ".join(f"-A {chain} {match} {self._target(table, callees, match)}".split())

    def _match(self, chain: str) -> str:
        rng = self.rng
        roll = rng.random()
        if roll < 0.12:
            return ""
        if roll < 0.3 and self.tracked:
            match = rng.choice(_STATES)
            return match if rng.random() < 0.6 else f"-p {rng.choice(('tcp', 'udp'))} {match}"
        if roll < 0.42:
            name = rng.choice(tuple(_SETS))
            sides = rng.choice(_SETS[name][1])
            protocol = "-p tcp " if name in ("ends", "ports") and rng.random() < 0.5 else ""
            return f"{protocol}-m set {rng.choice(('', '! '))}--match-set {name} {sides}"
        if roll < 0.52:
            return f"-p {rng.choice(('tcp', 'udp'))} --dport {rng.choice(PORTS)}"
        if roll < 0.6:
            return f"-m mark {rng.choice(('', '! '))}--mark {rng.choice(('0x1/0x1', '0x2/0x3', '0x0', '0x10/0xf0'))}"
        match = self.drawn.pop() if self.drawn else ""
        # iptables refuses the interface that a chain's packets do not have
        if chain in ("PREROUTING", "INPUT"):
            match = re.sub(r"(! )?-o \S+", "", match)
        if chain in ("OUTPUT", "POSTROUTING"):
            match = re.sub(r"(! )?-i \S+", "", match)
        return match

    def _target(self, table: str, callees: tuple[str, ...], match: str) -> str:
        rng = self.rng
        targets = ["", "-j ACCEPT", "-j ACCEPT", "-j RETURN", "-j LOG", self._mark(), self._mark()]
        if table != "nat":
            targets += ["-j DROP", "-j DROP"]
        if callees:
            targets += [f"{rng.choice(('-j', '-j', '-g'))} {rng.choice(callees)}" for _ in range(4)]
        if table == "raw":
            targets += ["-j CT --notrack"] * 3 + ["-j NOTRACK"]
            targets += ["-j CT --zone 1"] if self.tracked and rng.random() < 0.1 else []
        if table == "filter":
            targets += [f"-j REJECT --reject-with {rng.choice(_REJECTS[self.family])}", "-j REJECT"]
            if re.match(r"-p tcp\b", match):
                targets.append("-j REJECT --reject-with tcp-reset")
        return rng.choice(targets)

    def _mark(self) -> str:
        rng = self.rng
        number = rng.choice(("0x1", "0x2", "0x3", "0x10", "0x12", "0xff"))
        return "-j MARK " + rng.choice((
            f"--set-mark {number}", f"--set-xmark {number}/{rng.choice(('0xf', '0xf0', '0xffffffff', '0x1'))}",
            f"--or-mark {number}", f"--and-mark {number}", f"--xor-mark {number}",
        ))  # fmt: skip

    def _sets(self) -> str:
        rng, six = self.rng, self.family is Family.IPV6
        family = "inet6" if six else "inet"
        pool = [a for a in ADDRESSES[self.family] if not a.startswith(("240", "255"))]
        lines = []
        for name, (kind, _) in _SETS.items():
            options = "range 0-65535" if kind == "bitmap:port" else f"family {family}"
            lines.append(f"create {name} {kind} {options}")
            made: dict[object, str] = {}
            for _ in range(rng.randint(1, 5)):
                one, port = rng.choice(pool), rng.choice(PORTS)
                match kind:
                    case "hash:ip":
                        made[one] = one
                    case "hash:net":
                        nomatch = " nomatch" if rng.random() < 0.2 else ""
                        network = f"{one}/{rng.choice((32, 48, 64, 128) if six else (8, 16, 24, 32))}"
                        made[ip_network(network, strict=False)] = network + nomatch
                    case "hash:ip,port":
                        element = f"{one},{rng.choice(('tcp', 'udp'))}:{port}"
                        made[element] = element
                    case _:
                        made[port] = str(port)
            lines += [f"add {name} {element}" for element in made.values()]
        return "\n".join([*lines, ""])
