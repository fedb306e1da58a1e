"""connlabel: a label of the connection (iptables-extensions(8), connlabel).

A packet without an entry has no label, so `! --label` matches it (netfilter-facts section 3). `--set` also writes it.
"""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec, normalised
from ruleaudit.model.condition import HAS_ENTRY, Not, Opaque, Scope, all_of, negate
from ruleaudit.model.ruleset import Consumer, Use
from ruleaudit.syntax.numbers import number

OPTIONS = (OptionSpec("--label", negatable=True), OptionSpec("--set", arguments=0))


def read(given: Options, context: Context) -> Meaning:
    """Negated as a whole."""
    label = next(o for o in given if o.name == "--label")
    if label.value.isdigit():
        number(label.value, 0, 127, "label")
    writes = any(o.name == "--set" for o in given)
    test = all_of([HAS_ENTRY, Opaque(f"connlabel {label.value}", Scope.ENTRY)])
    use = Use.CREATES if writes else Use.READS
    return Meaning(
        negate(test, label.negated),
        Consumer(use, "connlabel"),
        writes=normalised("connlabel", given) if writes else None,
    )


_FIVE = all_of([HAS_ENTRY, Opaque("connlabel 5", Scope.ENTRY)])

EXAMPLES = (
    Example("-m connlabel --label 5", _FIVE),
    Example("-m connlabel ! --label 5", Not(_FIVE)),
    Example("-m connlabel --label 128", refused="from 0 to 127"),
    Example("-m connlabel --set", refused="needs --label"),
)

EXTENSION = MatchExtension("connlabel", OPTIONS, read, EXAMPLES, required=("--label",))
