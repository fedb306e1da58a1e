"""A service that is untracked in one address family and tracked in the other.

What it finds
    With both files given (`check rules.v4 rules.v6`): a notrack rule for a service that the file of the other family
    accepts, too, and still has tracked, although it mentions conntrack at all.

Why
    Each family has rules of its own, and both fill the same table. Clients prefer IPv6 where they have it: the table
    is as full as before, with IPv6 entries.

Example
    rules.v4: -A PREROUTING ! -i lo -p tcp --dport 443 -j CT --notrack
    rules.v6: nothing of the kind

Instead
    The same pair of raw rules in both files: ruleaudit suggest rules.v4 rules.v6

Fix safety
    No automatic fix: ruleaudit suggest proves the change of the other file.

References
    netfilter-facts, section 14 (observed: IPv6 stays tracked); ip6tables(8)
"""

from collections.abc import Iterator

from ruleaudit.analysis.connection import KINDS, PROTOCOL_NAMES, Kind
from ruleaudit.analysis.differing import ports_text
from ruleaudit.analysis.pair import Pair, make_space
from ruleaudit.analysis.space import Frame
from ruleaudit.analysis.witness import sample
from ruleaudit.diagnostics import Finding, Severity, Witness
from ruleaudit.model.fields import PORT_PROTOCOLS, Family, Field
from ruleaudit.model.ruleset import Rule, Ruleset
from ruleaudit.packets.diagram import Interval, PacketSet, is_empty
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example

CODE = "RA207"
NAME = "v4-v6-mismatch"
SEVERITY = Severity.WARNING
SINCE = "0.1"

_FILTER = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT
COMMIT
"""
_STATELESS = """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT
COMMIT
"""
_SSH_ONLY = _FILTER.replace("-m multiport --dports 80,443", "-m tcp --dport 22")
_SERVED = _FILTER.replace("-A INPUT", "-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT\n-A INPUT", 1)
_RAW = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m multiport --dports 80,443 -j CT --notrack
-A OUTPUT ! -o lo -p tcp -m multiport --sports 80,443 -j CT --notrack
COMMIT
"""

EXAMPLES = (
    Example(
        "the web is untracked over IPv4 alone",
        _RAW.replace("-j CT --notrack", "«-j CT --notrack»", 1) + _SERVED,
        twin=_FILTER,
    ),
    Example("both families", _RAW + _SERVED, twin=_RAW + _FILTER),
    Example("the other family does not serve it", _RAW + _SERVED, twin=_SSH_ONLY),
    Example("the other family tracks nothing at all", _RAW + _SERVED, twin=_STATELESS),
    Example("the other file is not given", _RAW + _SERVED),
)


def check(audit: Audit) -> Iterator[Finding]:
    """Each notrack rule for connections that come in, with the ports that the twin has tracked."""
    twin = audit.twin
    if twin is None or not audit.notracks:
        return
    there = Pair.alone(make_space((twin,), audit.space.diagrams.room), twin)
    if not there.old.active:
        return
    told: set[Rule] = set()
    for kind in (k for k in KINDS if k.name in ("in", "forward")):
        tracked = there.roles(kind, there.old).opening
        tracked_services = dict(_services(there, tracked.accepted & ~tracked.untracked))
        opening = audit.untracking.roles(kind, audit.untracking.new).opening
        for rule in audit.notracks:
            tagged = opening.walk.matched.get(rule)
            if tagged is None or rule in told:
                continue
            for finding in _mismatches(audit, twin, kind, rule, tagged & opening.accepted, tracked_services):
                told.add(rule)
                yield finding


def _services(pair: Pair, openings: PacketSet) -> Iterator[tuple[int, list[Interval]]]:
    """The ports that openings go to, by protocol."""
    for protocol in PORT_PROTOCOLS:
        found = openings & pair.space.is_(Field.PROTOCOL, protocol)
        if not is_empty(found):
            yield protocol, pair.space.taken(found, Field.DPORT)


def _mismatches(
    audit: Audit, twin: Ruleset, kind: Kind, rule: Rule, untracked: PacketSet, tracked: dict[int, list[Interval]]
) -> Iterator[Finding]:
    space = audit.space
    for protocol, ports in _services(audit.untracking, untracked):
        if sum(high - low + 1 for low, high in ports) > 1 << 15:
            continue  # it names no service: the answers to what this host starts
        both = [
            (max(low, other_low), min(high, other_high))
            for low, high in ports
            for other_low, other_high in tracked.get(protocol, [])
            if max(low, other_low) <= min(high, other_high)
        ]
        if not both:
            continue
        name = f"{PROTOCOL_NAMES[protocol]}/{ports_text(both)}"
        here, other = ("IPv4", "IPv6") if audit.ruleset.family is Family.IPV4 else ("IPv6", "IPv4")
        found = untracked & space.is_(Field.PROTOCOL, protocol) & space.values(Field.DPORT, tuple(both))
        packet = sample(space, found, kind.there, Frame("opening")).text
        yield Finding(
            CODE,
            NAME,
            SEVERITY,
            f"{name} is untracked over {here}, but tracked over {other}: {twin.source.path} has no such rule",
            places.target(rule, audit.source),
            f"in {here} alone",
            notes=(("help", f"ruleaudit suggest {twin.source.path}"),),
            witness=Witness(packet, f"untracked here, tracked over {other}"),
        )
