"""hl: the hop limit of IPv6 (iptables-extensions(8), hl)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.fields import Family

OPTIONS = (
    OptionSpec("--hl-eq", ("--hl",), negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--hl-gt", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--hl-lt", pattern="[0-9]+|0x[0-9a-fA-F]+"),
)

EXAMPLES = (
    Example("-m hl --hl-eq 255", Opaque("hl --hl-eq 255", Scope.PACKET), family=Family.IPV6),
    Example("-m hl --hl-eq old", refused='bad value "old"', family=Family.IPV6),
)

EXTENSION = MatchExtension("hl", OPTIONS, opaque("hl", Scope.PACKET), EXAMPLES, family=Family.IPV6)
