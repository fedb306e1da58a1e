"""ecn: explicit congestion notification bits (iptables-extensions(8), ecn)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Not, Opaque, Scope

OPTIONS = (
    OptionSpec("--ecn-tcp-cwr", arguments=0, negatable=True),
    OptionSpec("--ecn-tcp-ece", arguments=0, negatable=True),
    OptionSpec("--ecn-ip-ect", negatable=True, pattern="[0-3]"),
)

EXAMPLES = (
    Example("-p tcp -m ecn ! --ecn-tcp-cwr", Not(Opaque("ecn --ecn-tcp-cwr", Scope.PACKET))),
    Example("-m ecn --ecn-ip-ect 9", refused='bad value "9"'),
)

EXTENSION = MatchExtension("ecn", OPTIONS, opaque("ecn", Scope.PACKET), EXAMPLES)
