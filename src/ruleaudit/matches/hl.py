"""hl: the hop limit of IPv6 (iptables-extensions(8), hl)."""

from ruleaudit.matches.checks import checked, exactly_one, within
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
    Example("-m hl --hl-eq 256", refused="from 0 to 255", family=Family.IPV6),
    Example("-m hl --hl-gt 42 --hl-eq 42", refused="cannot stand together", family=Family.IPV6),
    Example("-m hl", refused="needs --hl-eq or", family=Family.IPV6),
)

EXTENSION = MatchExtension(
    "hl",
    OPTIONS,
    checked(
        opaque("hl", Scope.PACKET),
        exactly_one("--hl-eq", "--hl-gt", "--hl-lt"),
        *(within(o.name, 0, 255) for o in OPTIONS),
    ),
    EXAMPLES,
    family=Family.IPV6,
)
