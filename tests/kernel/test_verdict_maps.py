"""Verdict maps: they look up once, and of some nobody can say beforehand where they lead."""

import pytest

import ruleaudit
from ruleaudit.results import RuleClass
from ruleaudit.source import SourceFile
from tests.kernel.lab import CLIENT, SERVER, Lab

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

#: port 53 comes back from a chain that may have set the mark; port 54 has had it before
ONCE = """table ip a {{
    chain classify {{
        meta mark 1 drop
        {statement}
    }}
    chain refuse {{ drop; }}
    chain earlier {{
        type filter hook prerouting priority mangle;
        udp dport 54 meta mark set 1
    }}
    chain input {{
        type filter hook input priority filter;
        {rule}
    }}
}}
"""
#: one element that jumps is put behind the others; beside two, and with the rest of the rule, a change is not followed
RULES = {
    "meta mark vmap { 0 : jump classify, 1 : drop }": False,
    "meta mark vmap { 0 : jump classify, 1 : jump refuse }": True,
    "meta mark vmap { 0 : jump classify, 1 : jump classify }": True,
    "meta mark vmap { 0 : jump classify, 1 : continue } drop": True,
}


@pytest.mark.parametrize("statement", ["meta mark set 1", "counter"])
@pytest.mark.parametrize("rule", RULES)
def test_who_comes_back_goes_on_behind_the_rule(rule: str, statement: str) -> None:
    source = SourceFile("host.nft", ONCE.format(rule=rule, statement=statement))
    with Lab() as lab:
        for port in (53, 54):
            lab.serve_udp("server", port)
        lab.load_nft("server", source.text)
        assert [lab.udp("client", SERVER, port) for port in (53, 54)] == ["ok", "silence"]

    unknown = RULES[rule] and statement != "counter"
    assert [f.code for report in ruleaudit.check([source]) for f in report.findings] == ["RA002"] * unknown
    for port, verdict in ((53, "accept"), (54, "drop")):
        followed = ruleaudit.follow(source, [f"in udp {CLIENT}:4242 > {SERVER}:{port} iif eth0 mark 0"])
        assert {one.verdict for one in followed} == {"undecided" if unknown else verdict}


FILLED = """table ip a {
    map filled { type mark : verdict; flags timeout; }
    chain known { ct state untracked drop; }
    chain input {
        type filter hook input priority filter; policy drop;
        meta mark vmap @filled
        ct state established,related accept
        tcp dport { 22, 80 } accept
    }
}
"""
NOTRACK = """table ip raw {
    chain in { type filter hook prerouting priority raw; tcp dport 80 notrack; }
    chain out { type filter hook output priority raw; tcp sport 80 notrack; }
}
"""


def test_no_connection_that_a_map_may_send_to_a_state_test_leaves_the_table() -> None:
    source = SourceFile("host.nft", FILLED)
    with Lab() as lab:
        lab.serve_tcp("server", 80)
        seen = []
        for text in (FILLED, FILLED + NOTRACK):
            lab.load_nft("server", text)
            seen.append(lab.tcp("client", SERVER, 80))
            lab.run("server", "nft", "add", "element", "ip", "a", "filled", "{ 0 : jump known }")
            seen.append(lab.tcp("client", SERVER, 80))
    # what would break is found by nobody until the map is filled
    assert seen == ["ok", "ok", "ok", "silence"]

    assert ruleaudit.suggest(source, ports=("80",)).text is None
    asked = {j.rule.text: j.kind for j in ruleaudit.explain(source).judgements}
    assert asked["ct state untracked drop"] is asked["meta mark vmap @filled"] is RuleClass.REQUIRED
