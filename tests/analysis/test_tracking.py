"""Who needs tracking, where several rules do the same work: one of them stays needed."""

import random
from collections.abc import Iterator

import pytest

from ruleaudit import lower
from ruleaudit.analysis import tracking
from ruleaudit.analysis.pair import Pair, make_space
from ruleaudit.analysis.tracking import judge, judge_in
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


def test_a_rule_that_stands_in_the_way_twice_is_not_spared_because_of_itself() -> None:
    call = "-A FORWARD -j USER\n"
    known = "-A USER -m conntrack ! --ctstate ESTABLISHED -j DROP\n"
    found = judged(f":USER - [0:0]\n{2 * call}{known}-A FORWARD -j ACCEPT\n")
    assert [j.instead for j in found.judgements] != [NEVER]


def behind_limits(seed: int) -> str:
    """A few tables in which rules count, write and log behind state tests and in front of them."""
    some = random.Random(seed)

    def rules(most: int) -> Iterator[str]:
        for _ in range(some.randrange(most)):
            port = some.choice((22, 80))
            yield some.choice(
                (
                    f"tcp dport {port} accept",
                    f"tcp dport {port} ct count over 3 reject",
                    f"tcp dport {port} limit rate 5/second accept",
                    "limit rate 5/second log",
                    "add @seen { ip saddr }",
                    "ct state established accept",
                    "ct state invalid drop",
                    f"ct state new tcp dport {port} accept",
                    "ct state != established drop",
                    "ct state new drop",
                    "jump user",
                    "ip ttl set 3",
                )
            )

    out = []
    for number in range(some.randrange(1, 4)):
        user = "; ".join(rule for rule in rules(4) if rule != "jump user")
        out.append(f"table ip t{number} {{ set seen {{ type ipv4_addr; flags dynamic; size 99; }}")
        out.append(f"chain user {{ {user}; }}" if user else "chain user { }")
        for hook in some.sample(("input", "output", "forward"), 2):
            kind = f"type filter hook {hook} priority 0; policy {some.choice(('accept', 'drop'))};"
            out += [f"chain {hook} {{ {kind}", *rules(7), "}"]
        out.append("}")
    return "\n".join(out) + "\n"


@pytest.mark.parametrize("first", range(0, 60, 10))
def test_one_pass_and_walks_of_their_own_judge_alike(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(first, first + 10):
        ruleset = lower(SourceFile("some.nft", behind_limits(seed)), "nft").rulesets[0]
        found = []
        for alone in (-1, 1_000_000):
            monkeypatch.setattr(tracking, "MOST_ALONE", alone)
            judged = judge_in(Pair.alone(make_space((ruleset,), 1 << 18), ruleset)).judgements
            found.append([(j.rule.line, j.kind, j.instead) for j in judged])
        assert found[0] == found[1], behind_limits(seed)
