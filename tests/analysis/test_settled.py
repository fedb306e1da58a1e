"""Chains that are walked once, for all packets, do to some packets what they do when these are walked alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ruleaudit import lower
from ruleaudit.analysis import walk
from ruleaudit.analysis.late_sets import LateSets
from ruleaudit.analysis.pair import Pair, make_space
from ruleaudit.analysis.settled import is_shared, settled
from ruleaudit.analysis.space import BY_MARK, BY_STATE, needs
from ruleaudit.analysis.tracking import judge_in
from ruleaudit.analysis.walk import PATHS, Walk, effect_changes
from ruleaudit.model.condition import Not, States, Values, all_of
from ruleaudit.model.fields import Field, State
from ruleaudit.model.ruleset import Chain, Rule, Ruleset
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.source import SourceFile
from tests.analysis.random_rulesets import rulesets

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]

#: chains that several rules call, that count, log, translate, set the mark and turn it over, return and go on
CHAINS = """*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p udp -m udp --sport 53 -j CT --notrack
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:KEEP - [0:0]
-A PREROUTING -j KEEP
-A FORWARD -p udp -j KEEP
-A KEEP -s 10.9.0.1/32 -j CONNMARK --set-xmark 0x1/0xffffffff
-A KEEP -j TOS --set-tos 0x10/0x3f
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:SERVICES - [0:0]
:WEB - [0:0]
:DNS - [0:0]
:ONE - [0:0]
:MASQ - [0:0]
:TURN - [0:0]
:NOTE - [0:0]
:LOOP - [0:0]
:STATE - [0:0]
-A PREROUTING -j SERVICES
-A OUTPUT -p udp -j SERVICES
-A OUTPUT -m conntrack --ctstate NEW -j WEB
-A POSTROUTING -m mark --mark 0x1/0x1 -j MASQUERADE
-A POSTROUTING -p icmp -j LOOP
-A POSTROUTING -j STATE
-A SERVICES -i eth0 -p tcp -m tcp --dport 80 -j WEB
-A SERVICES -p udp -m udp --dport 53 -j DNS
-A SERVICES -p tcp -m tcp --dport 8080 -g WEB
-A SERVICES -j NOTE
-A WEB ! -s 10.0.0.0/8 -j MASQ
-A WEB -m statistic --mode random --probability 0.5 -j ONE
-A WEB -s 10.9.0.1/32 -j RETURN
-A WEB -p tcp -j DNAT --to-destination 10.9.0.2:80
-A ONE -j TURN
-A ONE -p tcp -j DNAT --to-destination 10.9.0.1:80
-A DNS -j MASQ
-A DNS -s 10.9.0.0/24 -j ACCEPT
-A MASQ -j MARK --set-xmark 0x1/0x1
-A TURN -j MARK --set-xmark 0x2/0x0
-A NOTE -m limit --limit 1/sec -j LOG
-A NOTE -i eth1 -j RETURN
-A NOTE -j MASQ
-A LOOP -p icmp -j LOOP
-A STATE -m conntrack --ctstate INVALID -j RETURN
COMMIT
"""


@contextmanager
def one_by_one() -> Iterator[None]:
    """No chain is settled."""
    with patch.object(walk, "settled", lambda table, name: None):
        yield


def done(found: Walk) -> dict[str, object]:
    """All that a walk tells."""
    decided: dict[tuple[Rule | Chain, str], PacketSet] = {}
    for by, verdict, packets in found.decided:
        who = by if isinstance(by, Rule | Chain) else by.rules[0]
        decided[who, str(verdict)] = decided.get((who, str(verdict)), found.none) | packets
    late = (found.matched, found.effects, found.on_entries, found.evaluated, found.consumed)
    return {
        "decided": {key: packets for key, packets in decided.items() if not is_empty(packets)},
        "outcomes": found.outcomes,
        "tag": found.tag,
        "mark": list(found.mark),
        "late": [dict(sets.items()) for sets in late],
        "looked up": found.looked_up,
    }


def test_what_a_condition_hangs_on_besides_the_header() -> None:
    port = Values(Field.DPORT, ((22, 22),))
    assert needs(port) == 0
    assert needs(all_of([port, Not(Values(Field.MARK, ((1, 1),)))])) == BY_MARK
    assert needs(States(frozenset({State.NEW}))) == BY_STATE
    assert needs(all_of([port, Values(Field.ICMP_TYPE, ((8, 8),))])) == 0


def test_chains_that_are_settled() -> None:
    (ruleset,) = lower(SourceFile("rules.v4", CHAINS)).rulesets
    table = ruleset.tables["nat"]
    assert {name for name in table.chains if settled(table, name) and not table.chains[name].hook} == {
        *("SERVICES", "WEB", "DNS", "ONE", "MASQ", "TURN", "NOTE")
    }
    assert {name for name in table.chains if is_shared(table, name)} == {"SERVICES", "WEB", "MASQ", "LOOP"}


@pytest.mark.parametrize("path", PATHS)
def test_chains_are_cut_out_as_they_are_walked(path: str) -> None:
    (ruleset,) = lower(SourceFile("rules.v4", CHAINS)).rulesets
    compare(ruleset, path)


@settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
@given(rulesets(), st.sampled_from(sorted(PATHS)))
def test_random_chains_are_cut_out_as_they_are_walked(ruleset: Ruleset, path: str) -> None:
    compare(ruleset, path)


def compare(ruleset: Ruleset, path: str) -> None:
    space = make_space((ruleset,), 1 << 20)
    with one_by_one():
        plain = Pair.alone(space, ruleset)
        before = plain.free(plain.old, path)
        expected = done(before)
    pair = Pair.alone(space, ruleset)
    after = pair.free(pair.old, path)
    assert done(after) == expected
    assert not list(effect_changes(before, after, space.all, lambda key: True))
    # and one chain alone
    for chain in (c for table in ruleset.tables.values() for c in table.chains.values()):
        alone = [pair.free_walk(pair.old) for _ in range(2)]
        with one_by_one():
            alone[0].alone(chain, space.none, space.all)
        alone[1].alone(chain, space.none, space.all)
        assert done(alone[0]) == done(alone[1])


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(rulesets())
def test_rules_are_judged_alike(ruleset: Ruleset) -> None:
    with one_by_one():
        before = judge_in(Pair.alone(make_space((ruleset,), 1 << 20), ruleset))
    after = judge_in(Pair.alone(make_space((ruleset,), 1 << 20), ruleset))
    assert [(j.rule, j.kind, j.reason) for j in after.judgements] == [
        (j.rule, j.kind, j.reason) for j in before.judgements
    ]


def test_sets_that_may_differ() -> None:
    (ruleset,) = lower(SourceFile("rules.v4", CHAINS)).rulesets
    space = make_space((ruleset,), 1 << 20)
    tcp, udp = (space.diagrams.equal(range(8), number) for number in (6, 17))
    common = {"a": space.all, "b": tcp}
    sets: list[LateSets[str]] = [LateSets(), LateSets()]
    for one, packets in zip(sets, (tcp, tcp | udp), strict=True):
        one.put_off_all(common, packets)
    sets[1].add("c", udp)
    assert set(sets[0].unlike(sets[1], space.all)) == {"a", "b", "c"}
    assert set(sets[0].unlike(sets[1], tcp)) == {"c"}
    sets[0].put_off_all(common, udp)
    assert (sets[0]["a"], sets[0]["b"], "c" in sets[0]) == (tcp | udp, tcp, False)
