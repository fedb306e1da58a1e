"""tcpmss: the maximum segment size in a SYN (iptables-extensions(8), tcpmss)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.fields import TCP

OPTIONS = (OptionSpec("--mss", negatable=True, pattern="[0-9]+|[0-9]*:[0-9]*"),)

EXAMPLES = (
    Example("-p tcp -m tcpmss --mss 1400:1500", Opaque("tcpmss --mss 1400:1500", Scope.PACKET)),
    Example("-m tcpmss --mss 1400", refused="needs -p tcp"),
)

EXTENSION = MatchExtension(
    "tcpmss", OPTIONS, opaque("tcpmss", Scope.PACKET), EXAMPLES, protocols=(TCP,), required=("--mss",)
)
