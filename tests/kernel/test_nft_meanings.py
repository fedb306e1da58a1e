"""nft rules whose meaning is exact, against the kernel: three answers to "does this rule match this packet?".

Also rules whose answer no ruleset knows: where ours is no, the kernel's is. A long run, with its figures:

    python -m tests.kernel.test_nft_meanings --rules 100 --packets 100 --seed 1
"""

import argparse
import json
import random
import re
import sys
import time
from collections.abc import Sequence

import pytest

import ruleaudit
from ruleaudit.diagnostics import Severity
from ruleaudit.model.fields import Family, Field, Fragment, Hook
from ruleaudit.model.ruleset import Continue, Goto, Jump, Rule, Ruleset
from ruleaudit.source import SourceFile
from tests.kernel.lab import Lab
from tests.kernel.meanings import Batch, Figures, Item
from tests.kernel.random_nft_rules import Drawn, covered, exact_selectors, rules
from tests.kernel.random_packets import LAST, MARK_BITS, MARK_SHIFT, NOTRACK, OURS, Crafted, Scene, prepare

#: the chain that is asked: the name of its priority, as `Scene.table`, and its hook
_CHAINS = (
    ("raw", Hook.PREROUTING),
    ("mangle", Hook.PREROUTING),
    ("filter", Hook.INPUT),
    ("filter", Hook.FORWARD),
    ("filter", Hook.OUTPUT),
)
_LINE = re.compile(r"/dev/stdin:(\d+):\d+-\d+: Error: (.*)")
_COUNTER = re.compile(r'counter name "(\w+)"$')
_TRANSPORT = re.compile(r"\b(?:th|tcp|udp|udplite|sctp|dccp|icmp|icmpv6|esp|ah|comp|gre) [a-z]|@th,")
#: behind a set of protocols with a range in it nft 1.0.6 does not ask for the protocol of a header any more
_FORGOTTEN = re.compile(
    r"(?:protocol|l4proto|nexthdr) (?:== )?\{[^}]*-.*\}.* (?:tcp|udp(?:lite)?|sctp|dccp|icmp|icmpv6) "
)
_OURS = re.compile(r"@nh,\d+,\d+ & (0x\w+) == (0x\w+)")


class NftBatch(Batch[Drawn]):
    """Rules in a table of family ip, ip6 or inet."""

    def __init__(self, lab: Lab, family: str, scene: Scene, drawn: Sequence[Drawn], rng: random.Random) -> None:
        self.family = family
        self.refused: list[str] = []
        super().__init__(lab, scene, drawn, rng)

    def text(self) -> str:
        """The ruleset: what is ours is marked, or left untracked, by its type of service, and counted."""
        return "".join(f"{line}\n" for line, _ in self._lines())

    def _lines(self) -> list[tuple[str, Drawn | None]]:
        """Each line, and the rule that it is for."""
        scene = self.scene
        hook, way = scene.hook.value, "output" if scene.hook is Hook.OUTPUT else "prerouting"
        first = [f'{self._class(LAST, LAST)} counter name "last" drop'] if way == "prerouting" else []
        if scene.tracked:
            first.append(f"{self._class(NOTRACK, NOTRACK)} notrack")
        first += [f"{self._class(MARK_BITS, n << MARK_SHIFT)} meta mark set {m:#x}" for n, m in enumerate(self.marks)]
        first = ["chain first {", f"type filter hook {way} priority -310;", *first, "}"]
        last = ["drop", "}", "chain asked {", f"type filter hook {hook} priority {scene.table};"]
        last += [f"{self._class(OURS, OURS)} goto counted", "}"]
        last += ["chain tracking {", "ct state new", "}"] if scene.tracked else []
        lines: list[tuple[str, Drawn | None]] = [(f"table {self.family} asked {{", None)]
        names = ["last", "r0", *(name for drawn in self.drawn for name in drawn.counters)]
        lines += [(line, None) for name in names for line in (f"counter {name} {{", "}")]
        for drawn in self.drawn:
            lines += [(line, drawn) for line in "".join(drawn.sets).splitlines()]
            for name in drawn.chains:
                lines += [(line, drawn) for line in (f"chain {name} {{", f'counter name "{name}"', "}")]
        lines += [(line, None) for line in (*first, "chain counted {", 'counter name "r0"')]
        lines += [(drawn.line, drawn) for drawn in self.drawn]
        return [*lines, *((line, None) for line in (*last, "}"))]

    def _class(self, mask: int, value: int) -> str:
        """Our packets of a type of service, or traffic class."""
        version, place, shift = ("ip6 version 6", "@nh,0,16", 4) if self.scene.six else ("ip version 4", "@nh,8,8", 0)
        return f"{version} {place} & {mask << shift:#x} == {value << shift:#x}"

    def kept(self) -> list[Drawn]:
        """The rules that nft takes."""
        self.lab.run("router", "nft", "flush", "ruleset")
        while refused := self._problems():
            self.refused += [f"{drawn.text}: {message}" for drawn, message in refused.items()]
            self.drawn = [d for d in self.drawn if d not in refused]
        return list(self.drawn)

    def _problems(self) -> dict[Drawn, str]:
        """The rules that are refused; what is wrong only with the hook that they are called from has no line."""
        owners = [drawn for _, drawn in self._lines()]
        message = self._refusal()
        found = {owners[int(line) - 1]: what for line, what in _LINE.findall(message)}
        named = {drawn: what for drawn, what in found.items() if drawn is not None}
        if named or not message:
            return named
        every = self.drawn
        for drawn in every:
            self.drawn = [drawn]
            if alone := self._refusal():
                named[drawn] = _LINE.findall(alone)[0][1] if _LINE.search(alone) else alone
        self.drawn = every
        assert named, message
        return named

    def _refusal(self) -> str:
        """Why the rules cannot be loaded, or not be listed: nft 1.0.6 dies of some.

        With -c some are taken at hooks where the kernel does not take them.
        """
        try:
            self.lab.run("router", "nft", "-f", "-", text=self.text())
            self.counts()
        except RuntimeError as error:
            return str(error)
        finally:
            self.lab.run("router", "nft", "flush", "ruleset")
        return ""

    def lowered(self) -> Ruleset:
        reading = ruleaudit.lower(SourceFile("rules.nft", self.text()), "nft")
        wrong = [f for f in reading.findings if f.severity is Severity.ERROR or f.code != "RA002"]
        source = SourceFile("rules.nft", self.text())
        assert not wrong, [(f.message, source.line(source.position(f.span.start).line)) for f in wrong[:3]]
        (found,) = (r for r in reading.rulesets if r.family is self.scene.family)
        return found

    def items_of(self, ruleset: Ruleset) -> list[Item]:
        (table,) = ruleset.tables.values()
        by_name: dict[str, list[Rule]] = {}
        for rule in table.chains["counted"].rules:
            match rule.verdict:
                case Jump(name) | Goto(name):
                    by_name.setdefault(name, []).append(rule)
                case Continue() if found := _COUNTER.search(rule.text):
                    by_name.setdefault(found[1], []).append(rule)
        first = Item(-1, "r0", "", tuple(by_name["r0"]))
        return [first] + [
            Item(number, name, drawn.text, tuple(by_name.get(name, ())))
            for number, drawn in enumerate(self.drawn)
            for name in drawn.counters
        ]

    def load(self) -> None:
        self.lab.run("router", "nft", "-f", "-", text=self.text())
        self.lab.forget("router")

    def counts(self) -> dict[str, int]:
        listing = self.lab.run("router", "nft", "-j", "list", "counters", "table", self.family, "asked")
        found = [one["counter"] for one in json.loads(listing)["nftables"] if "counter" in one]
        return {one["name"]: one["packets"] for one in found}

    def known(self, test: str, one: Crafted) -> bool | None:
        """The type of service, by which rules know our packets; and headers in front of the transport header."""
        if test == "ip6 extension headers":
            return one.raw[6] in (0, 43, 44, 60)
        if test == "ethernet header":
            return bool(one.packet.iif)
        found = _OURS.fullmatch(test)
        if found is None:
            return None
        mask, value = (int(word, 16) >> (4 if self.scene.six else 0) for word in found.groups())
        return one.tos & mask == value

    def left_out(self, item: Item, one: Crafted) -> bool:
        """nft takes the data of a later fragment for a transport header; links have addresses of their own."""
        addresses = [one.packet.values[side] for side in (Field.SADDR, Field.DADDR)]
        odd = any(a >> 118 == 0xFE80 >> 6 or not a & 0xFFFFFFFFFFFFFFFF for a in addresses)
        if _FORGOTTEN.search(item.text):
            return True
        if "fib" in item.text and self.scene.six and odd:
            return True
        return one.packet.values[Field.FRAGMENT] == Fragment.LATER and _TRANSPORT.search(item.text) is not None

    @property
    def name(self) -> str:
        return f"{self.family} {super().name}"


