"""`explain` as JSON: the class of every rule that mentions conntrack."""

from ruleaudit.report.schema import Json, document, place, rule_place, witness
from ruleaudit.results import Judgement, Tracking


def render(tracking: Tracking) -> str:
    """One object; a rule's place is spread over its entry."""
    source = tracking.ruleset.source

    def entry(judgement: Judgement) -> dict[str, Json]:
        return {
            **place(source, judgement.rule.span, judgement.rule),
            "class": judgement.kind.value,
            "reason": judgement.reason,
            "connections": [witness(w) for w in judgement.connections],
            "same_work": [rule_place(source, rule) for rule in judgement.same_work],
            "consumer": judgement.consumer,
        }

    return document({"rules": [entry(j) for j in tracking.judgements]})
