"""iprange: addresses from one to another (iptables-extensions(8), iprange)."""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec
from ruleaudit.model.condition import Condition, Not, Values, all_of, negate
from ruleaudit.model.fields import Field
from ruleaudit.syntax.addresses import address_range
from ruleaudit.syntax.refusal import Refused

OPTIONS = (OptionSpec("--src-range", negatable=True), OptionSpec("--dst-range", negatable=True))


def read(given: Options, context: Context) -> Meaning:
    """Each side with its own negation."""
    if not given:
        raise Refused("iprange needs --src-range or --dst-range")
    items: list[Condition] = []
    for option in given:
        field = Field.SADDR if option.name == "--src-range" else Field.DADDR
        items.append(negate(Values(field, (address_range(option.value, context.family.address_bits),)), option.negated))
    return Meaning(all_of(items))


EXAMPLES = (
    Example("-m iprange --src-range 10.0.0.1-10.0.0.9", Values(Field.SADDR, ((0x0A000001, 0x0A000009),))),
    Example("-m iprange ! --dst-range 10.0.0.1", Not(Values(Field.DADDR, ((0x0A000001, 0x0A000001),)))),
    Example("-m iprange --src-range 10.0.0.9-10.0.0.1", refused="it ends before it begins"),
    Example("-m iprange --src-range 10.0.0-x", refused="is not an IPv4 address"),
)

EXTENSION = MatchExtension("iprange", OPTIONS, read, EXAMPLES)
