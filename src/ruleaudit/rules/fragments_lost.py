"""A UDP service whose large datagrams lose all but their first fragment, because nothing is tracked.

What it finds
    A ruleset in which nothing needs conntrack, and which lets UDP in by port and refuses the rest: later fragments have
    no ports, so that the refusal takes them. Datagrams through this host, and over IPv6 also those to it. Services
    whose datagrams always fit (DNS queries, DHCP, NTP, mDNS) are left out, and so is TCP, which finds its path MTU.

Why
    Conntrack puts fragments together before any rule sees them. Where no rule needs it (`notrack` does not) nobody
    does: IPv4 does so by itself before INPUT, but not for what is forwarded, and IPv6 not before the rules of input.
    VPN handshakes, RADIUS with certificates, SIP, NFS and large DNS answers then fail, small packets work.

Example
    table ip6 filter { chain input { type filter hook input priority 0; policy drop; udp dport 1812 accept } }

Instead
    exthdr frag exists accept      before the rules that ask for ports; in iptables -f, in ip6tables
    -m ipv6header --soft --header frag

Fix safety
    Not automatic: the accept lets later fragments of everything in. They reach nobody unless the first one does.

References
    RFC 6946; nft(8), EXTENSION HEADER EXPRESSIONS; iptables(8), --fragment
"""

from collections.abc import Iterator

from ruleaudit.analysis.compare import ASSUMPTIONS
from ruleaudit.analysis.differing import class_words
from ruleaudit.analysis.space import Frame, Space
from ruleaudit.analysis.verdicts import ACCEPT
from ruleaudit.analysis.walk import Walk, is_tracking
from ruleaudit.analysis.witness import follow, sample
from ruleaudit.diagnostics import Finding, Label, Severity, Witness
from ruleaudit.model.condition import Values, tests
from ruleaudit.model.fields import ICMPV6, UDP, Family, Field, Fragment, State
from ruleaudit.model.ruleset import Chain, Rule
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.rules.served import deciding, unmarked
from ruleaudit.source import Span

CODE = "RA212"
NAME = "fragments-lost"
SEVERITY = Severity.WARNING
SINCE = "0.1"

