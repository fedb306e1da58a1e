"""The covering packets: every rule that can decide does so for one of them, and each is what it is said to be."""

from pathlib import Path

import pytest

import ruleaudit
from ruleaudit.analysis.cover import cover
from ruleaudit.analysis.trace import trace
from ruleaudit.model.fields import Field, State
from ruleaudit.model.ruleset import Chain, Rule, Ruleset
from ruleaudit.syntax.packet import asked_packet

FIXTURES = Path(__file__).parent.parent / "fixtures"


def deciders(ruleset: Ruleset, most: int = 400) -> set[Rule | Chain]:
    found: set[Rule | Chain] = set()
    for one in cover([ruleset], [], most, 60).packets:
        run = trace(ruleset, one.path, one.packet, one.state)
        found |= {by for _, by in run.decisions if by is not None}
        found |= {step.rule for step in run.steps if step.matched}
    return found


@pytest.mark.parametrize("rules", ["user-chains.v4", "web.v6", "router.v4", "output-drop.v4", "dns.v4"])
def test_every_rule_is_met_but_those_that_need_a_connection(rules: str) -> None:
    ruleset = ruleaudit.read(str(FIXTURES / "hosts" / rules))
    met = deciders(ruleset)
    left = [rule.text for rule in ruleset.rules() if rule not in met]
    assert [text for text in left if "ESTABLISHED" not in text] == []
    assert len(left) < ruleset.size / 3


def test_there_are_no_more_than_asked_for() -> None:
    ruleset = ruleaudit.read(str(FIXTURES / "hosts" / "ufw.v4"))
    found = cover([ruleset], [], 10, 60)
    assert len(found.packets) == 10
    assert found.left > 5


def test_named_packets_come_first_in_the_state_that_they_have_alone() -> None:
    ruleset = ruleaudit.read(str(FIXTURES / "hosts" / "user-chains.v4"))
    texts = [
        "in tcp 198.51.100.7:4242 > 10.9.0.2:443 flags FA state established",
        "in udp 198.51.100.7:4242 > 224.0.0.251:5353",
        "out udp 10.9.0.2:53 > 198.51.100.7:4242",
        "in tcp [2001:db8::7]:4242 > [fd09::2]:443 flags S",
    ]
    found = cover([ruleset], [asked_packet(text) for text in texts], 400, 60)
    assert (found.named, found.unsendable) == (2, 1)
    first, second = found.packets[:2]
    assert (first.path, first.state, first.packet.values[Field.TCP_FLAGS] & 0x3F) == ("in", State.INVALID, 0x11)
    assert (second.path, second.state) == ("out", State.NEW)
