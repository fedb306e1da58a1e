"""sctp: ports and chunk types of the SCTP header (iptables-extensions(8), sctp); fails for every later fragment."""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec
from ruleaudit.matches.tcp import DPORT, NOT_LATER, SPORT, port_test
from ruleaudit.model.condition import Condition, Not, Opaque, Scope, Values, all_of, negate
from ruleaudit.model.fields import SCTP, Field

OPTIONS = (SPORT, DPORT, OptionSpec("--chunk-types", arguments=2, negatable=True))


def read(given: Options, context: Context) -> Meaning:
    """Ports exactly; which chunks a packet holds is opaque."""
    items: list[Condition] = [NOT_LATER]
    for option in given:
        if option.name == "--chunk-types":
            items.append(negate(Opaque("sctp --chunk-types " + " ".join(option.values), Scope.PACKET), option.negated))
        else:
            items.append(port_test(option.name, option.value, option.negated, SCTP))
    return Meaning(all_of(items))


EXAMPLES = (
    Example("-p sctp -m sctp --dport 36412", all_of([NOT_LATER, Values(Field.DPORT, ((36412, 36412),))])),
    Example(
        "-p sctp ! --chunk-types any INIT",
        all_of([NOT_LATER, Not(Opaque("sctp --chunk-types any INIT", Scope.PACKET))]),
    ),
    Example("-m sctp --dport 36412", refused="needs -p sctp"),
)

EXTENSION = MatchExtension("sctp", OPTIONS, read, EXAMPLES, protocols=(SCTP,))
