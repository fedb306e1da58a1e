"""iprange: addresses from one to another (iptables-extensions(8), iprange)."""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec
from ruleaudit.model.condition import NEVER, Condition, Not, Values, all_of, negate
from ruleaudit.model.fields import Field
from ruleaudit.syntax.addresses import address_range, numeric
from ruleaudit.syntax.refusal import Refused

OPTIONS = (OptionSpec("--src-range", negatable=True), OptionSpec("--dst-range", negatable=True))


def read(given: Options, context: Context) -> Meaning:
    """Each side with its own negation."""
    if not given:
        raise Refused("iprange needs --src-range or --dst-range")
    items: list[Condition] = []
    for option in given:
        field = Field.SADDR if option.name == "--src-range" else Field.DADDR
        first, _, last = option.value.partition("-")
        ends = [numeric(word, context.family.address_bits) for word in (first, last)]
        if ends[0] is not None and ends[1] is not None and ends[0] > ends[1]:
            test: Condition = NEVER  # iptables warns, and loads it
        else:
            test = Values(field, (address_range(option.value, context.family.address_bits),))
        items.append(negate(test, option.negated))
    return Meaning(all_of(items))


EXAMPLES = (
    Example("-m iprange --src-range 10.0.0.1-10.0.0.9", Values(Field.SADDR, ((0x0A000001, 0x0A000009),))),
    Example("-m iprange ! --dst-range 10.0.0.1", Not(Values(Field.DADDR, ((0x0A000001, 0x0A000001),)))),
    Example("-m iprange --src-range 10.0.0.9-10.0.0.1", NEVER),
    Example("-m iprange --src-range 10.0.0-x", refused="is not an IPv4 address"),
)

EXTENSION = MatchExtension("iprange", OPTIONS, read, EXAMPLES)
