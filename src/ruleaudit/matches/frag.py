"""frag: the fragment header of IPv6 (iptables-extensions(8), frag)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.fields import Family

OPTIONS = (
    OptionSpec("--fragid", negatable=True, pattern="([0-9]+|0x[0-9a-fA-F]+)?(:([0-9]+|0x[0-9a-fA-F]+)?)?"),
    OptionSpec("--fraglen", negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--fragres", arguments=0),
    OptionSpec("--fragfirst", arguments=0),
    OptionSpec("--fragmore", arguments=0),
    OptionSpec("--fraglast", arguments=0),
)

EXAMPLES = (
    Example("-m frag --fragmore", Opaque("frag --fragmore", Scope.PACKET), family=Family.IPV6),
    Example("-m frag --fragid x", refused='bad value "x"', family=Family.IPV6),
)

EXTENSION = MatchExtension("frag", OPTIONS, opaque("frag", Scope.PACKET), EXAMPLES, family=Family.IPV6)
