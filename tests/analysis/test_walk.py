"""Packet sets and the reference interpreter give one answer: two independent evaluations of the same rules."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ruleaudit import lower
from ruleaudit.analysis.pair import make_space
from ruleaudit.analysis.space import Frame, Space
from ruleaudit.analysis.trace import Packet, trace
from ruleaudit.analysis.walk import PATHS, Identities, Walk, conntrack_users
from ruleaudit.model.condition import Opaque
from ruleaudit.model.fields import Field, State
from ruleaudit.model.ruleset import Rule, Ruleset
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.source import SourceFile
from tests.analysis.random_rulesets import packets, rulesets


def singleton(space: Space, packet: Packet) -> PacketSet:
    """The set that holds one packet, whatever the opaque tests say."""
    out = space.all
    for name, value in packet.values.items():
        out = out & space.is_(name, value)
    for name, interface in ((Field.IIF, packet.iif), (Field.OIF, packet.oif)):
        symbol = interface if interface in space.alphabet else None
        index = space.alphabet.index(symbol) if symbol else _other(space, interface)
        out = out & space.diagrams.equal(space.bits[name], index)
    return out


def _other(space: Space, interface: str) -> int:
    """The letter of the alphabet for a name that no rule spells out: its longest prefix, or `any other`."""
    prefixes = [s for s in space.alphabet if s.endswith("+") and interface.startswith(s[:-1])]
    return space.alphabet.index(max(prefixes, key=len)) if prefixes and interface else len(space.alphabet) - 1


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(rulesets(), st.data())
def test_every_packet_has_the_verdict_that_its_set_has(ruleset: Ruleset, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(PATHS)))
    packet = data.draw(packets(path))
    state = data.draw(st.sampled_from((State.NEW, State.ESTABLISHED, State.RELATED, State.INVALID)))
    answer = data.draw(st.booleans())
    space = make_space((ruleset,), 1 << 16)
    identities = Identities.of(ruleset)
    frame = Frame("any")
    active = bool(conntrack_users(ruleset))
    original = space.all if packet.original else space.none
    walk = Walk(space, ruleset, identities, frame, {state: space.all}, original, active=active)
    one = singleton(space, packet)
    walk.run(PATHS[path], one)
    for number in space.unknown_tests:
        one = one & (space.diagrams.bit(number) if answer else ~space.diagrams.bit(number))

    def always(test: Opaque, rule: Rule) -> bool:
        return answer

    followed = trace(ruleset, path, packet, state, always, active=active)
    found = {verdict for verdict, members in walk.outcomes.items() if not is_empty(members & one)}
    assert found == {followed.verdict}
    assert is_empty(walk.tag & one) is not followed.untracked
    if followed.verdict == ("accept", ""):
        mark = sum(1 << 31 - place for place, bit in enumerate(walk.mark) if not is_empty(bit & one))
        assert mark & space.mark_bits == followed.mark & space.mark_bits


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(rulesets(), st.sampled_from(sorted(PATHS)))
def test_the_outcomes_are_a_partition_of_what_was_sent(ruleset: Ruleset, path: str) -> None:
    space = make_space((ruleset,), 1 << 18)
    walk = Walk(space, ruleset, Identities.of(ruleset), Frame("any"), {State.NEW: space.all}, space.all)
    walk.run(PATHS[path], space.domain)
    union = space.none
    for members in walk.outcomes.values():
        assert is_empty(union & members)
        union = union | members
    assert union == space.domain


def test_what_a_rule_saw_that_only_logs_is_told_when_asked_for() -> None:
    text = """table ip t {
    chain input {
        type filter hook input priority 0; policy accept;
        tcp dport 22 drop
        meta l4proto tcp limit rate 5/minute log prefix "late "
        tcp dport 80 drop
        tcp dport 22 log prefix "never "
    }
}
"""
    ruleset = lower(SourceFile("some.nft", text), "nft").rulesets[0]
    space = make_space((ruleset,), 1 << 16)
    walk = Walk(space, ruleset, Identities.of(ruleset), Frame("any"), {State.NEW: space.all}, space.all)
    walk.run(PATHS["in"], space.all)
    ssh, late, _, never = ruleset.tables["ip t"].chains["input"].rules
    assert not space.unknown_tests  # nobody asked for the limit yet
    left = space.is_(Field.PROTOCOL, 6) & ~walk.matched[ssh]
    seen = walk.matched[late]
    (limit,) = space.unknown_tests
    assert seen == left & space.diagrams.bit(limit)
    assert never not in walk.matched
    assert list(walk.effects.values()) == [seen]
    assert list(walk.evaluated.values()) == [left]
