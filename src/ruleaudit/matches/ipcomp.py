"""ipcomp: the index in the header of IPsec compression (iptables-extensions(8), ipcomp)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (
    OptionSpec("--ipcompspi", negatable=True),
    OptionSpec("--compres", arguments=0),
)

EXAMPLES = (
    Example("-p ipcomp -m ipcomp --ipcompspi 5", Opaque("ipcomp --ipcompspi 5", Scope.PACKET)),
    Example("-p ipcomp -m ipcomp --ipcompspy 5", refused='unknown option "--ipcompspy"'),
)

EXTENSION = MatchExtension("ipcomp", OPTIONS, opaque("ipcomp", Scope.PACKET), EXAMPLES)
