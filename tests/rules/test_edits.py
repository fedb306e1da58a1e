"""A rule, or a test of it, taken out of texts of every language: the rest stays byte for byte."""

import pytest

from ruleaudit import lower
from ruleaudit.model.ruleset import Rule
from ruleaudit.rules import edits
from ruleaudit.source import Edit, SourceFile, apply

HEAD = "table inet t {\n\tchain c {\n\t\ttype filter hook input priority 0;\n"
TAIL = "\t}\n}\n"
DNS, LONG = "\t\tudp dport 53 accept\n", "\t\ttcp dport 1 \\\n\t\t\t"
SAVE = "*filter\n:INPUT ACCEPT [0:0]\n"


def state_rule(source: SourceFile) -> Rule:
    return next(r for r in lower(source).rulesets[0].rules() if "ct state new" in r.text or "--ctstate NEW" in r.text)


def applied(text: str, edit: Edit | None) -> str | None:
    return None if edit is None else apply(text, [edit])


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"{HEAD}\t\tct state new accept # why\n\t\tudp dport 53 accept\n{TAIL}", f"{HEAD}{DNS}{TAIL}"),
        (f"{HEAD}\t\tct state new accept; udp dport 53 accept\n{TAIL}", f"{HEAD}{DNS}{TAIL}"),
        (f"{HEAD}\t\ttcp dport 1 \\\n\t\t\tct state new accept\n{TAIL}", f"{HEAD}{TAIL}"),
        (f"{HEAD}{TAIL}add rule inet t c ct state new accept\n", f"{HEAD}{TAIL}"),
        (f"{HEAD}{TAIL}insert rule inet t c ct state new accept\n", None),
        (f"{HEAD}\t\tct state new accept\n{TAIL}insert rule inet t c index 0 tcp dport 1 accept\n", None),
        (f"{SAVE}[1:2] -A INPUT -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n", f"{SAVE}COMMIT\n"),
        (f"{SAVE}-A INPUT -m conntrack --ctstate NEW -j ACCEPT\n-I INPUT 2 -p tcp -j DROP\nCOMMIT\n", None),
        ("-P INPUT ACCEPT\n-A INPUT -m conntrack --ctstate NEW -j DROP\n", "-P INPUT ACCEPT\n"),
    ],
)  # fmt: skip
def test_a_rule_is_taken_out(text: str, left: str | None) -> None:
    source = SourceFile("some.rules", text)
    assert applied(text, edits.without_rule(state_rule(source), source)) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"{HEAD}\t\tudp dport 1 ct state new accept\n{TAIL}", f"{HEAD}\t\tudp dport 1 accept\n{TAIL}"),
        (f"{HEAD}{LONG}ct state new accept\n{TAIL}", f"{HEAD}{LONG}accept\n{TAIL}"),
        (f"{SAVE}-A INPUT -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n", f"{SAVE}-A INPUT -j ACCEPT\nCOMMIT\n"),
        (f"{SAVE}-A INPUT -m conntrack -p tcp --ctstate NEW -j ACCEPT\nCOMMIT\n", None),
    ],
)  # fmt: skip
def test_a_test_is_taken_out(text: str, left: str | None) -> None:
    source = SourceFile("some.rules", text)
    rule = state_rule(source)
    match = next(m for m in rule.matches if "ct state new" in m.text or m.name == "conntrack")
    assert applied(text, edits.without_test(rule, match, source)) == left


def test_a_rule_is_moved_with_its_line() -> None:
    text = f"{SAVE}[0:0] -A INPUT -p tcp -j DROP\n[3:4] -A INPUT -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n"
    source = SourceFile("some.rules", text)
    first, second = lower(source).rulesets[0].rules()
    changes = edits.moved(second, first, source)
    assert changes is not None
    lines = text.splitlines(keepends=True)
    assert apply(text, changes) == "".join([*lines[:2], lines[3], lines[2], lines[4]])


def test_json_is_left_alone() -> None:
    rule = '{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}}, {"accept": null}'
    text = (
        '{"nftables": [{"add": {"table": {"family": "inet", "name": "t"}}}, {"add": {"chain": {"family": "inet",'
        ' "table": "t", "name": "c", "type": "filter", "hook": "input", "prio": 0}}}, {"add": {"rule": {"family":'
        f' "inet", "table": "t", "chain": "c", "expr": [{rule}]}}}}}}]}}'
    )
    source = SourceFile("some.json", text)
    (found,) = lower(source).rulesets[0].rules()
    assert edits.without_rule(found, source) is None
    assert edits.without_test(found, found.matches[0], source) is None
