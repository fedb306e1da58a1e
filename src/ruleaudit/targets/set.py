"""SET: adds to an ipset or deletes from it, or takes marks out of it (iptables-extensions(8), SET)."""

from ruleaudit.matches.extension import Context, Options, OptionSpec, normalised
from ruleaudit.matches.set import lookup
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.syntax.refusal import Refused
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension

OPTIONS = (
    OptionSpec("--add-set", arguments=2),
    OptionSpec("--del-set", arguments=2),
    OptionSpec("--map-set", arguments=2),
    OptionSpec("--timeout", pattern="[0-9]+"),
    OptionSpec("--exist", arguments=0),
    OptionSpec("--map-mark", arguments=0),
    OptionSpec("--map-prio", arguments=0),
    OptionSpec("--map-queue", arguments=0),
)


def read(given: Options, context: Context) -> Action:
    """A write; `--map-set` changes the packet, and with `--map-mark` its mark."""
    for option in given:
        if len(option.values) == 2:
            lookup(*option.values)
    names = {o.name for o in given}
    text = normalised("SET", given)
    if not names & {"--add-set", "--del-set", "--map-set"}:
        raise Refused("SET needs --add-set, --del-set or --map-set")
    effects = []
    if names & {"--add-set", "--del-set"}:
        effects.append(Effect(EffectKind.WRITE, text))
    if "--map-set" in names:
        effects.append(Effect(EffectKind.CHANGE, text))
        if "--map-mark" in names:
            effects.append(Effect(EffectKind.MARK, text))
    return Action(CONTINUE, tuple(effects))


EXAMPLES = (
    Example(
        "-j SET --add-set bad src --exist",
        Action(CONTINUE, (Effect(EffectKind.WRITE, "SET --add-set bad src --exist"),)),
    ),
    Example("-j SET --add-set bad source", refused='bad side "source"'),
    Example("-j SET --exist", refused="SET needs"),
)

EXTENSION = TargetExtension("SET", OPTIONS, read, EXAMPLES)
