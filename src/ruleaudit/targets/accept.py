"""ACCEPT: the packet passes this table's chain (iptables(8), TARGETS)."""

from ruleaudit.model.ruleset import Accept
from ruleaudit.targets.extension import Action, Example, TargetExtension, verdict

EXAMPLES = (
    Example("-j ACCEPT", Action(Accept())),
    Example("-j ACCEPT --reject-with tcp-reset", refused='unknown option "--reject-with"'),
)

EXTENSION = TargetExtension("ACCEPT", (), verdict(Accept()), EXAMPLES)
