"""TCPOPTSTRIP: takes options out of the TCP header (iptables-extensions(8), TCPOPTSTRIP)."""

from ruleaudit.matches.extension import OptionSpec
from ruleaudit.model.fields import TCP
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension, effect

OPTIONS = (OptionSpec("--strip-options"),)

EXAMPLES = (
    Example(
        "-p tcp -j TCPOPTSTRIP --strip-options timestamp",
        Action(CONTINUE, (Effect(EffectKind.CHANGE, "TCPOPTSTRIP --strip-options timestamp"),)),
        chain="FORWARD",
        table="mangle",
    ),
    Example("-j TCPOPTSTRIP --strip-options 8", refused="needs -p tcp", chain="FORWARD", table="mangle"),
)

EXTENSION = TargetExtension(
    "TCPOPTSTRIP", OPTIONS, effect("TCPOPTSTRIP", EffectKind.CHANGE), EXAMPLES, protocols=(TCP,), tables=("mangle",)
)
