"""Rules whose meaning is exact, against the kernel: three answers to "does this rule match this packet?".

The kernel counts; the reference interpreter evaluates the condition; the packet set holds the packet or does not, also
when the packet is looked at as one of the opposite direction. Left out are the ports and flags of later fragments in
iptables-nft (see test_fragments). A long run, with its figures:

    python -m tests.kernel.test_meanings --rules 100 --packets 100 --seed 1
"""

import argparse
import contextlib
import random
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Self

import pytest

from ruleaudit.analysis.pair import make_space
from ruleaudit.analysis.space import ICMP_ANSWERS, Frame, Space, View
from ruleaudit.analysis.trace import Packet, Trace, trace
from ruleaudit.analysis.walk import ABSENT
from ruleaudit.analysis.witness import describe
from ruleaudit.model import condition as conditions
from ruleaudit.model.condition import Masked, Opaque
from ruleaudit.model.fields import Family, Field, Fragment, Hook, State
from ruleaudit.model.from_iptables import lower
from ruleaudit.model.ruleset import Rule, Ruleset
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.source import SourceFile
from ruleaudit.syntax.iptables import read
from tests.kernel import packets
from tests.kernel.lab import CLIENT, CLIENT6, ROUTER, ROUTER6, VARIANTS, Lab
from tests.kernel.random_packets import (
    LAST,
    MARK_BITS,
    MARK_SHIFT,
    NOTRACK,
    OURS,
    Crafted,
    Scene,
    Workshop,
    prepare,
    state_of,
)
from tests.kernel.random_rules import Drawn, covered, exact_extensions, rules

_CHAINS = (
    ("raw", Hook.PREROUTING),
    ("mangle", Hook.PREROUTING),
    ("mangle", Hook.INPUT),
    ("mangle", Hook.FORWARD),
    ("mangle", Hook.OUTPUT),
)
_COUNT = re.compile(r"\[(\d+):\d+\] -A .*--comment r(\d+)\b")


@dataclass
class Figures:
    """What a run compared, by extension: [rules, rules that were both true and false, pairs, true pairs]."""

    kinds: dict[str, list[int]] = field(default_factory=dict)
    pairs: int = 0
    true: int = 0
    variants: int = 0  #: pairs in which iptables-nft reads the data of a later fragment as a header
    unseen: int = 0
    sent: int = 0
    states: Counter[State] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def __iadd__(self, other: "Figures") -> Self:
        for kind, row in other.kinds.items():
            self.kinds[kind] = [a + b for a, b in zip(self.kinds.get(kind, [0] * 4), row, strict=True)]
        self.pairs, self.true = self.pairs + other.pairs, self.true + other.true
        self.variants += other.variants
        self.unseen, self.sent = self.unseen + other.unseen, self.sent + other.sent
        self.states += other.states
        self.wrong += other.wrong
        return self

    def __str__(self) -> str:
        lines = [f"{'match':12}{'rules':>8}{'both':>8}{'pairs':>10}{'true':>10}"]
        for kind, (count, both, pairs, true) in sorted(self.kinds.items()):
            lines.append(f"{kind:12}{count:>8}{both:>8}{pairs:>10}{true:>10}")
        lines.append(f"{self.pairs} pairs, {self.true} true; {self.sent} packets, {self.unseen} more never arrived")
        lines.append(f"{self.variants} pairs left out: ports and flags of later fragments, in iptables-nft")
        lines.append("packets by state: " + ", ".join(f"{s.value} {n}" for s, n in self.states.items()))
        return "\n".join([*lines, f"{len(self.wrong)} disagreements", *self.wrong[:40]])


