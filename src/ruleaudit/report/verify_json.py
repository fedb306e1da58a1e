"""`verify` as JSON."""

from collections.abc import Collection

from ruleaudit.report import kernel_json, live_json
from ruleaudit.report.schema import Json, document, outcome, rule_place, witness
from ruleaudit.results import Comparison, Difference, Undecided
from ruleaudit.results.observation import Observation
from ruleaudit.results.running import Running


def render(
    comparison: Comparison,
    allowed: Collection[Difference] = (),
    observation: Observation | None = None,
    running: Running | None = None,
) -> str:
    """One object; `allowed` are the differences that the user named. What the kernel contradicts is undecided."""
    old, new = comparison.old, comparison.new

    def difference(found: Difference) -> dict[str, Json]:
        return {
            "kind": found.kind.value,
            "description": found.description,
            "path": found.path,
            "role": found.role,
            "protocol": ",".join(ports.protocol for ports in found.ports),
            "class": found.loosens.value if found.loosens else None,
            "witness": witness(found.witness),
            "old": outcome(old, found.old),
            "new": outcome(new, found.new),
            "assumption": found.assumption,
            "allowed": found in allowed,
        }

    def undecided(found: Undecided) -> dict[str, Json]:
        where: Json = None
        if found.rule is not None:
            mine = any((found.rule.span, found.rule.text) == (r.span, r.text) for r in old.rules())
            where = rule_place((old if mine else new).source, found.rule)
        return {**(where if isinstance(where, dict) else {"path": None, "line": None}), "reason": found.reason}

    contradicted = observation is not None and observation.contradicts
    return document(
        {
            "result": "undecided" if contradicted else comparison.result,
            "differences": [difference(d) for d in comparison.differences],
            "assumptions": [f"{key}: {text}" for key, text in comparison.assumptions],
            "undecided": [undecided(u) for u in comparison.undecided],
            "not_compared": list(comparison.not_compared),
            **({"kernel": kernel_json.observation(observation)} if observation else {}),
            **({"live": live_json.running(running)} if running else {}),
        }
    )
