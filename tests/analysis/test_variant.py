"""A ruleset with one rule changed: what is known of the packets that meet the change holds for all of them."""

from collections.abc import Mapping

import pytest
from hypothesis import given

from ruleaudit.analysis.alignment import Alignment
from ruleaudit.analysis.connection import KINDS
from ruleaudit.analysis.pair import Pair, make_space
from ruleaudit.analysis.variant import Changed
from ruleaudit.analysis.walk import PATHS, mentions_state
from ruleaudit.model.condition import ALWAYS, Condition, Masked
from ruleaudit.model.fields import Field, TcpFlag
from ruleaudit.model.ruleset import Ruleset
from ruleaudit.packets.diagram import PacketSet, is_empty, with_room
from tests.analysis.random_rulesets import rulesets

ACK = Masked(Field.TCP_FLAGS, int(TcpFlag.SYN | TcpFlag.ACK), int(TcpFlag.ACK))


@pytest.mark.parametrize("test", [ALWAYS, None, ACK], ids=["without the test", "without the rule", "flags instead"])
@given(ruleset=rulesets())
def test_packets_that_do_not_meet_a_change_fare_the_same(test: Condition | None, ruleset: Ruleset) -> None:
    with_room(lambda room: _fare_the_same(test, ruleset, room))


def _fare_the_same(test: Condition | None, ruleset: Ruleset, room: int) -> None:
    space = make_space((ruleset,), room)
    base = Pair.alone(space, ruleset)
    for rule in [r for r in ruleset.rules() if mentions_state(r.condition)][:3]:
        changed = Changed(base, rule, test)
        whole = Pair(
            space,
            ruleset,
            changed.side.ruleset,
            Alignment(base.old.identities, changed.side.identities, (), (), True),
        )
        whole.new = changed.side
        for path in PATHS:
            again, full = changed.free(path), whole.free(whole.new, path)
            for verdict in {*again.before.outcomes, *again.after.outcomes, *full.outcomes}:
                was, now, wanted = (
                    _of(walk.outcomes, verdict, space.none) for walk in (again.before, again.after, full)
                )
                assert (was & ~again.met) | now == wanted
            same = is_empty(again.met) or not again.outcomes_differ
            assert same is (_kept(again.before.outcomes) == _kept(full.outcomes))
        for kind in KINDS:
            roles = changed.roles(kind)
            for role, seen in whole.roles(kind, whole.new).items():
                assert roles[role][0].accepted == seen.accepted
                assert roles[role][0].untracked == seen.untracked


def _of(outcomes: Mapping[tuple[str, str], PacketSet], verdict: tuple[str, str], none: PacketSet) -> PacketSet:
    return outcomes.get(verdict, none)


def _kept(outcomes: Mapping[tuple[str, str], PacketSet]) -> dict[tuple[str, str], PacketSet]:
    return {verdict: packets for verdict, packets in outcomes.items() if not is_empty(packets)}
