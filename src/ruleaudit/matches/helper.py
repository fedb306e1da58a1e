"""helper: the conntrack helper that expected the connection (iptables-extensions(8), helper).

A packet without an entry has no helper, so `! --helper` matches it (netfilter-facts section 3).
"""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec
from ruleaudit.model.condition import HAS_ENTRY, Not, Opaque, Scope, all_of, negate
from ruleaudit.model.ruleset import Consumer, Use

OPTIONS = (OptionSpec("--helper", negatable=True),)


def read(given: Options, context: Context) -> Meaning:
    """Negated as a whole."""
    test = all_of([HAS_ENTRY, Opaque(f"helper {given[0].value}", Scope.ENTRY)])
    return Meaning(negate(test, given[0].negated), Consumer(Use.READS, "helper"))


_FTP = all_of([HAS_ENTRY, Opaque("helper ftp", Scope.ENTRY)])

EXAMPLES = (
    Example("-m helper --helper ftp", _FTP),
    Example("-m helper ! --helper ftp", Not(_FTP)),
    Example("-m helper", refused="needs --helper"),
)

EXTENSION = MatchExtension("helper", OPTIONS, read, EXAMPLES, required=("--helper",))
