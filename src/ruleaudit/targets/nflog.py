"""NFLOG: hands the packet to a logging program (iptables-extensions(8), NFLOG)."""

from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (
    OptionSpec("--nflog-group", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--nflog-prefix"),
    OptionSpec("--nflog-range", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--nflog-size", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--nflog-threshold", pattern="[0-9]+|0x[0-9a-fA-F]+"),
)

EXAMPLES = (
    Example("-j NFLOG --nflog-group 5", Action(CONTINUE, (Effect(EffectKind.LOG, "NFLOG --nflog-group 5"),))),
    Example("-j NFLOG --nflog-group five", refused='bad value "five"'),
)

EXTENSION = TargetExtension("NFLOG", OPTIONS, effect("NFLOG", EffectKind.LOG), EXAMPLES)
