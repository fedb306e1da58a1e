"""NOTRACK: leaves packets untracked; the older spelling of `CT --notrack` (iptables-extensions(8), NOTRACK)."""

from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

EXAMPLES = (
    Example("-j NOTRACK", Action(CONTINUE, (Effect(EffectKind.NOTRACK, "NOTRACK"),)), chain="PREROUTING", table="raw"),
    Example("-j NOTRACK", refused="only in table raw", table="nat"),
)

EXTENSION = TargetExtension("NOTRACK", (), effect("NOTRACK", EffectKind.NOTRACK), EXAMPLES, tables=("raw",))
