"""cgroup: the control group of the socket (iptables-extensions(8), cgroup)."""

from ruleaudit.matches.checks import checked, exactly_one
from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (
    OptionSpec("--path", negatable=True),
    OptionSpec("--cgroup", negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
)

EXAMPLES = (
    Example("-m cgroup --path system.slice", Opaque("cgroup --path system.slice", Scope.MEMORY), chain="OUTPUT"),
    Example("-m cgroup --cgroup web", refused='bad value "web"', chain="OUTPUT"),
    Example("-m cgroup --cgroup 1 --path /", refused="cannot stand together", chain="OUTPUT"),
)

EXTENSION = MatchExtension(
    "cgroup",
    OPTIONS,
    checked(opaque("cgroup", Scope.MEMORY), exactly_one("--path", "--cgroup")),
    EXAMPLES,
    chains=(
        "INPUT",
        "OUTPUT",
        "POSTROUTING",
    ),
)
