"""nfacct: counts into a named accounting object (iptables-extensions(8), nfacct)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (OptionSpec("--nfacct-name"),)

EXAMPLES = (
    Example("-m nfacct --nfacct-name web", Opaque("nfacct --nfacct-name web", Scope.MEMORY)),
    Example("-m nfacct", refused="needs --nfacct-name"),
)

EXTENSION = MatchExtension("nfacct", OPTIONS, opaque("nfacct", Scope.MEMORY), EXAMPLES, required=("--nfacct-name",))
