"""What a fix says of itself holds: an exact one changes what happens to no packet, logs apart, and ends its finding."""

from types import ModuleType

import pytest

import ruleaudit
from ruleaudit.diagnostics import Finding, FixClass
from ruleaudit.results import FileReport
from ruleaudit.rules import RULES
from ruleaudit.rules.examples import Example
from ruleaudit.rules.file_report import check_source
from ruleaudit.source import SourceFile, apply

EXAMPLES = [
    pytest.param(rule, example, id=f"{rule.CODE}-{example.title.replace(' ', '-')}")
    for rule in RULES
    for example in rule.EXAMPLES
    if example.spans and not example.configuration
]


def checked(text: str, language: str | None) -> FileReport:
    return check_source(SourceFile("example.rules", text), language)


def exact(report: FileReport, code: str) -> list[Finding]:
    return [f for f in report.findings if f.code == code and f.fix and f.fix.edits and f.fix.kind is FixClass.EXACT]


def number(report: FileReport, code: str) -> int:
    return sum(f.code == code for f in report.findings)


def difference(old: str, new: str, language: str | None) -> str:
    found = ruleaudit.verify(SourceFile("old.rules", old), SourceFile("new.rules", new), language=language)
    told = [d.description for d in found.differences if d.loosens is not FixClass.EXACT] + [
        u.reason for u in found.undecided
    ]
    return "; ".join(told)


@pytest.mark.parametrize(("rule", "example"), EXAMPLES)
def test_an_exact_fix_changes_nothing_and_ends_its_finding(rule: ModuleType, example: Example) -> None:
    before = checked(example.text, example.language)
    for finding in exact(before, rule.CODE):
        assert finding.fix is not None
        fixed = apply(example.text, finding.fix.edits)
        assert difference(example.text, fixed, example.language) == ""
        after = checked(fixed, example.language)
        assert number(after, rule.CODE) < number(before, rule.CODE)


@pytest.mark.parametrize(("rule", "example"), EXAMPLES)
def test_all_exact_fixes_together(rule: ModuleType, example: Example) -> None:
    found = exact(checked(example.text, example.language), rule.CODE)
    edits = [edit for finding in found if finding.fix for edit in finding.fix.edits]
    if edits:
        fixed = apply(example.text, edits)
        assert difference(example.text, fixed, example.language) == ""
        assert exact(checked(fixed, example.language), rule.CODE) == []


BODY = "table ip filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n"
DELETED = {
    "a line and its comment": (
        f"{BODY}\t\taccept\n\t\ttcp dport 22 accept # ssh\n\t}}\n}}\n",
        f"{BODY}\t\taccept\n\t}}\n}}\n",
    ),
    "a rule beside others": (f"{BODY}\t\taccept; drop;\n\t}}\n}}\n", f"{BODY}\t\taccept; \n\t}}\n}}\n"),
    "a rule of several lines": (
        f"{BODY}\t\taccept\n\t\ttcp dport {{\n\t\t\t22,\n\t\t\t80\n\t\t}} accept\n\t}}\n}}\n",
        f"{BODY}\t\taccept\n\t}}\n}}\n",
    ),
    "a command": (
        f"{BODY}\t\taccept\n\t}}\n}}\nadd rule ip filter input tcp dport 22 accept\nadd rule ip filter input drop\n",
        f"{BODY}\t\taccept\n\t}}\n}}\n",
    ),
    "with counters": (
        "*filter\n:INPUT DROP [0:0]\n[1:40] -A INPUT -j ACCEPT\n[0:0] -A INPUT -j DROP\nCOMMIT\n",
        "*filter\n:INPUT DROP [0:0]\n[1:40] -A INPUT -j ACCEPT\nCOMMIT\n",
    ),
    "a listing": ("-P INPUT DROP\n-A INPUT -j ACCEPT\n-A INPUT -j DROP\n", "-P INPUT DROP\n-A INPUT -j ACCEPT\n"),
    "rules called by their numbers": (
        "*filter\n:INPUT DROP [0:0]\n-A INPUT -j ACCEPT\n-A INPUT -j DROP\n-I INPUT 1 -i lo -j ACCEPT\nCOMMIT\n",
        None,
    ),
}


@pytest.mark.parametrize("name", DELETED)
def test_a_rule_is_deleted_with_its_line_and_nothing_else(name: str) -> None:
    text, expected = DELETED[name]
    found = exact(checked(text, None), "RA309")
    edits = [edit for finding in found if finding.fix for edit in finding.fix.edits]
    assert (apply(text, edits) if edits else None) == expected
