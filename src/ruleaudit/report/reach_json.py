"""`explain FILE:LINE` as JSON: the classes of the rules in the line, and who reaches them."""

from collections.abc import Sequence

from ruleaudit.report.explain_json import entry
from ruleaudit.report.schema import Json, document, rule_place, witness
from ruleaudit.results.reach import Reach


def render(found: Sequence[Reach]) -> str:
    """One object; `rules` holds those that mention conntrack, as `explain FILE` does."""
    first = {one.rule.span: one for one in reversed(found) if one.judgement is not None}
    rules = [entry(first[span].ruleset.source, one) for span in sorted(first) if (one := first[span].judgement)]
    return document({"rules": list(rules), "reach": [_one(one) for one in found]})


def _one(found: Reach) -> dict[str, Json]:
    source = found.ruleset.source
    return {
        "rule": rule_place(source, found.rule),
        "family": found.ruleset.family.value,
        "action": found.action,
        "called_by": [rule_place(source, rule) for rule in found.callers],
        "reached_by": [
            {
                "path": v.path,
                "state": v.state or None,
                "match": v.matched,
                "words": v.words,
                "witness": witness(v.witness),
            }
            for v in found.visitors
        ],
        "depends_on": list(found.open),
        "barred": found.barred or None,
        "taken_by": [rule_place(source, rule) for rule in found.takers],
        "class": found.judgement.kind.value if found.judgement is not None else None,
    }
