"""icmp6: type and code of the ICMPv6 header (iptables-extensions(8), icmp6); fails for every later fragment."""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec
from ruleaudit.matches.icmp import Kind, type_test
from ruleaudit.matches.tcp import NOT_LATER
from ruleaudit.model.condition import Not, Values, all_of, negate
from ruleaudit.model.fields import ICMPV6, Family, Field

OPTIONS = (OptionSpec("--icmpv6-type", ("--icmp6-type",), negatable=True),)

#: xtables' names (libip6t_icmp6.c), in its order
NAMES: dict[str, Kind] = {
    "destination-unreachable": (1, None), "no-route": (1, 0), "communication-prohibited": (1, 1),
    "beyond-scope": (1, 2), "address-unreachable": (1, 3), "port-unreachable": (1, 4), "failed-policy": (1, 5),
    "reject-route": (1, 6), "packet-too-big": (2, None), "time-exceeded": (3, None), "ttl-exceeded": (3, None),
    "ttl-zero-during-transit": (3, 0), "ttl-zero-during-reassembly": (3, 1), "parameter-problem": (4, None),
    "bad-header": (4, 0), "unknown-header-type": (4, 1), "unknown-option": (4, 2), "echo-request": (128, None),
    "ping": (128, None), "echo-reply": (129, None), "pong": (129, None), "mld-listener-query": (130, None),
    "mld-listener-report": (131, None), "mld-listener-done": (132, None), "mld-listener-reduction": (132, None),
    "router-solicitation": (133, None), "router-advertisement": (134, None), "neighbour-solicitation": (135, None),
    "neighbor-solicitation": (135, None), "neighbour-advertisement": (136, None),
    "neighbor-advertisement": (136, None), "redirect": (137, None),
}  # fmt: skip


def read(given: Options, context: Context) -> Meaning:
    """Type and code, negated as a whole."""
    return Meaning(all_of([NOT_LATER, *(negate(type_test(o.value, NAMES), o.negated) for o in given)]))


EXAMPLES = (
    Example(
        "-p ipv6-icmp -m icmp6 --icmpv6-type 128",
        all_of([NOT_LATER, Values(Field.ICMP_TYPE, ((128, 128),))]),
        family=Family.IPV6,
    ),
    Example(
        "-p icmpv6 ! --icmpv6-type packet-too-big",
        all_of([NOT_LATER, Not(Values(Field.ICMP_TYPE, ((2, 2),)))]),
        family=Family.IPV6,
    ),
    Example(
        "-p ipv6-icmp -m icmp6 --icmpv6-type packet-too-bigg",
        refused='unknown ICMP type "packet-too-bigg"',
        family=Family.IPV6,
    ),
    Example("-p icmpv6 --icmpv6-type 128", refused='unknown option "--icmpv6-type"', family=Family.IPV4),
)

EXTENSION = MatchExtension(
    "icmp6",
    OPTIONS,
    read,
    EXAMPLES,
    aliases=("icmpv6", "ipv6-icmp"),
    family=Family.IPV6,
    protocols=(ICMPV6,),
)
