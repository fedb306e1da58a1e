"""What a list of all sockets that listen on this host says: which ports nobody answers on, and who holds his port."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_network

from ruleaudit.model.fields import CLIENT_PORTS, Family
from ruleaudit.model.lines import in_words
from ruleaudit.model.service import Service
from ruleaudit.results.suggestion import Checked, Flow, Suggestion
from ruleaudit.rewrite.flows import Candidate, Interval, port_texts, without

IDLE = "the rules let it in, and nothing listens there"
_KEY = "listener-holds-port"


def naming(listeners: Sequence[Service]) -> tuple[Service, ...]:
    """The sockets that name a service: a UDP socket on a port of the clients' may be one that asked somebody."""
    low, high = CLIENT_PORTS
    return tuple(s for s in listeners if s.protocol == "tcp" or not all(low <= a and b <= high for a, b in s.ports))


def apart(flow: Candidate, listeners: Sequence[Service] | None, families: Collection[Family]) -> tuple[Candidate, ...]:
    """A flow to this host as two: on the ports where somebody listens, and on the others; as it is where nobody knows
    who listens. A list without any socket of a protocol was asked for the other one alone (`ss -lnt`).
    """
    mine = [s for s in listeners or () if s.protocol == flow.protocol]
    if flow.kind.name != "in" or not mine:
        return (flow,)
    heard = [port for s in mine if _answers(s, families) for port in s.ports]
    # a range may be one service that listens where it is asked to: of passive FTP, of media
    idle = tuple(port for port in flow.ports if not any(low <= port[1] and port[0] <= high for low, high in heard))
    parts = (flow.without(idle), replace(flow.only(*idle), reason=flow.reason or IDLE) if idle else flow.only())
    return tuple(part for part in parts if part.ports)


def held(suggestion: Suggestion, listeners: Sequence[Service], families: Collection[Family]) -> Checked | None:
    """Whether the services that a rewrite frees hold their ports; None: nothing is assumed of that.

    The kernel gives nobody a port that somebody has bound at an address of his; who names the port himself may bind it
    at another address.
    """
    if not any(key == _KEY for key, _ in suggestion.assumptions):
        return None
    flows = [flow for flow in suggestion.flows if flow.direction == "in"]
    unlisted = {flow.protocol for flow in flows} - {s.protocol for s in listeners}
    missing, partly = [], []
    for flow in (flow for flow in flows if flow.protocol not in unlisted):
        mine = [s for s in listeners if s.protocol == flow.protocol and _answers(s, families)]
        heard = [port for s in mine for port in s.ports]
        lost = without(_intervals(flow.ports), heard)
        missing += [f"{flow.protocol}/{text}" for text in port_texts(lost)]
        partly += [s for s in mine if _meets(s, flow) and not _covers(s, flow, mine, families)]
    if missing:
        options = ",".join(word.partition("/")[2] for word in missing)
        nobody = f"nothing listens on {in_words(missing)}: another program may connect out from there"
        return Checked(_KEY, False, f"{nobody} (--except {options})")
    if partly:
        where = in_words([f"{s.protocol}/{port_texts(s.ports)[0]} ({s.origin})" for s in partly])
        return Checked(_KEY, None, f"held at some addresses only: {where}")
    if unlisted:
        return Checked(_KEY, None, f"the list holds no socket of {in_words(sorted(unlisted))}")
    if any(flow.direction != "in" for flow in suggestion.flows):
        return Checked(_KEY, None, "the list is of this host, and not of the servers that it or its clients connect to")
    names = in_words([f"{flow.protocol}/{','.join(flow.ports)}" for flow in flows])
    return Checked(_KEY, True, f"a socket holds each port of {names}")


def _covers(service: Service, flow: Flow, all_of_them: Sequence[Service], families: Collection[Family]) -> bool:
    """All sockets on its ports together hold them at every address at which the flow is served."""
    for port in service.ports:
        same = [s for s in all_of_them if not s.interface and any(a <= port[0] and port[1] <= b for a, b in s.ports)]
        if any(not s.addresses for s in same):
            continue
        networks = [n for s in same for n in s.addresses]
        asked = [ip_network(text) for text in flow.at] or [
            ip_network("0.0.0.0/0" if family is Family.IPV4 else "::/0") for family in families
        ]
        for want in asked:
            if not any(
                n.version == want.version and n.prefixlen <= want.prefixlen and n.overlaps(want) for n in networks
            ):
                return False
    return True


def _meets(service: Service, flow: Flow) -> bool:
    return any(a <= d and c <= b for a, b in _intervals(flow.ports) for c, d in service.ports)


def _answers(service: Service, families: Collection[Family]) -> bool:
    versions = {4 if family is Family.IPV4 else 6 for family in families}
    return not service.addresses or any(network.version in versions for network in service.addresses)


def _intervals(texts: Sequence[str]) -> Iterator[Interval]:
    for text in texts:
        low, _, high = text.partition("-")
        yield int(low), int(high or low)
