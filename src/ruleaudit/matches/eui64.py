"""eui64: whether the interface part of the address comes from the MAC address (iptables-extensions(8), eui64)."""

from ruleaudit.matches.extension import Example, MatchExtension, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.fields import Family

OPTIONS = ()

EXAMPLES = (
    Example("-m eui64", Opaque("eui64", Scope.PACKET), family=Family.IPV6),
    Example("-m eui64 --mac x", refused='unknown option "--mac"', family=Family.IPV6),
)

EXTENSION = MatchExtension("eui64", OPTIONS, opaque("eui64", Scope.PACKET), EXAMPLES, family=Family.IPV6)
