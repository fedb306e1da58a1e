"""Packet sets are exact: every operation agrees with plain sets of numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruleaudit.packets.diagram import Diagrams, OutOfRoom, PacketSet, is_empty, with_room

WIDTH = 6
numbers = st.integers(0, 2**WIDTH - 1)
sets = st.frozensets(numbers, max_size=20)


def of(d: Diagrams, bits: range, values: frozenset[int]) -> PacketSet:
    return d.within(bits, [(v, v) for v in sorted(values)])


def back(d: Diagrams, bits: range, found: PacketSet) -> frozenset[int]:
    return frozenset(v for low, high in d.intervals(found, bits) for v in range(low, high + 1))


@given(sets, sets)
def test_the_algebra_is_that_of_sets(a: frozenset[int], b: frozenset[int]) -> None:
    d = Diagrams()
    bits = d.add(WIDTH)
    x, y = of(d, bits, a), of(d, bits, b)
    assert back(d, bits, x & y) == a & b
    assert back(d, bits, x | y) == a | b
    assert back(d, bits, x & ~y) == a - b
    assert is_empty(x & ~y) == (a <= b)
    assert (x == y) == (a == b)


@given(sets)
def test_intervals_are_sorted_and_do_not_touch(a: frozenset[int]) -> None:
    d = Diagrams()
    bits = d.add(WIDTH)
    found = d.intervals(of(d, bits, a), bits)
    assert all(one[1] + 1 < other[0] for one, other in zip(found, found[1:], strict=False))
    assert back(d, bits, of(d, bits, a)) == a


@given(sets, st.integers(0, 2**128 - 1), st.integers(0, 2**128 - 1))
def test_numbers_are_counted_exactly(a: frozenset[int], one: int, other: int) -> None:
    d = Diagrams()
    bits, wide = d.add(WIDTH), d.add(128)
    assert d.count(of(d, bits, a), bits) == len(a)
    low, high = sorted((one, other))
    assert d.count(d.within(wide, [(low, high)]), wide) == high - low + 1


@given(numbers, numbers, numbers)
def test_a_masked_test_looks_at_the_masked_bits_only(value: int, mask: int, want: int) -> None:
    d = Diagrams()
    bits = d.add(WIDTH)
    found = d.masked(d.vector(bits), mask, want)
    assert is_empty(found & d.equal(bits, value)) == (value & mask != want)


@given(sets)
def test_exchanging_two_numbers_twice_changes_nothing(a: frozenset[int]) -> None:
    d = Diagrams()
    left, right = d.add(WIDTH), d.add(WIDTH)
    pairs = list(zip(left, right, strict=True))
    found = of(d, left, a) & d.equal(right, 3)
    swapped = d.exchange(found, pairs)
    assert back(d, right, swapped.exists(d.cube(left))) == (a if a else frozenset())
    assert d.exchange(swapped, pairs) == found


@given(sets, st.sets(st.integers(0, WIDTH - 1)))
def test_the_support_of_a_set(a: frozenset[int], off: set[int]) -> None:
    d = Diagrams()
    bits = d.add(WIDTH)
    found = of(d, bits, a)
    # the first place is the highest bit
    unset = {value for value in a if not any(value >> (WIDTH - 1 - place) & 1 for place in off)}
    if not unset:
        with pytest.raises(ValueError, match="no member"):
            d.support(found, off)
        return
    picked = d.support(found, off)
    vectors = found
    for number, value in picked.items():
        vectors = vectors & (d.bit(number) if value else ~d.bit(number))
    assert back(d, bits, vectors) <= a
    assert not any(picked.get(place) for place in off)
    assert min(back(d, bits, vectors)) == min(unset)


def test_the_support_of_an_empty_set_is_an_error() -> None:
    d = Diagrams()
    d.add(1)
    with pytest.raises(ValueError, match="no member"):
        d.support(d.none)


def test_a_question_without_room_is_asked_again_with_more_and_then_given_up() -> None:
    asked: list[int] = []

    def question(room: int) -> str:
        asked.append(room)
        if len(asked) < 2:
            raise OutOfRoom
        return "answer"

    assert with_room(question) == "answer"
    assert asked[1] > asked[0]

    def hopeless(room: int) -> str:
        raise OutOfRoom

    assert with_room(hopeless) is None
