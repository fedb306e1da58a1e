"""ECN: takes congestion notification out of a TCP handshake (iptables-extensions(8), ECN)."""

from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.fields import Family
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (
    OptionSpec("--ecn-tcp-remove", arguments=0),
    OptionSpec("--ecn-tcp-cwr", pattern="[01]"),
    OptionSpec("--ecn-tcp-ece", pattern="[01]"),
    OptionSpec("--ecn-ip-ect", pattern="[0-3]"),
)

EXAMPLES = (
    Example(
        "-p tcp -j ECN --ecn-tcp-remove",
        Action(CONTINUE, (Effect(EffectKind.CHANGE, "ECN --ecn-tcp-remove"),)),
        family=Family.IPV4,
        chain="FORWARD",
        table="mangle",
    ),
    Example(
        "-j ECN --ecn-remove",
        refused='unknown option "--ecn-remove"',
        family=Family.IPV4,
        chain="FORWARD",
        table="mangle",
    ),
)

EXTENSION = TargetExtension(
    "ECN", OPTIONS, effect("ECN", EffectKind.CHANGE), EXAMPLES, family=Family.IPV4, tables=("mangle",)
)
