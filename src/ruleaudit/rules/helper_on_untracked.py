"""A connection helper whose connections are untracked: FTP's data, and the like, times out.

What it finds
    A helper (`CT --helper`, nft's `ct helper set`) for control connections that a notrack rule leaves untracked, and a
    notrack rule for the ports of the data connections, where these get in as RELATED and in no other way.

Why
    A helper reads the control connection through its conntrack entry, and announces the data connections, which are
    RELATED then. It sees no untracked packet. Log-in works; the first listing or transfer hangs until it times out.

Example
    *raw     -A PREROUTING -p tcp --dport 21 -j CT --notrack
             -A PREROUTING -p tcp --dport 21 -j CT --helper ftp
    *filter  -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT

Instead
    *raw     -A PREROUTING -p tcp --dport 21 -j CT --helper ftp

Fix safety
    Not automatic: without the notrack rule the connections are tracked again, which is what it was to prevent.
    `ruleaudit verify` compares.

References
    iptables-extensions(8), CT; nft(8), CT HELPER; netfilter.org, Secure use of helpers
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ruleaudit.analysis.connection import KINDS, Kind, role_shape
from ruleaudit.analysis.consumers import consumed
from ruleaudit.analysis.differing import class_words
from ruleaudit.analysis.pair import Pair, Side
from ruleaudit.analysis.space import Frame, Space
from ruleaudit.analysis.verdicts import ACCEPT
from ruleaudit.analysis.walk import Walk
from ruleaudit.analysis.witness import follow, sample
from ruleaudit.diagnostics import Finding, Label, Severity, Witness
from ruleaudit.model.fields import TCP, UDP, Field, State
from ruleaudit.model.ruleset import Rule
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.rules.served import names_the_serving_side, unmarked

CODE = "RA205"
NAME = "helper-on-untracked"
SEVERITY = Severity.ERROR
SINCE = "0.1"

_FTP = """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 21 -j ACCEPT
COMMIT
"""

EXAMPLES = (
    Example(
        "the helper comes behind the notrack rule",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m tcp --dport 21 -j CT --notrack
-A PREROUTING -p tcp -m tcp --dport 21 «-j CT --helper ftp»
-A OUTPUT ! -o lo -p tcp -m tcp --sport 21 -j CT --notrack
COMMIT
{_FTP}""",
    ),
    Example(
        "nft, where helpers are assigned behind conntrack",
        """table ip filter {
    ct helper ftp-standard { type "ftp" protocol tcp; }
    chain raw {
        type filter hook prerouting priority raw;
        iif != "lo" tcp dport 21 notrack
    }
    chain back {
        type filter hook output priority raw;
        oif != "lo" tcp sport 21 notrack
    }
    chain prerouting {
        type filter hook prerouting priority filter;
        tcp dport 21 «ct helper set "ftp-standard"»
    }
    chain input {
        type filter hook input priority filter; policy drop;
        icmp type destination-unreachable accept
        ct state established,related accept
        tcp dport 21 accept
    }
}
""",
    ),
    Example(
        "the ports of the data are untracked",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 21 -j CT --helper ftp
-A PREROUTING ! -i lo -p tcp -m tcp --dport 50000:51000 «-j CT --notrack»
-A OUTPUT ! -o lo -p tcp -m tcp --sport 50000:51000 -j CT --notrack
COMMIT
{_FTP}""",
    ),
    Example(
        "another service is untracked",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 21 -j CT --helper ftp
-A PREROUTING ! -i lo -p tcp -m tcp --dport 80 -j CT --notrack
-A OUTPUT ! -o lo -p tcp -m tcp --sport 80 -j CT --notrack
COMMIT
{_FTP.replace("--dport 21", "-m multiport --dports 21,80").replace("-m tcp -m multiport", "-m multiport")}""",
    ),
    Example(
        "the passive ports are open, so that nobody needs the helper",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m tcp --dport 21 -j CT --notrack
-A PREROUTING -p tcp -m tcp --dport 21 -j CT --helper ftp
-A OUTPUT ! -o lo -p tcp -m tcp --sport 21 -j CT --notrack
COMMIT
{_FTP.replace("--dport 21", "-m multiport --dports 21,50000:51000").replace("-m tcp -m multiport", "-m multiport")}""",
    ),
    Example(
        "TFTP: the data goes out, and everything may",
        """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p udp -m udp --dport 69 -j CT --notrack
-A PREROUTING -p udp -m udp --dport 69 -j CT --helper tftp
-A OUTPUT ! -o lo -p udp -m udp --sport 69 -j CT --notrack
COMMIT
*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p udp -m udp --dport 69 -j ACCEPT
COMMIT
""",
    ),
)

_USER_PORTS = ((1024, 65535),)
#: as many ports, open or untracked, are meant for data and not for services
_A_RANGE = 100


@dataclass(frozen=True, slots=True)
class _Helper:
    """A helper by its well-known port: the data that it announces, there (as the control connection) or back."""

    name: str
    port: int
    data: int
    there: bool
    back: bool


_HELPERS = (
    _Helper("ftp", 21, TCP, True, True),
    _Helper("tftp", 69, UDP, False, True),
    _Helper("irc", 6667, TCP, False, True),
    _Helper("sip", 5060, UDP, True, True),
    _Helper("sane", 6566, TCP, True, False),
)


def check(audit: Audit) -> Iterator[Finding]:
    """Each helper whose control connections are untracked, each notrack rule for its data."""
    if not audit.notracks or not audit.untracking.helpers:
        return
    pair, space = audit.untracking, audit.space
    told: set[Rule] = set()
    for kind in KINDS[:3]:
        before, now = pair.roles(kind, pair.old), pair.roles(kind, pair.new)
        for rule, what, role, packets in consumed(before):
            helper = _helper(space, rule, packets)
            if what not in ("CT --helper", "ct helper set") or role != "opening" or helper is None or rule in told:
                continue
            control = unmarked(space, packets) & now.opening.accepted
            blind = control & now.opening.untracked
            if not is_empty(blind) and names_the_serving_side(space, blind):
                ways = ((kind.there, False, helper.there), (kind.back, True, helper.back))
                if any(told_of and _needs_help(pair, pair.new, kind, helper, blind, back) for _, back, told_of in ways):
                    told.add(rule)
                    yield _blind(audit, rule, helper, kind, blind)
            elif helper.there and not is_empty(control):
                yield from _data(audit, rule, helper, kind, control, told)


def _helper(space: Space, rule: Rule, packets: PacketSet) -> _Helper | None:
    """Which helper a rule assigns: by its name, else by the port of the control connections."""
    texts = [e.text for e in rule.effects]
    named = [h for h in _HELPERS if any(t.split()[-1].strip('"') == h.name for t in texts)]
    ports = space.taken(packets, Field.DPORT)
    return next((h for h in (*named, *_HELPERS) if h in named or ports == [(h.port, h.port)]), None)


def _openings(pair: Pair, kind: Kind, helper: _Helper, control: PacketSet, back: bool) -> PacketSet:
    """What opens data connections between the ends of control connections."""
    space = pair.space
    ends = space.forget_all_but(control, (Field.SADDR, Field.DADDR, Field.SRC_TYPE, Field.DST_TYPE))
    ends = pair.swap(ends) if back else ends
    path = kind.back if back else kind.there
    shape = role_shape(space, "opening") & space.is_(Field.PROTOCOL, helper.data) & space.is_(Field.MARK, 0)
    return ends & pair.domain(path, False) & shape & space.values(Field.DPORT, _USER_PORTS)


def _needs_help(pair: Pair, side: Side, kind: Kind, helper: _Helper, control: PacketSet, back: bool) -> bool:
    """Data connections are accepted as RELATED, and not as new ones but for the ports of some services."""
    space = pair.space
    packets = _openings(pair, kind, helper, control, back)
    path = kind.back if back else kind.there
    related, new = (
        pair.send(side, path, packets, state, role="opening").outcomes.get(ACCEPT, space.none)
        for state in (State.RELATED, State.NEW)
    )
    opened = max((high - low + 1 for low, high in space.taken(related & new, Field.DPORT)), default=0)
    return not is_empty(related & ~new) and opened < _A_RANGE


def _blind(audit: Audit, rule: Rule, helper: _Helper, kind: Kind, found: PacketSet) -> Finding:
    space, frame = audit.space, Frame("opening")
    seen = audit.untracking.roles(kind, audit.untracking.new).opening.walk.matched
    notrack = next((r for r in audit.notracks if not is_empty(found & seen.get(r, space.none))), None)
    words = class_words(space, found, kind.there, frame)
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        f"{words} is untracked: the {helper.name} helper never sees it, and its data connections are refused",
        places.target(rule, audit.source),
        "helps no untracked connection",
        (Label(places.target(notrack, audit.source), "left untracked here"),) if notrack else (),
        (
            ("note", "data connections are accepted as RELATED only, and without the helper none is"),
            ("help", "leave the control connections out of the notrack rule, or accept a fixed range of data ports"),
        ),
        Witness(sample(space, found, kind.there, frame).text, "untracked; no helper reads it"),
    )


def _data(
    audit: Audit, assigning: Rule, helper: _Helper, kind: Kind, control: PacketSet, told: set[Rule]
) -> Iterator[Finding]:
    """Notrack rules that take data connections, which would get in as RELATED only."""
    pair, space = audit.untracking, audit.space
    packets = _openings(pair, kind, helper, control, False)

    def accepted(side: Side, state: State) -> tuple[PacketSet, Walk]:
        walk = pair.send(side, kind.there, packets, state, role="opening")
        return walk.outcomes.get(ACCEPT, space.none), walk

    lost = accepted(pair.old, State.RELATED)[0] & ~accepted(pair.old, State.NEW)[0]
    kept, now = accepted(pair.new, State.RELATED)
    lost = lost & now.tag & ~kept
    for rule in audit.notracks:
        found = lost & now.matched.get(rule, space.none)
        if rule in told or sum(high - low + 1 for low, high in space.taken(found, Field.DPORT)) < _A_RANGE:
            continue
        chosen = sample(space, found, kind.there, Frame("opening"), State.UNTRACKED)
        if follow(pair, pair.new, chosen, State.RELATED).verdict == ACCEPT:
            continue
        told.add(rule)
        words = class_words(space, found, kind.there, Frame("opening"))
        yield Finding(
            CODE,
            NAME,
            SEVERITY,
            f"{words} is untracked and refused, although the {helper.name} helper announces it: data is RELATED only"
            " where it is tracked",
            places.target(rule, audit.source),
            "left untracked here",
            (Label(places.target(assigning, audit.source), "assigns the helper"),),
            (("help", "take the notrack rule back, or accept these ports by their number"),),
            Witness(chosen.text, "refused; tracked, it is RELATED and accepted"),
        )
