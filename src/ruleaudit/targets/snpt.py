"""SNPT: translates the prefix of the source address, without conntrack (iptables-extensions(8), SNPT)."""

from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.fields import Family
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (
    OptionSpec("--src-pfx"),
    OptionSpec("--dst-pfx"),
)

EXAMPLES = (
    Example(
        "-j SNPT --src-pfx fd00::/64 --dst-pfx 2001:db8::/64",
        Action(CONTINUE, (Effect(EffectKind.CHANGE, "SNPT --src-pfx fd00::/64 --dst-pfx 2001:db8::/64"),)),
        family=Family.IPV6,
        chain="FORWARD",
        table="mangle",
    ),
    Example("-j SNPT --src fd00::/64", refused="needs", family=Family.IPV6, chain="FORWARD", table="mangle"),
)

EXTENSION = TargetExtension(
    "SNPT",
    OPTIONS,
    effect("SNPT", EffectKind.CHANGE),
    EXAMPLES,
    family=Family.IPV6,
    tables=("mangle",),
    required=(
        "--src-pfx",
        "--dst-pfx",
    ),
)
