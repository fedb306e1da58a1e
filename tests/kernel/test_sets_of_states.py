"""Named sets and maps of conntrack states: who asks one needs an entry, also where nobody knows what it holds."""

import pytest

import ruleaudit
from ruleaudit.results import RuleClass
from ruleaudit.source import SourceFile
from tests.kernel.lab import CLIENT, Lab

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

HOST = """table inet f {{
    {declared}
    chain input {{
        type filter hook input priority filter; policy drop;
        {rule}
        tcp dport 22 accept
    }}
}}
"""
BOTH = "typeof ct state . meta l4proto"
#: what is declared, the rule, and what somebody else puts into it when it is loaded
CASES = {
    "set s { typeof ct state; elements = { established, related } }": ("ct state @s accept", ""),
    "set s { typeof ct state; flags interval; elements = { established } }": ("ct state @s accept", ""),
    "set s { typeof ct state; elements = { new, invalid, untracked } }": ("ct state != @s accept", ""),
    f"set s {{ {BOTH}; elements = {{ established . tcp }} }}": ("ct state . meta l4proto @s accept", ""),
    "map s { typeof ct state : verdict; elements = { established : accept } }": ("ct state vmap @s", ""),
    "set s { typeof ct state; }": ("ct state @s accept", "established"),
    "set s { typeof ct state; flags timeout; }": ("ct state @s accept", "established"),
    f"set s {{ {BOTH}; }}": ("ct state . meta l4proto @s accept", "established . tcp"),
    "map s { typeof ct state : verdict; }": ("ct state vmap @s", "established : accept"),
    f"map s {{ {BOTH} : verdict; }}": ("ct state . meta l4proto vmap @s", "established . tcp : accept"),
}


@pytest.mark.parametrize("declared", CASES)
def test_without_the_rule_no_reply_comes_in(declared: str) -> None:
    rule, filled = CASES[declared]
    source = SourceFile("host.nft", HOST.format(declared=declared, rule=rule))
    seen = []
    with Lab() as lab:
        lab.serve_tcp("client", 80)
        for text in (source.text, source.text.replace(rule, "")):
            lab.load_nft("server", text + (f"add element inet f s {{ {filled} }}\n" if filled else ""))
            seen.append(lab.tcp("server", CLIENT, 80))
    assert seen == ["ok", "silence"]
    (judgement,) = ruleaudit.explain(source).judgements
    assert judgement.kind is RuleClass.REQUIRED
