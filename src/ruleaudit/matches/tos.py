"""tos: the type of service field (iptables-extensions(8), tos)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (OptionSpec("--tos", negatable=True),)

EXAMPLES = (
    Example("-m tos --tos 0x10/0x3f", Opaque("tos --tos 0x10/0x3f", Scope.PACKET)),
    Example("-m tos", refused="needs --tos"),
)

EXTENSION = MatchExtension("tos", OPTIONS, opaque("tos", Scope.PACKET), EXAMPLES, required=("--tos",))