class Batch:
    """Some rules in one chain, loaded; and the packets that are sent through it."""

    def __init__(self, lab: Lab, variant: str, scene: Scene, drawn: list[Drawn], rng: random.Random) -> None:
        self.lab, self.variant, self.scene, self.drawn, self.rng = lab, variant, scene, drawn, rng
        self.figures = Figures()
        self.marks = [0, *(rng.choice((rng.getrandbits(32), 1 << rng.randrange(32))) for _ in range(15))]
        every = [list(conditions.tests(r.condition)) for r in _counted(self._lowered())[1:]]
        exact = [not any(isinstance(t, Opaque) for t in some) for some in every]
        self.drawn = [d for d, keep in zip(drawn, exact, strict=True) if keep]
        marks = [t for some in every for t in some if isinstance(t, Masked) and t.field is Field.MARK]
        for number, test in enumerate(marks[:14], 1):
            self.marks[number] = test.value if number % 2 else test.value | ~test.mask & self.marks[number]
        self.ruleset = self._lowered()
        self.rules = _counted(self.ruleset)
        self.space = make_space((self.ruleset,), 1 << 20)
        self.sets: dict[tuple[object, ...], list[PacketSet]] = {}

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
        last = f"-A PREROUTING -m tos --tos {LAST:#x}/{LAST:#x} -m comment --comment r{len(self.drawn) + 1} -j DROP"
        tagged = (f"{d.text} -m comment --comment r{n}" for n, d in enumerate(self.drawn, 1))
        counted = [f"-A COUNTED {line}" for line in ("-m comment --comment r0", *tagged, "-j DROP")]
        own = [f"*{scene.table}", ":COUNTED - [0:0]"]
        raw = [] if scene.table == "raw" else ["*raw", *notrack, "COMMIT"]
        own += [last, *(notrack if scene.table == "raw" else []), *marking, *counting, *counted, "COMMIT"]
        tracking = ["*filter", "-A FORWARD -m conntrack --ctstate NEW", "COMMIT"] if scene.tracked else []
        return "\n".join([*raw, *own, *tracking, ""])

    def _lowered(self) -> Ruleset:
        lowered = lower(read(SourceFile("rules", self.text())), self.scene.family)
        assert lowered.findings == (), (lowered.findings[:3], self.text())
        return lowered.ruleset

    def run(self, count: int) -> Figures:
        """Send packets and compare."""
        workshop = Workshop(self.rng, self.scene, self.marks)
        chosen = [self.rules[1 + n % len(self.drawn)] for n in range(count)]
        crafted = [workshop.make(rule.condition) for rule in chosen]
        self.lab.load("router", self.text(), self.variant, six=self.scene.six)
        if self.scene.tracked and workshop.entries.lines:
            lines = "\n".join(workshop.entries.lines) + "\n"
            self.lab.run("router", "conntrack", "-R", self.lab.file("entries", lines))
        seen = [[0, 0] for _ in self.drawn]
        before = self._counts()
        with _Sender(self.lab, self.scene) as sender:
            for one in crafted:
                counts, before = self._send(sender, one, before)
                if not counts[0]:
                    self.figures.unseen += 1
                    continue
                state, original = state_of(one, workshop.entries)
                one.packet = replace(one.packet, original=original)
                for number, truth in self._compare(one, state, counts):
                    seen[number][truth] += 1
        for drawn, (false, true) in zip(self.drawn, seen, strict=True):
            for kind in drawn.kinds:
                row = self.figures.kinds.setdefault(kind, [0] * 4)
                self.figures.kinds[kind] = [
                    a + b for a, b in zip(row, (1, bool(false and true), false + true, true), strict=True)
                ]
        return self.figures

    def _send(self, sender: "_Sender", one: Crafted, before: list[int]) -> tuple[list[int], list[int]]:
        """How often each rule counted one packet, and the counters afterwards."""
        sender.send(one)
        deadline = time.monotonic() + 10
        while (after := self._counts())[-1] == before[-1] and self.scene.hook is not Hook.OUTPUT:
            assert time.monotonic() < deadline, "the packet behind it never arrived"
        counts = [b - a for a, b in zip(before, after, strict=True)][:-1]
        assert counts[0] <= 1, f"{counts[0]} packets at once: {describe(one.packet, self.scene.path)}"
        return counts, after

    def _counts(self) -> list[int]:
        """The counters, by rule, and the LAST one; a list of addresses is a rule for each of them."""
        program = f"{'ip6tables' if self.scene.six else 'iptables'}-{self.variant}-save"
        counts = [0] * (len(self.drawn) + 2)
        for found in _COUNT.finditer(self.lab.run("router", program, "-c", "-t", self.scene.table)):
            counts[int(found[2])] += int(found[1])
        return counts

    # -- our answers

    def _compare(self, one: Crafted, state: State, counts: list[int]) -> Iterator[tuple[int, bool]]:
        """The kernel's answer for each rule, after a look at ours."""
        followed = trace(self.ruleset, self.scene.path, one.packet, state, _class_of(one.tos))
        matched = {step.rule: step.matched for step in followed.steps}
        here = _state_here(self.scene, followed, state)
        self.figures.sent += 1
        self.figures.states[here] += 1
        held = self._held(one.packet, here, followed.mark)
        where = f"{self.variant} {self.scene.table} {self.scene.hook.name}"
        values = {**one.packet.values, Field.MARK: followed.mark}
        packet = describe(replace(one.packet, values=values), self.scene.path, here)
        if is_empty(_one(self.space, one.packet, Frame("")) & self.space.domain):
            self.figures.wrong.append(f"{where}\n  {packet}\n  is no packet of the space: {one.packet.values}")
        for number, (rule, kernel, sets) in enumerate(zip(self.rules, counts, held, strict=True)):
            truth = kernel > 0
            if self.variant == "nft" and one.packet.values[Field.FRAGMENT] == Fragment.LATER and _native(rule):
                self.figures.variants += 1
                continue
            if not (matched[rule] is truth and all(member is truth for member in sets)):
                ours = f"interpreter {matched[rule]}, packet set {sets[0]}, mirrored {sets[1]}"
                extra = {f.value: one.packet.values.get(f, 0) for f in (Field.PKTTYPE, Field.SRC_TYPE, Field.DST_TYPE)}
                self.figures.wrong.append(
                    f"{where}\n  {rule.text}\n  {packet} {extra} {one.packet.original=}\n  kernel {kernel}, {ours}"
                )
            if number:
                self.figures.pairs += 1
                self.figures.true += truth
                yield number - 1, truth

    def _held(self, packet: Packet, state: State, mark: int) -> Iterator[tuple[bool, bool]]:
        """Whether the packet set of each rule holds the packet, seen forwards and backwards."""
        icmp = packet.values[Field.PROTOCOL] == self.scene.family.icmp
        request = not icmp or packet.values.get(Field.ICMP_TYPE) in ICMP_ANSWERS[self.scene.family]
        frames = [Frame("", absent=ABSENT[self.scene.hook]), Frame("", True, ABSENT[self.scene.hook], request)]
        rows = []
        for frame in frames:
            key = (frame, state, mark, packet.original)
            if key not in self.sets:
                everything, nothing = self.space.all, self.space.none
                bits = [everything if mark >> 31 - place & 1 else nothing for place in range(32)]
                states = {s: everything if s is state else nothing for s in State}
                view = View(states, bits, everything if packet.original else nothing)
                self.sets[key] = [self.space.condition(r.condition, frame, view) for r in self.rules]
            one = _one(self.space, packet, frame)
            rows.append([not is_empty(found & one) for found in self.sets[key]])
        return zip(*rows, strict=True)


