"""The sets that rules ask by name: what they hold now they need not hold tomorrow."""

import re
from dataclasses import replace

from ruleaudit.model.ruleset import Rule

_NAMED_SET = re.compile(r"(?<![\w.])@([\w./\\-]+)|--match-set (\S+)")
_NONE = frozenset[str]()


def named_sets(rule: Rule) -> frozenset[str]:
    """The sets and maps that a rule asks by name."""
    if "@" not in rule.text and "--match-set" not in rule.text:
        return _NONE
    return frozenset(nft or ipset for nft, ipset in _NAMED_SET.findall(rule.text))


def without_sets(rule: Rule) -> Rule:
    """The rule without its tests of named sets; a verdict map cannot be left out, and stays."""
    kept = tuple(m for m in rule.matches if m.name != "set" and "@" not in m.text)
    return replace(rule, matches=kept)
