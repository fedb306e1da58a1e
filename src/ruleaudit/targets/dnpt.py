"""DNPT: translates the prefix of the destination address, without conntrack (iptables-extensions(8), DNPT)."""

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
        "-j DNPT --src-pfx fd00::/64 --dst-pfx 2001:db8::/64",
        Action(CONTINUE, (Effect(EffectKind.CHANGE, "DNPT --src-pfx fd00::/64 --dst-pfx 2001:db8::/64"),)),
        family=Family.IPV6,
        chain="FORWARD",
        table="mangle",
    ),
    Example(
        "-j DNPT --dst-pfx fd00::/64", refused="needs --src-pfx", family=Family.IPV6, chain="FORWARD", table="mangle"
    ),
)

EXTENSION = TargetExtension(
    "DNPT",
    OPTIONS,
    effect("DNPT", EffectKind.CHANGE),
    EXAMPLES,
    family=Family.IPV6,
    tables=("mangle",),
    required=(
        "--src-pfx",
        "--dst-pfx",
    ),
)
