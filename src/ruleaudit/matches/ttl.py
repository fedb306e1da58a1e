"""ttl: the time to live (iptables-extensions(8), ttl)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.fields import Family

OPTIONS = (
    OptionSpec("--ttl-eq", ("--ttl",), negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--ttl-gt", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--ttl-lt", pattern="[0-9]+|0x[0-9a-fA-F]+"),
)

EXAMPLES = (
    Example("-m ttl --ttl-eq 1", Opaque("ttl --ttl-eq 1", Scope.PACKET)),
    Example("-m ttl --ttl-eq old", refused='bad value "old"'),
)

EXTENSION = MatchExtension("ttl", OPTIONS, opaque("ttl", Scope.PACKET), EXAMPLES, family=Family.IPV4)
