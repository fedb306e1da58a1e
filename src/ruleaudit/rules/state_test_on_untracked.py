"""A state test that untracked packets can never pass, and one that stands before conntrack.

What it finds
    Connections that the ruleset itself leaves untracked and then refuses, only because the accept asks for NEW or
    ESTABLISHED: without the notrack rule they would work. And every state test in table raw.

Why
    An untracked packet is UNTRACKED and nothing else: never NEW, never ESTABLISHED. The accept does not see it, and
    the policy drops it: the website is closed. In table raw conntrack has not looked at the packet yet: there
    everything is INVALID (UNTRACKED behind a notrack rule), so `--ctstate INVALID -j DROP` closes the box and NEW
    never matches.

Example
    *raw     -A PREROUTING -p tcp --dport 80 -j CT --notrack
    *filter  -A INPUT -p tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT

Instead
    *filter  -A INPUT -p tcp --dport 80 -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT

Fix safety
    Not automatic: adding UNTRACKED to a test that stands for more than the untracked service opens more than it.

References
    iptables-extensions(8), conntrack, CT
"""

from collections.abc import Iterator

from ruleaudit.analysis.connection import KINDS, Kind
from ruleaudit.analysis.consumers import consumed
from ruleaudit.analysis.differing import class_words
from ruleaudit.analysis.pair import Pair, Seen
from ruleaudit.analysis.space import Frame
from ruleaudit.analysis.walk import mentions_state
from ruleaudit.analysis.witness import sample
from ruleaudit.diagnostics import Finding, Label, Severity, Witness
from ruleaudit.model.condition import Not, States, tests
from ruleaudit.model.fields import State
from ruleaudit.model.ruleset import Drop, Reject, Rule
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.rules.served import names_the_serving_side, refused_since

CODE = "RA202"
NAME = "state-test-on-untracked"
SEVERITY = Severity.ERROR
SINCE = "0.1"

_RAW = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m tcp --dport 80 -j CT --notrack
-A OUTPUT ! -o lo -p tcp -m tcp --sport 80 -j CT --notrack
COMMIT
"""

EXAMPLES = (
    Example(
        "the accept asks for NEW",
        f"""{_RAW}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 80 «-m conntrack --ctstate NEW» -j ACCEPT
COMMIT
""",
    ),
    Example(
        "the answers leave only as ESTABLISHED",
        f"""{_RAW}*filter
:INPUT DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT
-A OUTPUT «-m state --state ESTABLISHED» -j ACCEPT
COMMIT
""",
    ),
    Example(
        "everything that is not known is dropped first, and untracked packets are not known",
        f"""{_RAW}*filter
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A INPUT «-m conntrack ! --ctstate NEW,RELATED,ESTABLISHED» -j DROP
COMMIT
""",
    ),
    Example(
        "the test stands on the jump to the accept",
        f"""{_RAW}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
:WEB - [0:0]
-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp «-m conntrack --ctstate NEW» -j WEB
-A WEB -p tcp -m tcp --dport 80 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "before conntrack every packet is INVALID",
        """*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING «-m conntrack --ctstate INVALID» -j DROP
COMMIT
""",
    ),
    Example(
        "nothing is translated here, so that nothing comes in by that test, tracked or not",
        f"""{_RAW}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -m conntrack --ctstatus EXPECTED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "later packets come by the interface of the first one",
        """table ip raw {
    chain prerouting {
        type filter hook prerouting priority raw;
        iifname "eth0" tcp dport 80 notrack
    }
}
table ip filter {
    chain input {
        type filter hook input priority filter; policy drop;
    }
    chain forward {
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "eth1" oifname "eth0" accept
    }
}
""",
    ),
    Example(
        "nobody opens connections from the port of ssh",
        """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m tcp --dport 22 -j CT --notrack
-A OUTPUT ! -o lo -p tcp -m tcp --sport 22 -j CT --notrack
COMMIT
*filter
:INPUT DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A OUTPUT -p tcp -m tcp --sport 22 ! --syn -j ACCEPT
-A OUTPUT -p tcp -m tcp --dport 25 -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT
COMMIT
""",
    ),
    Example(
        "UNTRACKED is named",
        f"""{_RAW}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT
COMMIT
""",
    ),
    Example(
        "before filter, and behind conntrack all the same",
        """table inet filter {
    chain input {
        type filter hook input priority raw; policy accept;
        ct state invalid drop
        ct state new tcp dport 25 drop
    }
}
""",
    ),
    Example(
        "left untracked in order to be dropped",
        """*raw
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 123 -j CT --notrack
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate INVALID,UNTRACKED -j DROP
-A INPUT -m conntrack --ctstate NEW -j ACCEPT
COMMIT
""",
    ),
    Example(
        "answers to the ports that clients use are let in, those to others are not",
        """table inet raw {
	chain prerouting {
		type filter hook prerouting priority raw; policy accept;
		iifname != "lo" udp sport 53 notrack
	}
	chain output {
		type filter hook output priority raw; policy accept;
		oifname != "lo" udp dport 53 notrack
	}
}
table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		icmp type { destination-unreachable, time-exceeded } accept
		meta l4proto ipv6-icmp accept
		ct state untracked udp sport 53 udp dport >= 1024 accept
	}
}
""",
    ),
    Example(
        "a test for UNTRACKED in raw, behind the notrack rule",
        """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 53 -j CT --notrack
