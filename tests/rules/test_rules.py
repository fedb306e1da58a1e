"""Every rule is tried on every example that comes with it, and its page has the headings that all pages have."""

from types import ModuleType

import pytest

from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.report.check_full import is_shown
from ruleaudit.rules import RULES, find
from ruleaudit.rules.examples import Example
from ruleaudit.rules.file_report import check_example
from ruleaudit.source import Span

HEADINGS = ("What it finds", "Why", "Example", "Instead", "Fix safety", "References")

ALL = [
    pytest.param(rule, example, id=f"{rule.CODE}-{example.title.replace(' ', '-')}")
    for rule in RULES
    for example in rule.EXAMPLES
]


@pytest.mark.parametrize(("rule", "example"), ALL)
def test_example(rule: ModuleType, example: Example) -> None:
    report = check_example(example)
    found = [f for f in report.findings if f.code == rule.CODE]
    assert [example.text[f.span.start : f.span.end] for f in found] == [
        example.text[s.start : s.end] for s in example.spans
    ]
    assert tuple(f.span for f in found) == example.spans
    for finding in found:
        assert (finding.name, finding.severity) == (rule.NAME, rule.SEVERITY)


@pytest.mark.parametrize(("rule", "example"), ALL)
def test_example_has_no_other_error(rule: ModuleType, example: Example) -> None:
    report = check_example(example)
    others = [f for f in report.findings if f.code != rule.CODE and f.severity is Severity.ERROR]
    assert others == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.CODE)
def test_page(rule: ModuleType) -> None:
    page = rule.__doc__ or ""
    headings = [line for line in page.splitlines()[1:] if line and not line.startswith(" ")]
    assert headings == list(HEADINGS)
    assert any(e.spans for e in rule.EXAMPLES)
    assert any(not e.spans for e in rule.EXAMPLES)


def test_rules_are_found_by_code_and_name() -> None:
    for rule in RULES:
        assert find(rule.CODE) is rule
        assert find(rule.NAME) is rule
    assert find("RA999") is None
    assert len({rule.CODE for rule in RULES}) == len({rule.NAME for rule in RULES}) == len(RULES)
    assert [rule.CODE for rule in RULES] == sorted(rule.CODE for rule in RULES)


def test_notes_about_rules_are_for_those_who_ask_for_them() -> None:
    notes = [rule.CODE for rule in RULES if rule.SEVERITY is Severity.NOTE]
    shown = [code for code in notes if is_shown(Finding(code, "", Severity.NOTE, "", Span(0, 0)))]
    assert shown == ["RA004", "RA005"]
