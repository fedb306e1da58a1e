"""ULOG: hands the packet to a logging program, the older way (iptables-extensions(8), ULOG)."""

from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.fields import Family
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (
    OptionSpec("--ulog-nlgroup", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--ulog-prefix"),
    OptionSpec("--ulog-cprange", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--ulog-qthreshold", pattern="[0-9]+|0x[0-9a-fA-F]+"),
)

EXAMPLES = (
    Example(
        "-j ULOG --ulog-nlgroup 2",
        Action(CONTINUE, (Effect(EffectKind.LOG, "ULOG --ulog-nlgroup 2"),)),
        family=Family.IPV4,
    ),
    Example("-j ULOG --ulog-nlgroup two", refused='bad value "two"', family=Family.IPV4),
)

EXTENSION = TargetExtension("ULOG", OPTIONS, effect("ULOG", EffectKind.LOG), EXAMPLES, family=Family.IPV4)
