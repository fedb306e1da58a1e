"""TTL: sets or counts the time to live (iptables-extensions(8), TTL)."""

from ruleaudit.matches.checks import checked, exactly_one, within
from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.fields import Family
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (
    OptionSpec("--ttl-set", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--ttl-dec", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--ttl-inc", pattern="[0-9]+|0x[0-9a-fA-F]+"),
)

EXAMPLES = (
    Example(
        "-j TTL --ttl-set 64",
        Action(CONTINUE, (Effect(EffectKind.CHANGE, "TTL --ttl-set 64"),)),
        family=Family.IPV4,
        chain="FORWARD",
        table="mangle",
    ),
    Example("-j TTL --ttl-set long", refused='bad value "long"', family=Family.IPV4, chain="FORWARD", table="mangle"),
    Example("-j TTL --ttl-dec 0", refused="from 1 to 255", family=Family.IPV4, chain="FORWARD", table="mangle"),
    Example(
        "-j TTL --ttl-dec 1 --ttl-inc 1",
        refused="cannot stand together",
        family=Family.IPV4,
        chain="FORWARD",
        table="mangle",
    ),
)

EXTENSION = TargetExtension(
    "TTL",
    OPTIONS,
    checked(
        effect("TTL", EffectKind.CHANGE),
        exactly_one("--ttl-set", "--ttl-dec", "--ttl-inc"),
        within("--ttl-set", 0, 255),
        within("--ttl-dec", 1, 255),
        within("--ttl-inc", 1, 255),
    ),
    EXAMPLES,
    family=Family.IPV4,
    tables=("mangle",),
)
