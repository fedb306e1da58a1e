"""ipcomp: the index in the header of IPsec compression (iptables-extensions(8), ipcomp)."""

from ruleaudit.matches.checks import checked, within
from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (
    OptionSpec("--ipcompspi", negatable=True),
    OptionSpec("--compres", arguments=0),
)

EXAMPLES = (
    Example("-p ipcomp -m ipcomp --ipcompspi 5", Opaque("ipcomp --ipcompspi 5", Scope.PACKET)),
    Example("-p ipcomp -m ipcomp --ipcompspy 5", refused='unknown option "--ipcompspy"'),
    Example("-p ipcomp -m ipcomp --ipcompspi 4:3", refused="4 is greater than 3"),
)

EXTENSION = MatchExtension(
    "ipcomp",
    OPTIONS,
    checked(opaque("ipcomp", Scope.PACKET), within("--ipcompspi", 0, 4294967295, ranges=True)),
    EXAMPLES,
)