def compare(table: str, family: Family, rule_count: int, packet_count: int, seed: int) -> Figures:
    """One batch in each chain, with conntrack and without, where fragments are seen."""
    figures = Figures()
    with Lab(router=True) as lab:
        prepare(lab)
        for tracked in (True, False):
            for priority, hook in _CHAINS:
                rng = random.Random(f"{seed} {family.value} {table} {priority} {hook.value} {tracked}")
                scene = Scene(family, priority, hook, tracked)
                drawn = list(rules(rng, family, rule_count, tracked=tracked, inet=table == "inet"))
                batch = NftBatch(lab, table, scene, drawn, rng)
                figures += batch.run(packet_count)
                figures.refused += batch.refused
    return figures


_TABLES = [(table, family) for family in Family for table in (family.value, "inet")]


@pytest.mark.parametrize("family", list(Family), ids=["v4", "v6"])
def test_every_selector_with_an_exact_meaning_is_drawn(family: Family) -> None:
    assert exact_selectors(family) == covered(family)


@pytest.mark.kernel
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(("table", "family"), _TABLES)
def test_the_kernel_agrees(table: str, family: Family) -> None:
    """One sample that is always the same, and one of its own in each run."""
    for seed in (1, random.SystemRandom().randrange(1 << 30)):
        print(f"seed {seed}")
        figures = compare(table, family, rule_count=48, packet_count=10, seed=seed)
        assert not figures.wrong, f"seed {seed}\n{figures}"
        assert figures.pairs > 3000, figures
        assert figures.true > figures.pairs / 20, figures
        assert figures.unseen < figures.sent / 10, figures


def main() -> int:
    parser = argparse.ArgumentParser(description="compare the meaning of random nft rules with the kernel")
    parser.add_argument("--rules", type=int, default=100, help="in each chain")
    parser.add_argument("--packets", type=int, default=100, help="through each chain")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    options = parser.parse_args()
    total = Figures()
    for table, family in _TABLES:
        began = time.monotonic()
        figures = compare(table, family, options.rules, options.packets, options.seed)
        total += figures
        print(f"{table} {family.name}: {figures.pairs} pairs, {len(figures.wrong)} disagreements, ", end="")
        print(f"{figures.unseen} packets unseen, {time.monotonic() - began:.0f} s", flush=True)
    print(f"seed {options.seed}\n{total}")
    return 1 if total.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
