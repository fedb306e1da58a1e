"""ttl: the time to live (iptables-extensions(8), ttl)."""

from ruleaudit.matches.checks import checked, exactly_one, within
from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.fields import Family

OPTIONS = (
    OptionSpec("--ttl-eq", ("--ttl",), negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--ttl-gt", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--ttl-lt", pattern="[0-9]+|0x[0-9a-fA-F]+"),
)

EXAMPLES = (
    Example("-m ttl --ttl-eq 1", Opaque("ttl --ttl-eq 1", Scope.PACKET)),
    Example("-m ttl --ttl-eq old", refused='bad value "old"'),
    Example("-m ttl --ttl-eq 256", refused="from 0 to 255"),
    Example("-m ttl --ttl-gt 42 --ttl-eq 42", refused="cannot stand together"),
    Example("-m ttl", refused="needs --ttl-eq or"),
)

EXTENSION = MatchExtension(
    "ttl",
    OPTIONS,
    checked(
        opaque("ttl", Scope.PACKET),
        exactly_one("--ttl-eq", "--ttl-gt", "--ttl-lt"),
        *(within(o.name, 0, 255) for o in OPTIONS),
    ),
    EXAMPLES,
    family=Family.IPV4,
)
