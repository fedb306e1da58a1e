"""policy: the IPsec policy of the packet (iptables-extensions(8), policy)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (
    OptionSpec("--dir", pattern="in|out"),
    OptionSpec("--pol", pattern="none|ipsec"),
    OptionSpec("--strict", arguments=0),
    OptionSpec("--reqid", negatable=True, repeatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--spi", negatable=True, repeatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--proto", negatable=True, repeatable=True),
    OptionSpec("--mode", negatable=True, repeatable=True, pattern="tunnel|transport"),
    OptionSpec("--tunnel-src", negatable=True, repeatable=True),
    OptionSpec("--tunnel-dst", negatable=True, repeatable=True),
    OptionSpec("--next", arguments=0, repeatable=True),
)

EXAMPLES = (
    Example("-m policy --dir in --pol ipsec", Opaque("policy --dir in --pol ipsec", Scope.PACKET)),
    Example("-m policy --dir up --pol ipsec", refused='bad value "up"'),
    Example("-m policy --pol none", refused="needs --dir"),
)

EXTENSION = MatchExtension(
    "policy",
    OPTIONS,
    opaque("policy", Scope.PACKET),
    EXAMPLES,
    required=(
        "--dir",
        "--pol",
    ),
)
