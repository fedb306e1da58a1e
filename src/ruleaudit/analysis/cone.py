"""The rules that connections of a few hosts may meet, told by the addresses alone.

Where few of thousands of rules changed, a walk of the packets that may meet these looks at no others.
"""

from bisect import bisect_left
from collections.abc import Sequence

from ruleaudit.analysis.space import Space
from ruleaudit.analysis.stretch import Block, Release, Stretch
from ruleaudit.model.condition import And, Condition, Interval, Opaque, Values, tests
from ruleaudit.model.fields import Field
from ruleaudit.model.ruleset import Rule
from ruleaudit.packets.diagram import PacketSet

#: connections of more hosts meet too many rules
_MOST = 256
_SIDES = (Field.SADDR, Field.DADDR)


class Cone:
    """The rules that some connections may meet, in either direction; `hosts` are the addresses of their two ends.

    A rule that leaves something behind with whoever it looks at, or that asks what nobody can answer, is always met.
    """

    def __init__(self, hosts: tuple[Sequence[Interval], Sequence[Interval]]) -> None:
        self._ways = (dict(zip(_SIDES, hosts, strict=True)), dict(zip(_SIDES, hosts[::-1], strict=True)))
        self._rules: dict[Rule, bool] = {}
        self._stretches: dict[Stretch, Stretch] = {}
        self._releases: dict[Release, Release] = {}

    @staticmethod
    def of(space: Space, connections: PacketSet) -> "Cone | None":
        """The rules that connections may meet; None where they are those of many hosts."""
        one, other = (space.few_taken(connections, side, _MOST) for side in _SIDES)
        return None if one is None or other is None else Cone((one, other))

    def holds(self, rule: Rule) -> bool:
        """Whether the rule may be met."""
        found = self._rules.get(rule)
        if found is None:
            found = self._rules[rule] = self._may_meet(rule)
        return found

    def _may_meet(self, rule: Rule) -> bool:
        asked = _addresses(rule.condition)
        for way in self._ways:
            for test in asked:
                if not _meet(way[test.field], test.intervals):
                    break
            else:
                return True
        return rule.is_seen or any(isinstance(test, Opaque) for test in tests(rule.condition))

    def of_stretch(self, stretch: Stretch) -> Stretch:
        """A stretch without the rules that are not met."""
        found = self._stretches.get(stretch)
        if found is None:
            parts = ((self._step(step), verdict) for step, verdict in stretch.steps)
            some = tuple((step, verdict) for step, verdict in parts if step is not None)
            found = self._stretches[stretch] = Stretch(some)
        return found

    def _step(self, step: Rule | Block) -> Rule | Block | None:
        if isinstance(step, Rule):
            return step if self.holds(step) else None
        rules = tuple(rule for rule in step.rules if self.holds(rule))
        return Block(rules, step.verdict) if rules else None

    def of_release(self, release: Release) -> Release:
        """A release without the rules that are not met."""
        found = self._releases.get(release)
        if found is None:
            found = self._releases[release] = Release(tuple(rule for rule in release.rules if self.holds(rule)))
        return found


def _addresses(condition: Condition) -> Sequence[Values]:
    """The tests of addresses that a packet has to pass."""
    match condition:
        case And(items):
            return [test for item in items for test in _addresses(item)]
        case Values(Field.SADDR | Field.DADDR):
            return (condition,)
        case _:
            return ()


def _meet(some: Sequence[Interval], others: Sequence[Interval]) -> bool:
    """Two rows of intervals, each in order, have an address in common."""
    if len(some) < len(others):
        some, others = others, some
    for low, high in others:
        place = bisect_left(some, (high + 1,))
        if place and some[place - 1][1] >= low:
            return True
    return False
