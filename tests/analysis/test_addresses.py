"""Classes of addresses are as exact as addresses: every set that is asked for, declared or not, stays what it is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruleaudit.analysis.addresses import Classes, Plain, masked_intervals
from ruleaudit.analysis.space import Frame, Space, Spoken, View
from ruleaudit.model.condition import And, Interval, Masked, Values, merged
from ruleaudit.model.fields import Family, Field
from ruleaudit.packets.diagram import FIRST_ROOM, Diagrams, OutOfRoom, PacketSet, is_empty

BITS = 10
LAST = (1 << BITS) - 1
ends = st.integers(0, LAST)
sets = st.lists(
    st.tuples(ends, st.sampled_from((0, 0, 0, 1, 7, 100))).map(lambda at: (at[0], min(LAST, at[0] + at[1]))),
    min_size=1,
    max_size=12,
).map(merged)


def members(intervals: tuple[Interval, ...]) -> set[int]:
    return {value for low, high in intervals for value in range(low, high + 1)}


@settings(max_examples=300)
@given(st.lists(sets, max_size=6), st.lists(sets, min_size=2, max_size=8))
def test_sets_of_codes_are_those_of_addresses(
    declared: list[tuple[Interval, ...]], asked: list[tuple[Interval, ...]]
) -> None:
    codes = Classes(BITS, declared)
    diagrams = Diagrams()
    bits = diagrams.add(codes.bits)
    every = [*declared, *asked]
    built = [diagrams.within(bits, codes.of(one)) for one in every]  # what was built early is used late

    def taken(found: PacketSet) -> set[int]:
        return members(tuple(codes.taken(diagrams, found, bits)))

    for one, found in zip(every, built, strict=True):
        assert codes.taken(diagrams, found, bits) == list(one)
        assert codes.few(diagrams, found, bits, 3) == (list(one) if len(one) <= 3 else None)
        assert codes.count(diagrams, found, bits) == len(members(one))
        assert found == diagrams.within(bits, codes.of(one))
        points = {a: diagrams.within(bits, codes.of(((a, a),))) for a in range(LAST + 1)}
        assert members(one) == {a for a, point in points.items() if not is_empty(found & point)}
        for other, more in zip(every, built, strict=True):
            assert taken(found & more) == members(one) & members(other)
            assert taken(found & ~more) == members(one) - members(other)


@given(st.lists(sets, max_size=6), ends)
def test_the_first_address_of_a_code_has_it(declared: list[tuple[Interval, ...]], address: int) -> None:
    codes = Classes(BITS, declared)
    ((low, high),) = codes.of(((address, address),))
    assert codes.first(low) == codes.first(high) == address


def test_what_only_one_list_holds_is_one_class() -> None:
    scattered = merged((n * 7919 % (1 << 32), n * 7919 % (1 << 32)) for n in range(20_000))
    codes = Classes(32, [scattered, ((10 << 24, (11 << 24) - 1),)])
    assert len(codes.of(scattered)) == 1
    assert codes.bits < 52


def test_what_the_first_sets_hold_is_one_interval_of_codes() -> None:
    hosts: list[tuple[Interval, ...]] = [((n * 7919 % 60_000, n * 7919 % 60_000),) for n in range(5_000)]
    codes = Classes(16, hosts)
    for number in (1, 2, 1_000, 4_999):
        assert len(codes.of(merged(host for one in hosts[:number] for host in one))) == 1


def test_networks_are_intervals_of_codes_wherever_the_hosts_in_them_are_named() -> None:
    networks: list[tuple[Interval, ...]] = [((n << 12, (n + 1 << 12) - 1),) for n in (3, 0, 7, 5)]
    hosts: list[tuple[Interval, ...]] = [((n * 7919 % 60_000, n * 7919 % 60_000),) for n in range(5_000)]
    for sets in ([*networks, *hosts], [*hosts, *networks]):
        codes = Classes(16, sets)
        assert all(len(codes.of(network)) == 1 for network in networks)


def test_the_hosts_of_rules_that_ask_alike_have_codes_beside_each_other() -> None:
    blocked: list[tuple[Interval, ...]] = [((n * 7919 % 60_000, n * 7919 % 60_000),) for n in range(100)]
    served: list[tuple[Interval, ...]] = [((n * 7919 % 60_000, n * 7919 % 60_000),) for n in range(100, 200)]
    spoken = Spoken()
    web = Values(Field.DPORT, ((80, 80),))
    pairs = zip(blocked, served, strict=True)
    spoken.add(
        Family.IPV4,
        (c for b, s in pairs for c in (Values(Field.SADDR, b), And((Values(Field.DADDR, s), web)))),
    )
    space = spoken.space(Family.IPV4, FIRST_ROOM)
    for some in (blocked, served):
        assert len(space.codes[Field.SADDR].of(merged(host for one in some for host in one))) == 1


def test_a_class_that_cannot_be_divided_any_more_is_no_guess() -> None:
    codes = Classes(32, [])

    def divide() -> None:
        for depth in range(31, 0, -1):
            codes.of(((0, (1 << depth) - 1),))

    with pytest.raises(OutOfRoom):
        divide()


@given(st.integers(0, LAST), st.integers(0, LAST))
def test_single_bits_of_addresses(mask: int, value: int) -> None:
    found = masked_intervals(BITS, mask, value)
    assert found is not None
    assert members(found) == {a for a in range(LAST + 1) if a & mask == value}


def test_too_many_single_bits_leave_addresses_as_they_are() -> None:
    assert masked_intervals(128, 1, 1) is None
    assert isinstance(Space(Family.IPV6, ()).codes[Field.SADDR], Plain)


def test_addresses_that_are_as_they_are_are_not_counted_one_by_one() -> None:
    space = Space(Family.IPV6, ())
    odd = space.condition(Masked(Field.SADDR, 1, 1), Frame("any"), View({}, [], space.all))
    assert space.few_taken(odd, Field.SADDR, 32) is None
    assert space.number_taken(odd, Field.SADDR) == 1 << 127


def test_both_sides_have_the_same_codes() -> None:
    space = Space(Family.IPV4, (), address_sets=[((1, 5),)])
    source = space.is_(Field.SADDR, 3) & space.is_(Field.DADDR, 4)
    assert space.taken(source, Field.SADDR) == [(3, 3)]
    assert space.taken(source, Field.DADDR, reverse=True) == [(3, 3)]
