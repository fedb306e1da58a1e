"""hashlimit: rate limits for each address or port (iptables-extensions(8), hashlimit)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (
    OptionSpec("--hashlimit-upto", ("--hashlimit",), negatable=True),
    OptionSpec("--hashlimit-above"),
    OptionSpec("--hashlimit-burst"),
    OptionSpec("--hashlimit-mode", pattern="(srcip|srcport|dstip|dstport)(,(srcip|srcport|dstip|dstport))*"),
    OptionSpec("--hashlimit-srcmask", pattern="[0-9]+"),
    OptionSpec("--hashlimit-dstmask", pattern="[0-9]+"),
    OptionSpec("--hashlimit-name"),
    OptionSpec("--hashlimit-htable-size", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--hashlimit-htable-max", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--hashlimit-htable-expire", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--hashlimit-htable-gcinterval", pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--hashlimit-rate-match", arguments=0),
    OptionSpec("--hashlimit-rate-interval", pattern="[0-9]+|0x[0-9a-fA-F]+"),
)

EXAMPLES = (
    Example(
        "-m hashlimit --hashlimit-upto 5/sec --hashlimit-name a",
        Opaque("hashlimit --hashlimit-upto 5/sec --hashlimit-name a", Scope.MEMORY),
    ),
    Example("-m hashlimit --hashlimit-upto 5/sec --hashlimit-name a --hashlimit-mode ip", refused='bad value "ip"'),
    Example("-m hashlimit --hashlimit-upto 5/sec", refused="needs --hashlimit-name"),
)

EXTENSION = MatchExtension(
    "hashlimit", OPTIONS, opaque("hashlimit", Scope.MEMORY, memory=True), EXAMPLES, required=("--hashlimit-name",)
)
