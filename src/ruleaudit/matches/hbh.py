"""hbh: hop-by-hop options of IPv6 (iptables-extensions(8), hbh)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.fields import Family

OPTIONS = (
    OptionSpec("--hbh-len", negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--hbh-opts"),
)

EXAMPLES = (
    Example("-m hbh --hbh-len 8", Opaque("hbh --hbh-len 8", Scope.PACKET), family=Family.IPV6),
    Example("-m hbh --hbh-len x", refused='bad value "x"', family=Family.IPV6),
)

EXTENSION = MatchExtension("hbh", OPTIONS, opaque("hbh", Scope.PACKET), EXAMPLES, family=Family.IPV6)
