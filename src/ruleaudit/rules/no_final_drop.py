"""A chain that lets services in by their ports, and everything else too.

What it finds
    A base chain of input, or of forward where packets are forwarded, whose policy is ACCEPT and whose rules accept
    connections from anybody by their ports, while no rule refuses what is left: the accepts change nothing.

Why
    Whoever wrote "accept 22, accept 443" meant to close the rest. The file loads, the services work, and every other
    port of the host is open, the database's included.

Example
    :INPUT ACCEPT [0:0]
    -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    -A INPUT -p tcp -m multiport --dports 22,443 -j ACCEPT

Instead
    :INPUT DROP [0:0]

    or a rule at the end: -A INPUT -j DROP; in nft: policy drop;

Fix safety
    Not automatic: it closes what is open. See first that what the host needs is accepted (its own traffic on lo, ICMP,
    established packets), and load it with a way back.
    Left alone are chains that refuse TCP ports (lists of what is closed), accepts for single interfaces or networks,
    which programs add for themselves, and chains where another rule or table refuses what these rules accept.

References
    iptables(8), -P; nft(8), CHAINS
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from operator import itemgetter

from ruleaudit.analysis.connection import KINDS, Kind
from ruleaudit.analysis.differing import class_words
from ruleaudit.analysis.row import union
from ruleaudit.analysis.space import ANY_OTHER, Frame
from ruleaudit.analysis.tracking import called_from_outside
from ruleaudit.analysis.verdicts import ACCEPT
from ruleaudit.analysis.walk import chains_from
from ruleaudit.analysis.witness import follow, sample
from ruleaudit.diagnostics import Finding, Fix, FixClass, Label, Severity, Witness
from ruleaudit.model.fields import TCP, Field, State
from ruleaudit.model.lines import lines
from ruleaudit.model.ruleset import Accept, Chain, Drop, Queue, Reject, Rule, Unknown
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.rules.services import HOOKS, Services, filtering, has_accepts, opening

CODE = "RA315"
NAME = "no-final-drop"
SEVERITY = Severity.WARNING
SINCE = "0.1"

EXAMPLES = (
    Example(
        "the policy was forgotten",
        """*filter
