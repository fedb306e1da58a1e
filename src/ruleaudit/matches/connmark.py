"""connmark: the mark of the connection (iptables-extensions(8), connmark); fails without an entry, negated or not."""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec
from ruleaudit.model.condition import HAS_ENTRY, Not, Opaque, Scope, all_of, negate
from ruleaudit.model.ruleset import Consumer, Use
from ruleaudit.syntax.numbers import value_and_mask

OPTIONS = (OptionSpec("--mark", negatable=True),)


def read(given: Options, context: Context) -> Meaning:
    """(connection mark & mask) == value, where there is a connection."""
    value, mask = value_and_mask(given[0].value)
    test = Opaque(f"connmark 0x{value:x}/0x{mask:x}", Scope.ENTRY)
    return Meaning(all_of([HAS_ENTRY, negate(test, given[0].negated)]), Consumer(Use.READS, "connmark"))


_ONE = Opaque("connmark 0x1/0xffffffff", Scope.ENTRY)

EXAMPLES = (
    Example("-m connmark --mark 1", all_of([HAS_ENTRY, _ONE])),
    Example("-m connmark ! --mark 0x1", all_of([HAS_ENTRY, Not(_ONE)])),
    Example("-m connmark --mark x", refused='bad mark "x"'),
)

EXTENSION = MatchExtension("connmark", OPTIONS, read, EXAMPLES, required=("--mark",))
