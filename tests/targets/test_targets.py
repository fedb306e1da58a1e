"""Every example of every target is true."""

from importlib import import_module
from pkgutil import iter_modules

import pytest

from ruleaudit import targets
from ruleaudit.model.from_iptables import lower
from ruleaudit.source import SourceFile
from ruleaudit.syntax.iptables import read
from ruleaudit.targets import TARGETS
from ruleaudit.targets.extension import Action, Example, TargetExtension

CASES = [(t, e) for _, t in sorted(TARGETS.items()) for e in t.examples]


@pytest.mark.parametrize(("target", "example"), CASES, ids=[f"{t.name}: {e.table} {e.text}" for t, e in CASES])
def test_example(target: TargetExtension, example: Example) -> None:
    text = f"*{example.table}\n-A {example.chain} {example.text}\nCOMMIT\n"
    result = lower(read(SourceFile("rules", text)), example.family)
    messages = [f.message for f in result.findings]
    (rule,) = result.ruleset.tables[example.table].chains[example.chain].rules
    if example.refused:
        assert example.action is None
        assert any(example.refused in message for message in messages), messages
        assert not rule.understood
        return
    assert messages == []
    assert Action(rule.verdict, rule.effects, rule.consumers) == example.action
    assert rule.understood


def test_the_list_has_every_target_under_its_name() -> None:
    modules = [import_module(f"ruleaudit.targets.{m.name}") for m in iter_modules(targets.__path__)]
    found = {id(e): e for m in modules for e in vars(m).values() if isinstance(e, TargetExtension)}
    assert {name: id(target) for name, target in TARGETS.items()} == {e.name: i for i, e in found.items()}
