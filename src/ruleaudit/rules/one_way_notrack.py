"""NOTRACK for one direction of a connection only.

What it finds
    A notrack rule whose connections get their packets of the other direction tracked: raw PREROUTING leaves
    untracked what raw OUTPUT (for forwarded traffic: raw PREROUTING again) does not, mirrored, or the reverse.

Why
    The direction that is left alone still creates entries, so nothing is saved. Measured: 1,000 requests, 1,999
    entries. Its packets are no longer ESTABLISHED either: a SYN-ACK whose SYN was untracked is INVALID, and a
    filtered OUTPUT or an INVALID drop refuses it.

Example
    -A PREROUTING ! -i lo -p tcp -m tcp --dport 443 -j CT --notrack

Instead
    -A PREROUTING ! -i lo -p tcp -m tcp --dport 443 -j CT --notrack
    -A OUTPUT ! -o lo -p tcp -m tcp --sport 443 -j CT --notrack

Fix safety
    Not automatic: the second rule changes what state tests in OUTPUT see. `ruleaudit suggest` proves a whole
    change. SYNPROXY's own rule (`--syn` alone, with a SYNPROXY behind it) is right as it is, and so are datagrams
    that nobody answers (syslog, NetFlow, VXLAN) and NOTRACK on lo. So is NOTRACK for echo requests alone: an echo
    reply makes no entry, and is left alone where nothing refuses it as INVALID.

References
    iptables-extensions(8), CT, SYNPROXY
"""

from collections.abc import Iterator

from ruleaudit.analysis.connection import KINDS, Kind
from ruleaudit.analysis.consumers import consumed
from ruleaudit.analysis.decisions import Decider
from ruleaudit.analysis.differing import class_words
from ruleaudit.analysis.pair import Pair, Roles
from ruleaudit.analysis.space import Frame, Space
from ruleaudit.analysis.verdicts import Verdict
from ruleaudit.analysis.witness import sample
from ruleaudit.diagnostics import Finding, Severity, Witness
from ruleaudit.model.fields import ICMP, ICMPV6, UDP, Field
from ruleaudit.model.ruleset import Rule
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.rules.served import UNANSWERED, deciding, names_the_serving_side, refused_on_purpose, unmarked

CODE = "RA201"
NAME = "one-way-notrack"
SEVERITY = Severity.ERROR
SINCE = "0.1"

