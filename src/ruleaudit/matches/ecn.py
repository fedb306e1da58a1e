"""ecn: explicit congestion notification bits (iptables-extensions(8), ecn)."""

from ruleaudit.matches.checks import checked, with_protocol
from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Not, Opaque, Scope
from ruleaudit.model.fields import TCP

OPTIONS = (
    OptionSpec("--ecn-tcp-cwr", arguments=0, negatable=True),
    OptionSpec("--ecn-tcp-ece", arguments=0, negatable=True),
    OptionSpec("--ecn-ip-ect", negatable=True, pattern="[0-3]"),
)

EXAMPLES = (
    Example("-p tcp -m ecn ! --ecn-tcp-cwr", Not(Opaque("ecn --ecn-tcp-cwr", Scope.PACKET))),
    Example("-m ecn --ecn-ip-ect 9", refused='bad value "9"'),
    Example("-m ecn --ecn-tcp-cwr", refused="needs -p tcp"),
)

EXTENSION = MatchExtension(
    "ecn",
    OPTIONS,
    checked(
        opaque("ecn", Scope.PACKET),
        with_protocol("--ecn-tcp-cwr", TCP, "tcp"),
        with_protocol("--ecn-tcp-ece", TCP, "tcp"),
    ),
    EXAMPLES,
)
