"""Packet sets in a row, asked in halves, and one by one."""

from hypothesis import given
from hypothesis import strategies as st

from ruleaudit.analysis.row import Row, union
from ruleaudit.packets.diagram import Diagrams, PacketSet, is_empty

VALUES = st.sets(st.integers(0, 31))


@given(st.lists(VALUES, min_size=1, max_size=20), VALUES, st.data())
def test_halves_answer_what_the_sets_answer_one_by_one(
    chosen: list[set[int]], asked: set[int], data: st.DataObject
) -> None:
    diagrams = Diagrams(1 << 12)
    bits = diagrams.add(5)

    def packets(values: set[int]) -> PacketSet:
        return diagrams.within(bits, [(value, value) for value in sorted(values)])

    row, wanted = Row([packets(values) for values in chosen]), packets(asked)
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(chosen))] * 2)))
    every = {value for values in chosen for value in values}
    assert row.union == union(row.sets, diagrams.none) == packets(every)
    assert row.first(wanted, start, end) == next((n for n in range(start, end) if chosen[n] & asked), None)
    assert row.without(wanted, start, end) == packets(asked - {v for values in chosen[start:end] for v in values})
    assert is_empty(union([], diagrams.none))
    places = sorted(data.draw(st.sets(st.integers(0, len(chosen) - 1))))
    left = [(place, chosen[place] & asked - {v for values in chosen[:place] for v in values}) for place in places]
    assert list(row.shared(wanted, places)) == [(place, packets(values)) for place, values in left if values]
