"""realm: the routing realm (iptables-extensions(8), realm)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.fields import Family

OPTIONS = (OptionSpec("--realm", negatable=True),)

EXAMPLES = (
    Example("-m realm --realm 5", Opaque("realm --realm 5", Scope.PACKET)),
    Example("-m realm", refused="needs --realm"),
)

EXTENSION = MatchExtension(
    "realm", OPTIONS, opaque("realm", Scope.PACKET), EXAMPLES, family=Family.IPV4, required=("--realm",)
)
