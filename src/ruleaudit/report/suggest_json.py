"""`suggest` as JSON."""

from ruleaudit.report import kernel_json, kernel_text, live_json
from ruleaudit.report.diff import unified
from ruleaudit.report.schema import Json, document, failure, flow, rule_place, witness
from ruleaudit.results import Observation, Suggestion


def render(suggestion: Suggestion, observation: Observation | None = None) -> str:
    """One object; an error, if the kernel refuses the rulesets or decides otherwise than was reasoned."""
    if observation is not None and observation.contradicts:
        return failure(kernel_text.problem(observation), {"kernel": kernel_json.observation(observation)})
    source = suggestion.source
    values: dict[str, Json] = {
        "outcome": suggestion.outcome,
        "class": suggestion.kind.value if suggestion.kind else None,
        "flows": [flow(source, f) for f in suggestion.flows],
        "could_leave": [{**flow(source, c.flow), "reason": c.reason} for c in suggestion.could_leave],
        "offers": [
            {
                "options": list(offer.options),
                "frees": [flow(source, f) for f in offer.frees],
                "class": offer.kind.value if offer.kind else None,
            }
            for offer in suggestion.offers
        ],
        "kept": [
            {
                "place": rule_place(source, kept.rule),
                "class": kept.kind.value,
                "reason": kept.reason,
                "witness": witness(kept.witness),
            }
            for kept in suggestion.kept
        ],
        "refused": [
            {
                "flow": flow(source, refused.flow),
                "place": rule_place(source, refused.rule),
                "reason": refused.reason,
                "witness": witness(refused.witness),
                "cure": refused.cure,
            }
            for refused in suggestion.refused
        ],
        "strays": [witness(d.witness) for d in suggestion.strays],
        "opens": [witness(d.witness) for d in suggestion.opens],
        "assumptions": [f"{key}: {text}" for key, text in suggestion.assumptions],
        "not_understood": [rule_place(source, r) for r in suggestion.ruleset.rules() if not r.understood],
        "changes": [{"topic": c.topic, "reason": c.reason} for c in suggestion.changes],
        "notes": list(suggestion.notes),
        "diff": unified(source, suggestion.text) if suggestion.text is not None else None,
    }
    if suggestion.checked:
        values["checked"] = [live_json.checked(one) for one in suggestion.checked]
    if suggestion.running is not None:
        values["live"] = live_json.running(suggestion.running)
    if observation is not None:
        values["kernel"] = kernel_json.observation(observation)
    return document(values)
