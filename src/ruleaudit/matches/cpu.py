"""cpu: the processor that handles the packet (iptables-extensions(8), cpu)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (OptionSpec("--cpu", negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),)

EXAMPLES = (
    Example("-m cpu --cpu 0", Opaque("cpu --cpu 0", Scope.MEMORY)),
    Example("-m cpu --cpu one", refused='bad value "one"'),
)

EXTENSION = MatchExtension("cpu", OPTIONS, opaque("cpu", Scope.MEMORY), EXAMPLES, required=("--cpu",))
