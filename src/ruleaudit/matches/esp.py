"""esp: the index in the header of IPsec ESP (iptables-extensions(8), esp)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (OptionSpec("--espspi", negatable=True),)

EXAMPLES = (
    Example("-p esp -m esp --espspi 500", Opaque("esp --espspi 500", Scope.PACKET)),
    Example("-p 50 -m esp --espspy 500", refused='unknown option "--espspy"'),
)

EXTENSION = MatchExtension("esp", OPTIONS, opaque("esp", Scope.PACKET), EXAMPLES)
