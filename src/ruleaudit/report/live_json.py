"""Who rules in this network namespace, and what was found out about assumptions, as JSON."""

from ruleaudit.report.schema import Json, rule_place
from ruleaudit.results.running import Owner, Running
from ruleaudit.results.suggestion import Checked


def running(found: Running) -> dict[str, Json]:
    """The field `live` of suggest and verify."""
    return {"owners": [_owner(owner) for owner in found.owners], "unread": list(found.unread)}


def _owner(owner: Owner) -> Json:
    return {
        "name": owner.name,
        "tables": list(owner.tables),
        "programs": list(owner.programs),
        "tracks": list(owner.tracks),
        "rules": [
            {"place": rule_place(owner.source, j.rule), "class": j.kind.value, "reason": j.reason}
            for j in owner.tracking.judgements
        ],
    }


def checked(found: Checked) -> Json:
    """One object of the field `checked` of suggest."""
    return {"assumption": found.assumption, "holds": found.holds, "reason": found.reason}
