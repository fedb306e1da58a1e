"""Fixes keep what they promise: applied to the examples, the finding is gone, and every packet fares the same, logs
apart.
"""

from types import ModuleType

import pytest

from ruleaudit import config, lower, verify
from ruleaudit.diagnostics import Finding, FixClass
from ruleaudit.rules import RULES, check_source
from ruleaudit.rules.examples import Example
from ruleaudit.source import SourceFile, apply

EXAMPLES = [
    pytest.param(rule, example, id=f"{rule.CODE}-{example.title.replace(' ', '-')}")
    for rule in RULES
    for example in rule.EXAMPLES
    if example.spans
]


def found(rule: ModuleType, example: Example, text: str) -> list[Finding]:
    twin = lower(SourceFile("twin.v6", example.twin)).rulesets[0] if example.twin else None
    settings = config.load(
        SourceFile("ruleaudit.toml", example.configuration), [(rule.CODE, rule.NAME) for rule in RULES]
    )
    report = check_source(SourceFile("example.rules", text), example.language, twin=twin, settings=settings)
    return [finding for finding in report.findings if finding.code == rule.CODE]


def same(example: Example, text: str) -> bool:
    compared = verify(SourceFile("old", example.text), SourceFile("new", text), language=example.language)
    return not compared.undecided and all(d.loosens is FixClass.EXACT for d in compared.differences)


@pytest.mark.parametrize(("rule", "example"), EXAMPLES)
def test_an_exact_fix_changes_nothing_for_any_packet(rule: ModuleType, example: Example) -> None:
    findings = [f for f in found(rule, example, example.text) if f.fix is not None and f.fix.kind is FixClass.EXACT]
    for finding in findings:
        assert finding.fix is not None
        text = apply(example.text, finding.fix.edits)
        assert len(found(rule, example, text)) == len(found(rule, example, example.text)) - 1
        assert same(example, text), text


@pytest.mark.parametrize(("rule", "example"), EXAMPLES)
def test_the_exact_fixes_of_a_file_go_together(rule: ModuleType, example: Example) -> None:
    fixes = [f.fix for f in found(rule, example, example.text) if f.fix is not None and f.fix.kind is FixClass.EXACT]
    if not fixes:
        return
    text = apply(example.text, [edit for fix in fixes for edit in fix.edits])
    assert same(example, text), text


@pytest.mark.parametrize(("rule", "example"), EXAMPLES)
def test_a_manual_fix_is_said_in_words_alone(rule: ModuleType, example: Example) -> None:
    for finding in found(rule, example, example.text):
        if finding.fix is not None:
            assert bool(finding.fix.edits) == (finding.fix.kind is not FixClass.MANUAL)
