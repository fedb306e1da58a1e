"""osf: the guessed operating system of the sender of a SYN (iptables-extensions(8), osf)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.fields import TCP

OPTIONS = (
    OptionSpec("--genre", negatable=True),
    OptionSpec("--ttl", pattern="[0-2]"),
    OptionSpec("--log", pattern="[0-2]"),
)

EXAMPLES = (
    Example("-p tcp -m osf --genre Linux", Opaque("osf --genre Linux", Scope.PACKET)),
    Example("-m osf --genre Linux", refused="needs -p tcp"),
)

EXTENSION = MatchExtension(
    "osf", OPTIONS, opaque("osf", Scope.PACKET), EXAMPLES, protocols=(TCP,), required=("--genre",)
)
