"""A walk of the packets that may meet a rule, through the rules of their hosts alone, is the walk through all rules."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ruleaudit import lower
from ruleaudit.analysis.cone import Cone
from ruleaudit.analysis.pair import Pair, make_space, may_match
from ruleaudit.analysis.space import Frame
from ruleaudit.analysis.stretch import Block
from ruleaudit.analysis.walk import PATHS, Walk
from ruleaudit.model.ruleset import Chain, Ruleset
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.source import SourceFile
from tests.analysis.random_rulesets import rulesets
from tests.analysis.test_stretch import SLOW, together


def _decided(walk: Walk) -> dict[tuple[str, str], PacketSet]:
    """In which chain is decided about which packets, and how."""
    found: dict[tuple[str, str], PacketSet] = {}
    for by, verdict, packets in walk.decided:
        chain = by.name if isinstance(by, Chain) else (by.rules[0] if isinstance(by, Block) else by).chain
        found[chain, str(verdict)] = found.get((chain, str(verdict)), walk.none) | packets
    return {key: packets for key, packets in found.items() if not is_empty(packets)}


def _through(pair: Pair, path: str, packets: PacketSet, cone: Cone | None) -> tuple[object, ...]:
    walk = pair.free_walk(pair.old)
    walk.cone = cone
    alive = walk.run(PATHS[path], packets)
    sets = (walk.matched, walk.effects, walk.on_entries, walk.evaluated, walk.consumed)
    return (alive, walk.tag, walk.mark, walk.outcomes, _decided(walk), *(dict(found) for found in sets))


@settings(max_examples=200, deadline=None, suppress_health_check=SLOW)
@given(rulesets(), st.sampled_from(sorted(PATHS)), st.integers(0))
def test_a_walk_through_a_cone_is_the_walk_through_all_rules(ruleset: Ruleset, path: str, number: int) -> None:
    rules = list(ruleset.rules())
    if not rules:
        return
    space = make_space((ruleset,), 1 << 20)
    rule = rules[number % len(rules)]
    forth, back = (may_match(space, rule, Frame("any", reverse)) for reverse in (False, True))
    region = space.connection_part(forth | back)
    with together():
        pair = Pair.alone(space, ruleset)
        packets = region & pair.possible(path)
        cone = Cone.of(space, region)
        assert cone is not None
        assert _through(pair, path, packets, cone) == _through(pair, path, packets, None)


def test_a_cone_holds_the_rules_of_its_hosts() -> None:
    lines = [f"-A FORWARD -s 10.0.{n}.0/24 -d 192.0.2.{n}/32 -p tcp -m tcp --dport 80 -j ACCEPT" for n in range(40)]
    more = ["-A FORWARD -p udp -j DROP", "-A FORWARD -s 10.7.0.0/16 -m set --match-set clients src -j ACCEPT"]
    text = "\n".join(["*filter", ":FORWARD DROP [0:0]", *lines, *more, "COMMIT", ""])
    (ruleset,) = lower(SourceFile("rules.v4", text)).rulesets
    space = make_space((ruleset,), 1 << 20)
    rules = list(ruleset.rules())
    region = space.connection_part(may_match(space, rules[3], Frame("any", True)))
    cone = Cone.of(space, region)
    assert cone is not None
    assert [r.line for r in rules if cone.holds(r)] == [rules[n].line for n in (3, 40, 41)]
