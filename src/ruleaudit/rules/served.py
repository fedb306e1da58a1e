"""Which untracked connections somebody wants to work, as far as a ruleset shows it."""

from ruleaudit.analysis.decisions import Decider
from ruleaudit.analysis.pair import Seen
from ruleaudit.analysis.space import Space
from ruleaudit.analysis.stretch import Block
from ruleaudit.analysis.verdicts import ACCEPT, Verdict
from ruleaudit.analysis.walk import Walk
from ruleaudit.model.condition import Condition, Not, Scope, States, merged, tests
from ruleaudit.model.fields import Field, State
from ruleaudit.model.ruleset import Chain, Rule
from ruleaudit.packets.diagram import PacketSet, is_empty

_ALL_PORTS = 1 << 16

#: UDP services that only receive, whose answers go to the service's port too, or leave by other means than a socket of
#: that port: TFTP, DHCP, NetBIOS datagrams, SNMP traps, PTP, syslog, RIP, DHCPv6, heartbeat, SSDP, NetFlow and IPFIX,
#: BFD, VXLAN, GENEVE, mDNS, LLMNR, corosync, sFlow, statsd, collectd, GELF
UNANSWERED = merged(
    (
        *((port, port) for port in (69, 138, 162, 514, 646, 694, 1900, 1985, 2055, 3222, 4739, 4784, 4789, 5353, 5355)),
        *((port, port) for port in (6081, 6343, 8125, 8472, 9995, 9996, 12201, 25826)),
        *((67, 68), (319, 320), (520, 521), (546, 547), (3784, 3785), (5404, 5412)),
    )
)


#: from where TCP clients take their ports (Linux; others keep to its upper half)
CLIENT_PORTS = (32768, 65535)


def names_the_serving_side(space: Space, found: PacketSet) -> bool:
    """The connections are told apart by the port of the side that serves, or by no port at all.

    Nobody opens connections from a service's own port: `--dport 53` in PREROUTING is about DNS on this host, and about
    no answer to a query that this host sends from port 53.
    """
    serving, asking = (
        sum(high - low + 1 for low, high in space.taken(found, port)) for port in (Field.DPORT, Field.SPORT)
    )
    return serving < asking or serving == asking == _ALL_PORTS


def by_asking_port(space: Space, tagged: PacketSet) -> PacketSet:
    """The untracked connections that are so because of the port of the side that asks, whichever port serves."""
    asking, serving = (space.diagrams.cube(space.bits[port]) for port in (Field.SPORT, Field.DPORT))
    return tagged.forall(serving) & ~tagged.forall(asking)


def deciding(space: Space, walk: Walk, by: Rule | Block | Chain, found: PacketSet) -> Rule | Chain:
    """The rule or policy that decides about a packet of a set; in a block of refusals the first that matches one."""
    if not isinstance(by, Block):
        return by
    view = walk.view()
    for rule in by.rules:
        if not is_empty(found & space.condition(rule.condition, walk.frame, view)):
            return rule
    return by.rules[-1]


def unmarked(space: Space, packets: PacketSet) -> PacketSet:
    """The packets that carry no mark when they enter, as packets from the wire do."""
    return packets & space.is_(Field.MARK, 0)


def refused_since(space: Space, role: str, openings: PacketSet, tracked: Seen, seen: Seen) -> PacketSet:
    """Packets of connections with these openings that are accepted where they are tracked, and refused since they are
    not.

    Whatever their entry would say, and whatever is on lists that change: a blocklist refuses the tracked ones, too.
    connlimit and `ct count` count no open connection that is untracked, and so are not what refuses it.
    """
    working = space.connection_part(openings, keep_interfaces=role == "later")
    lost = working & tracked.accepted & unmarked(space, seen.untracked) & ~seen.accepted
    if is_empty(lost):
        return lost
    unknown = space.unknown_tests.items()
    lists = [n for n, t in unknown if t.scope is Scope.MEMORY and t.name.startswith("set ")]
    entries = [n for n, t in unknown if t.scope is Scope.ENTRY]
    lost = lost & ~seen.accepted.exists(space.diagrams.cube(lists)) & ~refused_on_purpose(seen)
    within = space.all
    for number, test in reversed(unknown):
        if test.name.startswith("connlimit ") or "ct count" in test.name:
            within = ~space.diagrams.bit(number) & within
    lost = (lost & within).forall(space.diagrams.cube(entries))
    if is_empty(lost):
        return lost
    # where all is well from the ports that clients use, the others are refused on purpose
    others = ~space.values(Field.SPORT, (CLIENT_PORTS,))
    lost = lost & ~(seen.accepted | others).forall(space.diagrams.cube(space.bits[Field.SPORT]))
    return lost if is_empty(lost) else lost & ~by_asking_port(space, space.connection_part(seen.untracked))


def refused_on_purpose(seen: Seen) -> PacketSet:
    """Packets that are refused by a rule which names UNTRACKED."""
    out = seen.walk.none
    for _, _, packets in seen.walk.decided.about(None, _refuses_untracked):
        out = out | packets
    return out


def _refuses_untracked(by: Decider, verdict: Verdict) -> bool:
    return verdict != ACCEPT and isinstance(by, Rule) and any(_names_untracked(m.condition) for m in by.matches)


def _names_untracked(condition: Condition) -> bool:
    if isinstance(condition, Not):
        return False
    return any(isinstance(t, States) and State.UNTRACKED in t.states for t in tests(condition))
