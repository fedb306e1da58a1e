"""quota: matches until so many bytes have passed (iptables-extensions(8), quota)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (OptionSpec("--quota", negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),)

EXAMPLES = (
    Example("-m quota --quota 1000", Opaque("quota --quota 1000", Scope.MEMORY)),
    Example("-m quota --quota some", refused='bad value "some"'),
)

EXTENSION = MatchExtension(
    "quota", OPTIONS, opaque("quota", Scope.MEMORY, memory=True), EXAMPLES, required=("--quota",)
)
