"""dscp: the differentiated services field (iptables-extensions(8), dscp)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (
    OptionSpec("--dscp", negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--dscp-class", negatable=True),
)

EXAMPLES = (
    Example("-m dscp --dscp-class EF", Opaque("dscp --dscp-class EF", Scope.PACKET)),
    Example("-m dscp --dscp x", refused='bad value "x"'),
)

EXTENSION = MatchExtension("dscp", OPTIONS, opaque("dscp", Scope.PACKET), EXAMPLES)
