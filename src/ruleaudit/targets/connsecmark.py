"""CONNSECMARK: moves security marks between packet and connection (iptables-extensions(8), CONNSECMARK)."""

from ruleaudit.matches.extension import Context, Options, OptionSpec, normalised
from ruleaudit.model.ruleset import Consumer, Effect, EffectKind, Use
from ruleaudit.syntax.refusal import Refused
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension

OPTIONS = (OptionSpec("--save", arguments=0), OptionSpec("--restore", arguments=0))


def read(given: Options, context: Context) -> Action:
    """Saving writes the entry, restoring reads it."""
    if len(given) != 1:
        raise Refused("CONNSECMARK needs --save or --restore")
    text = normalised("CONNSECMARK", given)
    if given[0].name == "--save":
        return Action(CONTINUE, (Effect(EffectKind.ENTRY, text),), (Consumer(Use.CREATES, "CONNSECMARK save"),))
    return Action(CONTINUE, (Effect(EffectKind.CHANGE, text),), (Consumer(Use.READS, "CONNSECMARK restore"),))


EXAMPLES = (
    Example(
        "-j CONNSECMARK --save",
        Action(
            CONTINUE, (Effect(EffectKind.ENTRY, "CONNSECMARK --save"),), (Consumer(Use.CREATES, "CONNSECMARK save"),)
        ),
        table="security",
    ),
    Example(
        "-j CONNSECMARK --restore",
        Action(
            CONTINUE,
            (Effect(EffectKind.CHANGE, "CONNSECMARK --restore"),),
            (Consumer(Use.READS, "CONNSECMARK restore"),),
        ),
        table="security",
    ),
    Example("-j CONNSECMARK", refused="needs --save or --restore", table="security"),
)

EXTENSION = TargetExtension("CONNSECMARK", OPTIONS, read, EXAMPLES, tables=("mangle", "security"))
