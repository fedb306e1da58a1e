"""NFLOG: hands the packet to a logging program (iptables-extensions(8), NFLOG)."""

from ruleaudit.matches.checks import at_most_one, checked, within
from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.syntax.numbers import ALL_ONES
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
    Example("-j NFLOG --nflog-group 65536", refused="from 0 to 65535"),
)

EXTENSION = TargetExtension(
    "NFLOG",
    OPTIONS,
    checked(
        effect("NFLOG", EffectKind.LOG),
        within("--nflog-group", 0, 65535),
        within("--nflog-threshold", 1, 65535),
        within("--nflog-range", 0, ALL_ONES),
        within("--nflog-size", 0, ALL_ONES),
        at_most_one("--nflog-range", "--nflog-size"),
    ),
    EXAMPLES,
)
