"""DSCP: sets the differentiated services field (iptables-extensions(8), DSCP)."""

from ruleaudit.matches.checks import checked, exactly_one, within
from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (
    OptionSpec("--set-dscp", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--set-dscp-class"),
)

EXAMPLES = (
    Example(
        "-j DSCP --set-dscp 0x10",
        Action(CONTINUE, (Effect(EffectKind.CHANGE, "DSCP --set-dscp 0x10"),)),
        chain="FORWARD",
        table="mangle",
    ),
    Example("-j DSCP --set-dscp EF", refused='bad value "EF"', chain="FORWARD", table="mangle"),
    Example("-j DSCP --set-dscp 0x40", refused="from 0 to 63", chain="FORWARD", table="mangle"),
    Example("-j DSCP", refused="needs --set-dscp or", chain="FORWARD", table="mangle"),
)

EXTENSION = TargetExtension(
    "DSCP",
    OPTIONS,
    checked(
        effect("DSCP", EffectKind.CHANGE), exactly_one("--set-dscp", "--set-dscp-class"), within("--set-dscp", 0, 63)
    ),
    EXAMPLES,
    tables=("mangle",),
)
