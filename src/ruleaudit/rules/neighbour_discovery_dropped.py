"""IPv6 is let in, and the neighbour discovery that it needs is refused.

What it finds
    A ruleset that accepts IPv6 connections from or to other hosts, and refuses every neighbour solicitation (ICMPv6
    type 135) or every neighbour advertisement (136) that arrives, or that this host sends.

Why
    Neighbour discovery is to IPv6 what ARP is to IPv4, and unlike ARP it meets the firewall: without it nobody on an
    ethernet finds this host's address, or this host theirs. It is no part of a connection, so that accepting
    established packets does not let it in. What works after such rules were loaded stops within minutes, as the
    neighbours are forgotten.

Example
    -P INPUT DROP
    -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT
    -A INPUT -p tcp -m tcp --dport 443 -j ACCEPT

Instead
    -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 135 -j ACCEPT
    -A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 136 -j ACCEPT

    In nft: icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept

Fix safety
    Not automatic: it lets in packets that are refused. They come from the same link only; the kernel takes none that a
    router has passed on (their hop limit is not 255).
    A warning only where the ruleset never speaks of IPv6: an inet table on a host that may have none.
    Left alone are rulesets that let no IPv6 in or out, or only by tunnels and dial-up lines, which need no neighbours.

References
    RFC 4861; RFC 4890, section 4.4.1
"""

import re
from collections.abc import Iterator

from ruleaudit.analysis.connection import KINDS
from ruleaudit.analysis.pair import Seen
from ruleaudit.analysis.space import Frame, Space
from ruleaudit.analysis.trace import Trace
from ruleaudit.analysis.verdicts import ACCEPT
from ruleaudit.analysis.witness import follow, sample
from ruleaudit.diagnostics import Finding, Fix, FixClass, Severity, Witness
from ruleaudit.model.fields import ICMPV6, TCP, UDP, AddressType, Family, Field, State
from ruleaudit.model.ruleset import Goto, Jump, Rule
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.rules.services import refused
from ruleaudit.source import Span

CODE = "RA311"
NAME = "neighbour-discovery-dropped"
SEVERITY = Severity.ERROR
SINCE = "0.1"

EXAMPLES = (
    Example(
        "only echo requests",
        """*filter
«:INPUT DROP [0:0]»
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 128 -j ACCEPT
-A INPUT -s 2001:db8::/32 -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "an inet table that lets IPv6 be pinged",
        """table inet filter {
	chain «input» {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		iif "lo" accept
		icmp type { echo-request, destination-unreachable } accept
		icmpv6 type echo-request accept
		tcp dport { 22, 443 } accept
	}
}
""",
    ),
    Example(
        "dropped by a rule, solicitations alone, on the way out",
        """table ip6 filter {
	chain input {
		type filter hook input priority filter; policy drop;
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
		tcp dport 443 accept
	}
	chain output {
		type filter hook output priority filter; policy accept;
		icmpv6 type nd-neighbor-solicit «drop»
	}
}
""",
    ),
    Example(
        "neighbours of the link, by their hop limit",
        """table ip6 filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept
		tcp dport 443 accept
	}
}
""",
    ),
    Example(
        "all of IPv6 is dropped on purpose",
        """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -i lo -j ACCEPT
-A OUTPUT -o lo -j ACCEPT
COMMIT
""",
    ),
    Example(
        "an inet table that is for IPv4",
        """table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		ip protocol icmp accept
		ip saddr 192.0.2.0/24 tcp dport 22 accept
	}
}
""",
    ),
    Example(
        "a tunnel has no neighbours",
        """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i wg0 -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "from link-local addresses, in a chain of its own",
        """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
:icmp - [0:0]
-A INPUT -p ipv6-icmp -j icmp
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A icmp -s fe80::/10 -j ACCEPT
-A icmp -p ipv6-icmp -m icmp6 --icmpv6-type 1 -j ACCEPT
COMMIT
""",
    ),
)

_MESSAGES = ((135, "solicitations"), (136, "advertisements"))
#: interfaces without link-layer addresses
_NO_NEIGHBOURS = ("lo", "tun", "wg", "ppp", "sit", "gre", "ip6tnl", "ip6gre", "ipsec", "xfrm", "vti", "wwan")
_IPV6 = re.compile(r"\b(?:ip6|ipv6|icmpv6|icmp6|nd)\b|\bipv6-icmp\b|\bnd-")
_PATHS = ((KINDS[0], "arrive"), (KINDS[1], "this host sends"))