_FILTER = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT
-A INPUT -p udp -m multiport --dports 53,514 -j ACCEPT
COMMIT
"""

EXAMPLES = (
    Example(
        "the way in only",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m multiport --dports 80,443 «-j CT --notrack»
COMMIT
{_FILTER}""",
    ),
    Example(
        "the way out only",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A OUTPUT ! -o lo -p udp -m udp --sport 53 «-j NOTRACK»
COMMIT
{_FILTER}""",
    ),
    Example(
        "one port of two forgotten",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m multiport --dports 80,443 «-j CT --notrack»
-A OUTPUT ! -o lo -p tcp -m tcp --sport 443 -j CT --notrack
COMMIT
{_FILTER}""",
    ),
    Example(
        "a router with the host's recipe: both directions of forwarded traffic pass PREROUTING",
        """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -d 192.0.2.80 -p tcp -m tcp --dport 80 «-j CT --notrack»
-A OUTPUT -s 192.0.2.80 -p tcp -m tcp --sport 80 -j CT --notrack
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -d 192.0.2.80 -p tcp -m tcp --dport 80 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "both directions",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m multiport --dports 80,443 -j CT --notrack
-A OUTPUT ! -o lo -p tcp -m multiport --sports 80,443 -j CT --notrack
COMMIT
{_FILTER}""",
    ),
    Example(
        "SYNPROXY wants the opening packets alone",
        """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -i eth0 -p tcp -m tcp --dport 80 --syn -j CT --notrack
COMMIT
*filter
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i eth0 -p tcp -m tcp --dport 80 -m state --state UNTRACKED,INVALID -j SYNPROXY --sack-perm --mss 1460
-A INPUT -m state --state INVALID -j DROP
COMMIT
""",
    ),
    Example(
        "syslog is not answered",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 514 -j CT --notrack
COMMIT
{_FILTER}""",
    ),
    Example(
        "traffic on lo keeps the tag that OUTPUT gave it",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A OUTPUT -o lo -j CT --notrack
COMMIT
{_FILTER}""",
    ),
    Example(
        "dropped in both cases",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 1900 -j CT --notrack
COMMIT
{_FILTER}""",
    ),
    Example(
        "pings: the reply to an untracked request is INVALID, and makes no entry",
        """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p icmp -m icmp --icmp-type 8 -j CT --notrack
COMMIT
*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -j ACCEPT
COMMIT
""",
    ),
    Example(
        "pings whose replies are refused as INVALID",
        """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p icmp -m icmp --icmp-type 8 «-j CT --notrack»
COMMIT
*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A OUTPUT -m conntrack --ctstate INVALID -j DROP
COMMIT
""",
    ),
)

_SERVICE = (Field.PROTOCOL, Field.SPORT, Field.DPORT, Field.ICMP_TYPE)


def check(audit: Audit) -> Iterator[Finding]:
    """Each notrack rule that leaves one direction of some service untracked and the other one not."""
    if not audit.notracks:
        return
    pair = audit.untracking
    told: set[Rule] = set()
    for kind in KINDS[:3]:
        yield from _of_kind(audit, pair, kind, told)


def _of_kind(audit: Audit, pair: Pair, kind: Kind, told: set[Rule]) -> Iterator[Finding]:
    space, part = pair.space, pair.space.connection_part
    before, now = pair.roles(kind, pair.old), pair.roles(kind, pair.new)
    # what is refused on an interface is no connection there; replies may leave by any other
    let_in = part(before.opening.accepted | now.opening.accepted, keep_interfaces=True)
    there, back = part((now.opening.untracked | now.later.untracked) & let_in), part(now.reply.untracked)
    if is_empty(there ^ back):
        return
    one_way = (there ^ back) & _served(pair, kind, before, now) & part(now.reply.packets)
    complete = space.forget_all_but(there & back, _SERVICE)
    for role, tagged, other in (("opening", there, back), ("later", there, back), ("reply", back, there)):
        seen = dict(now.items())[role]
        alone = unmarked(space, seen.untracked) & one_way & tagged & ~other & ~complete
        if is_empty(alone):
            continue
        for rule in audit.notracks:
            matched = seen.walk.matched.get(rule)
            if matched is None or rule in told:
                continue
            found = matched & alone
            if role != "reply":
                found = found & ~_pings_that_work(pair, kind, found)
            if not is_empty(found) and names_the_serving_side(space, found):
                told.add(rule)
                yield _finding(audit, pair, kind, role, rule, found)


def _served(pair: Pair, kind: Kind, before: Roles, now: Roles) -> PacketSet:
    """The connections that work, tracked or not; without those of SYNPROXY, and datagrams that nobody answers."""
    space, part = pair.space, pair.space.connection_part
    served = part(before.opening.accepted) | part(now.opening.accepted)
    served = served & ~part(refused_on_purpose(now.opening))
    if kind.name == "forward":
        # a policy that accepts what nobody forwards says nothing
        named = space.none
        for roles in (before, now):
            for _, _, packets in roles.opening.walk.decided.about(None, _is_of_filter):
                named = named | part(packets)
        served = served & named
    for roles in (before, now):
        for _, what, _, packets in consumed(roles):
            if what == "SYNPROXY":
                served = served & ~part(packets)
    unanswered = space.values(Field.DPORT, UNANSWERED) | space.values(Field.SPORT, UNANSWERED)
    return served & ~(space.is_(Field.PROTOCOL, UDP) & unanswered)


def _is_of_filter(by: Decider, verdict: Verdict) -> bool:
    return isinstance(by, Rule) and by.table == "filter"


def _pings_that_work(pair: Pair, kind: Kind, found: PacketSet) -> PacketSet:
    """The pings whose untracked requests are answered: an echo reply makes no entry, so that one rule saves it."""
    pings = found & _icmp(pair.space)
    return pair.space.none if is_empty(pings) or _refused_back(pair, kind, pings, False) else pings


def _icmp(space: Space) -> PacketSet:
    return space.is_(Field.PROTOCOL, ICMP) | space.is_(Field.PROTOCOL, ICMPV6)


def _finding(audit: Audit, pair: Pair, kind: Kind, role: str, rule: Rule, found: PacketSet) -> Finding:
    space = pair.space
    reverse = role == "reply"
    frame = Frame(role, reverse)
    there, back = ("PREROUTING", "OUTPUT") if kind.name == "in" else ("OUTPUT", "PREROUTING")
    if kind.name == "forward":
        there = back = "PREROUTING"
    ours, theirs = (back, there) if reverse else (there, back)
    path = kind.back if reverse else kind.there
    words = class_words(space, found, path, frame)
    other = "the packets that it answers" if reverse else "the answers"
    is_ping = not reverse and is_empty(found & ~_icmp(space))
    notes = [] if is_ping else [("note", f"{other} are still tracked: one entry for each connection, all the same")]
    broken = _refused_back(pair, kind, found, reverse)
    if broken:
        notes.append(("note", f"{other} are INVALID now, and {broken}: the service does not work"))
    notes.append(("help", f"leave the mirrored packets untracked in raw {theirs} too; `ruleaudit suggest` prints both"))
    packet = sample(space, found, path, frame).text
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        f"only one direction of {words} is untracked: {'its answers are lost' if is_ping else 'nothing is saved'}",
        places.target(rule, audit.source),
        f"untracked here; raw {theirs} has no rule for the other direction",
        notes=tuple(notes),
        witness=Witness(packet, f"untracked by {rule.where} in raw {ours}; packets the other way are tracked"),
    )


def _refused_back(pair: Pair, kind: Kind, found: PacketSet, reverse: bool) -> str:
    """Who refuses the packets of the tracked direction that were accepted when both directions were tracked."""
    space = pair.space
    role = "later" if reverse else "reply"
    was, now = dict(pair.roles(kind, pair.old).items())[role], dict(pair.roles(kind, pair.new).items())[role]
    lost = space.connection_part(found) & was.accepted & now.packets & ~now.accepted
    for by, packets in now.walk.decided.refusals(lost):
        who = deciding(space, now.walk, by, packets)
        return f"refused by {who.where}" if isinstance(who, Rule) else f"refused by the policy of {who.name}"
    return ""
