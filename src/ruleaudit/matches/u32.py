"""u32: arithmetic on any bytes of the packet (iptables-extensions(8), u32)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (OptionSpec("--u32", negatable=True),)

EXAMPLES = (
    Example("-m u32 --u32 0=1", Opaque("u32 --u32 0=1", Scope.PACKET)),
    Example("-m u32", refused="needs --u32"),
)

EXTENSION = MatchExtension("u32", OPTIONS, opaque("u32", Scope.PACKET), EXAMPLES, required=("--u32",))
