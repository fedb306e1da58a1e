"""IDLETIMER: tells a program when an interface falls idle (iptables-extensions(8), IDLETIMER)."""

from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (
    OptionSpec("--timeout", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--label"),
    OptionSpec("--alarm", arguments=0),
)

EXAMPLES = (
    Example(
        "-j IDLETIMER --timeout 9 --label x",
        Action(CONTINUE, (Effect(EffectKind.CHANGE, "IDLETIMER --timeout 9 --label x"),)),
    ),
    Example("-j IDLETIMER --timeout long --label x", refused='bad value "long"'),
)

EXTENSION = TargetExtension(
    "IDLETIMER", OPTIONS, effect("IDLETIMER", EffectKind.CHANGE), EXAMPLES, required=("--timeout", "--label")
)
