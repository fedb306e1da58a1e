"""Every example of every match extension and every target is true."""

from importlib import import_module
from pkgutil import iter_modules

import pytest

from ruleaudit import matches
from ruleaudit.matches import MATCHES
from ruleaudit.matches.extension import Example as MatchExample
from ruleaudit.matches.extension import MatchExtension
from ruleaudit.model.fields import Family
from ruleaudit.model.from_iptables import Lowered, lower
from ruleaudit.source import SourceFile
from ruleaudit.syntax.iptables import read


def lowered(example: MatchExample) -> Lowered:
    text = f"*{example.table}\n-A {example.chain} {example.text}\nCOMMIT\n"
    return lower(read(SourceFile("rules", text)), example.family)


CASES = [(m, e) for name, m in sorted(MATCHES.items()) if name == m.name for e in m.examples]


@pytest.mark.parametrize(("match", "example"), CASES, ids=[f"{m.name}: {e.text}" for m, e in CASES])
def test_example(match: MatchExtension, example: MatchExample) -> None:
    result = lowered(example)
    messages = [f.message for f in result.findings]
    if example.refused:
        assert example.condition is None
        assert any(example.refused in message for message in messages), messages
        assert all(f.code == "RA001" for f in result.findings)
        assert not result.ruleset.tables[example.table].chains[example.chain].rules[0].understood
        return
    assert messages == []
    (rule,) = result.ruleset.tables[example.table].chains[example.chain].rules
    assert [m.condition for m in rule.matches if m.name == match.name] == [example.condition]
    assert rule.understood


@pytest.mark.parametrize("match", [m for n, m in sorted(MATCHES.items()) if n == m.name], ids=lambda m: m.name)
def test_every_match_shows_what_it_accepts_and_what_it_refuses(match: MatchExtension) -> None:
    assert [e for e in match.examples if e.condition is not None]
    assert [e for e in match.examples if e.refused]


def test_the_list_has_every_match_under_every_name() -> None:
    modules = {m.name for m in iter_modules(matches.__path__)} - {"checks", "extension", "loading"}
    assert {name for match in MATCHES.values() for name in (match.name, *match.aliases)} == set(MATCHES)
    assert all(MATCHES[alias] is match for match in MATCHES.values() for alias in match.aliases)
    found = {import_module(f"ruleaudit.matches.{name}") for name in modules}
    assert {id(module.EXTENSION) for module in found if hasattr(module, "EXTENSION")} == {
        id(match) for match in MATCHES.values()
    }


@pytest.mark.parametrize("family", [Family.IPV4, Family.IPV6])
def test_a_protocol_loads_a_match_of_its_own(family: Family) -> None:
    found = {number: match for number in range(256) if (match := matches.matches_of_protocol(number, family))}
    assert {number: match.protocols for number, match in found.items()} == {number: (number,) for number in found}
    assert set(found) == {1 if family is Family.IPV4 else 58, 6, 17, 33, 132, 136}
