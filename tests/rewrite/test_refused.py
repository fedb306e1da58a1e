"""A refusal speaks of the file that the user has, not of the rewrite that failed."""

import ruleaudit
from ruleaudit.source import SourceFile

RULES = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p udp -m udp --dport 53 -m limit --limit 5/sec -j ACCEPT
-A INPUT -j REJECT --reject-with icmp-port-unreachable
COMMIT
"""


def test_the_rule_of_a_refusal_stands_in_the_original() -> None:
    found = ruleaudit.suggest(SourceFile("rules.v4", RULES))
    assert [refused.flow.words for refused in found.refused] == ["udp/53"]
    rules = {id(rule) for rule in found.ruleset.rules()}
    assert all(id(refused.rule) in rules for refused in found.refused)
