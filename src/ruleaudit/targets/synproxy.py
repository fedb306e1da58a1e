"""SYNPROXY: answers TCP handshakes in place of the server (iptables-extensions(8), SYNPROXY).

The packet itself goes no further; the entry that SYNPROXY makes carries the connection.
"""

from ruleaudit.matches.extension import Context, Options, OptionSpec, normalised
from ruleaudit.model.fields import TCP
from ruleaudit.model.ruleset import Consumer, Drop, Effect, EffectKind, Use
from ruleaudit.targets.extension import Action, Example, TargetExtension

OPTIONS = (
    OptionSpec("--mss", pattern="[0-9]+"),
    OptionSpec("--wscale", pattern="[0-9]+"),
    OptionSpec("--sack-perm", arguments=0),
    OptionSpec("--timestamp", arguments=0),
    OptionSpec("--ecn", arguments=0),
)


def read(given: Options, context: Context) -> Action:
    """The packet is taken; the entry is made."""
    effect = Effect(EffectKind.ENTRY, normalised("SYNPROXY", given))
    return Action(Drop(), (effect,), (Consumer(Use.CREATES, "SYNPROXY"),))


_TEXT = "SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460"

EXAMPLES = (
    Example(
        f"-p tcp -j {_TEXT}", Action(Drop(), (Effect(EffectKind.ENTRY, _TEXT),), (Consumer(Use.CREATES, "SYNPROXY"),))
    ),
    Example("-j SYNPROXY", refused="needs -p tcp"),
    Example("-p tcp -j SYNPROXY --mss big", refused='bad value "big"'),
)

EXTENSION = TargetExtension("SYNPROXY", OPTIONS, read, EXAMPLES, protocols=(TCP,), chains=("INPUT", "FORWARD"))
