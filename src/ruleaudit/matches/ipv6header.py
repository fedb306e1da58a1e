"""ipv6header: which extension headers an IPv6 packet has (iptables-extensions(8), ipv6header)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.fields import Family

OPTIONS = (
    OptionSpec("--soft", arguments=0),
    OptionSpec("--header", negatable=True),
)

EXAMPLES = (
    Example(
        "-m ipv6header --soft --header frag",
        Opaque("ipv6header --soft --header frag", Scope.PACKET),
        family=Family.IPV6,
    ),
    Example("-m ipv6header --head frag --soft --hard", refused='unknown option "--hard"', family=Family.IPV6),
)

EXTENSION = MatchExtension("ipv6header", OPTIONS, opaque("ipv6header", Scope.PACKET), EXAMPLES, family=Family.IPV6)