def check(audit: Audit) -> Iterator[Finding]:
    """Each direction in which one of the two messages is refused, whoever sends it; one finding for each place."""
    space, ruleset = audit.space, audit.ruleset
    if space.family is not Family.IPV6 or ruleset.partial or any(f.severity is Severity.ERROR for f in audit.read):
        return
    if not _is_used(audit):
        return
    told: dict[Span, Finding] = {}
    for kind, words in _PATHS:
        for number, name in _MESSAGES:
            found = _refused(audit, kind.there, number, f"neighbour {name} that {words}")
            if found is not None:
                told.setdefault(found.span, found)
    yield from told.values()


def _is_used(audit: Audit) -> bool:
    """Connections with hosts of an ethernet are let in, or let out and answered."""
    space, pair = audit.space, audit.whole
    ways = tuple(n for n in space.alphabet if not n.startswith(_NO_NEIGHBOURS))
    ports = space.is_(Field.PROTOCOL, TCP) | space.is_(Field.PROTOCOL, UDP)
    roles = pair.roles(KINDS[0], pair.old)
    one_host = space.values(Field.DST_TYPE, ((int(AddressType.LOCAL), int(AddressType.LOCAL)),))
    near = space.none
    for name in ways:
        near = near | space.diagrams.equal(space.bits[Field.IIF], space.alphabet.index(name))
    return not is_empty(roles.opening.accepted & ~_for_sure(space, refused(roles.opening)) & ports & one_host & near)


def _speaks_of_ipv6(audit: Audit) -> bool:
    """The ruleset is for IPv6, or names it somewhere."""
    if not audit.ruleset.is_nft:
        return True
    rules = (r for r in audit.ruleset.rules() if not r.table.startswith("ip "))
    return any(r.table.startswith("ip6 ") or _IPV6.search(r.text) for r in rules)


def _for_sure(space: Space, packets: PacketSet) -> PacketSet:
    return packets.forall(space.diagrams.cube(space.unknown_tests)) if space.unknown_tests else packets


def _hangs_on_state(way: Trace, by: Rule) -> bool:
    """The rule that decides asks for the state, or a jump does that led the packet into its chain."""
    leading = (
        step.rule
        for step in way.steps
        if step.matched and step.rule.verdict in (Jump(by.chain), Goto(by.chain)) and step.rule.table == by.table
    )
    return any(places.state_test(rule) is not None for rule in (by, *leading))


def _refused(audit: Audit, path: str, number: int, words: str) -> Finding | None:
    """All messages of a type on a path are refused: by whom."""
    space, pair = audit.space, audit.whole
    messages = pair.domain(path, False) & space.is_(Field.PROTOCOL, ICMPV6) & space.is_(Field.ICMP_TYPE, number)
    messages = messages & space.is_(Field.ICMP_CODE, 0) & space.is_(Field.MARK, 0)
    frame = Frame("packet")
    walk = pair.send(pair.old, path, messages, State.INVALID, role="packet")
    lost = refused(Seen(messages, walk.outcomes.get(ACCEPT, space.none), walk.tag & messages, walk))
    if is_empty(lost) or not is_empty(messages & ~_for_sure(space, lost)):
        return None
    state = State.UNTRACKED if pair.old.active else None
    chosen = sample(space, lost, path, frame, state)
    way = follow(pair, pair.old, chosen, State.INVALID)
    by = way.decided_by
    if way.verdict[0] not in ("drop", "reject") or by is None:
        return None
    if isinstance(by, Rule) and _hangs_on_state(way, by):
        return None  # because they are untracked: RA210 tells of it
    span = places.target(by, audit.source) if isinstance(by, Rule) else places.policy(by, audit.source)
    if span is None:
        return None
    where = by.where if isinstance(by, Rule) else f"the policy of {by.name}"
    cure = f"-A {by.chain if isinstance(by, Rule) else by.name} -p ipv6-icmp -m icmp6 --icmpv6-type {number} -j ACCEPT"
    if audit.ruleset.is_nft:
        cure = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"
    return Finding(
        CODE,
        NAME,
        SEVERITY if _speaks_of_ipv6(audit) else Severity.WARNING,
        f"IPv6 is let in, and all {words} (ICMPv6 {number}) are refused: IPv6 stops working on an ethernet",
        span,
        "refuses neighbour discovery",
        notes=(("help", f"before it: {cure}"),),
        witness=Witness(chosen.text, f"refused by {where}"),
        fix=Fix(FixClass.MANUAL, f"accept neighbour discovery: {cure}"),
    )
