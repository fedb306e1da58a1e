"""CONNMARK: moves marks between packet and connection (iptables-extensions(8), CONNMARK).

Setting or saving writes the entry; restoring reads it into the packet mark.
"""

from ruleaudit.matches.extension import Context, Options, OptionSpec, normalised
from ruleaudit.model.ruleset import Consumer, Effect, EffectKind, Use
from ruleaudit.syntax.numbers import ALL_ONES, number
from ruleaudit.syntax.refusal import Refused
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension
from ruleaudit.targets.mark import xmark

_MASK = "[0-9]+|0x[0-9a-fA-F]+"
OPTIONS = (
    OptionSpec("--set-xmark"),
    OptionSpec("--set-mark"),
    OptionSpec("--and-mark"),
    OptionSpec("--or-mark"),
    OptionSpec("--xor-mark"),
    OptionSpec("--save-mark", arguments=0),
    OptionSpec("--restore-mark", arguments=0),
    OptionSpec("--mask", pattern=_MASK),
    OptionSpec("--nfmask", pattern=_MASK),
    OptionSpec("--ctmask", pattern=_MASK),
    OptionSpec("--left-shift-mark", pattern=_MASK),
    OptionSpec("--right-shift-mark", pattern=_MASK),
)


def read(given: Options, context: Context) -> Action:
    """Exactly one of setting, saving and restoring."""
    verbs = [
        o
        for o in given
        if o.name in ("--save-mark", "--restore-mark")
        or (o.name[-5:] == "-mark" and o.values)
        or o.name == "--set-xmark"
    ]
    verbs = [o for o in verbs if "shift" not in o.name]
    if len(verbs) != 1:
        raise Refused("CONNMARK needs exactly one of --set-xmark, --set-mark, --save-mark, --restore-mark and the like")
    for option in given:
        if option.name in ("--mask", "--nfmask", "--ctmask"):
            number(option.value, 0, ALL_ONES, "mask")
    text = normalised("CONNMARK", given)
    if verbs[0].name == "--restore-mark":
        return Action(CONTINUE, (Effect(EffectKind.MARK, text),), (Consumer(Use.READS, "CONNMARK restore"),))
    if verbs[0].values:
        xmark(verbs[0].name, verbs[0].value)
    what = "CONNMARK save" if verbs[0].name == "--save-mark" else "CONNMARK set"
    return Action(CONTINUE, (Effect(EffectKind.ENTRY, text),), (Consumer(Use.CREATES, what),))


EXAMPLES = (
    Example(
        "-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff",
        Action(
            CONTINUE,
            (Effect(EffectKind.ENTRY, "CONNMARK --save-mark --nfmask 0xff --ctmask 0xff"),),
            (Consumer(Use.CREATES, "CONNMARK save"),),
        ),
    ),
    Example(
        "-j CONNMARK --restore-mark",
        Action(
            CONTINUE, (Effect(EffectKind.MARK, "CONNMARK --restore-mark"),), (Consumer(Use.READS, "CONNMARK restore"),)
        ),
    ),
    Example(
        "-j CONNMARK --set-mark 1",
        Action(
            CONTINUE, (Effect(EffectKind.ENTRY, "CONNMARK --set-mark 1"),), (Consumer(Use.CREATES, "CONNMARK set"),)
        ),
    ),
    Example("-j CONNMARK --set-mark x", refused='bad mark "x"'),
    Example("-j CONNMARK", refused="exactly one of"),
)

EXTENSION = TargetExtension("CONNMARK", OPTIONS, read, EXAMPLES)
