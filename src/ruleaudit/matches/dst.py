"""dst: destination options of IPv6 (iptables-extensions(8), dst)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.fields import Family

OPTIONS = (
    OptionSpec("--dst-len", negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--dst-opts"),
)

EXAMPLES = (
    Example("-m dst --dst-len 8", Opaque("dst --dst-len 8", Scope.PACKET), family=Family.IPV6),
    Example("-m dst --dst-len x", refused='bad value "x"', family=Family.IPV6),
)

EXTENSION = MatchExtension("dst", OPTIONS, opaque("dst", Scope.PACKET), EXAMPLES, family=Family.IPV6)
