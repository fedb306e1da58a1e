"""Rules whose meaning is exact, against the kernel: three answers to "does this rule match this packet?".

The kernel counts; the reference interpreter evaluates the condition; the packet set holds the packet or does not, also
when the packet is looked at as one of the opposite direction. Left out are the ports and flags of later fragments in
iptables-nft (see test_fragments). A long run, with its figures:

    python -m tests.kernel.test_meanings --rules 100 --packets 100 --seed 1
"""

import argparse
import random
import re
import sys
import time

import pytest

from ruleaudit.model.fields import Family, Field, Fragment, Hook
from ruleaudit.model.from_iptables import lower
from ruleaudit.model.ruleset import Ruleset
from ruleaudit.source import SourceFile
from ruleaudit.syntax.iptables import read
from tests.kernel.lab import VARIANTS, Lab
from tests.kernel.meanings import Batch, Figures, Item, without_opaque
from tests.kernel.random_packets import LAST, MARK_BITS, MARK_SHIFT, NOTRACK, OURS, Crafted, Scene, prepare
from tests.kernel.random_rules import Drawn, covered, exact_extensions, rules

_CHAINS = (
    ("raw", Hook.PREROUTING),
    ("mangle", Hook.PREROUTING),
    ("mangle", Hook.INPUT),
    ("mangle", Hook.FORWARD),
    ("mangle", Hook.OUTPUT),
)
_COUNT = re.compile(r"\[(\d+):\d+\] -A .*--comment (r\d+|last)\b")


class IptablesBatch(Batch[Drawn]):
    """Rules in the language of iptables-save."""

    def __init__(self, lab: Lab, variant: str, scene: Scene, drawn: list[Drawn], rng: random.Random) -> None:
        self.variant = variant
        super().__init__(lab, scene, drawn, rng)

    def text(self) -> str:
        """The ruleset: what is ours is marked, or left untracked, by its type of service, and counted."""
        scene = self.scene
        way = Hook.OUTPUT if scene.hook is Hook.OUTPUT else Hook.PREROUTING
        notrack = [f"-A {way.name} -m tos --tos {NOTRACK:#x}/{NOTRACK:#x} -j CT --notrack"] if scene.tracked else []
        marking = [
            f"-A {way.name} -m tos --tos {n << MARK_SHIFT:#x}/{MARK_BITS:#x} -j MARK --set-xmark {m:#x}/0xffffffff"
            for n, m in enumerate(self.marks)
        ]
        counting = [f"-A {scene.hook.name} -m tos --tos {OURS:#x}/{OURS:#x} -j COUNTED"]
        last = f"-A PREROUTING -m tos --tos {LAST:#x}/{LAST:#x} -m comment --comment last -j DROP"
        tagged = (f"{d.text} -m comment --comment r{n}" for n, d in enumerate(self.drawn, 1))
        counted = [f"-A COUNTED {line}" for line in ("-m comment --comment r0", *tagged, "-j DROP")]
        own = [f"*{scene.table}", ":COUNTED - [0:0]"]
        raw = [] if scene.table == "raw" else ["*raw", *notrack, "COMMIT"]
        own += [last, *(notrack if scene.table == "raw" else []), *marking, *counting, *counted, "COMMIT"]
        tracking = ["*filter", "-A FORWARD -m conntrack --ctstate NEW", "COMMIT"] if scene.tracked else []
        return "\n".join([*raw, *own, *tracking, ""])

    def lowered(self) -> Ruleset:
        lowered = lower(read(SourceFile("rules", self.text())), self.scene.family)
        assert lowered.findings == (), (lowered.findings[:3], self.text())
        return lowered.ruleset

    def items_of(self, ruleset: Ruleset) -> list[Item]:
        (table,) = (t for t in ruleset.tables.values() if "COUNTED" in t.chains)
        rules = table.chains["COUNTED"].rules[:-1]
        return [Item(number - 1, f"r{number}", rule.text, (rule,)) for number, rule in enumerate(rules)]

    def kept(self) -> list[Drawn]:
        items = self.items_of(self.lowered())[1:]
        return [d for d, item in zip(self.drawn, items, strict=True) if without_opaque(item.rules[0])]

    def load(self) -> None:
        self.lab.load("router", self.text(), self.variant, six=self.scene.six)

    def counts(self) -> dict[str, int]:
        """A list of addresses is a rule for each of them."""
        program = f"{'ip6tables' if self.scene.six else 'iptables'}-{self.variant}-save"
        counts = {f"r{n}": 0 for n in range(len(self.drawn) + 1)} | {"last": 0}
        for found in _COUNT.finditer(self.lab.run("router", program, "-c", "-t", self.scene.table)):
            counts[found[2]] += int(found[1])
        return counts

    def known(self, test: str, one: Crafted) -> bool | None:
        """The type of service, by which rules know our packets."""
        value, mask = (int(word, 16) for word in test.removeprefix("tos --tos ").split("/"))
        return one.tos & mask == value

    def left_out(self, item: Item, one: Crafted) -> bool:
        """iptables-nft looks at the transport header by itself, and takes a later fragment's data for one."""
        later = one.packet.values[Field.FRAGMENT] == Fragment.LATER
        return self.variant == "nft" and later and any(m.name in ("tcp", "udp") for m in item.rules[0].matches)

    @property
    def name(self) -> str:
        return f"{self.variant} {super().name}"


def compare(variant: str, family: Family, rule_count: int, packet_count: int, seed: int) -> Figures:
    """One batch in each chain, with conntrack and without, where fragments are seen."""
    figures = Figures()
    with Lab(router=True) as lab:
        prepare(lab)
        for tracked in (True, False):
            for table, hook in _CHAINS:
                rng = random.Random(f"{seed} {family.value} {table} {hook.value} {tracked}")
                scene = Scene(family, table, hook, tracked)
                drawn = list(rules(rng, family, rule_count, tracked=tracked))
                figures += IptablesBatch(lab, variant, scene, drawn, rng).run(packet_count)
    return figures


@pytest.mark.parametrize("family", list(Family), ids=["v4", "v6"])
def test_every_extension_with_an_exact_meaning_is_drawn(family: Family) -> None:
    assert exact_extensions(family) == covered(family)


@pytest.mark.kernel
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("family", list(Family), ids=["v4", "v6"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_kernel_agrees(variant: str, family: Family) -> None:
    """One sample that is always the same, and one of its own in each run."""
    for seed in (1, random.SystemRandom().randrange(1 << 30)):
        print(f"seed {seed}")
        figures = compare(variant, family, rule_count=64, packet_count=12, seed=seed)
        assert not figures.wrong, f"seed {seed}\n{figures}"
        assert figures.pairs > 5000, figures
        assert figures.true > figures.pairs / 10, figures
        assert figures.unseen < figures.sent / 10, figures


def main() -> int:
    parser = argparse.ArgumentParser(description="compare the meaning of random rules with the kernel")
    parser.add_argument("--rules", type=int, default=100, help="in each chain")
    parser.add_argument("--packets", type=int, default=100, help="through each chain")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--variant", choices=VARIANTS, action="append")
    options = parser.parse_args()
    total = Figures()
    for variant in options.variant or VARIANTS:
        for family in Family:
            began = time.monotonic()
            figures = compare(variant, family, options.rules, options.packets, options.seed)
            total += figures
            print(f"{variant} {family.name}: {figures.pairs} pairs, {len(figures.wrong)} disagreements, ", end="")
            print(f"{figures.unseen} packets unseen, {time.monotonic() - began:.0f} s", flush=True)
    print(f"seed {options.seed}\n{total}")
    return 1 if total.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