EXAMPLES = (
    Example(
        "RADIUS over IPv6, untracked; no rule needs conntrack",
        """table inet raw {
    chain prerouting {
        type filter hook prerouting priority raw;
        udp dport 1812 notrack
    }
    chain output {
        type filter hook output priority raw;
        udp sport 1812 notrack
    }
}
table inet filter {
    chain «input» {
        type filter hook input priority filter; policy drop;
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        udp dport 1812 accept
    }
}
""",
    ),
    Example(
        "a router without state: IPv4 too",
        """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
-A FORWARD -d 192.0.2.7 -p udp -m udp --dport 4500 -j ACCEPT
-A FORWARD -s 192.0.2.7 -p udp -m udp --sport 4500 -j ACCEPT
«-A FORWARD -j DROP»
COMMIT
""",
    ),
    Example(
        "large answers of DNS servers",
        """table ip6 filter {
    chain «input» {
        type filter hook input priority filter; policy drop;
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        udp sport 53 accept
    }
}
""",
    ),
    Example(
        "one rule that needs conntrack has the fragments put together",
        """table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        udp dport 1812 accept
    }
}
""",
    ),
    Example(
        "IPv4 to this host is put together before INPUT",
        """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
-A INPUT -p udp -m udp --dport 1812 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "fragments are let in",
        """table ip6 filter {
    chain input {
        type filter hook input priority filter; policy drop;
        exthdr frag exists accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        udp dport 1812 accept
    }
}
""",
    ),
    Example(
        "the questions of DNS, and the time",
        """table ip6 filter {
    chain input {
        type filter hook input priority filter; policy drop;
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        udp dport { 53, 123, 546, 5353 } accept
    }
}
""",
    ),
    Example(
        "without neighbour discovery there is no IPv6 that could be lost",
        """table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        udp dport 1812 accept
    }
}
""",
    ),
    Example(
        "TCP finds its path MTU",
        """table ip6 filter {
    chain input {
        type filter hook input priority filter; policy drop;
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, packet-too-big } accept
        tcp dport { 22, 443 } accept
    }
}
""",
    ),
)

#: what goes to these ports fits into a packet: DNS queries, DHCP, NTP, NetBIOS names, DHCPv6, SSDP, mDNS, LLMNR
_SMALL = tuple((port, port) for port in (53, 67, 68, 123, 137, 546, 547, 1900, 5353, 5355))
#: and so are the answers from these
_SMALL_ANSWERS = tuple(pair for pair in _SMALL if pair != (53, 53))

_PORTS = (Field.SPORT, Field.DPORT)


def check(audit: Audit) -> Iterator[Finding]:
    """Each rule or policy that refuses the later fragments of datagrams which it lets in whole."""
    if audit.ruleset.partial or is_tracking(audit.ruleset):
        return
    told: set[Span] = set()
    v6 = audit.ruleset.family is Family.IPV6
    if v6 and not _has_neighbours(audit):
        return
    for path in ("in", "forward") if v6 else ("forward",):
        yield from _later(audit, path, told)


def _has_neighbours(audit: Audit) -> bool:
    """Neighbour solicitations get in: without them nobody sends IPv6 to this host, whole or in fragments."""
    pair, space = audit.whole, audit.space
    asked = pair.domain("in", False) & space.is_(Field.PROTOCOL, ICMPV6) & space.is_(Field.ICMP_TYPE, 135)
    walk = pair.send(pair.old, "in", unmarked(space, asked), State.NEW, role="any")
    return not is_empty(walk.outcomes.get(ACCEPT, space.none))


def _later(audit: Audit, path: str, told: set[Span]) -> Iterator[Finding]:
    pair, space, frame = audit.whole, audit.space, Frame("any")
    large = unmarked(space, pair.domain(path, False)) & space.is_(Field.PROTOCOL, UDP)
    large = large & ~space.values(Field.DPORT, _SMALL) & ~space.values(Field.SPORT, _SMALL_ANSWERS)
    large = large.exists(space.diagrams.cube(space.bits[Field.FRAGMENT]))
    later, whole = (space.is_(Field.FRAGMENT, part) for part in (Fragment.LATER, Fragment.WHOLE))
    walk = pair.send(pair.old, path, large & (later | whole), State.NEW, role="any")
    passing = space.whatever_is_unknown(walk.outcomes.get(ACCEPT, space.none) & later)
    refused = list(walk.decided.refusals(later & ~passing))
    for accepting, served in _by_port(space, walk):
        pieces = served.exists(space.diagrams.cube(space.bits[Field.FRAGMENT]))
        for by, packets in refused:
            found = packets & pieces
            who = None if is_empty(found) else deciding(space, walk, by, found)
            span = who.span if isinstance(who, Rule) else places.policy(who, audit.source) if who else None
            if who is None or span is None or span in told:
                continue
            chosen = sample(space, found, path, frame)
            fates = [follow(pair, pair.old, packet, State.NEW).verdict for packet in (chosen.whole(), chosen)]
            if fates[0] == ACCEPT != fates[1]:
                told.add(span)
                yield _finding(audit, class_words(space, found, path, frame), accepting, who, span, chosen.text)


def _by_port(space: Space, walk: Walk) -> Iterator[tuple[Rule, PacketSet]]:
    """The rules that let datagrams in by port, and those that they let in whole."""
    whole = walk.outcomes.get(ACCEPT, space.none) & space.is_(Field.FRAGMENT, Fragment.WHOLE)
    return walk.decided.accepts(
        whole, lambda by: any(t.field in _PORTS for t in tests(by.condition) if isinstance(t, Values))
    )


def _finding(audit: Audit, words: str, accepting: Rule, by: Rule | Chain, span: Span, packet: str) -> Finding:
    where = by.where if isinstance(by, Rule) else f"the policy of {by.name}"
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        f"large datagrams are lost: later fragments of {words} have no port, and are refused here",
        span,
        "takes later fragments",
        (Label(accepting.span, "lets the first one in"),),
        (
            ("note", "no rule needs conntrack, so that nobody puts fragments together before the rules see them"),
            ("help", f"before the rules that ask for ports: {_accept(audit)}"),
        ),
        Witness(packet, f"refused by {where}; the whole datagram is accepted"),
        certainty=f"assuming: {ASSUMPTIONS['no-other-owner']}",
    )


def _accept(audit: Audit) -> str:
    v6 = audit.space.family is Family.IPV6
    if audit.ruleset.is_nft:
        return "exthdr frag exists accept" if v6 else "ip frag-off & 0x1fff != 0 accept"
    return "-m ipv6header --soft --header frag -j ACCEPT" if v6 else "-f -j ACCEPT"
