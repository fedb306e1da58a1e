"""udplite: ports of the UDPLITE header (iptables-extensions(8), udp); fails for every later fragment (xt_tcpudp.c)."""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options
from ruleaudit.matches.tcp import DPORT, NOT_LATER, SPORT, port_test
from ruleaudit.model.condition import Not, Values, all_of
from ruleaudit.model.fields import UDPLITE, Field

OPTIONS = (SPORT, DPORT)


def read(given: Options, context: Context) -> Meaning:
    """Both ports, each with its own negation."""
    return Meaning(all_of([NOT_LATER, *(port_test(o.name, o.value, o.negated, UDPLITE) for o in given)]))


EXAMPLES = (
    Example("-p udplite -m udplite --dport 53", all_of([NOT_LATER, Values(Field.DPORT, ((53, 53),))])),
    Example("-p udplite ! --sport 1024:65535", all_of([NOT_LATER, Not(Values(Field.SPORT, ((1024, 65535),)))])),
    Example("-p tcp -m udplite --dport 53", refused="needs -p udplite"),
    Example("-p udplite -m udplite --dport x53", refused='unknown port or service "x53"'),
)

EXTENSION = MatchExtension("udplite", OPTIONS, read, EXAMPLES, protocols=(UDPLITE,))
