"""esp: the index in the header of IPsec ESP (iptables-extensions(8), esp)."""

from ruleaudit.matches.checks import checked, within
from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (OptionSpec("--espspi", negatable=True),)

EXAMPLES = (
    Example("-p esp -m esp --espspi 500", Opaque("esp --espspi 500", Scope.PACKET)),
    Example("-p 50 -m esp --espspy 500", refused='unknown option "--espspy"'),
    Example("-p esp -m esp --espspi 4:3", refused="4 is greater than 3"),
)

EXTENSION = MatchExtension(
    "esp", OPTIONS, checked(opaque("esp", Scope.PACKET), within("--espspi", 0, 4294967295, ranges=True)), EXAMPLES
)
