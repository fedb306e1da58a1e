"""TOS: sets the type of service field (iptables-extensions(8), TOS)."""

from ruleaudit.matches.checks import checked
from ruleaudit.matches.extension import OptionSpec
from ruleaudit.matches.tos import values
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (
    OptionSpec("--set-tos"),
    OptionSpec("--and-tos"),
    OptionSpec("--or-tos"),
    OptionSpec("--xor-tos"),
)

EXAMPLES = (
    Example(
        "-j TOS --set-tos 0x10/0x3f",
        Action(CONTINUE, (Effect(EffectKind.CHANGE, "TOS --set-tos 0x10/0x3f"),)),
        chain="FORWARD",
        table="mangle",
    ),
    Example("-j TOS --set-tos Fast", refused='unknown type of service "Fast"', chain="FORWARD", table="mangle"),
    Example("-j TOS --tos 1 --set", refused='unknown option "--tos"', chain="FORWARD", table="mangle"),
)

EXTENSION = TargetExtension(
    "TOS", OPTIONS, checked(effect("TOS", EffectKind.CHANGE), values), EXAMPLES, tables=("mangle",)
)
