"""Where a rule without packets would have to stand to meet some."""

from ruleaudit.report.check_full import one
from ruleaudit.rules.file_report import check_source
from ruleaudit.source import SourceFile

#: line 4 sends to a chain that refuses, line 5 repeats it, line 6 wants the opposite
IN_A_CHAIN = """*filter
:INPUT DROP [0:0]
:refused - [0:0]
-A INPUT -s 192.0.2.0/24 -j refused
-A INPUT -s 192.0.2.7/32 -p tcp -j refused
-A INPUT -s 192.0.2.8/32 -j ACCEPT
-A refused -j REJECT --reject-with icmp-port-unreachable
COMMIT
"""


def test_a_rule_is_moved_within_its_own_chain() -> None:
    report = check_source(SourceFile("rules", IN_A_CHAIN))
    told = {f.code: "\n".join(one(report.source, f)) for f in report.findings}
    assert "if it is meant to do something else, move it before line 4\n" in told["RA302"]
    assert "move the rule before line 4 if it is right; delete it if line 7 is" in told["RA308"]
