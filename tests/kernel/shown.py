"""What the kernel showed of the packets of a ruleset, and what became of the comparison."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from ruleaudit.model.fields import State
from tests.kernel.kernel_trace import Event

Place = tuple[str, str, int]  #: table, chain, number of a rule


@dataclass
class Figures:
    """What was compared.

    decisions  base chains that a packet went through, each with the rules that it met there and the verdict
    other      packets that conntrack put in another state than was meant; they are followed in that one
    changed    packets that a rule changes, or hands on: they are compared up to there, and not counted
    lost       packets that the kernel discarded outside of any chain
    """

    rulesets: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    packets: int = 0
    decisions: int = 0
    unmade: int = 0
    other: int = 0
    changed: int = 0
    lost: int = 0
    states: Counter[State] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    counters: int = 0
    wrong: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)  #: of what was refused

    def __iadd__(self, other: "Figures") -> Self:
        for name in ("rulesets", "refused", "states", "ways", "verdicts"):
            getattr(self, name).update(getattr(other, name))
        for name in ("packets", "decisions", "unmade", "other", "changed", "lost", "counters"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.wrong += other.wrong
        self.reasons += other.reasons
        return self

    def __str__(self) -> str:
        def row(counts: Counter[str]) -> str:
            return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))

        states = Counter({state.value: count for state, count in self.states.items()})
        return "\n".join([
            f"rulesets: {row(self.rulesets)}; refused: {row(self.refused) or 'none'}",
            f"{self.packets} packets, {self.decisions} decisions of base chains, {self.counters} counters of legacy",
            f"states: {row(states)}; ways: {row(self.ways)}; verdicts: {row(self.verdicts)}",
            f"{self.unmade} packets could not be made, {self.other} were in another state than meant, {self.lost} lost",
                f"{self.changed} more were changed on their way, and compared up to there",
            f"{len(self.wrong)} disagreements", *self.wrong[:12],
        ])  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """What the kernel showed of one packet.

    found     the state that conntrack gave it, None if it did not come so far; `original`: in the original direction
    again     the state that it got on lo, in prerouting
    last      its state where it was seen last
    places    the rules that it matched; for iptables-legacy, none
    """

    events: list[Event]
    found: State | None
    original: bool
    again: State | None
    last: State | None
    places: list[Place]
    accepted: bool
    dropped: bool

    @staticmethod
    def of(path: str, heard: list[Event], numbers: dict[tuple[str, int], Place]) -> "Shown":
        seen = [e for e in heard if e.state is not None]
        found, again = (*(e for e in seen if e.chain.startswith("tracked_")), None, None)[:2]
        end = "end_input" if path in ("in", "local") else "end_postrouting"
        return Shown(
            heard,
            found.state if found else None,
            found is None or found.original,
            again.state if again else None,
            seen[-1].state if seen else None,
            alone(n for e in heard if e.handle and (n := numbers.get((e.table, e.handle)))),
            any(e.chain == end for e in heard),
            any(e.drops and e.table != "inet watch" for e in heard),
        )

    @property
    def mark(self) -> int:
        return self.events[-1].mark


def alone(places: Iterable[Place]) -> list[Place]:
    """Without repetitions: a rule for several addresses is several rules."""
    out: list[Place] = []
    for place in places:
        if not out or out[-1] != place:
            out.append(place)
    return out
