"""The rules of the iptables test suite (`extensions/*.t`), as far as they are for iptables and ip6tables."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ruleaudit.model.fields import Family
from tests.syntax.corpus import entries

_NAME = re.compile(r"extensions_(?P<name>(?:lib(?P<kind>xt|ipt|ip6t)_)?\w+)\.t$")

#: vectors that are not decided by the language, and why: (file, line, family) -> reason
ELSEWHERE: dict[tuple[str, int, Family | None], str] = {
    ("libxt_SET", 3, None): "refused because the set does not exist there",
    ("libxt_TCPMSS", 4, None): "refused by iptables-legacy alone, for want of a match on SYN",
    ("libxt_connlabel", 7, None): "refused because the machine's connlabel.conf has no such name",
    ("libxt_nfacct", 8, None): "refused because the accounting object does not exist there",
    ("libxt_TPROXY", 4, Family.IPV6): "an IPv4 address, in the file of an older release that was for IPv4 alone",
    ("libxt_TPROXY", 5, Family.IPV6): "an IPv4 address, in the file of an older release that was for IPv4 alone",
}


@dataclass(frozen=True, slots=True)
class Vector:
    """One line: a rule for some chains of a table, what iptables-save prints of it, and whether it is taken."""

    extension: str
    line: int
    family: Family
    table: str
    chains: tuple[str, ...]
    rule: str
    saved: str
    accepted: bool
    variant: str = ""  #: LEGACY or NFT: the result of this one alone

    @property
    def elsewhere(self) -> str:
        """Why it is not ours to decide; empty if it is."""
        keys = ((self.extension, self.line, self.family), (self.extension, self.line, None))
        return next((ELSEWHERE[k] for k in keys if k in ELSEWHERE), "")

    def text(self, chain: str | None = None) -> str:
        """A ruleset of this rule."""
        name = chain or self.chains[0]
        own = "" if name.isupper() else f":{name} - [0:0]\n"
        return f"*{self.table}\n{own}:alt - [0:0]\n-A {name} {self.rule}\nCOMMIT\n"

    @property
    def expected(self) -> str:
        """The rule as the suite expects it to be saved."""
        return " ".join((self.rule if self.saved == "=" else self.saved).split())


def vectors() -> Iterator[Vector]:
    """Every line with a result, for each family that it is about."""
    for entry in entries("iptables-t"):
        found = _NAME.search(entry.path)
        if found is None or entry.path.split("extensions_")[1].startswith(("libarpt", "libebt")):
            continue
        families = {"ipt": (Family.IPV4,), "ip6t": (Family.IPV6,)}.get(found["kind"] or "", tuple(Family))
        table = "filter"
        chains: tuple[str, ...] = ("INPUT",)
        for number, line in enumerate(entry.source.text.split("\n"), 1):
            if line.startswith(":"):
                chains = tuple(line[1:].split(","))
            elif line.startswith("*"):
                table = line[1:]
            elif line and line[0] not in "#%@" and line.count(";") >= 2:
                rule, saved, result, *more = line.split(";")
                accepted = result == "OK"
                variant = more[0] if more else ""
                for family in families:
                    yield Vector(found["name"], number, family, table, chains, rule, saved, accepted, variant)
