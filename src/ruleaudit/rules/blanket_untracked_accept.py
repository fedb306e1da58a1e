"""An accept of UNTRACKED that names no service, and lets in what nothing else does.

What it finds
    A rule that accepts whatever is UNTRACKED, whatever its port, and by which connections get in that no other rule
    accepts, were they tracked: those of a notrack rule of this file, or, over IPv6, router advertisements, which are
    UNTRACKED by nature. Where neighbour discovery hangs on the rule as well, router advertisements are left alone.

Why
    Such a rule opens what any notrack rule ever names, of whatever owner. A notrack rule for answers (`--sport 53`)
    then opens every port to whoever sends from port 53, and one for a port that only some sources may use opens it to
    all. Over IPv6 everybody on the link can set a default route with a router advertisement.

Example
    *raw     -A PREROUTING -p udp --sport 53 -j CT --notrack
    *filter  -A INPUT -m conntrack --ctstate UNTRACKED,RELATED,ESTABLISHED -j ACCEPT

Instead
    *filter  -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
             -A INPUT -s 192.0.2.53 -p udp --sport 53 -m conntrack --ctstate UNTRACKED -j ACCEPT

Fix safety
    Not automatic: what is to be let in has to be said.

References
    iptables-extensions(8), conntrack; RFC 6104 (rogue router advertisements)
"""

from collections.abc import Iterator
from dataclasses import replace

from ruleaudit.analysis.alignment import Alignment
from ruleaudit.analysis.connection import KINDS, Kind
from ruleaudit.analysis.differing import class_words
from ruleaudit.analysis.pair import Pair
from ruleaudit.analysis.space import Frame
from ruleaudit.analysis.verdicts import ACCEPT
from ruleaudit.analysis.walk import PATHS
from ruleaudit.analysis.witness import follow, sample
from ruleaudit.diagnostics import Finding, Label, Severity, Witness
from ruleaudit.model.condition import And, Condition, Or, States
from ruleaudit.model.fields import ICMPV6, PORT_PROTOCOLS, Family, Field, Hook, State
from ruleaudit.model.ruleset import Accept, Rule
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit, without_notrack
from ruleaudit.rules.examples import Example
from ruleaudit.rules.served import unmarked

CODE = "RA209"
NAME = "blanket-untracked-accept"
SEVERITY = Severity.WARNING
SINCE = "0.1"

_ANSWERS = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p udp -m udp --sport 53 -j CT --notrack
-A OUTPUT ! -o lo -p udp -m udp --dport 53 -j CT --notrack
COMMIT
"""
_SSH = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m tcp --dport 22 -j CT --notrack
-A OUTPUT ! -o lo -p tcp -m tcp --sport 22 -j CT --notrack
COMMIT
"""
_ERRORS = "-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT\n"

