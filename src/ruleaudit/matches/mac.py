"""mac: the Ethernet source address.

A neighbour keeps its own, so the source address says whose (iptables-extensions(8), mac).
"""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.fields import Field

OPTIONS = (OptionSpec("--mac-source", negatable=True, pattern="[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}"),)

EXAMPLES = (
    Example(
        "-m mac --mac-source 00:11:22:33:44:55",
        Opaque("mac --mac-source 00:11:22:33:44:55", Scope.CONNECTION, (Field.SADDR,)),
    ),
    Example("-m mac --mac-source 00:11:22:33:44:zz", refused='bad value "00:11:22:33:44:zz"'),
)

EXTENSION = MatchExtension(
    "mac",
    OPTIONS,
    opaque("mac", Scope.CONNECTION, (Field.SADDR,)),
    EXAMPLES,
    chains=(
        "PREROUTING",
        "INPUT",
        "FORWARD",
    ),
    required=("--mac-source",),
)
