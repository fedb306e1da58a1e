"""HL: sets or counts the hop limit (iptables-extensions(8), HL)."""

from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.fields import Family
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (
    OptionSpec("--hl-set", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--hl-dec", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--hl-inc", pattern="[0-9]+|0x[0-9a-fA-F]+"),
)

EXAMPLES = (
    Example(
        "-j HL --hl-set 64",
        Action(CONTINUE, (Effect(EffectKind.CHANGE, "HL --hl-set 64"),)),
        family=Family.IPV6,
        chain="FORWARD",
        table="mangle",
    ),
    Example("-j HL --hl-set long", refused='bad value "long"', family=Family.IPV6, chain="FORWARD", table="mangle"),
)

EXTENSION = TargetExtension(
    "HL", OPTIONS, effect("HL", EffectKind.CHANGE), EXAMPLES, family=Family.IPV6, tables=("mangle",)
)
