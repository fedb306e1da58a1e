"""TCPMSS: sets the maximum segment size in a SYN (iptables-extensions(8), TCPMSS)."""

from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.fields import TCP
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (
    OptionSpec("--set-mss", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--clamp-mss-to-pmtu", arguments=0),
)

EXAMPLES = (
    Example(
        "-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu",
        Action(CONTINUE, (Effect(EffectKind.CHANGE, "TCPMSS --clamp-mss-to-pmtu"),)),
        chain="FORWARD",
        table="mangle",
    ),
    Example("-j TCPMSS --clamp-mss-to-pmtu", refused="needs -p tcp", chain="FORWARD", table="mangle"),
)

EXTENSION = TargetExtension(
    "TCPMSS",
    OPTIONS,
    effect("TCPMSS", EffectKind.CHANGE),
    EXAMPLES,
    protocols=(TCP,),
    chains=(
        "FORWARD",
        "OUTPUT",
        "POSTROUTING",
    ),
)
