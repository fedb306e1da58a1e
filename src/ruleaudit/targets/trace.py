"""TRACE: the kernel reports which rules the packet meets (iptables-extensions(8), TRACE)."""

from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

EXAMPLES = (
    Example("-j TRACE", Action(CONTINUE, (Effect(EffectKind.LOG, "TRACE"),)), chain="PREROUTING", table="raw"),
    Example("-j TRACE", refused="only in table raw"),
)

EXTENSION = TargetExtension("TRACE", (), effect("TRACE", EffectKind.LOG), EXAMPLES, tables=("raw",))
