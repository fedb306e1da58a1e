"""rateest: compares estimated rates (iptables-extensions(8), rateest)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (
    OptionSpec("--rateest"),
    OptionSpec("--rateest1"),
    OptionSpec("--rateest2"),
    OptionSpec("--rateest-delta", arguments=0),
    OptionSpec("--rateest-lt", arguments=0, negatable=True),
    OptionSpec("--rateest-gt", arguments=0, negatable=True),
    OptionSpec("--rateest-eq", arguments=0, negatable=True),
    OptionSpec("--rateest-bps", arguments=0, optional=True),
    OptionSpec("--rateest-pps", arguments=0, optional=True),
    OptionSpec("--rateest-bps1", arguments=0, optional=True),
    OptionSpec("--rateest-bps2", arguments=0, optional=True),
    OptionSpec("--rateest-pps1", arguments=0, optional=True),
    OptionSpec("--rateest-pps2", arguments=0, optional=True),
)

EXAMPLES = (
    Example(
        "-m rateest --rateest a --rateest-lt --rateest-bps 10kbit",
        Opaque("rateest --rateest a --rateest-lt --rateest-bps 10kbit", Scope.MEMORY),
    ),
    Example("-m rateest --rate a", refused='unknown option "--rate"'),
)

EXTENSION = MatchExtension("rateest", OPTIONS, opaque("rateest", Scope.MEMORY), EXAMPLES)
