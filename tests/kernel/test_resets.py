"""The RST of a REJECT: in which state it leaves."""

import pytest

import ruleaudit
from ruleaudit.results import RuleClass
from ruleaudit.source import SourceFile
from tests.kernel.lab import SERVER, VARIANTS, Lab

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

STATES = ("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")
#: refused by policy, unless the RST is RELATED
IPTABLES = """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT DROP [0:0]
-A INPUT -p tcp -m tcp --dport 80 -j REJECT --reject-with tcp-reset
-A OUTPUT -p tcp -m tcp --tcp-flags RST RST -m conntrack --ctstate {state} -j ACCEPT
COMMIT
"""
NFT = """table inet f {{
    chain input {{
        type filter hook input priority filter;
        tcp dport 80 reject with tcp reset
    }}
    chain output {{
        type filter hook output priority filter; policy drop;
        tcp flags & rst == rst ct state {state} accept
    }}
}}
"""


@pytest.mark.parametrize("language", [*VARIANTS, "nft"])
def test_it_is_related_to_what_it_refuses(language: str) -> None:
    seen = {}
    with Lab() as lab:
        for state in STATES:
            if language == "nft":
                lab.load_nft("server", NFT.format(state=state.lower()))
            else:
                lab.load("server", IPTABLES.format(state=state), language)
            seen[state] = lab.tcp("client", SERVER, 80)
    assert seen == {state: "refused" if state == "RELATED" else "silence" for state in STATES}


@pytest.mark.parametrize(
    ("name", "text"),
    [("rules.v4", IPTABLES.format(state="RELATED")), ("host.nft", NFT.format(state="related"))],
)
def test_a_rule_that_lets_it_out_is_not_dead(name: str, text: str) -> None:
    (judgement,) = ruleaudit.explain(SourceFile(name, text)).judgements
    assert judgement.kind is not RuleClass.DEAD
