"""MARK: sets bits of the packet mark (iptables-extensions(8), MARK): new = (old & ~mask) ^ value."""

from ruleaudit.matches.extension import Context, Options, OptionSpec, normalised
from ruleaudit.model.ruleset import Effect, EffectKind
from ruleaudit.syntax.numbers import ALL_ONES, number, value_and_mask
from ruleaudit.syntax.refusal import Refused
from ruleaudit.targets.extension import CONTINUE, Action, Example, TargetExtension

OPTIONS = (
    OptionSpec("--set-xmark"),
    OptionSpec("--set-mark"),
    OptionSpec("--and-mark"),
    OptionSpec("--or-mark"),
    OptionSpec("--xor-mark"),
)


def xmark(name: str, word: str) -> tuple[int, int]:
    """The (mask, value) of one of the five spellings, as the kernel gets it."""
    if name == "--set-xmark":
        value, mask = value_and_mask(word)
        return mask, value
    if name == "--set-mark":
        value, mask = value_and_mask(word)
        return value | mask, value
    bits = number(word, 0, ALL_ONES, "mark")
    return {"--and-mark": (ALL_ONES ^ bits, 0), "--or-mark": (bits, bits), "--xor-mark": (0, bits)}[name]


def read(given: Options, context: Context) -> Action:
    """Exactly one of the options."""
    if len(given) != 1:
        raise Refused("MARK needs exactly one of --set-xmark, --set-mark, --and-mark, --or-mark and --xor-mark")
    mask, value = xmark(given[0].name, given[0].value)
    return Action(CONTINUE, (Effect(EffectKind.MARK, normalised("MARK", given), mask, value),))


def _marks(text: str, mask: int, value: int) -> Action:
    return Action(CONTINUE, (Effect(EffectKind.MARK, text, mask, value),))


EXAMPLES = (
    Example("-j MARK --set-xmark 0x1/0xffffffff", _marks("MARK --set-xmark 0x1/0xffffffff", ALL_ONES, 1)),
    Example("-j MARK --set-mark 5", _marks("MARK --set-mark 5", ALL_ONES, 5)),
    Example("-j MARK --set-mark 0x3/0x1", _marks("MARK --set-mark 0x3/0x1", 3, 3)),
    Example("-j MARK --and-mark 0xfe", _marks("MARK --and-mark 0xfe", 0xFFFFFF01, 0)),
    Example("-j MARK --or-mark 0x10", _marks("MARK --or-mark 0x10", 0x10, 0x10)),
    Example("-j MARK --xor-mark 0x10", _marks("MARK --xor-mark 0x10", 0, 0x10)),
    Example("-j MARK --set-mark one", refused='bad mark "one"'),
    Example("-j MARK", refused="exactly one of"),
)

EXTENSION = TargetExtension("MARK", OPTIONS, read, EXAMPLES)
