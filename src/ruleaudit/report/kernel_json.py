"""What the kernel did, as JSON: the field `kernel` of suggest and verify."""

from ruleaudit.model.ruleset import Ruleset
from ruleaudit.report.schema import Json, outcome
from ruleaudit.results import Outcome
from ruleaudit.results.observation import Observation


def observation(found: Observation) -> dict[str, Json]:
    """The versions, what was loaded, how many packets were compared, and which fared otherwise than reasoned."""
    return {
        "version": found.kernel,
        "nft": found.nft,
        "loaded": [
            {"path": one.path, "program": one.program, "refused": one.refused or None, "line": one.line}
            for one in found.loaded
        ],
        "packets": found.packets,
        "witnesses": found.witnesses,
        "left_out": [{"reason": reason, "packets": number} for reason, number in found.left_out],
        "disagreements": [
            {
                "packet": one.packet,
                "path": one.path,
                "kernel": _decision(one.ruleset, one.kernel),
                "reasoned": _decision(one.ruleset, one.reasoned),
            }
            for one in found.disagreements
        ],
        "impossible": found.impossible or None,
    }


def _decision(ruleset: Ruleset, found: Outcome) -> dict[str, Json]:
    """Who decided; whether the packet was tracked was not asked."""
    said = outcome(ruleset, found)
    return {"verdict": said["verdict"], "place": said["place"]}
