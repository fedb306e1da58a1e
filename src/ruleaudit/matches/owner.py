"""owner: the user or group of the socket that sends (iptables-extensions(8), owner)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Not, Opaque, Scope

OPTIONS = (
    OptionSpec("--uid-owner", negatable=True),
    OptionSpec("--gid-owner", negatable=True),
    OptionSpec("--suppl-groups", arguments=0),
    OptionSpec("--socket-exists", arguments=0, negatable=True),
)

EXAMPLES = (
    Example("-m owner --uid-owner 33", Opaque("owner --uid-owner 33", Scope.MEMORY), chain="OUTPUT"),
    Example("-m owner ! --uid-owner 33", Not(Opaque("owner --uid-owner 33", Scope.MEMORY)), chain="OUTPUT"),
    Example("-m owner --uid-owner", refused="needs a value", chain="OUTPUT"),
)

EXTENSION = MatchExtension(
    "owner",
    OPTIONS,
    opaque("owner", Scope.MEMORY),
    EXAMPLES,
    chains=(
        "OUTPUT",
        "POSTROUTING",
    ),
)
