"""`explain --packet` as JSON: each packet in each state that was followed, or each packet of its connection."""

from collections.abc import Sequence

from ruleaudit.model.ruleset import Chain, Rule
from ruleaudit.report.schema import Json, document, rule_place
from ruleaudit.results.packet import Exchange, Followed, PathStep
from ruleaudit.source import SourceFile


def render(packets: Sequence[Followed]) -> str:
    """One object, the packets in the order given."""
    return document({"packets": [_packet(packet) for packet in packets]})


def connections(exchanges: Sequence[Exchange]) -> str:
    """One object: the packets of all connections, each with its role, and what came of each connection."""
    packets = [{**_packet(packet), "role": packet.role} for one in exchanges for packet in one.packets]
    return document({"packets": list(packets), "connections": [_connection(one) for one in exchanges]})


def _connection(found: Exchange) -> dict[str, Json]:
    source = found.packets[0].ruleset.source
    return {
        "packet": found.asked,
        "works": found.works,
        "reason": found.reason,
        "broken_by": _decider(source, found.broken_by),
        "remarks": list(found.remarks),
    }


def _packet(found: Followed) -> dict[str, Json]:
    source = found.ruleset.source
    return {
        "packet": found.asked,
        "followed": found.packet,
        "state": found.state,
        "verdict": found.verdict,
        "detail": found.detail,
        "tracked": found.tracked,
        "decided_by": _decider(source, found.decided_by),
        "depends_on": list(found.open),
        "path": [_step(source, step) for step in found.path],
    }


def _decider(source: SourceFile, by: Rule | Chain | None) -> Json:
    match by:
        case Rule():
            return rule_place(source, by)
        case Chain():
            policy = type(by.policy).__name__.lower()
            return {"chain": by.name, "table": by.table, "policy": policy, "line": None}
        case None:
            return None


def _step(source: SourceFile, step: PathStep) -> dict[str, Json]:
    return {
        "hook": step.hook,
        "table": step.rule.table,
        "chain": step.rule.chain,
        "path": step.rule.path or source.path,
        "line": step.rule.line,
        "text": step.rule.text,
        "match": "unknown" if step.match is None else step.match,
        "action": step.action,
    }
