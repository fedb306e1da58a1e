"""SECMARK: sets the security mark of the packet (iptables-extensions(8), SECMARK)."""

from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (OptionSpec("--selctx"),)

EXAMPLES = (
    Example(
        "-j SECMARK --selctx system_u:object_r:x:s0",
        Action(CONTINUE, (Effect(EffectKind.CHANGE, "SECMARK --selctx system_u:object_r:x:s0"),)),
        table="security",
    ),
    Example("-j SECMARK", refused="needs --selctx", table="security"),
)

EXTENSION = TargetExtension(
    "SECMARK",
    OPTIONS,
    effect("SECMARK", EffectKind.CHANGE),
    EXAMPLES,
    tables=(
        "mangle",
        "security",
    ),
    required=("--selctx",),
)
