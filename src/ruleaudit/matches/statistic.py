"""statistic: every nth packet, or a random part of them (iptables-extensions(8), statistic)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (
    OptionSpec("--mode", pattern="random|nth"),
    OptionSpec("--probability", negatable=True, pattern=r"[0-9]*\.?[0-9]+(e-?[0-9]+)?"),
    OptionSpec("--every", negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--packet", pattern="[0-9]+|0x[0-9a-fA-F]+"),
)

EXAMPLES = (
    Example(
        "-m statistic --mode random --probability 0.5",
        Opaque("statistic --mode random --probability 0.5", Scope.MEMORY),
    ),
    Example("-m statistic --mode often", refused='bad value "often"'),
    Example("-m statistic", refused="needs --mode"),
)

EXTENSION = MatchExtension(
    "statistic", OPTIONS, opaque("statistic", Scope.MEMORY, memory=True), EXAMPLES, required=("--mode",)
)
