"""mark: the packet mark under a mask (iptables-extensions(8), mark)."""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec
from ruleaudit.model.condition import Masked, Not, negate
from ruleaudit.model.fields import Field
from ruleaudit.syntax.numbers import value_and_mask

OPTIONS = (OptionSpec("--mark", negatable=True),)


def read(given: Options, context: Context) -> Meaning:
    """(mark & mask) == value; a value outside the mask matches nothing."""
    value, mask = value_and_mask(given[0].value)
    return Meaning(negate(Masked(Field.MARK, mask, value), given[0].negated))


EXAMPLES = (
    Example("-m mark --mark 0x1", Masked(Field.MARK, 0xFFFFFFFF, 1)),
    Example("-m mark ! --mark 0x4000/0x4000", Not(Masked(Field.MARK, 0x4000, 0x4000))),
    Example("-m mark --mark red", refused='bad mark "red"'),
    Example("-m mark", refused="needs --mark"),
)

EXTENSION = MatchExtension("mark", OPTIONS, read, EXAMPLES, required=("--mark",))
