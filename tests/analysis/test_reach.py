"""Who reaches a rule, what it does with them, and who takes them where none is left."""

import pytest

import ruleaudit
from ruleaudit import SourceError
from ruleaudit.results import RuleClass
from ruleaudit.results.reach import Reach
from ruleaudit.source import SourceFile

RULES = """\
*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 80 -j CT --notrack
COMMIT
*filter
:INPUT DROP [0:0]
:WEB - [0:0]
:LOST - [0:0]
:DOCKER-USER - [0:0]

# the blocked
-A INPUT -s 192.0.2.0/24 -j DROP
-A INPUT -s 198.51.100.0/24 -j DROP
-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m multiport --dports 80,443 -j WEB
-A INPUT -s 192.0.2.7 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A WEB -p udp -j ACCEPT
-A WEB -m limit --limit 5/sec -j RETURN
-A WEB -j ACCEPT
-A WEB -s 10.0.0.0/8 -j DROP
-A LOST -j ACCEPT
-A DOCKER-USER -j ACCEPT
COMMIT
"""


def reach(line: int, text: str = RULES) -> Reach:
    (found,) = ruleaudit.reach(SourceFile("rules.v4", text), line)
    return found


def visitors(found: Reach, matched: bool, path: str = "in") -> list[tuple[str, str]]:
    return [(v.state, v.words) for v in found.visitors if v.matched is matched and v.path == path]


def test_who_reaches_a_rule_and_what_it_does_with_them() -> None:
    found = reach(15)
    assert (found.action, found.barred, found.judgement) == ("jump WEB", "", None)
    assert visitors(found, True) == [("new", "tcp to 443"), ("invalid", "tcp to 443"), ("untracked", "tcp to 80")]
    assert visitors(found, False) == [
        ("new", "packets to this host"), ("related", "icmp"), ("invalid", "packets to this host"),
    ]  # fmt: skip
    witness = next(v.witness for v in found.visitors if v.matched and v.state == "untracked")
    assert witness.packet.endswith(":80 flags S iif eth0 state untracked")
    assert witness.description == "jump WEB"


def test_a_rule_of_a_blocklist_is_looked_at_alone() -> None:
    found = reach(13)
    assert ("new", "packets to this host from 198.51.100.0/24") in visitors(found, True)
    (new,) = (v for v in found.visitors if v.matched and v.path == "in" and v.state == "new")
    assert "198.51.100." in new.witness.packet


def test_every_witness_gets_to_the_rule() -> None:
    source = SourceFile("rules.v4", RULES)
    for line in (12, 13, 14, 15, 19, 20):
        for visitor in reach(line).visitors:
            if visitor.path != "in":
                continue
            (way,) = ruleaudit.follow(source, [visitor.witness.packet])
            steps = {step.rule.line: step.match for step in way.path}
            assert line in steps
            assert steps[line] in (visitor.matched, None)


def test_before_conntrack_there_is_no_state() -> None:
    assert visitors(reach(3), True) == [("", "tcp to 80")]


def test_who_takes_what_it_would_match() -> None:
    found = reach(16)
    assert (found.barred, [r.line for r in found.takers]) == ("line 12 takes every packet that it would match", [12])
    assert visitors(found, False) != []
    found = reach(17)
    assert found.judgement is not None and found.judgement.kind is RuleClass.DEAD
    assert 14 in [r.line for r in found.takers]
    found = reach(21)
    assert (found.barred, [r.line for r in found.callers]) == (
        "lines 19, 20 take every packet that it would match", [15],
    )  # fmt: skip
    assert reach(18).barred == "packets come by, and none of them can match it"


def test_chains_that_nobody_calls() -> None:
    assert reach(22).barred == "nothing in this file calls chain LOST"
    assert reach(23).barred == "chain DOCKER-USER is called from outside this file, by whom is not known"
    text = RULES.replace("-A LOST -j ACCEPT", "-A LOST -j ACCEPT\n-A INPUT -s 192.0.2.0/25 -j LOST")
    assert reach(22, text).barred == "no packet gets into chain LOST: none that reaches its callers matches them"


def test_a_test_that_nobody_can_answer() -> None:
    assert reach(19).open == ("limit --limit 5/sec",)


NFT = """\
table inet f {
	chain input {
		type filter hook input priority 0; policy drop;
		ct state vmap { established : accept,
			invalid : drop }
		tcp dport vmap { 22 : accept, 80 : jump web }
		iif "lo" accept
	}

	chain web {
		ip saddr 10.0.0.0/8 accept
	}
}
"""


def test_verdict_maps_and_families() -> None:
    source = SourceFile("rules.nft", NFT)
    four, six = ruleaudit.reach(source, 5)
    assert (four.ruleset.family.value, six.ruleset.family.value) == ("ip", "ip6")
    assert four.action == "accept or drop"
    assert {(v.state, v.witness.description) for v in four.visitors if v.matched and v.path == "in"} == {
        ("established", "accept"), ("invalid", "drop"),
    }  # fmt: skip
    four, six = ruleaudit.reach(source, 11)
    assert [r.line for r in four.callers] == [6]
    assert visitors(four, True) == [("new", "tcp to 80 from 10.0.0.0/8")]
    assert six.barred == "packets come by, and none of them can match it"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (99, "rules.v4:99: there is no such line; the file has 24"),
        (0, "rules.v4:0: there is no such line; the file has 24"),
        (10, "rules.v4:10: an empty line; the nearest rule is in line 12: -A INPUT -s 192.0.2.0/24 -j DROP"),
        (11, "rules.v4:11: a comment; the nearest rule is in line 12: -A INPUT -s 192.0.2.0/24 -j DROP"),
        (2, ("rules.v4:2: where a chain begins; the nearest rule is in line 3: -A PREROUTING -p tcp -m tcp --dport 80"
         " -j CT --notrack")),
        (24, 'rules.v4:24: no rule, but "COMMIT"; the nearest rule is in line 23: -A DOCKER-USER -j ACCEPT'),
    ],
)  # fmt: skip
def test_lines_without_a_rule(line: int, message: str) -> None:
    with pytest.raises(SourceError) as error:
        reach(line)
    assert str(error.value) == message


def test_a_file_without_rules() -> None:
    with pytest.raises(SourceError, match="and there is no rule in this file"):
        reach(2, "*filter\n:INPUT DROP [0:0]\nCOMMIT\n")