-A PREROUTING -m conntrack --ctstate UNTRACKED -j ACCEPT
-A OUTPUT -p udp -m udp --sport 53 -j CT --notrack
COMMIT
""",
    ),
)

_ROLES = {"opening": "opening packets", "later": "later packets", "reply": "answers"}


def check(audit: Audit) -> Iterator[Finding]:
    """Each test that closes an untracked service, and each test that stands before conntrack."""
    yield from _before_conntrack(audit)
    if not audit.notracks:
        return
    pair = audit.untracking
    told: set[Rule] = set()
    for kind in KINDS[:3]:
        yield from _closed(audit, pair, kind, told)


def _closed(audit: Audit, pair: Pair, kind: Kind, told: set[Rule]) -> Iterator[Finding]:
    """Packets that are accepted where they are tracked, and refused since they are not."""
    part = pair.space.connection_part
    before, now = pair.roles(kind, pair.old), pair.roles(kind, pair.new)
    rest = pair.space.all
    for _, what, _, packets in consumed(now):
        if what == "SYNPROXY":
            rest = rest & ~part(packets)
    for (role, tracked), (_, seen) in zip(before.items(), now.items(), strict=True):
        lost = rest & refused_since(pair.space, role, before.opening.accepted, tracked, seen)
        if is_empty(lost) or not names_the_serving_side(pair.space, lost):
            continue
        rest = rest & ~part(lost)
        for rule, found in _blamed(tracked, seen, lost):
            if rule not in told:
                told.add(rule)
                yield _finding(audit, pair, kind, role, audit.original(rule), found, seen)


def _blamed(tracked: Seen, seen: Seen, lost: PacketSet) -> Iterator[tuple[Rule, PacketSet]]:
    """The state tests that decide: of a refusal that untracked packets match, of an accept or jump that they miss."""
    none = seen.walk.none
    refusals = [(by, p) for by, p in seen.walk.decided.refusals(lost) if isinstance(by, Rule)]
    accepts = list(tracked.walk.decided.accepts(lost))
    jumps = [
        (rule, packets & ~seen.walk.matched.get(rule, none))
        for rule, packets in tracked.walk.matched.of(lambda r: bool(r.leads_to))
    ]
    for rule, packets in (*refusals, *accepts, *jumps):
        found = lost & packets
        if places.state_test(rule) and not is_empty(found):
            yield rule, found
            lost = lost & ~found
    for rule, packets in accepts:
        if not is_empty(lost & packets):
            yield rule, lost & packets
            lost = lost & ~packets


def _finding(audit: Audit, pair: Pair, kind: Kind, role: str, rule: Rule, found: PacketSet, seen: Seen) -> Finding:
    frame = Frame(role, role == "reply")
    path = kind.back if role == "reply" else kind.there
    words = class_words(pair.space, found, path, frame)
    notrack = next((r for r in audit.notracks if not is_empty(found & seen.walk.matched.get(r, seen.walk.none))), None)
    related = (Label(places.target(notrack, audit.source), "left untracked here"),) if notrack else ()
    if isinstance(rule.verdict, Drop | Reject):
        label, fate = "matches untracked packets too", f"refused by {rule.where}"
        cure = "accept these packets before it"
    else:
        label, fate = "untracked packets never pass this test", f"refused; tracked, {rule.where} would let it in"
        cure = "add UNTRACKED to its states"
    packet = sample(pair.space, found, path, frame, State.UNTRACKED).text
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        f"{words}: the {_ROLES[role]} are left untracked, and then refused because of this state test",
        places.state_test(rule) or rule.span,
        label,
        related,
        (("help", f"{cure}, or take the notrack rule back; `ruleaudit verify OLD NEW` compares"),),
        Witness(packet, fate),
    )


def _before_conntrack(audit: Audit) -> Iterator[Finding]:
    """State tests on packets that conntrack has not looked at yet."""
    for _, rule in audit.early_rules():
        for match in rule.matches:
            if not mentions_state(match.condition):
                continue
            states = [t for t in tests(match.condition) if isinstance(t, States)]
            if states and all(t.states == {State.UNTRACKED} for t in states):
                continue
            every = isinstance(match.condition, Not) or any(State.INVALID in t.states for t in states)
            fate = "matches nearly every packet" if every else "never matches"
            yield Finding(
                CODE,
                NAME,
                SEVERITY,
                f"table raw comes before conntrack, where every packet is INVALID: this test {fate}",
                rule.place_of(match),
                "conntrack has not looked at the packet yet",
                notes=(("help", f"ask in table mangle, chain {rule.chain}: it comes right behind conntrack"),),
            )
