"""REJECT: the packet is gone and its sender told (iptables-extensions(8), REJECT)."""

from ruleaudit.matches.extension import Context, Options, OptionSpec
from ruleaudit.model.fields import TCP, Family
from ruleaudit.model.ruleset import Reject
from ruleaudit.syntax.refusal import Refused, did_you_mean
from ruleaudit.targets.extension import Action, Example, TargetExtension

OPTIONS = (OptionSpec("--reject-with"),)

#: names and aliases, in the order in which iptables completes shortened names
IPV4_KINDS = {
    "icmp-net-unreachable": "net-unreach",
    "icmp-host-unreachable": "host-unreach",
    "icmp-proto-unreachable": "proto-unreach",
    "icmp-port-unreachable": "port-unreach",
    "icmp-net-prohibited": "net-prohib",
    "icmp-host-prohibited": "host-prohib",
    "tcp-reset": "tcp-rst",
    "icmp-admin-prohibited": "admin-prohib",
}
IPV6_KINDS = {
    "icmp6-no-route": "no-route",
    "icmp6-adm-prohibited": "adm-prohibited",
    "icmp6-addr-unreachable": "addr-unreach",
    "icmp6-port-unreachable": "port-unreach",
    "tcp-reset": "tcp-reset",
    "icmp6-policy-fail": "policy-fail",
    "icmp6-reject-route": "reject-route",
}


def read(given: Options, context: Context) -> Action:
    """The kind in its long spelling; port unreachable unless said otherwise."""
    kinds = IPV4_KINDS if context.family is Family.IPV4 else IPV6_KINDS
    if not given:
        return Action(Reject("icmp-port-unreachable" if context.family is Family.IPV4 else "icmp6-port-unreachable"))
    word = given[0].value
    kind = next(
        (k for k, alias in kinds.items() if word and (k.startswith(word.lower()) or alias.startswith(word.lower()))),
        None,
    )
    if kind is None:
        raise Refused(f'unknown reject type "{word}"', word, did_you_mean(word, [*kinds, *kinds.values()]))
    if kind == "tcp-reset" and context.protocol != TCP:
        raise Refused("--reject-with tcp-reset needs -p tcp", word)
    return Action(Reject(kind))


EXAMPLES = (
    Example("-j REJECT", Action(Reject("icmp-port-unreachable"))),
    Example("-j REJECT", Action(Reject("icmp6-port-unreachable")), family=Family.IPV6),
    Example("-j REJECT --reject-with admin-prohib", Action(Reject("icmp-admin-prohibited"))),
    Example("-p tcp -j REJECT --reject-with tcp-reset", Action(Reject("tcp-reset"))),
    Example("-p udp -j REJECT --reject-with tcp-reset", refused="needs -p tcp"),
    Example("-j REJECT --reject-with icmp-port-unreachble", refused='unknown reject type "icmp-port-unreachble"'),
    Example("-j REJECT", refused="only in table filter", table="mangle"),
)

EXTENSION = TargetExtension(
    "REJECT", OPTIONS, read, EXAMPLES, tables=("filter",), chains=("INPUT", "FORWARD", "OUTPUT")
)
