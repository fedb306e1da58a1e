"""rt: the routing header of IPv6 (iptables-extensions(8), rt)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.fields import Family

OPTIONS = (
    OptionSpec("--rt-type", negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--rt-segsleft", negatable=True, pattern="([0-9]+|0x[0-9a-fA-F]+)?(:([0-9]+|0x[0-9a-fA-F]+)?)?"),
    OptionSpec("--rt-len", negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--rt-0-res", arguments=0),
    OptionSpec("--rt-0-addrs"),
    OptionSpec("--rt-0-not-strict", arguments=0),
)

EXAMPLES = (
    Example("-m rt --rt-type 0", Opaque("rt --rt-type 0", Scope.PACKET), family=Family.IPV6),
    Example("-m rt --rt-type zero", refused='bad value "zero"', family=Family.IPV6),
)

EXTENSION = MatchExtension("rt", OPTIONS, opaque("rt", Scope.PACKET), EXAMPLES, family=Family.IPV6)
