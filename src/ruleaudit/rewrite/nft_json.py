"""Edits of an nft ruleset in JSON: objects put beside others, and rules whose state tests learn `untracked`.

What is added is said in nft's language first, by the editor of nft text, and put into JSON here
(libnftables-json(5)); so both forms get the same rules.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ruleaudit.model.ruleset import Rule
from ruleaudit.results.suggestion import Change
from ruleaudit.rewrite import nftables
from ruleaudit.source import Edit, SourceFile, Span
from ruleaudit.syntax import nft_json_write
from ruleaudit.syntax.nft_json_values import Unwritable
from ruleaudit.syntax.nft_tree import Chain, Table
from ruleaudit.syntax.nft_tree import Rule as Written
from ruleaudit.syntax.nftables import read

_STATE = {"ct": {"key": "state"}}
Object = dict[str, Any]


@dataclass
class Editor(nftables.Editor):
    """Collects the changes to one JSON document."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.raw = "-300"
        self._changed: dict[Span, tuple[int, Object]] = {}

    # -- rules that are there ----------------------------------------------------------------------

    def untracked_too(self, rule: Rule, topic: str, reason: str) -> bool:
        """Let a test of the state hold for untracked packets too; False when the rule has none that can."""
        if rule.span not in self._rules:
            return False
        changed = self._object(rule.span)
        done = [_state_too(item) for item in _body(changed)["expr"]]
        if not any(done):
            return False
        self._replace(rule.span, changed, topic, reason)
        return True

    def syn_only(self, rule: Rule, topic: str, reason: str) -> bool:
        """Let a TCP rule match opening packets only: before everything else that it asks for."""
        if rule.span not in self._rules:
            return False
        changed = self._object(rule.span)
        table, chain, _ = self._rules[rule.span]
        added = self._rule(table.family, table.name, chain.name, f"{nftables.SYN} accept")
        _body(changed)["expr"].insert(0, added["rule"]["expr"][0])
        self._replace(rule.span, changed, topic, reason)
        return True

    def _object(self, span: Span) -> Object:
        """A rule's object as changed up to now, free to be changed again."""
        known = self._changed.get(span)
        text = json.dumps(known[1]) if known else self.document.source.slice(span)
        found: Object = json.loads(text)
        return found

    def _replace(self, span: Span, changed: Object, topic: str, reason: str) -> None:
        change = Change(Edit(span, json.dumps(changed)), topic, reason)
        if span in self._changed:
            index = self._changed[span][0]
            self.changes[index] = change
        else:
            index = len(self.changes)
            self.changes.append(change)
        self._changed[span] = (index, changed)

    # -- objects that are added --------------------------------------------------------------------

    def _before_written(self, table: Table, chain: Chain, rule: Written, text: str, topic: str, reason: str) -> None:
        made = self._rule(table.family, table.name, chain.name, text)
        verb = next(iter(json.loads(self.document.source.slice(rule.span))))
        if verb == "insert":
            # what is inserted later comes first
            self._beside(rule.span.end, "", {verb: made}, topic, reason)
        else:
            self._beside(rule.span.start, ", ", {verb: made} if verb == "add" else made, topic, reason)

    def _beside(self, at: int, behind: str, made: Object, topic: str, reason: str) -> None:
        words = json.dumps(made)
        self._change(Span(at, at), f"{words}{behind}" if behind else f", {words}", topic, reason)

    def _first_in(self, found: tuple[Table, Chain], texts: Sequence[str], topic: str, reason: str) -> None:
        table, chain = found
        if chain.rules:
            for text in texts:
                self._before_written(table, chain, chain.rules[0], text, topic, reason)
        else:
            for text in texts:
                self._at_the_end(self._rule(table.family, table.name, chain.name, text), topic, reason)

    def _new_chains(self, family: str, wanted: dict[str, list[str]], topic: str, reason: str) -> None:
        """Two chains in the table of the flow, or in a table of their own."""
        table = None if self.separate else self._table_of(family)
        if table is None:
            name = nftables.unused("no_tracking", {t.name for t in self.document.tables if t.family == family})
            self._at_the_end({"table": {"family": family, "name": name}}, topic, reason)
        else:
            name = table.name
        for hook, texts in wanted.items():
            chain = nftables.unused(f"raw_{hook}", {*table.chains}) if table else hook
            base = {"type": "filter", "hook": hook, "prio": -300, "policy": "accept"}
            self._at_the_end({"chain": {"family": family, "table": name, "name": chain, **base}}, topic, reason)
            for text in texts:
                self._at_the_end(self._rule(family, name, chain, text), topic, reason)

    def _at_the_end(self, made: Object, topic: str, reason: str) -> None:
        """Behind the last object of the document."""
        text = self.document.source.text
        at = text.rindex("]", 0, text.rindex("}"))
        at = len(text[:at].rstrip())
        whole = made if '"add"' not in text else {"add": made}
        self._change(Span(at, at), f", {json.dumps(whole)}", topic, reason)

    def _rule(self, family: str, table: str, chain: str, text: str) -> Object:
        """A rule given in nft's language, as an object."""
        source = SourceFile("", f"table {family} {table} {{ chain {chain} {{ {text}; }} }}\n")
        written = read(source).tables[0].chains[chain].rules[0]
        try:
            return nft_json_write.rule(family, table, chain, written)
        except Unwritable as error:
            raise AssertionError(f"no JSON for {text}: {error}") from error


def _body(command: Object) -> Any:
    """The rule of an object, whatever command it stands in."""
    while "expr" not in command:
        command = next(iter(command.values()))
    return command


def _state_too(item: Any) -> bool:
    """Let a statement hold for untracked packets; True if it does now."""
    if not isinstance(item, dict):
        return False
    match item:
        case {"match": {"left": left, "op": "in" | "==" as operator, "right": right}} if left == _STATE:
            if isinstance(right, dict) and isinstance(right.get("set"), list):
                right["set"] += [] if "untracked" in right["set"] else ["untracked"]
            elif operator == "==":
                item["match"]["right"] = {"set": [right, "untracked"]}
            else:
                states = right if isinstance(right, list) else [right]
                item["match"]["right"] = states if "untracked" in states else [*states, "untracked"]
            return True
        case {"vmap": {"key": key, "data": {"set": list(elements)}}}:
            return _element_too(key, elements)
    return False


def _element_too(key: Any, elements: list[Any]) -> bool:
    """An element for untracked packets behind each for new ones, with its verdict."""
    parts = key["concat"] if isinstance(key, dict) and "concat" in key else None
    place = parts.index(_STATE) if parts and _STATE in parts else None
    if place is None and key != _STATE:
        return False

    def twin(of: Any) -> Any:
        if place is None:
            return "untracked" if of == "new" else None
        values = list(of["concat"]) if isinstance(of, dict) and "concat" in of else []
        if len(values) <= place or values[place] != "new":
            return None
        return {"concat": [*values[:place], "untracked", *values[place + 1 :]]}

    known = [e[0] for e in elements if isinstance(e, list)]
    wanted = [(twin(e[0]), e[1]) for e in elements if isinstance(e, list) and len(e) == 2]
    found = [(made, verdict) for made, verdict in wanted if made is not None]
    elements += [[made, verdict] for made, verdict in found if made not in known]
    return bool(found)