EXAMPLES = (
    Example(
        "answers from port 53, to whatever port",
        f"""{_ANSWERS}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT «-m conntrack --ctstate RELATED,ESTABLISHED,UNTRACKED» -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "ssh is for one network, and untracked",
        f"""{_SSH}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
{_ERRORS}-A INPUT «-m state --state RELATED,ESTABLISHED,UNTRACKED» -j ACCEPT
-A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "the same, in a chain of its own",
        f"""{_SSH}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
:KNOWN - [0:0]
{_ERRORS}-A INPUT -j KNOWN
-A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 22 -j ACCEPT
-A KNOWN -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A KNOWN «-m conntrack --ctstate UNTRACKED» -j ACCEPT
COMMIT
""",
    ),
    Example(
        "router advertisements, from everybody on the link",
        """table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        «ct state established,related,untracked» accept
        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
        tcp dport 22 accept
    }
}
""",
    ),
    Example(
        "all of neighbour discovery comes in by the accept of UNTRACKED: it is meant",
        """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED,UNTRACKED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
""",
        "ip6tables-save",
    ),
    Example(
        "the accept names its service",
        f"""{_SSH}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
{_ERRORS}-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT
COMMIT
""",
    ),
    Example(
        "the jump to its chain names the service",
        f"""{_SSH}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
:SSH - [0:0]
{_ERRORS}-A INPUT -p tcp -m tcp --dport 22 -j SSH
-A SSH -m conntrack --ctstate NEW,ESTABLISHED,UNTRACKED -j ACCEPT
COMMIT
""",
    ),
    Example(
        "another rule accepts the same connections where they are tracked",
        f"""{_SSH}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
{_ERRORS}-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED,UNTRACKED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
COMMIT
""",
    ),
    Example(
        "nothing is untracked",
        """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED,UNTRACKED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "router advertisements are let in by name, too",
        """table inet filter {
    chain input {
        type filter hook input priority filter; policy drop;
        ct state established,related,untracked accept
        icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept
    }
}
""",
    ),
)

#: fe80::/10, where router advertisements come from; hosts ignore all others
_LINK_LOCAL = ((0xFE80 << 112, (0xFEC0 << 112) - 1),)
_EVERY_PORT = [(0, 65535)]


def check(audit: Audit) -> Iterator[Finding]:
    """Each accept of UNTRACKED for every port that opens something."""
    rules = [r for r in audit.ruleset.rules() if isinstance(r.verdict, Accept) and _accepts_untracked(r.condition)]
    if not rules or not audit.whole.old.active:
        return
    if not audit.notracks and audit.ruleset.family is Family.IPV4:
        return
    for rule in rules:
        kinds = [kind for kind in (KINDS[0], KINDS[2]) if _is_blanket(audit, rule, kind)]
        if kinds:
            yield from _opened(audit, rule, kinds)


def _accepts_untracked(condition: Condition) -> bool:
    """A test that asks for UNTRACKED by name, and not for NEW beside it: that one lets everything in on purpose."""
    match condition:
        case And(items) | Or(items):
            return any(_accepts_untracked(item) for item in items)
        case States(states):
            return State.UNTRACKED in states and State.NEW not in states
        case _:
            return False


def _is_blanket(audit: Audit, rule: Rule, kind: Kind) -> bool:
    """Were everything untracked, the rule would accept packets to every port, from every other host."""
    pair, space = audit.whole, audit.space
    chain = audit.ruleset.tables[rule.table].chains[rule.chain]
    if chain.hook in (Hook.OUTPUT, Hook.POSTROUTING):
        return False
    walk = pair.walk(pair.old, Frame("any"), {}, space.all)
    walk.skip_look_up()
    walk.tag = space.all
    walk.run(PATHS[kind.there][1:], pair.domain(kind.there, False))
    matched = walk.matched.get(rule, space.none)
    matched = matched & space.values(Field.PROTOCOL, tuple((p, p) for p in sorted(PORT_PROTOCOLS)))
    ports = (space.taken(matched, port) for port in (Field.SPORT, Field.DPORT))
    if any(taken != _EVERY_PORT for taken in ports):
        return False
    return space.number_taken(matched, Field.SADDR) > 1 << (space.family.address_bits - 1)


def _strict(audit: Audit, rule: Rule) -> Pair:
    """The ruleset beside one that leaves nothing untracked, and where the rule does not ask for UNTRACKED."""
    matches = tuple(m._replace(condition=_tracked_only(m.condition)) for m in rule.matches)
    heirs = {r: without_notrack(r) for r in audit.notracks}
    ruleset, numbers = audit.changed({**heirs, rule: replace(rule, matches=matches, text=f"{rule.text}\0tracked")})
    return Pair(audit.space, audit.ruleset, ruleset, Alignment(numbers, numbers, (), (), True))


def _tracked_only(condition: Condition) -> Condition:
    match condition:
        case And(items):
            return And(tuple(_tracked_only(item) for item in items))
        case Or(items):
            return Or(tuple(_tracked_only(item) for item in items))
        case States(states):
            return States(states - {State.UNTRACKED})
        case _:
            return condition


def _opened(audit: Audit, rule: Rule, kinds: list[Kind]) -> Iterator[Finding]:
    """What gets in by the rule alone: refused if it did not name UNTRACKED and nothing were left untracked."""
    pair, space = _strict(audit, rule), audit.space
    for kind in kinds:
        seen = audit.whole.roles(kind, audit.whole.old).opening
        found = unmarked(space, seen.accepted & seen.untracked) & seen.walk.matched.get(rule, space.none)
        if not is_empty(found):
            found = found & ~pair.roles(kind, pair.new).opening.accepted
            yield from _finding(audit, pair, rule, found, kind, Frame("opening"))
        if is_empty(found) and kind.name == "in" and space.family is Family.IPV6:
            yield from _finding(audit, pair, rule, _advertised(pair, rule), kind, Frame("any"))


def _advertised(pair: Pair, rule: Rule) -> PacketSet:
    """The router advertisements that get in by the rule alone; none where neighbour discovery does too, for which the
    rule was written then.
    """
    space = pair.space
    solicitations, advertisements = (_alone(pair, rule, icmp) for icmp in (135, 134))
    return advertisements if is_empty(solicitations) else space.none


def _alone(pair: Pair, rule: Rule, icmp: int) -> PacketSet:
    """The packets of an ICMPv6 type, from a link-local address, that get in by the rule alone."""
    space = pair.space
    packets = pair.domain("in", False) & space.is_(Field.PROTOCOL, ICMPV6) & space.is_(Field.ICMP_CODE, 0)
    packets = unmarked(space, packets & space.is_(Field.ICMP_TYPE, icmp) & space.values(Field.SADDR, _LINK_LOCAL))
    here, strict = (pair.send(side, "in", packets, State.NEW, role="any") for side in (pair.old, pair.new))
    found = here.outcomes.get(ACCEPT, space.none) & here.matched.get(rule, space.none)
    return found & ~strict.outcomes.get(ACCEPT, space.none)


def _finding(audit: Audit, pair: Pair, rule: Rule, found: PacketSet, kind: Kind, frame: Frame) -> Iterator[Finding]:
    if is_empty(found):
        return
    chosen = sample(audit.space, found, kind.there, frame, State.UNTRACKED)
    here, strict = (follow(pair, side, chosen, State.NEW).verdict for side in (pair.old, pair.new))
    if here != ACCEPT or strict == ACCEPT:
        return
    words = class_words(audit.space, found, kind.there, frame)
    opened = words if frame.role == "opening" else "router advertisements (ICMPv6 134)"
    seen = audit.whole.roles(kind, audit.whole.old).opening.walk.matched
    notrack = next((r for r in audit.notracks if not is_empty(found & seen.get(r, audit.space.none))), None)
    yield Finding(
        CODE,
        NAME,
        SEVERITY,
        f"this accept of everything UNTRACKED opens {opened}: nothing else lets that in",
        places.state_test(rule) or rule.span,
        "whatever is untracked gets in, to every port",
        (Label(places.target(notrack, audit.source), "left untracked here"),) if notrack else (),
        (("help", "take UNTRACKED out of this test, and accept what is wanted by its port or type"),),
        Witness(chosen.text, f"accepted by {rule.where}; refused without it"),
    )
