"""CHECKSUM: fills in a missing checksum (iptables-extensions(8), CHECKSUM)."""

from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (OptionSpec("--checksum-fill", arguments=0),)

EXAMPLES = (
    Example(
        "-p udp -j CHECKSUM --checksum-fill",
        Action(CONTINUE, (Effect(EffectKind.CHANGE, "CHECKSUM --checksum-fill"),)),
        chain="FORWARD",
        table="mangle",
    ),
    Example("-j CHECKSUM --fill", refused='unknown option "--fill"', chain="FORWARD", table="mangle"),
)

EXTENSION = TargetExtension(
    "CHECKSUM",
    OPTIONS,
    effect("CHECKSUM", EffectKind.CHANGE),
    EXAMPLES,
    tables=("mangle",),
    required=("--checksum-fill",),
)
