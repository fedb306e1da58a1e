"""connbytes: how much the connection has carried (iptables-extensions(8), connbytes); fails without an entry.

The count grows with every packet, so two packets of a connection need not agree.
"""

from ruleaudit.matches.extension import (
    Context,
    Example,
    Given,
    MatchExtension,
    Meaning,
    Options,
    OptionSpec,
    normalised,
)
from ruleaudit.model.condition import HAS_ENTRY, Not, Opaque, Scope, all_of, negate
from ruleaudit.model.ruleset import Consumer, Use

OPTIONS = (
    OptionSpec("--connbytes", negatable=True, pattern="[0-9]+(:[0-9]*)?"),
    OptionSpec("--connbytes-dir", pattern="original|reply|both"),
    OptionSpec("--connbytes-mode", pattern="packets|bytes|avgpkt"),
)


def read(given: Options, context: Context) -> Meaning:
    """Negated behind the question whether there is an entry."""
    negated = any(o.negated for o in given)
    positive = tuple(Given(o.name, False, o.values) for o in given)
    test = Opaque(normalised("connbytes", positive), Scope.MEMORY)
    return Meaning(all_of([HAS_ENTRY, negate(test, negated)]), Consumer(Use.READS, "connbytes"))


_TEXT = "connbytes --connbytes 1000: --connbytes-dir both --connbytes-mode bytes"

EXAMPLES = (
    Example(f"-m {_TEXT}", all_of([HAS_ENTRY, Opaque(_TEXT, Scope.MEMORY)])),
    Example(
        f"-m {_TEXT.replace(' --connbytes ', ' ! --connbytes ')}", all_of([HAS_ENTRY, Not(Opaque(_TEXT, Scope.MEMORY))])
    ),
    Example("-m connbytes --connbytes 1", refused="needs --connbytes-dir"),
    Example("-m connbytes --connbytes many --connbytes-dir both --connbytes-mode bytes", refused='bad value "many"'),
)

EXTENSION = MatchExtension(
    "connbytes", OPTIONS, read, EXAMPLES, required=("--connbytes", "--connbytes-dir", "--connbytes-mode")
)
