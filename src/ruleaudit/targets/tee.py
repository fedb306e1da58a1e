"""TEE: sends a copy of the packet to another host (iptables-extensions(8), TEE)."""

from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (
    OptionSpec("--gateway"),
    OptionSpec("--oif"),
)

EXAMPLES = (
    Example(
        "-j TEE --gateway 10.0.0.1",
        Action(CONTINUE, (Effect(EffectKind.CHANGE, "TEE --gateway 10.0.0.1"),)),
        chain="PREROUTING",
        table="mangle",
    ),
    Example("-j TEE", refused="needs --gateway", chain="PREROUTING", table="mangle"),
)

EXTENSION = TargetExtension("TEE", OPTIONS, effect("TEE", EffectKind.CHANGE), EXAMPLES, required=("--gateway",))