class _Sender:
    """Sockets that put packets on the wires to the router, or send them from it.

    Behind each packet on a wire goes a LAST one: when that was counted, the first one has been where it could go.
    """

    def __init__(self, lab: Lab, scene: Scene) -> None:
        self.lab, self.scene = lab, scene
        source, to = (CLIENT6, ROUTER6) if scene.six else (CLIENT, ROUTER)
        self.last = packets.with_class(packets.udp(source, 9, to, 9), LAST)
        self._open = contextlib.ExitStack()
        self.wires: dict[str, tuple[socket.socket, bytes]] = {}

    def __enter__(self) -> Self:
        if self.scene.hook is Hook.OUTPUT:
            kind, raw = socket.SOCK_RAW, socket.IPPROTO_RAW
            self.out = self._open.enter_context(self.lab.open_socket("router", kind, six=self.scene.six, protocol=raw))
            if not self.scene.six:
                self.out.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            with self.lab.hosts["router"].inside():
                self.scope = socket.if_nametoindex("r1")
            if self.scene.six:
                self.out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self.scope)
            return self
        for ours, (host, device) in {"r0": ("client", "c0"), "r1": ("server", "s0")}.items():
            with self.lab.hosts[host].inside():
                wire = self._open.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
                wire.bind((device, 0))
            macs = []
            for name, at in (("router", ours), (host, device)):
                with self.lab.hosts[name].inside():
                    macs.append(_mac(at))
            self.wires[ours] = (wire, macs[0] + macs[1])
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def send(self, one: Crafted) -> None:
        if one.packet.iif:
            wire, head = self.wires[one.packet.iif]
            kind = b"\x86\xdd" if self.scene.six else b"\x08\x00"
            wire.send((one.link or head[:6]) + head[6:] + kind + one.raw)
            wire.send(head + kind + self.last)
            return
        scope = self.scope if one.packet.oif == "r1" and (one.to[:2] == "ff" or one.to[:4] == "fe80") else 0
        # the last rule drops it, and the sender is told
        with contextlib.suppress(PermissionError):
            self.out.sendto(one.raw, (one.to, 0, 0, scope) if self.scene.six else (one.to, 0))


def _mac(device: str) -> bytes:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as asking:
        asking.bind((device, 0))
        return bytes(asking.getsockname()[4])


def _native(rule: Rule) -> bool:
    """iptables-nft has the rule look at the transport header itself, without the kernel's xtables matches."""
    return any(match.name in ("tcp", "udp") for match in rule.matches)


def _counted(ruleset: Ruleset) -> list[Rule]:
    tables = [t for t in ruleset.tables.values() if "COUNTED" in t.chains]
    return list(tables[0].chains["COUNTED"].rules[:-1])


class _class_of:
    """Answers the tests of the type of service, by which rules know our packets."""

    def __init__(self, tos: int) -> None:
        self.tos = tos

    def __call__(self, test: Opaque, rule: Rule) -> bool:
        value, mask = (int(word, 16) for word in test.name.removeprefix("tos --tos ").split("/"))
        return self.tos & mask == value


def _state_here(scene: Scene, followed: Trace, state: State) -> State:
    if followed.untracked:
        return State.UNTRACKED
    return State.INVALID if scene.table == "raw" or not scene.tracked else state


def _one(space: Space, packet: Packet, frame: Frame) -> PacketSet:
    """The set that holds one packet, seen through a frame."""
    out = space.all
    for name, value in packet.values.items():
        out = out & space.is_(name, value, frame.reverse and not (name is Field.ICMP_TYPE and frame.request))
    for name, interface in ((Field.IIF, packet.iif), (Field.OIF, packet.oif)):
        prefixes = [s for s in space.alphabet if s.endswith("+") and interface.startswith(s[:-1]) and interface]
        known = interface if interface in space.alphabet else max(prefixes, key=len, default=space.alphabet[-1])
        out = out & space.diagrams.equal(space.bits[name], space.alphabet.index(known))
    return out


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
                figures += Batch(lab, variant, scene, drawn, rng).run(packet_count)
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
