"""Rules without packets, and rules that could be deleted: random ones, held against the reference interpreter."""

from collections.abc import Collection
from dataclasses import replace
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ruleaudit
from ruleaudit.analysis.compare import compare
from ruleaudit.analysis.left import Left
from ruleaudit.analysis.pair import make_space
from ruleaudit.analysis.spare import Spares
from ruleaudit.analysis.trace import Packet, Trace, trace
from ruleaudit.analysis.walk import PATHS, Identities, conntrack_users, is_tracking, uses_conntrack
from ruleaudit.model.condition import Opaque
from ruleaudit.model.fields import State
from ruleaudit.model.ruleset import Rule, Ruleset
from ruleaudit.source import SourceFile, Span
from tests.analysis.random_rulesets import packets, rulesets

STATES = (State.NEW, State.ESTABLISHED, State.RELATED, State.INVALID)
RANDOM = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def with_places(ruleset: Ruleset) -> Ruleset:
    """The same with a place of its own in the text for each rule."""
    place = count()

    def placed(rule: Rule) -> Rule:
        at = next(place) * 2
        return replace(rule, span=Span(at, at + 1))

    return _with_rules(ruleset, lambda rules: tuple(placed(rule) for rule in rules))


def without(ruleset: Ruleset, gone: Collection[Rule]) -> Ruleset:
    return _with_rules(ruleset, lambda rules: tuple(rule for rule in rules if rule not in gone))


def _with_rules(ruleset: Ruleset, change) -> Ruleset:  # type: ignore[no-untyped-def]
    tables = {
        table.name: replace(
            table, chains={name: replace(chain, rules=change(chain.rules)) for name, chain in table.chains.items()}
        )
        for table in ruleset.tables.values()
    }
    return replace(ruleset, tables=tables)


def sent(ruleset: Ruleset, path: str, packet: Packet, state: State, answers: dict[tuple[str, int], bool], active: bool,
         numbers: dict[str, int]) -> Trace:  # fmt: skip
    """A packet followed; tests with a memory answer rule by rule, the others by their name."""

    def answer(test: Opaque, rule: Rule) -> bool:
        return answers.get((test.name, numbers[rule.text] if test.name == "limit" else 0), False)

    return trace(ruleset, path, packet, state, answer, active=active)


@RANDOM
@given(rulesets().map(with_places), st.data())
def test_no_packet_meets_a_rule_without_packets(ruleset: Ruleset, data: st.DataObject) -> None:
    left = Left(make_space((ruleset,), 1 << 18), ruleset)
    path = data.draw(st.sampled_from(sorted(PATHS)))
    packet, state = data.draw(packets(path)), data.draw(st.sampled_from(STATES))
    numbers = {rule.text: number for rule, number in Identities.of(ruleset).numbers.items()}
    answers = data.draw(
        st.dictionaries(
            st.tuples(st.sampled_from(("set a", "set b", "length", "limit")), st.integers(0, 9)), st.booleans()
        )
    )
    way = sent(ruleset, path, packet, state, answers, bool(conntrack_users(ruleset)), numbers)
    assert {step.rule for step in way.steps if step.matched} <= left.met
    assert not {step.rule for step in way.steps} & left.behind
    for void in left.void:
        assert not left.met & set(void.parts)


@settings(RANDOM, max_examples=100)
@given(rulesets().map(with_places))
def test_without_the_rules_that_can_be_spared_every_packet_fares_the_same(ruleset: Ruleset) -> None:
    left = Left(make_space((ruleset,), 1 << 18), ruleset)
    spared = {spare.rule for spare in Spares(left).all}
    void = left.behind | {part for one in left.void for part in one.parts}
    for gone in (spared, {rule for rule in void if not uses_conntrack(rule)}, spared | void):
        rest = without(ruleset, gone)
        if gone and is_tracking(rest) is is_tracking(ruleset):
            found = compare(ruleset, rest)
            assert [d.description for d in found.differences] == []
            assert [u.reason for u in found.undecided] == []


@RANDOM
@given(rulesets().map(with_places))
def test_scouts_show_what_the_sets_say(ruleset: Ruleset) -> None:
    told = []
    for steps in (None, 0):
        left = Left(make_space((ruleset,), 1 << 18), ruleset)
        if steps is not None:
            left.scouts.steps = steps
        spares = Spares(left).all
        takers = [(void.parts, [by for by, _ in void.takers]) for void in left.void]
        told.append((left.met, left.entered, takers, [(s.rule, s.instead, s.policy) for s in spares]))
    assert told[0] == told[1]


def checked(text: str) -> list[tuple[str, int, str]]:
    (report,) = ruleaudit.check([SourceFile("rules.v4", text)])
    return [
        (f.code, report.source.position(f.span.start).line, f.message)
        for f in report.findings
        if f.code in ("RA302", "RA303", "RA307", "RA308", "RA309")
    ]


def test_the_last_takers_that_are_enough_are_named() -> None:
    text = """*filter
:INPUT DROP [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j DROP
-A INPUT -s 192.0.2.7/32 -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
"""
    assert checked(text) == [
        ("RA308", 6, "this rule accepts nothing: line 5 drops all that it would match"),
    ]


def test_many_rules_that_refuse_side_by_side_are_told_apart() -> None:
    blocked = [f"-A INPUT -s 198.51.{n // 250}.{n % 250}/32 -j DROP\n" for n in range(2000)]
    again = [*blocked[:3], "-A INPUT -s 198.51.0.0/24 -p tcp -m tcp --dport 25 -j DROP\n"]
    text = f"*filter\n:INPUT ACCEPT [0:0]\n{''.join([*blocked, *again])}COMMIT\n"
    found = [(code, line) for code, line, _ in checked(text) if code != "RA307"]
    assert found == [("RA302", 2003), ("RA302", 2004), ("RA302", 2005)]


def test_a_file_with_errors_is_mended_first() -> None:
    text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\n-A INPUT -p tcp --dprot 22 -j ACCEPT\nCOMMIT\n"
    assert checked(text) == []
