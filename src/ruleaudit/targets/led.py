"""LED: switches a light (iptables-extensions(8), LED)."""

from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (
    OptionSpec("--led-trigger-id"),
    OptionSpec("--led-delay"),
    OptionSpec("--led-always-blink", arguments=0),
)

EXAMPLES = (
    Example("-j LED --led-trigger-id ssh", Action(CONTINUE, (Effect(EffectKind.LOG, "LED --led-trigger-id ssh"),))),
    Example("-j LED --led-blink", refused='unknown option "--led-blink"'),
)

EXTENSION = TargetExtension("LED", OPTIONS, effect("LED", EffectKind.LOG), EXAMPLES, required=("--led-trigger-id",))
