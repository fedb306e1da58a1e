"""The way of one packet: states, choices, what is open, and who decides."""

import pytest

import ruleaudit
from ruleaudit import UsageError
from ruleaudit.model.ruleset import Chain, Rule
from ruleaudit.results.packet import Followed
from ruleaudit.source import SourceFile
from tests.report.made import SOURCE

HOST = """\
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m tcp --dport 80 -j CT --notrack
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -j MARK --set-xmark 0x1/0xffffffff
COMMIT
*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
:WEB - [0:0]
-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m multiport --dports 80,443 -j WEB
-A INPUT -p udp -m set --match-set resolvers src -j ACCEPT
-A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 22 -j ACCEPT
-A WEB -m limit --limit 5/sec -j LOG
-A WEB -j ACCEPT
COMMIT
"""
#: the lines of HOST that decide
ESTABLISHED, RESOLVERS, SSH, ACCEPTED = 15, 17, 18, 20


def follow(packet: str, text: str = HOST) -> tuple[Followed, ...]:
    return ruleaudit.follow(SourceFile("rules.v4", text), [packet])


def by(found: Followed) -> int | str | None:
    match found.decided_by:
        case Rule(line=line):
            return line
        case Chain(name=name):
            return name
        case None:
            return None


def test_every_state_that_a_packet_can_have() -> None:
    found = follow("in tcp 198.51.100.7:4242 > 10.9.0.2:443 flags S")
    assert [(f.state, f.verdict, by(f), f.tracked) for f in found] == [
        ("new", "accept", ACCEPTED, True),
        ("established", "accept", ESTABLISHED, True),
        ("invalid", "accept", ACCEPTED, True),
    ]
    assert [f.state for f in follow("in icmp > * type 3/4")] == ["related", "invalid"]
    assert [f.state for f in follow("in tcp > :443 flags F")] == ["invalid"]


def test_what_the_ruleset_leaves_untracked_has_one_state() -> None:
    (found,) = follow("in tcp > :80 flags S")
    assert (found.state, found.verdict, by(found), found.tracked) == ("untracked", "accept", ACCEPTED, False)
    (asked,) = follow("in tcp > :80 flags S state established")
    assert asked.state == "untracked"


def test_only_the_state_that_is_asked_for() -> None:
    (found,) = follow("in tcp > :443 flags A state established")
    assert (found.state, by(found)) == ("established", ESTABLISHED)


def test_a_value_that_was_left_open_is_named_when_it_decides() -> None:
    (found,) = follow("in tcp > :22 flags S state new")
    assert (found.verdict, by(found)) == ("drop", "INPUT")
    assert found.open == ("the source address",)
    (found,) = follow("in tcp > :443 flags S state new")
    assert found.open == ()
    assert found.packet == "in tcp 198.51.100.7:4242 > 10.9.0.2:443 flags S iif eth0 state new"


def test_a_test_that_nobody_can_answer_here() -> None:
    (found,) = follow("in udp 192.0.2.53:53 > 10.9.0.2:4242 state new")
    assert (found.verdict, by(found)) == ("undecided", None)
    assert f"line {RESOLVERS}" in found.open
    steps = {step.rule.line: step.match for step in found.path}
    assert steps[RESOLVERS] is None
    # a limit that only logs decides nothing
    (found,) = follow("in tcp > :443 flags S state new")
    assert found.verdict == "accept"
    assert {step.rule.line: step.match for step in found.path}[ACCEPTED - 1] is None


def test_the_policy_of_the_filtering_chain_decides_though_others_come_later() -> None:
    (found,) = follow("out udp 10.9.0.2:53 > 198.51.100.7:4242 state new")
    assert (found.verdict, by(found)) == ("accept", "OUTPUT")


def test_nothing_tracks() -> None:
    text = "*filter\n:INPUT DROP [0:0]\n-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT\nCOMMIT\n"
    (found,) = follow("in tcp > :80 flags S", text)
    assert (found.state, found.verdict, found.tracked) == ("untracked", "accept", False)


def test_a_packet_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="is for IPv4"):
        follow("in tcp [2001:db8::1]:80 > *:80")


def test_every_witness_is_a_packet_of_the_language() -> None:
    report = ruleaudit.check([SOURCE])[0]
    texts = [f.witness.packet for f in report.findings if f.witness]
    texts += [w.packet for j in ruleaudit.explain(SOURCE).judgements for w in j.connections]
    assert texts
    for text in texts:
        found = ruleaudit.follow(SOURCE, [text])
        assert all(f.packet.startswith(text.split(" state ")[0]) for f in found), text
