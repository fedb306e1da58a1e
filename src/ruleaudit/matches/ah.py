"""ah: the authentication header of IPsec (iptables-extensions(8), ah)."""

from ruleaudit.matches.checks import checked, within
from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (
    OptionSpec("--ahspi", negatable=True),
    OptionSpec("--ahlen", negatable=True, pattern="[0-9]+|0x[0-9a-fA-F]+"),
    OptionSpec("--ahres", arguments=0),
)

EXAMPLES = (
    Example("-p ah -m ah --ahspi 500", Opaque("ah --ahspi 500", Scope.PACKET)),
    Example("-p 51 -m ah --ahspy 500", refused='unknown option "--ahspy"'),
    Example("-p ah -m ah --ahspi 4:3", refused="4 is greater than 3"),
)

EXTENSION = MatchExtension(
    "ah", OPTIONS, checked(opaque("ah", Scope.PACKET), within("--ahspi", 0, 4294967295, ranges=True)), EXAMPLES
)
