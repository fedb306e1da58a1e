"""Which elements of a verdict map meet earlier ones is found without comparing each with each."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ruleaudit.model.condition import Condition, Interface, Values, all_of, merged, negate
from ruleaudit.model.fields import Field
from ruleaudit.model.from_nftables_rule import _disjoint, _first_ones
from ruleaudit.source import Span
from ruleaudit.syntax.nft_tree import Concat, Element, Word

_NOWHERE = Span(0, 0)
_INTERVALS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=2).map(
    lambda parts: merged((low, low + more) for low, more in parts)
)
_TESTS = st.one_of(
    st.builds(Values, st.sampled_from([Field.DADDR, Field.DPORT]), _INTERVALS),
    st.builds(Interface, st.just(Field.IIF), st.sampled_from(["eth0", "eth1", "eth+"])),
)
_KEYS = st.lists(_TESTS, max_size=3).map(all_of)


@given(st.lists(st.tuples(st.booleans(), _KEYS), max_size=9))
@settings(max_examples=300)
def test_the_elements_before_are_those_that_may_meet(given_: list[tuple[bool, Condition]]) -> None:
    word = Word("1", _NOWHERE)
    keyed = [
        (Element(Concat((word, word), _NOWHERE) if wide else word, None, (), _NOWHERE), condition)
        for wide, condition in given_
    ]
    expected = []
    for number, (element, condition) in enumerate(keyed):
        earlier = [other for _, other in keyed[:number] if not _disjoint(condition, other)]
        wide = isinstance(element.key, Concat)
        expected.append((element, all_of([condition, *map(negate, earlier)]) if wide else condition))
    assert _first_ones(keyed) == expected


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12))
def test_keys_of_single_values_meet_where_they_are_equal(keys: list[tuple[int, int]]) -> None:
    word = Word("1", _NOWHERE)
    element = Element(Concat((word, word), _NOWHERE), None, (), _NOWHERE)
    conditions = [all_of([Values(Field.DADDR, ((a, a),)), Values(Field.DPORT, ((p, p),))]) for a, p in keys]
    expected = [
        (element, all_of([condition, *(negate(other) for other in conditions[:number] if other == condition)]))
        for number, condition in enumerate(conditions)
    ]
    assert _first_ones([(element, condition) for condition in conditions]) == expected
