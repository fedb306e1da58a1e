"""socket: whether an open socket would get the packet (iptables-extensions(8), socket)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (
    OptionSpec("--transparent", arguments=0),
    OptionSpec("--nowildcard", arguments=0),
    OptionSpec("--restore-skmark", arguments=0),
)

EXAMPLES = (
    Example("-m socket --transparent", Opaque("socket --transparent", Scope.MEMORY)),
    Example("-m socket --open", refused='unknown option "--open"'),
)

EXTENSION = MatchExtension(
    "socket",
    OPTIONS,
    opaque("socket", Scope.MEMORY),
    EXAMPLES,
    chains=(
        "PREROUTING",
        "INPUT",
    ),
)
