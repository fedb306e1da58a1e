"""physdev: the port of a bridge (iptables-extensions(8), physdev)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Not, Opaque, Scope

OPTIONS = (
    OptionSpec("--physdev-in", negatable=True),
    OptionSpec("--physdev-out", negatable=True),
    OptionSpec("--physdev-is-in", arguments=0, negatable=True),
    OptionSpec("--physdev-is-out", arguments=0, negatable=True),
    OptionSpec("--physdev-is-bridged", arguments=0, negatable=True),
)

EXAMPLES = (
    Example("-m physdev ! --physdev-is-bridged", Not(Opaque("physdev --physdev-is-bridged", Scope.PACKET))),
    Example("-m physdev --physdev-dev eth0", refused='unknown option "--physdev-dev"'),
)

EXTENSION = MatchExtension("physdev", OPTIONS, opaque("physdev", Scope.PACKET), EXAMPLES)
