"""limit: how often rules with it may match; a token bucket of its own for each rule (iptables-extensions(8), limit)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (
    OptionSpec("--limit", negatable=True, pattern="[0-9]+(/[a-zA-Z]+)?"),
    OptionSpec("--limit-burst", pattern="[0-9]+|0x[0-9a-fA-F]+"),
)

EXAMPLES = (
    Example("-m limit --limit 5/min --limit-burst 10", Opaque("limit --limit 5/min --limit-burst 10", Scope.MEMORY)),
    Example("-m limit --limit fast", refused='bad value "fast"'),
)

EXTENSION = MatchExtension("limit", OPTIONS, opaque("limit", Scope.MEMORY, memory=True), EXAMPLES)
