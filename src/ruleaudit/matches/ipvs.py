"""ipvs: properties of an IP virtual server connection (iptables-extensions(8), ipvs).

It lives beside the conntrack entry.
"""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec, normalised
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.ruleset import Consumer, Use

OPTIONS = (
    OptionSpec("--ipvs", arguments=0, negatable=True),
    OptionSpec("--vproto", negatable=True),
    OptionSpec("--vaddr", negatable=True),
    OptionSpec("--vport", negatable=True),
    OptionSpec("--vdir", pattern="ORIGINAL|REPLY"),
    OptionSpec("--vmethod", negatable=True, pattern="GATE|IPIP|MASQ"),
    OptionSpec("--vportctl", negatable=True),
)


def read(given: Options, context: Context) -> Meaning:
    """Opaque; it reads the connection."""
    return Meaning(Opaque(normalised("ipvs", given), Scope.MEMORY), Consumer(Use.READS, "ipvs"))


EXAMPLES = (
    Example("-m ipvs --ipvs", Opaque("ipvs --ipvs", Scope.MEMORY)),
    Example("-m ipvs --vdir UP", refused='bad value "UP"'),
)

EXTENSION = MatchExtension("ipvs", OPTIONS, read, EXAMPLES)
