"""devgroup: the group of the interface (iptables-extensions(8), devgroup)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (
    OptionSpec("--src-group", negatable=True),
    OptionSpec("--dst-group", negatable=True),
)

EXAMPLES = (
    Example("-m devgroup --src-group 1", Opaque("devgroup --src-group 1", Scope.PACKET)),
    Example("-m devgroup --group 1", refused='unknown option "--group"'),
)

EXTENSION = MatchExtension("devgroup", OPTIONS, opaque("devgroup", Scope.PACKET), EXAMPLES)
