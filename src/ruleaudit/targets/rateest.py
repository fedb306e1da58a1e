"""RATEEST: feeds a rate estimator (iptables-extensions(8), RATEEST)."""

from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (
    OptionSpec("--rateest-name"),
    OptionSpec("--rateest-interval"),
    OptionSpec("--rateest-ewmalog"),
)

EXAMPLES = (
    Example(
        "-j RATEEST --rateest-name a --rateest-interval 250ms --rateest-ewmalog 0.5s",
        Action(
            CONTINUE,
            (Effect(EffectKind.WRITE, "RATEEST --rateest-name a --rateest-interval 250ms --rateest-ewmalog 0.5s"),),
        ),
    ),
    Example("-j RATEEST", refused="needs --rateest-name"),
)

EXTENSION = TargetExtension(
    "RATEEST", OPTIONS, effect("RATEEST", EffectKind.WRITE), EXAMPLES, required=("--rateest-name",)
)
