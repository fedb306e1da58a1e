"""HL: sets or counts the hop limit (iptables-extensions(8), HL)."""

from ruleaudit.matches.checks import checked, exactly_one, within
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
    Example("-j HL --hl-dec 0", refused="from 1 to 255", family=Family.IPV6, chain="FORWARD", table="mangle"),
    Example(
        "-j HL --hl-dec 1 --hl-inc 1",
        refused="cannot stand together",
        family=Family.IPV6,
        chain="FORWARD",
        table="mangle",
    ),
)

EXTENSION = TargetExtension(
    "HL",
    OPTIONS,
    checked(
        effect("HL", EffectKind.CHANGE),
        exactly_one("--hl-set", "--hl-dec", "--hl-inc"),
        within("--hl-set", 0, 255),
        within("--hl-dec", 1, 255),
        within("--hl-inc", 1, 255),
    ),
    EXAMPLES,
    family=Family.IPV6,
    tables=("mangle",),
)
