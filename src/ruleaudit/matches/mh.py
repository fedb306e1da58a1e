"""mh: the mobility header of IPv6 (iptables-extensions(8), mh)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.fields import Family

OPTIONS = (OptionSpec("--mh-type", negatable=True),)

EXAMPLES = (
    Example(
        "-p mh -m mh --mh-type binding-update", Opaque("mh --mh-type binding-update", Scope.PACKET), family=Family.IPV6
    ),
    Example("-p mh -m mh --mh-kind 3", refused='unknown option "--mh-kind"', family=Family.IPV6),
)

EXTENSION = MatchExtension("mh", OPTIONS, opaque("mh", Scope.PACKET), EXAMPLES, family=Family.IPV6)