«:INPUT ACCEPT [0:0]»
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m multiport --dports 22,443 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "nft accepts where nothing is said",
        """table inet filter {
	chain «input» {
		type filter hook input priority filter;
		ct state established,related accept
		ct state invalid drop
		tcp dport { 22, 443 } accept
	}
}
""",
    ),
    Example(
        "a router",
        """*filter
:INPUT ACCEPT [0:0]
«:FORWARD ACCEPT [0:0]»
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -p tcp -m multiport --dports 80,443 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "one of two tables accepts by ports, the other for one network",
        """table inet web {
	chain «input» {
		type filter hook input priority filter; policy accept;
		tcp dport { 80, 443 } accept
	}
}
table inet guests {
	chain input {
		type filter hook input priority filter + 10; policy accept;
		iifname "virbr0" udp dport 53 accept
	}
}
""",
    ),
    Example(
        "a drop at the end, in a chain of its own",
        """*filter
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:rest - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -j rest
-A rest -p tcp -j REJECT --reject-with tcp-reset
-A rest -j DROP
COMMIT
""",
    ),
    Example(
        "new connections are refused",
        """table inet filter {
	chain input {
		type filter hook input priority filter; policy accept;
		tcp dport 22 accept
		ct state new drop
	}
}
""",
    ),
    Example(
        "another table refuses the rest",
        """table inet filter {
	chain input {
		type filter hook input priority filter; policy accept;
		tcp dport 22 counter accept
	}
}
table inet strict {
	chain input {
		type filter hook input priority filter + 10; policy drop;
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
		tcp dport 22 accept
	}
}
""",
    ),
    Example(
        "a list of ports that are closed, and an accept among them",
        """table ip filter {
	chain input {
		type filter hook input priority filter; policy accept;
		tcp dport 3306 drop
		tcp dport 80 accept
		tcp dport 5432 drop
	}
}
""",
    ),
    Example(
        "a list of ports that are closed, one of them not to everybody",
        """*filter
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 3306 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 3306 -j DROP
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 1:1023 -j DROP
COMMIT
""",
    ),
    Example(
        "what virtual machines may ask, added by the program that runs them",
        """*filter
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i virbr0 -p udp -m udp --dport 53 -j ACCEPT
-A INPUT -i virbr0 -p tcp -m tcp --dport 53 -j ACCEPT
COMMIT
""",
    ),
)

#: nearly every port
_MOST_PORTS = 60000


def check(audit: Audit) -> Iterator[Finding]:
    """Each base chain that accepts what its rules accept, and the rest."""
    if audit.ruleset.partial or any(f.severity is Severity.ERROR for f in audit.read):
        return
    for kind in (KINDS[0], KINDS[2]):
        if not has_accepts(audit.ruleset, HOOKS[kind.name]):
            continue
        open_hook = _OpenHook(audit, kind)
        for chain in audit.ruleset.base_chains(HOOKS[kind.name]):
            if not chain.nat and isinstance(chain.policy, Accept):
                yield from _open(open_hook, chain)


class _OpenHook:
    """What its chains have in common; computed when a chain asks for it."""

    def __init__(self, audit: Audit, kind: Kind) -> None:
        self.audit, self.kind = audit, kind
        self.services = Services(audit.whole, kind)

    @cached_property
    def rests(self) -> dict[Chain, PacketSet]:
        """What each chain accepts by its policy."""
        out: dict[Chain, PacketSet] = {}
        opening = self.services.roles.opening
        for chain, packets in opening.walk.decided.by(Chain, opening.accepted):
            out[chain] = out.get(chain, self.audit.space.none) | packets
        return out

    @cached_property
    def _accepted(self) -> dict[tuple[str, str], list[tuple[int, Rule, PacketSet]]]:
        """The rules that accept openings by (table, chain), each with its place among all of them."""
        out: dict[tuple[str, str], list[tuple[int, Rule, PacketSet]]] = {}
        for place, (rule, openings) in enumerate(self.services.accepted()):
            out.setdefault((rule.table, rule.chain), []).append((place, rule, openings))
        return out

    def accepted(self, chains: Iterable[tuple[str, str]]) -> list[tuple[Rule, PacketSet]]:
        """The rules of some chains that accept openings, and which."""
        some = [one for chain in chains for one in self._accepted.get(chain, ())]
        return [(rule, openings) for _, rule, openings in sorted(some, key=itemgetter(0))]

    @cached_property
    def refusals(self) -> PacketSet:
        """The openings that some chain would refuse if they came to it."""
        return _refusals(self.audit, self.kind)

    @cached_property
    def closes_tcp(self) -> bool:
        """They are a list of what is closed: some TCP openings are refused from anywhere."""
        tcp = self.audit.space.is_(Field.PROTOCOL, TCP)
        return _from_anywhere(self.audit, self.services.roles.opening.packets & self.refusals & tcp)


def _open(hook: _OpenHook, chain: Chain) -> Iterator[Finding]:
    audit, kind, services = hook.audit, hook.kind, hook.services
    space = audit.space
    rest = hook.rests.get(chain, space.none)
    if is_empty(rest):
        return
    own = (name for name in chains_from(audit.ruleset, (chain,)) if not called_from_outside(name[1]))
    to_anybody = ((rule, o) for rule, o in hook.accepted(own) if services.by_port(o) and _from_anywhere(audit, o))
    first = next(to_anybody, None)
    if first is None or hook.closes_tcp or not _is_most(audit, rest):
        return
    accepts = [first, *to_anybody]
    if any(not is_empty(openings & hook.refusals) for _, openings in accepts):
        return
    span = places.policy(chain, audit.source)
    if span is not None:
        yield from _finding(audit, kind, chain, accepts, rest)


def _is_most(audit: Audit, rest: PacketSet) -> bool:
    """Nearly every TCP port is among the packets that the policy lets in from an interface that no rule names."""
    tcp = rest & audit.space.is_(Field.PROTOCOL, TCP) & audit.space.interface(Field.IIF, ANY_OTHER)
    return sum(high - low + 1 for low, high in audit.space.taken(tcp, Field.DPORT)) > _MOST_PORTS


def _from_anywhere(audit: Audit, openings: PacketSet) -> bool:
    """The openings come from more than half of all addresses, by whatever interface."""
    space = audit.space
    found = openings & space.interface(Field.IIF, ANY_OTHER)
    sources = space.taken(found, Field.SADDR)
    return sum(high - low + 1 for low, high in sources) * 2 > 1 << space.family.address_bits


def _refusals(audit: Audit, kind: Kind) -> PacketSet:
    """The openings that some chain of the hook would refuse if they came to it."""
    hook, space = HOOKS[kind.name], audit.space
    if any(isinstance(c.policy, Drop) for c in audit.ruleset.base_chains(hook)):
        return space.all
    chains = filtering(audit.ruleset, hook)
    refusing = (
        rule
        for rule in audit.ruleset.rules()
        if (rule.table, rule.chain) in chains and isinstance(rule.verdict, Drop | Reject | Queue | Unknown)
    )
    return union([opening(audit.whole, rule) for rule in refusing], space.none)


def _finding(
    audit: Audit, kind: Kind, chain: Chain, accepts: list[tuple[Rule, PacketSet]], rest: PacketSet
) -> Iterator[Finding]:
    space, pair = audit.space, audit.whole
    frame, path = Frame("opening"), kind.there
    named = space.none
    for _, openings in accepts:
        named = named | openings
    chosen = sample(space, rest & space.is_(Field.PROTOCOL, TCP), path, frame, State.NEW if pair.old.active else None)
    if follow(pair, pair.old, chosen, State.NEW).verdict != ACCEPT:
        return
    span = places.policy(chain, audit.source)
    assert span is not None
    first = accepts[0][0]
    words = class_words(space, named, path, frame)
    who = "goes through" if kind.name == "forward" else "comes in"
    cure = (
        "policy drop, or a drop as the last rule"
        if audit.ruleset.is_nft
        else f":{chain.name} DROP, or a rule at the end: -A {chain.name} -j DROP"
    )
    yield Finding(
        CODE,
        NAME,
        SEVERITY,
        f"{chain.name} accepts {words} by {lines(r for r, _ in accepts)}, and by its policy what no rule names",
        span,
        f"everything else {who} too",
        (Label(places.target(first, audit.source), "changes nothing"),),
        (("help", cure),),
        Witness(chosen.text, f"accepted by the policy of {chain.name}"),
        Fix(FixClass.MANUAL, cure),
    )
