"""A lone ACK of no connection is NEW, and gets in.

What it finds
    A rule that accepts TCP because it is NEW, and does not ask for SYN: a segment with ACK that belongs to no
    connection is accepted by it, and by no other rule.

Why
    As long as sysctl net.netfilter.nf_conntrack_tcp_loose is 1, its default, conntrack takes an ACK of an unknown
    connection for one that it did not see begin. Such segments open no connection, but they reach the port, which
    answers with RST: `nmap -sA` sees what is let in, and each of them takes an entry. For a firewall that takes over
    running connections, after a restart or as the second of a pair, that is wanted.

Example
    -A INPUT -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT

Instead
    -A INPUT -p tcp -m tcp --dport 22 --syn -m conntrack --ctstate NEW -j ACCEPT
    or: sysctl -w net.netfilter.nf_conntrack_tcp_loose=0

Fix safety
    Same connections, and not automatic: connections that are open while the rules or the table are emptied are cut.

References
    iptables-extensions(8), tcp; Linux, Documentation/networking/nf_conntrack-sysctl.rst
"""

from collections.abc import Iterator
from dataclasses import replace

from ruleaudit.analysis.connection import LOOSE_FLAGS, tcp_flags
from ruleaudit.analysis.differing import class_words
from ruleaudit.analysis.space import Frame
from ruleaudit.analysis.variant import without
from ruleaudit.analysis.verdicts import ACCEPT
from ruleaudit.analysis.walk import Walk
from ruleaudit.analysis.witness import sample
from ruleaudit.diagnostics import Finding, Severity, Witness
from ruleaudit.model.condition import And, Condition, States
from ruleaudit.model.fields import TCP, Field, State
from ruleaudit.model.ruleset import Accept, Rule
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example

CODE = "RA106"
NAME = "new-without-syn"
SEVERITY = Severity.NOTE
SINCE = "0.1"

_HEAD = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
"""

EXAMPLES = (
    Example(
        "ssh",
        f"{_HEAD}-A INPUT -p tcp -m tcp --dport 22 «-m conntrack --ctstate NEW» -j ACCEPT\nCOMMIT\n",
    ),
    Example(
        "nft, among other protocols",
        """table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\tct state established,related accept
\t\tmeta l4proto { tcp, udp } th dport 53 «ct state new» accept
\t}
}
""",
    ),
    Example(
        "SYN is asked for",
        f"{_HEAD}-A INPUT -p tcp -m tcp --dport 22 --syn -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n",
    ),
    Example(
        "what is NEW without SYN was dropped before",
        f"""{_HEAD}-A INPUT -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate NEW -j DROP
-A INPUT -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
COMMIT
""",
    ),
    Example(
        "only SYN gets into the chain",
        f"""{_HEAD}:TCP - [0:0]
-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate NEW -j TCP
-A TCP -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
COMMIT
""",
    ),
    Example(
        "it is accepted whatever its state",
        f"""{_HEAD}-A INPUT -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
""",
    ),
    Example("UDP", f"{_HEAD}-A INPUT -p udp -m udp --dport 53 -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n"),
)

#: so many findings show their packets; a packet costs more than finding it
SHOWN = 100


def check(audit: Audit) -> Iterator[Finding]:
    """Each rule that accepts lone ACKs as NEW, where SYN in its test would keep them out."""
    asking = frozenset(rule for rule in audit.ruleset.rules() if _accepts_new(rule))
    if not asking:
        return
    space = audit.space
    alone = space.is_(Field.PROTOCOL, TCP) & tcp_flags(space, LOOSE_FLAGS)
    # a rule that asks for SYN matches none of them
    without_them = replace(audit.whole.old, ruleset=without(audit.ruleset, asking))
    told: set[Rule] = set()
    for path in ("in", "forward"):
        packets = audit.whole.domain(path, False) & alone
        walk = audit.whole.send(audit.whole.old, path, packets, State.NEW, role="any")
        if not any(walk.decided.accepts(None, asking.__contains__)):
            continue
        kept_out = audit.whole.send(without_them, path, packets, State.NEW, role="any")
        let_in = _accepted(walk) & ~_accepted(kept_out)
        for rule, found in walk.decided.accepts(let_in, asking.__contains__):
            if rule not in told:
                told.add(rule)
                yield _finding(audit, rule, path, found if len(told) <= SHOWN else None)


def _accepts_new(rule: Rule) -> bool:
    """It accepts packets because they are NEW; whether TCP is among them, the packets tell."""
    if not isinstance(rule.verdict, Accept) or rule.consumers:
        return False
    return any(State.NEW in _named(match.condition) for match in rule.matches)


def _named(condition: Condition) -> frozenset[State]:
    """The states that a test asks for by name."""
    match condition:
        case States(states):
            return states
        case And(items):
            return frozenset(s for item in items for s in _named(item))
        case _:
            return frozenset()


def _accepted(walk: Walk) -> PacketSet:
    return walk.outcomes.get(ACCEPT, walk.none)


def _finding(audit: Audit, rule: Rule, path: str, found: PacketSet | None) -> Finding:
    words, witness, certainty = "", None, "proved"
    if found is not None:
        certain = ~audit.space.whatever_is_unknown(~found)
        if is_empty(certain):
            certainty = "assuming: the limits, sets and other tests on the way that depend on more than the file hold"
        found = found if is_empty(certain) else certain
        words = f": {class_words(audit.space, found, path, Frame('any'))}"
        packet = sample(audit.space, found, path, Frame("any"), State.NEW).text
        witness = Witness(packet, f"accepted by {rule.where} while nf_conntrack_tcp_loose is 1")
    cure = "add --syn" if not audit.ruleset.is_nft else "add: tcp flags & (fin | syn | rst | ack) == syn"
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        f"lone ACKs of no connection are NEW too, and let in here{words}",
        places.state_test(rule) or rule.span,
        "SYN is not asked for",
        notes=(("help", f"{cure}; or sysctl net.netfilter.nf_conntrack_tcp_loose=0, then they are INVALID"),),
        witness=witness,
        certainty=certainty,
    )
