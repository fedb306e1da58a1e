"""Packets that are made up for rules, and the rules that may match one of them: found by prefix, and one by one."""

from hypothesis import given
from hypothesis import strategies as st

import ruleaudit
from ruleaudit.analysis.scouts import Course, Scouts
from ruleaudit.model.condition import Condition, Not, Values, all_of
from ruleaudit.model.fields import Field
from ruleaudit.model.ruleset import Accept, Match, Rule
from ruleaudit.source import SourceFile, Span

FIELDS = (Field.SADDR, Field.DADDR, Field.DPORT, Field.PROTOCOL)


@st.composite
def intervals(draw: st.DrawFn) -> tuple[tuple[int, int], ...]:
    """Prefixes, most often; a range; a list."""
    size = 1 << draw(st.integers(0, 5))
    low = draw(st.integers(0, 255))
    prefix = low & -size
    others = ((low, low), (low + 7, low + 20), (low + 40, low + 40))
    return draw(st.sampled_from((((prefix, prefix + size - 1),), ((low, low),), ((low, low + 2 * size),), others)))


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    fields = draw(st.sets(st.sampled_from(FIELDS)))
    tests: list[Condition] = [Values(field, draw(intervals())) for field in FIELDS if field in fields]
    return all_of(Not(test) if draw(st.integers(0, 5)) == 0 else test for test in tests)


def rule(condition: Condition) -> Rule:
    return Rule("INPUT", "filter", 0, Span(0, 0), "", (Match("", (0, 0), condition),), (), Accept())


SCOUTS = Scouts(ruleaudit.lower(SourceFile("rules.v4", "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n")).rulesets[0])


@given(st.lists(conditions(), max_size=30), st.lists(conditions(), max_size=5), st.data())
def test_the_rules_that_may_match_are_found(
    chain: list[Condition], asked: list[Condition], data: st.DataObject
) -> None:
    rules = [rule(condition) for condition in chain]
    places = sorted(data.draw(st.sets(st.integers(0, 29)))) if rules else []
    places = [place for place in places if place < len(rules)]
    course = Course(rules, places)
    for condition in asked:
        scout = SCOUTS.new((rule(condition),), (data.draw(st.integers(0, 2)), 0))
        coming = list(course.coming(scout.values))
        assert coming == sorted(set(coming))
        matching = {place for place in places if scout.holds(rules[place].condition)}
        assert matching <= set(coming) <= set(places)
        if scout.holds(condition):
            assert matching <= set(course.beside(condition)) <= set(places)


@given(conditions(), st.tuples(st.integers(0, 2), st.integers(0, 2)))
def test_a_scout_matches_the_rule_that_it_was_made_for(condition: Condition, attempt: tuple[int, int]) -> None:
    tests = condition.items if hasattr(condition, "items") else (condition,)
    if all(isinstance(test, Values) for test in tests):
        assert SCOUTS.new((rule(condition),), attempt).holds(condition)
