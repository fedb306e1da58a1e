"""CLASSIFY: sets the packet priority (iptables-extensions(8), CLASSIFY)."""

from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (OptionSpec("--set-class", pattern="[0-9a-fA-F]+:[0-9a-fA-F]+"),)

EXAMPLES = (
    Example(
        "-j CLASSIFY --set-class 1:10",
        Action(CONTINUE, (Effect(EffectKind.CHANGE, "CLASSIFY --set-class 1:10"),)),
        chain="POSTROUTING",
        table="mangle",
    ),
    Example("-j CLASSIFY --set-class ten", refused='bad value "ten"', chain="POSTROUTING", table="mangle"),
)

EXTENSION = TargetExtension(
    "CLASSIFY",
    OPTIONS,
    effect("CLASSIFY", EffectKind.CHANGE),
    EXAMPLES,
    chains=(
        "FORWARD",
        "OUTPUT",
        "POSTROUTING",
    ),
    required=("--set-class",),
)
