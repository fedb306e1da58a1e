"""dccp: ports, packet types and options of the DCCP header (iptables-extensions(8), dccp).

Fails for every later fragment.
"""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec
from ruleaudit.matches.tcp import DPORT, NOT_LATER, SPORT, port_test
from ruleaudit.model.condition import Condition, Not, Opaque, Scope, Values, all_of, negate
from ruleaudit.model.fields import DCCP, Field

OPTIONS = (SPORT, DPORT, OptionSpec("--dccp-types", negatable=True), OptionSpec("--dccp-option", negatable=True))


def read(given: Options, context: Context) -> Meaning:
    """Ports exactly; types and options are opaque."""
    items: list[Condition] = [NOT_LATER]
    for option in given:
        if option.name in ("--sport", "--dport"):
            items.append(port_test(option.name, option.value, option.negated, DCCP))
        else:
            items.append(negate(Opaque(f"dccp {option.name} {option.value}", Scope.PACKET), option.negated))
    return Meaning(all_of(items))


EXAMPLES = (
    Example("-p dccp -m dccp --sport 100", all_of([NOT_LATER, Values(Field.SPORT, ((100, 100),))])),
    Example(
        "-p dccp ! --dccp-types REQUEST", all_of([NOT_LATER, Not(Opaque("dccp --dccp-types REQUEST", Scope.PACKET))])
    ),
    Example("-p udp -m dccp --sport 100", refused="needs -p dccp"),
)

EXTENSION = MatchExtension("dccp", OPTIONS, read, EXAMPLES, protocols=(DCCP,))
