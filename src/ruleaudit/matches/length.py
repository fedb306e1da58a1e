"""length: the length of the packet (iptables-extensions(8), length)."""

from ruleaudit.matches.checks import checked, within
from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Not, Opaque, Scope

OPTIONS = (OptionSpec("--length", negatable=True, pattern="([0-9]+|0x[0-9a-fA-F]+)?(:([0-9]+|0x[0-9a-fA-F]+)?)?"),)

EXAMPLES = (
    Example("-m length --length 0:100", Opaque("length --length 0:100", Scope.PACKET)),
    Example("-m length ! --length 40", Not(Opaque("length --length 40", Scope.PACKET))),
    Example("-m length --length long", refused='bad value "long"'),
    Example("-m length --length 4:3", refused="4 is greater than 3"),
)

EXTENSION = MatchExtension(
    "length",
    OPTIONS,
    checked(opaque("length", Scope.PACKET), within("--length", 0, 65535, ranges=True)),
    EXAMPLES,
    required=("--length",),
)
