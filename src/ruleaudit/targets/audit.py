"""AUDIT: writes an audit record (iptables-extensions(8), AUDIT)."""

from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (OptionSpec("--type", pattern="accept|drop|reject"),)

EXAMPLES = (
    Example("-j AUDIT --type accept", Action(CONTINUE, (Effect(EffectKind.LOG, "AUDIT --type accept"),))),
    Example("-j AUDIT --type allow", refused='bad value "allow"'),
)

EXTENSION = TargetExtension("AUDIT", OPTIONS, effect("AUDIT", EffectKind.LOG), EXAMPLES, required=("--type",))
