"""The parts that every JSON report is made of: the envelope, places, witnesses and flows of schema ruleaudit/1.

JSON has no way to carry bytes that are not UTF-8; they become U+FFFD here, in the text formats they survive.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ruleaudit.diagnostics import Witness
from ruleaudit.model.ruleset import Rule, Ruleset
from ruleaudit.results import Outcome
from ruleaudit.results.suggestion import Flow
from ruleaudit.source import SourceFile, Span

SCHEMA = "ruleaudit/1"

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


def document(values: Mapping[str, Json]) -> str:
    """The one object that a command prints."""
    import json

    from ruleaudit import __version__

    text = json.dumps({"schema": SCHEMA, "version": __version__, **values}, indent=2, ensure_ascii=False)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") + "\n"


def failure(message: str, values: Mapping[str, Json] = MappingProxyType({})) -> str:
    """The object for what could not be done at all; `values` are what is known all the same."""
    return document({"outcome": "error", "error": message, **values})


def together(documents: Sequence[str]) -> str:
    """One object for the objects of several files."""
    import json

    return document({"files": [json.loads(one) for one in documents]})


def place(source: SourceFile, span: Span, rule: Rule | None = None) -> dict[str, Json]:
    """A place in a file; table and chain are those of the rule that holds it."""
    start, end = source.position(span.start), source.position(span.end)
    return {
        "path": start.path,
        "line": start.line,
        "column": start.column,
        "end_line": end.line,
        "end_column": end.column,
        "table": rule.table if rule else None,
        "chain": rule.chain if rule else None,
        "text": source.slice(span),
    }


def rule_place(source: SourceFile, rule: Rule | None) -> Json:
    """The place of a whole rule; null where there is none."""
    return None if rule is None else place(source, rule.span, rule)


def witness(found: Witness | None) -> Json:
    """A packet and what happens to it."""
    return None if found is None else {"packet": found.packet, "description": found.description}


def flow(source: SourceFile, found: Flow) -> dict[str, Json]:
    """A flow in the words of its rule."""
    return {
        "direction": found.direction,
        "protocol": found.protocol,
        "ports": list(found.ports),
        "addresses": list(found.addresses),
        "interfaces": list(found.interfaces),
        "place": rule_place(source, found.rule),
        "entries": found.entries,
        **({"at": list(found.at)} if found.at else {}),
    }


def outcome(ruleset: Ruleset, found: Outcome) -> dict[str, Json]:
    """What happens to a packet under one ruleset; where a policy decided, the place is that of its chain's line."""
    where: Json = rule_place(ruleset.source, found.rule)
    if found.rule is None and found.chain is not None:
        chain = found.chain
        path = ruleset.source.position(chain.span.start).path if chain.span else ruleset.source.path
        where = {
            "chain": chain.name,
            "table": chain.table,
            "policy": found.verdict,
            "path": path,
            "line": chain.line,
        }
    return {"verdict": found.verdict, "place": where, "tracked": found.tracked}
