"""`explain` as JSON: the class of every rule that mentions conntrack."""

from ruleaudit.report.schema import Json, document, place, rule_place, witness
from ruleaudit.results import Judgement, Tracking
from ruleaudit.source import SourceFile


def render(tracking: Tracking) -> str:
    """One object; a rule's place is spread over its entry."""
    source = tracking.ruleset.source
    return document({"rules": [entry(source, j) for j in tracking.judgements]})


def entry(source: SourceFile, judgement: Judgement) -> dict[str, Json]:
    """One rule that mentions conntrack."""
    return {
        **place(source, judgement.rule.span, judgement.rule),
        "class": judgement.kind.value,
        "reason": judgement.reason,
        "connections": [witness(w) for w in judgement.connections],
        "same_work": [rule_place(source, rule) for rule in judgement.same_work],
        "consumer": judgement.consumer,
    }
