"""Every exact fix is carried out on the examples of its rule: the ruleset means the same, and the finding is gone."""

from collections.abc import Iterator
from types import ModuleType

import pytest

from ruleaudit import config, lower, verify
from ruleaudit.diagnostics import Finding, FixClass
from ruleaudit.rules import RULES, check_source
from ruleaudit.rules.examples import Example
from ruleaudit.source import SourceFile, apply


def _found(rule: ModuleType, example: Example, text: str) -> list[Finding]:
    """What a rule finds in the text of an example, or in one that a fix made of it."""
    twin = lower(SourceFile("twin.v6", example.twin)).rulesets[0] if example.twin else None
    known = [(one.CODE, one.NAME) for one in RULES]
    settings = config.load(SourceFile("ruleaudit.toml", example.configuration), known)
    report = check_source(SourceFile("example.rules", text), example.language, twin=twin, settings=settings)
    return [finding for finding in report.findings if finding.code == rule.CODE]


def _fixes() -> Iterator[tuple[ModuleType, Example, Finding]]:
    for rule in RULES:
        for example in rule.EXAMPLES:
            if example.spans:
                yield from ((rule, example, f) for f in _found(rule, example, example.text) if f.fix is not None)


FIXES = [
    pytest.param(rule, example, finding, id=f"{rule.CODE}-{example.title.replace(' ', '-')}-{finding.span.start}")
    for rule, example, finding in _fixes()
]


@pytest.mark.parametrize(("rule", "example", "finding"), FIXES)
def test_fix(rule: ModuleType, example: Example, finding: Finding) -> None:
    fix = finding.fix
    assert fix is not None and fix.description
    if fix.kind is FixClass.MANUAL:
        assert fix.edits == ()
    if fix.kind is not FixClass.EXACT:
        return
    fixed = apply(example.text, fix.edits)
    assert fixed != example.text
    before, after = SourceFile("before.rules", example.text), SourceFile("after.rules", fixed)
    comparison = verify(before, after, language=example.language)
    changed = [d.description for d in comparison.differences if d.loosens is not FixClass.EXACT]
    assert (changed, comparison.undecided) == ([], ())
    left = _found(rule, example, fixed)
    assert len(left) < len(_found(rule, example, example.text))
