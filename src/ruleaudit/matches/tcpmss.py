"""tcpmss: the maximum segment size in a SYN (iptables-extensions(8), tcpmss)."""

from ruleaudit.matches.checks import checked, within
from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.fields import TCP

OPTIONS = (OptionSpec("--mss", negatable=True, pattern="[0-9]+|[0-9]*:[0-9]*"),)

EXAMPLES = (
    Example("-p tcp -m tcpmss --mss 1400:1500", Opaque("tcpmss --mss 1400:1500", Scope.PACKET)),
    Example("-m tcpmss --mss 1400", refused="needs -p tcp"),
    Example("-p tcp -m tcpmss --mss 1500:1400", refused="1500 is greater than 1400"),
    Example("-p tcp -m tcpmss --mss 42:65536", refused="from 0 to 65535"),
)

EXTENSION = MatchExtension(
    "tcpmss",
    OPTIONS,
    checked(opaque("tcpmss", Scope.PACKET), within("--mss", 0, 65535, ranges=True)),
    EXAMPLES,
    protocols=(TCP,),
    required=("--mss",),
)
