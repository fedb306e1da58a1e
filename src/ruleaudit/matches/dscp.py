"""dscp: the differentiated services field (iptables-extensions(8), dscp)."""

from ruleaudit.matches.checks import checked, exactly_one, within
from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (
    OptionSpec("--dscp", negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--dscp-class", negatable=True),
)

EXAMPLES = (
    Example("-m dscp --dscp-class EF", Opaque("dscp --dscp-class EF", Scope.PACKET)),
    Example("-m dscp --dscp x", refused='bad value "x"'),
    Example("-m dscp --dscp 0x40", refused="from 0 to 63"),
    Example("-m dscp --dscp 0x3f --dscp-class CS0", refused="cannot stand together"),
)

EXTENSION = MatchExtension(
    "dscp",
    OPTIONS,
    checked(opaque("dscp", Scope.PACKET), exactly_one("--dscp", "--dscp-class"), within("--dscp", 0, 63)),
    EXAMPLES,
)
