"""QUEUE: a program decides, through queue 0 (iptables(8), TARGETS; the predecessor of NFQUEUE)."""

from ruleaudit.model.ruleset import Queue
from ruleaudit.targets.extension import Action, Example, TargetExtension, verdict

EXAMPLES = (Example("-j QUEUE", Action(Queue("0"))),)

EXTENSION = TargetExtension("QUEUE", (), verdict(Queue("0")), EXAMPLES)
