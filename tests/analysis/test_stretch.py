"""Rules that are taken together do what they do one by one."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ruleaudit import lower
from ruleaudit.analysis import consequence, stretch, walk
from ruleaudit.analysis.pair import Pair, make_space
from ruleaudit.analysis.stretch import Block, blocks
from ruleaudit.analysis.tracking import judge_in
from ruleaudit.analysis.walk import PATHS, Walk
from ruleaudit.model.fields import Field
from ruleaudit.model.ruleset import Chain, Rule, Ruleset
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.source import SourceFile
from tests.analysis.random_rulesets import rulesets

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@contextmanager
def together() -> Iterator[None]:
    """Even two neighbours are taken together, and in halves."""
    with patch.object(stretch, "_LEAST", 1), patch.object(stretch, "_ONE_BY_ONE", 1):
        stretch._of_chains.clear()
        yield
    stretch._of_chains.clear()


@contextmanager
def one_by_one() -> Iterator[None]:
    """No rules are taken together, except refusals of one kind."""
    with patch.object(walk, "stretches", blocks), patch.object(consequence, "stretches", blocks):
        yield


Deciding = dict[tuple[Rule | Block | Chain, str], PacketSet]


def decided(done: Walk) -> Deciding:
    """Who decides about which packets; the first rule of a block stands for it."""
    found: Deciding = {}
    for by, verdict, packets in done.decided:
        who = by.rules[0] if isinstance(by, Block) else by
        key = (who, str(verdict))
        found[key] = found.get(key, done.none) | packets
    return {key: packets for key, packets in found.items() if not is_empty(packets)}


@settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
@given(rulesets(), st.sampled_from(sorted(PATHS)))
def test_a_walk_with_stretches_is_the_walk_without(ruleset: Ruleset, path: str) -> None:
    space = make_space((ruleset,), 1 << 20)
    with one_by_one():
        plain = Pair.alone(space, ruleset)
        before = plain.free(plain.old, path)
        old = decided(before)
    with together():
        pair = Pair.alone(space, ruleset)
        after = pair.free(pair.old, path)
        new = decided(after)
    assert new == old
    assert after.outcomes == before.outcomes
    assert after.tag == before.tag
    assert after.mark == before.mark
    for ours, theirs in ((after.matched, before.matched), (after.effects, before.effects)):
        assert dict(ours.items()) == dict(theirs.items())
    assert dict(after.evaluated.items()) == dict(before.evaluated.items())


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(rulesets(), st.sampled_from(sorted(PATHS)), st.data())
def test_what_is_asked_of_some_is_what_all_of_them_decide(ruleset: Ruleset, path: str, data: st.DataObject) -> None:
    """Of some packets and some rules: the same as all decisions, cut."""
    space = make_space((ruleset,), 1 << 20)
    with together():
        pair = Pair.alone(space, ruleset)
        done = pair.free(pair.old, path)
        some = data.draw(st.sampled_from([*done.matched.values(), space.all]))
        verdicts = data.draw(st.sets(st.sampled_from(sorted({str(v) for _, v, _ in done.decided}) or ["none"])))
        expected = [
            (by, verdict, here)
            for by, verdict, packets in done.decided
            if str(verdict) in verdicts and not is_empty(here := packets & some)
        ]
        assert list(done.decided.about(some, lambda _, verdict: str(verdict) in verdicts)) == expected


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(rulesets())
def test_rules_are_judged_alike(ruleset: Ruleset) -> None:
    with one_by_one():
        before = judge_in(Pair.alone(make_space((ruleset,), 1 << 20), ruleset))
    with together():
        after = judge_in(Pair.alone(make_space((ruleset,), 1 << 20), ruleset))
    assert after.judgements == before.judgements


def test_marks_are_those_of_the_entry_until_a_rule_sets_one() -> None:
    (ruleset,) = lower(
        SourceFile(
            "rules.v4",
            """*filter
:INPUT DROP [0:0]
-A INPUT -m mark --mark 0x1 -j DROP
-A INPUT -p tcp -m tcp --dport 80 -m mark --mark 0x2 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 443 -j MARK --set-xmark 0x2/0xffffffff
-A INPUT -m mark --mark 0x3 -j DROP
-A INPUT -p tcp -m mark --mark 0x2 -j ACCEPT
COMMIT
""",
        )
    ).rulesets
    rules = ruleset.tables["filter"].chains["INPUT"].rules
    space = make_space((ruleset,), 1 << 20)
    with together():
        steps = stretch.stretches(ruleset.tables["filter"].chains["INPUT"])
        assert [isinstance(step, stretch.Stretch) and step.asks_marks for step in steps] == [True, False, True]
        pair = Pair.alone(space, ruleset)
        walked = pair.free(pair.old, "in")
        https = space.is_(Field.PROTOCOL, 6) & space.values(Field.DPORT, ((443, 443),))
        marked = space.is_(Field.MARK, 2)
        assert is_empty(https & walked.matched[rules[4]] & space.is_(Field.MARK, 1))
        assert not is_empty(https & walked.matched[rules[4]] & ~marked)
        assert is_empty(walked.matched[rules[3]] & https)
        assert is_empty(~https & walked.matched[rules[4]] & ~marked)


def test_what_a_stretch_accepts_goes_on_to_the_next_hook() -> None:
    """What this host sends to itself is accepted in OUTPUT and meets INPUT, where a rule asks for its state."""
    accepts = "".join(f"-A OUTPUT -p udp -m udp --dport {port} -j ACCEPT\n" for port in range(53, 63))
    text = (
        "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT DROP [0:0]\n"
        "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT\n"
        f"{accepts}-A OUTPUT -p icmp -j ACCEPT\nCOMMIT\n"
    )
    (ruleset,) = lower(SourceFile("rules.v4", text)).rulesets
    with one_by_one():
        before = judge_in(Pair.alone(make_space((ruleset,), 1 << 20), ruleset))
    after = judge_in(Pair.alone(make_space((ruleset,), 1 << 20), ruleset))
    assert after.judgements == before.judgements
