"""rpfilter: whether the answer would leave where the packet came in (iptables-extensions(8), rpfilter)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (
    OptionSpec("--loose", arguments=0),
    OptionSpec("--validmark", arguments=0),
    OptionSpec("--accept-local", arguments=0),
    OptionSpec("--invert", arguments=0),
)

EXAMPLES = (
    Example("-m rpfilter --invert", Opaque("rpfilter --invert", Scope.PACKET), chain="PREROUTING", table="raw"),
    Example("-m rpfilter --strict", refused='unknown option "--strict"', chain="PREROUTING", table="raw"),
)

EXTENSION = MatchExtension(
    "rpfilter",
    OPTIONS,
    opaque("rpfilter", Scope.PACKET),
    EXAMPLES,
    tables=(
        "raw",
        "mangle",
    ),
    chains=("PREROUTING",),
)
