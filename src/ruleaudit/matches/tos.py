"""tos: the type of service field (iptables-extensions(8), tos)."""

from ruleaudit.matches.checks import checked
from ruleaudit.matches.extension import Context, Example, MatchExtension, Options, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.syntax.numbers import number
from ruleaudit.syntax.refusal import Refused, did_you_mean

OPTIONS = (OptionSpec("--tos", negatable=True),)
NAMES = ("Minimize-Delay", "Maximize-Throughput", "Maximize-Reliability", "Minimize-Cost", "Normal-Service")


def values(given: Options, context: Context) -> None:
    """`value[/mask]`, or a name for one."""
    for option in given:
        word = option.value
        if word[:1].isdigit():
            for part in word.split("/", 1):
                number(part, 0, 255, "type of service", word)
        elif word.lower() not in (name.lower() for name in NAMES):
            raise Refused(f'unknown type of service "{word}"', word, did_you_mean(word, NAMES))


EXAMPLES = (
    Example("-m tos --tos 0x10/0x3f", Opaque("tos --tos 0x10/0x3f", Scope.PACKET)),
    Example("-m tos --tos minimize-delay", Opaque("tos --tos minimize-delay", Scope.PACKET)),
    Example("-m tos", refused="needs --tos"),
    Example("-m tos --tos 256", refused='bad type of service "256"'),
    Example("-m tos --tos Fast", refused='unknown type of service "Fast"'),
)

EXTENSION = MatchExtension("tos", OPTIONS, checked(opaque("tos", Scope.PACKET), values), EXAMPLES, required=("--tos",))
