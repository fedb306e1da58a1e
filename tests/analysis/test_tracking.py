"""Who needs tracking, where several rules do the same work: one of them stays needed."""

from ruleaudit import lower
from ruleaudit.analysis.tracking import judge
from ruleaudit.model.condition import ALWAYS, NEVER
from ruleaudit.results import RuleClass, Tracking
from ruleaudit.source import SourceFile

HEAD = "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n"
KNOWN = "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
SSH = "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n"


def judged(rules: str) -> Tracking:
    return judge(lower(SourceFile("some.rules", f"{HEAD}{rules}COMMIT\n")).rulesets[0])


def kinds(rules: str) -> list[RuleClass]:
    return [j.kind for j in judged(rules).judgements]


def test_of_two_rules_that_do_the_same_the_reached_one_is_needed() -> None:
    assert kinds(KNOWN + SSH + KNOWN) == [RuleClass.REQUIRED, RuleClass.DEAD]
    assert kinds(KNOWN + SSH) == [RuleClass.REQUIRED]


def test_a_dead_rule_leaves_a_needless_one_needless() -> None:
    invalid = "-A INPUT -m conntrack --ctstate INVALID -j DROP\n"
    found = judged(invalid + KNOWN + KNOWN)
    assert [j.kind for j in found.judgements] == [RuleClass.REDUNDANT, RuleClass.REQUIRED, RuleClass.DEAD]
    assert [j.instead for j in found.judgements] == [NEVER, None, None]


def test_what_may_stand_in_the_place_of_a_test() -> None:
    new = "-A INPUT -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT\n"
    invalid = "-A INPUT -m conntrack --ctstate INVALID -j DROP\n"
    assert [j.instead for j in judged(KNOWN + invalid + new).judgements] == [None, NEVER, ALWAYS]
