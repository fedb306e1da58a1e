"""Which rule of the new ruleset is which rule of the old one.

A rule of R' *is* a rule of R when it stands in the same chain with the same text, or with the same text but for its
state and flag tests (design section 3.1). Each rule has one heir at most, so a limit that was copied is a limit of its
own.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

from ruleaudit.analysis.walk import Identities
from ruleaudit.model.condition import And, Condition, Masked, States, Values, tests
from ruleaudit.model.fields import Field, Hook
from ruleaudit.model.ruleset import Rule, Ruleset


@dataclass(frozen=True)
class Alignment:
    """Shared numbers of the rules of both rulesets, and the rules that stand in one of them only."""

    old: Identities
    new: Identities
    removed: tuple[Rule, ...]
    added: tuple[Rule, ...]
    other: bool  #: something else than rules differs (a policy, a chain's place or kind)

    @staticmethod
    def with_itself(ruleset: Ruleset) -> "Alignment":
        """A ruleset beside itself: everything is asked about, as if all of it had changed."""
        numbers = Identities.of(ruleset)
        return Alignment(numbers, numbers, (), (), True)

    @property
    def ancestors(self) -> dict[Rule, Rule]:
        """The old rule of each new rule that has one."""
        by_number = {number: rule for rule, number in self.old.numbers.items()}
        return {rule: by_number[number] for rule, number in self.new.numbers.items() if number in by_number}


def align(old: Ruleset, new: Ruleset) -> Alignment:
    """Number the rules of both rulesets; rules with the same number are the same rule."""
    before = Identities.of(old).numbers
    after: dict[Rule, int] = {}
    fresh = len(before)
    removed: list[Rule] = []
    added: list[Rule] = []
    other = any(_order(old, new, hook) != _order(new, old, hook) for hook in Hook)
    for name in dict.fromkeys([*old.tables, *new.tables]):
        ours = old.tables[name].chains if name in old.tables else {}
        theirs = new.tables[name].chains if name in new.tables else {}
        for chain in dict.fromkeys([*ours, *theirs]):
            a, b = ours.get(chain), theirs.get(chain)
            if a and b and (type(a.policy), a.hook, a.priority, a.nat) != (type(b.policy), b.hook, b.priority, b.nat):
                other = True
            present = a or b
            if (a is None or b is None) and present and type(present.policy).__name__ == "Drop":
                other = True
            kept, heirs, gone, come = _pair(a.rules if a else (), b.rules if b else ())
            for x, y in (*kept, *heirs):
                after[y] = before[x]
            removed += (x for x, _ in heirs)
            added += (y for _, y in heirs)
            removed += gone
            for rule in come:
                after[rule] = fresh
                fresh += 1
            added += come
    return Alignment(Identities(before), Identities(after), tuple(removed), tuple(added), other)


def _order(one: Ruleset, another: Ruleset, hook: Hook) -> list[tuple[str, str]]:
    """The base chains at a hook that the other ruleset has too, in the order in which a packet meets them."""
    shared = {(c.table, c.name) for c in another.base_chains(hook)}
    return [(c.table, c.name) for c in one.base_chains(hook) if (c.table, c.name) in shared]


Pairs = list[tuple[Rule, Rule]]


def _pair(old: tuple[Rule, ...], new: tuple[Rule, ...]) -> tuple[Pairs, Pairs, list[Rule], list[Rule]]:
    """Pairs that stand as they stood, pairs that were moved or altered, rules only in old, rules only in new."""
    start = 0
    while start < min(len(old), len(new)) and old[start].key == new[start].key:
        start += 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end].key == new[-1 - end].key:
        end += 1
    pairs = list(zip(old[:start], new[:start], strict=True))
    if end:
        pairs += zip(old[-end:], new[-end:], strict=True)
    a, b = list(old[start : len(old) - end]), list(new[start : len(new) - end])
    found, a, b = _common(a, b, [r.key for r in a], [r.key for r in b])
    heirs, a, b = _common(a, b, [_stateless(r) for r in a], [_stateless(r) for r in b])
    return pairs + found, heirs, a, b


def _common(
    a: list[Rule], b: list[Rule], names_a: Sequence[Hashable], names_b: Sequence[Hashable]
) -> tuple[Pairs, list[Rule], list[Rule]]:
    if not a or not b:
        return [], a, b
    from difflib import SequenceMatcher

    pairs: Pairs = []
    used_a: set[int] = set()
    used_b: set[int] = set()
    for block in SequenceMatcher(None, names_a, names_b, autojunk=False).get_matching_blocks():
        for k in range(block.size):
            pairs.append((a[block.a + k], b[block.b + k]))
            used_a.add(block.a + k)
            used_b.add(block.b + k)
    return pairs, [r for i, r in enumerate(a) if i not in used_a], [r for i, r in enumerate(b) if i not in used_b]


def _stateless(rule: Rule) -> Hashable:
    """What a rule asks for and does, its tests of state and TCP flags aside."""
    # what is asked for twice (nft's test of flags asks for TCP too) is asked for once
    kept = dict.fromkeys(item for m in rule.matches for item in _items(m.condition) if not _tests_state_or_flags(item))
    return tuple(kept), tuple(m.consumer for m in rule.matches if m.consumer), rule.effects, rule.verdict


def _items(condition: Condition) -> Iterator[Condition]:
    if isinstance(condition, And):
        for item in condition.items:
            yield from _items(item)
    else:
        yield condition


def _tests_state_or_flags(condition: Condition) -> bool:
    return all(
        isinstance(test, States) or (isinstance(test, Masked | Values) and test.field is Field.TCP_FLAGS)
        for test in tests(condition)
    )
