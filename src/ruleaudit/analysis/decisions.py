"""Who decides about which packets: of a run of rules, or a chain that was walked once, found when somebody asks.

What each of thousands of rules decides about takes gigabytes, and most questions are about few packets or few rules.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from ruleaudit.analysis.stretch import Block
from ruleaudit.analysis.verdicts import ACCEPT, Verdict
from ruleaudit.model.ruleset import Chain, Rule
from ruleaudit.packets.diagram import PacketSet, is_empty

#: a base chain decides by its policy
Decider = Rule | Block | Chain
Decision = tuple[Decider, Verdict, PacketSet]
One = TypeVar("One", Rule, Block, Chain)
#: whose decisions are asked for, told by who decides and how
By = Callable[[Decider, Verdict], bool]


def _anybody(who: Decider, verdict: Verdict) -> bool:
    return True


class Decisions:
    """The decisions of a walk, in the order in which they were made."""

    def __init__(self) -> None:
        self._parts: list[Decision | _PutOff] = []

    def add(self, who: Decider, verdict: Verdict, packets: PacketSet) -> None:
        """Note one."""
        self._parts.append((who, verdict, packets))

    def put_off(self, packets: PacketSet, about: Callable[[PacketSet, By], Iterator[Decision]]) -> None:
        """Note those about some packets, which are found when somebody asks."""
        self._parts.append(_PutOff(packets, about))

    def __iter__(self) -> Iterator[Decision]:
        return self.about(None)

    def about(self, packets: PacketSet | None, asked: By = _anybody) -> Iterator[Decision]:
        """What some decide about some packets, or about whatever there is, each with those of them."""
        for part in self._parts:
            if isinstance(part, _PutOff):
                here = part.packets if packets is None else packets & part.packets
                if not is_empty(here):
                    yield from part.about(here, asked)
            elif asked(part[0], part[1]):
                here = part[2] if packets is None else packets & part[2]
                if not is_empty(here):
                    yield part[0], part[1], here

    def by(self, kind: type[One], packets: PacketSet | None) -> Iterator[tuple[One, PacketSet]]:
        """What rules decide, or blocks, or chains by their policies: who, and about which packets."""
        for who, _, found in self.about(packets, lambda who, _: isinstance(who, kind)):
            if isinstance(who, kind):
                yield who, found

    def accepts(
        self, packets: PacketSet | None, asked: Callable[[Rule], bool] = lambda rule: True
    ) -> Iterator[tuple[Rule, PacketSet]]:
        """The rules that accept packets, of those that are asked, and which."""
        for who, _, found in self.about(
            packets, lambda who, verdict: verdict == ACCEPT and isinstance(who, Rule) and asked(who)
        ):
            if isinstance(who, Rule):
                yield who, found

    def refusals(self, packets: PacketSet | None) -> Iterator[tuple[Decider, PacketSet]]:
        """Who does not accept packets, and which."""
        for who, _, found in self.about(packets, lambda who, verdict: verdict != ACCEPT):
            yield who, found


@dataclass(frozen=True, slots=True)
class _PutOff:
    packets: PacketSet
    about: Callable[[PacketSet, By], Iterator[Decision]]
