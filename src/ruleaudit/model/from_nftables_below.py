"""What the chains do that a verdict map leads to, and those that they lead to in turn."""

from collections.abc import Iterable, Iterator

from ruleaudit.model.condition import Condition, Masked, States, Values, tests
from ruleaudit.model.fields import Field
from ruleaudit.model.from_nftables_conditions import selectors
from ruleaudit.syntax import nft_tree as tree

#: statements that read the entry or need one, besides those that name `ct`
_WITH_ENTRY = ("synproxy", "flow", "xt")


def changes(table: tree.Table, chains: Iterable[str], looked_up: Iterable[Condition]) -> bool:
    """Whether something is changed there that some conditions ask: the mark, or the state, which notrack gives."""
    asked = [test for condition in looked_up for test in tests(condition)]
    mark = any(isinstance(test, Values | Masked) and test.field is Field.MARK for test in asked)
    state = any(isinstance(test, States) for test in asked)
    for statement in (s for rule in _rules(table, chains) for s in rule.statements) if mark or state else ():
        match statement:
            case tree.Assignment(selector) if mark and selector.text == "meta mark":
                return True
            case tree.Action("notrack") if state:
                return True
    return False


def tracks(table: tree.Table, chains: Iterable[str]) -> bool:
    """Whether something there asks for conntrack's state or entry or changes it; what is not understood may."""
    return any(rule.unread or any(map(_tracks, rule.statements)) for rule in _rules(table, chains))


def _tracks(statement: tree.Statement) -> bool:
    match statement:
        case tree.Match(key) | tree.VerdictMap(key):
            return _of_entry(key)
        case tree.Assignment(selector, value):
            return _of_entry(selector) or _of_entry(value)
        case tree.SetUpdate(key=key, statements=some, data=data):
            return _of_entry(key) or (data is not None and _of_entry(data)) or any(map(_tracks, some))
        case tree.Action(name):
            return name.startswith("ct") or name in _WITH_ENTRY
    return isinstance(statement, tree.Nat)


def _of_entry(value: tree.Value | tree.Verdict) -> bool:
    return not isinstance(value, tree.Verdict) and any(s.text.startswith("ct ") for s in selectors(value))


def _rules(table: tree.Table, chains: Iterable[str]) -> Iterator[tree.Rule]:
    """The rules of some chains and of those that they lead to."""
    todo = list(dict.fromkeys(chains))
    met = set(todo)
    while todo:
        found = table.chains.get(todo.pop())
        for rule in found.rules if found else ():
            yield rule
            for name in (name for statement in rule.statements for name in _led_to(table, statement)):
                if name not in met:
                    met.add(name)
                    todo.append(name)


def _led_to(table: tree.Table, statement: tree.Statement) -> list[str]:
    """The chains that a statement names."""
    match statement:
        case tree.Verdict(chain=chain):
            return [chain] if chain else []
        case tree.VerdictMap(map=given):
            return chains_of(table, given)
    return []


def chains_of(table: tree.Table, given: tree.Value) -> list[str]:
    """The chains that the elements of a verdict map name, as far as they are in the file."""
    elements: Iterable[tree.Element] = ()
    match given:
        case tree.Braces(some):
            elements = some
        case tree.SetName(name) if name in table.sets:
            elements = table.sets[name].elements
    return [e.data.chain for e in elements if isinstance(e.data, tree.Verdict) and e.data.chain]
