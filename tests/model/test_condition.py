"""Conditions are values: equal ones have one hash, which stays out of what is written away."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from ruleaudit.model.condition import And, Condition, Interface, Masked, Not, Opaque, Or, Scope, States, Values
from ruleaudit.model.fields import Field, State

LEAVES = st.sampled_from(
    [
        Values(Field.SADDR, ((1, 2),)),
        Values(Field.DADDR, ((1, 2),)),
        Masked(Field.MARK, 1, 1),
        Interface(Field.IIF, "eth0"),
        States(frozenset({State.NEW, State.RELATED})),
        Opaque("x", Scope.MEMORY),
    ]
)


def _compound(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return several.map(And) | several.map(Or) | inner.map(Not)


CONDITIONS: st.SearchStrategy[Condition] = st.recursive(LEAVES, _compound, max_leaves=6)


@given(CONDITIONS, CONDITIONS)
def test_equal_conditions_have_one_hash(one: Condition, other: Condition) -> None:
    hash(one)
    copy = pickle.loads(pickle.dumps(one))
    assert not hasattr(copy, "_hash")
    assert copy == one and hash(copy) == hash(one)
    assert one != other or hash(one) == hash(other)
