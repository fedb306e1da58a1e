"""string: a text anywhere in the packet (iptables-extensions(8), string)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (
    OptionSpec("--algo", pattern="bm|kmp"),
    OptionSpec("--from", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--to", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--string", negatable=True),
    OptionSpec("--hex-string", negatable=True),
    OptionSpec("--icase", arguments=0),
)

EXAMPLES = (
    Example('-m string --algo bm --string "GET /"', Opaque('string --algo bm --string "GET /"', Scope.PACKET)),
    Example("-m string --string x", refused="needs --algo"),
)

EXTENSION = MatchExtension("string", OPTIONS, opaque("string", Scope.PACKET), EXAMPLES, required=("--algo",))
