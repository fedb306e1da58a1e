"""mh: the mobility header of IPv6 (iptables-extensions(8), mh)."""

from ruleaudit.matches.checks import checked
from ruleaudit.matches.extension import Context, Example, MatchExtension, Options, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.model.fields import Family
from ruleaudit.syntax.numbers import number_range

OPTIONS = (OptionSpec("--mh-type", negatable=True),)


def _types(given: Options, context: Context) -> None:
    for option in given:
        if option.value.replace(":", "").isdigit():
            number_range(option.value, 0, 255, "type")


EXAMPLES = (
    Example(
        "-p mh -m mh --mh-type binding-update", Opaque("mh --mh-type binding-update", Scope.PACKET), family=Family.IPV6
    ),
    Example("-p mh -m mh --mh-kind 3", refused='unknown option "--mh-kind"', family=Family.IPV6),
    Example("-p mh -m mh --mh-type 4:3", refused="4 is greater than 3", family=Family.IPV6),
    Example("-m mh --mh-type 3", refused="needs -p", family=Family.IPV6),
)

EXTENSION = MatchExtension(
    "mh", OPTIONS, checked(opaque("mh", Scope.PACKET), _types), EXAMPLES, family=Family.IPV6, protocols=(135,)
)
