"""DROP: the packet is gone, silently (iptables(8), TARGETS)."""

from ruleaudit.model.ruleset import Drop
from ruleaudit.targets.extension import Action, Example, TargetExtension, verdict

EXAMPLES = (
    Example("-j DROP", Action(Drop())),
    Example("-j DROP --reject-with tcp-reset", refused='unknown option "--reject-with"'),
)

EXTENSION = TargetExtension("DROP", (), verdict(Drop()), EXAMPLES)
