"""RETURN: back to the calling chain; in a base chain its policy (iptables(8), TARGETS)."""

from ruleaudit.model.ruleset import Return
from ruleaudit.targets.extension import Action, Example, TargetExtension, verdict

EXAMPLES = (
    Example("-j RETURN", Action(Return())),
    Example("-j RETURN --reject-with tcp-reset", refused='unknown option "--reject-with"'),
)

EXTENSION = TargetExtension("RETURN", (), verdict(Return()), EXAMPLES)
