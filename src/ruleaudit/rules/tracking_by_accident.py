"""Every connection is tracked, and none of them needs it.

What it finds
    A ruleset whose rules have the kernel track, where no connection depends on any of them: with their state tests
    or the rules themselves taken out, all at once, the same connections work. Fragments of rulesets, and chains that
    others call, are left alone: nobody knows what else is loaded.

Why
    One rule that asks for a state, anywhere, has the kernel keep an entry for every connection of this family in the
    namespace, forwarded ones and those on lo included. When the table is full, new connections are dropped, ssh
    included. Without the last such rule the kernel does not look connections up at all, and NOTRACK is pointless.

Example
    :INPUT ACCEPT [0:0]
    -A INPUT -m conntrack --ctstate INVALID -j DROP
    -A INPUT -p tcp -m tcp --dport 3306 -j DROP

Instead
    :INPUT ACCEPT [0:0]
    -A INPUT -p tcp -m tcp --dport 3306 -j DROP

Fix safety
    Same connections; relaxing where packets of no connection (INVALID ones, lone ACKs) are let in then. With the last
    rule that asks conntrack, defragmentation goes too; where that would lose fragments of something that is let in,
    the finding says so and has no automatic fix. Other owners of rules (Docker, another table that is loaded beside
    this file) may still have the kernel track.

References
    ruleaudit explain FILE; iptables-extensions(8), conntrack; nft(8), CT EXPRESSIONS
"""

from collections.abc import Iterator

from ruleaudit.analysis.connection import KINDS
from ruleaudit.analysis.space import Frame
from ruleaudit.analysis.walk import mentions_state
from ruleaudit.analysis.witness import sample
from ruleaudit.diagnostics import Finding, Fix, FixClass, Label, Severity, Witness
from ruleaudit.model.condition import ALWAYS, Condition
from ruleaudit.model.fields import Family, State
from ruleaudit.model.lines import lines
from ruleaudit.model.ruleset import Rule
from ruleaudit.packets.diagram import is_empty
from ruleaudit.rules import edits, places
from ruleaudit.rules.audit import Audit, Untracked
from ruleaudit.rules.examples import Example
from ruleaudit.source import Edit

CODE = "RA102"
NAME = "tracking-by-accident"
SEVERITY = Severity.WARNING
SINCE = "0.1"

EXAMPLES = (
    Example(
        "a drop of INVALID packets, and nothing else",
        """*filter
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT «-m conntrack --ctstate INVALID» -j DROP
-A INPUT -p tcp -m tcp --dport 3306 -j DROP
COMMIT
""",
    ),
    Example(
        "everything is accepted in the end",
        """table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy accept;
\t\t«ct state established,related» accept
\t\ttcp dport 80 ct state new accept
\t}
}
""",
    ),
    Example(
        "replies come in as ESTABLISHED only",
        """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "two rules do the same work: one of them is needed",
        """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A INPUT -p udp -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
""",
    ),
    Example(
        "another table has NAT",
        """*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -o eth0 -j MASQUERADE
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate INVALID -j DROP
COMMIT
""",
    ),
    Example(
        "NAT for one of the families of an inet table",
        """table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy accept;
\t\tct state invalid drop
\t}
}
table ip nat {
\tchain postrouting {
\t\ttype nat hook postrouting priority srcnat; policy accept;
\t\toifname "eth0" masquerade
\t}
}
""",
    ),
    Example(
        "a part of a ruleset: Docker's rules are not in it",
        """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:DOCKER-USER - [0:0]
-A DOCKER-USER -m conntrack --ctstate INVALID -j DROP
COMMIT
""",
    ),
)


def check(audit: Audit) -> Iterator[Finding]:
    """One finding, at the first rule that asks conntrack; RA105 speaks where no packet gets to any of them."""
    found = audit.by_accident
    if found is None or not any((r.table, r.chain) in audit.called for r in found.changes):
        return
    rules = sorted(found.changes, key=lambda r: (not r.table.startswith("inet "), r.span))
    first = rules[0]
    others = [r for r in rules if r.span != first.span]
    edits_of = [_edit(audit, rule, found.changes[rule]) for rule in rules]
    changes = tuple(e for e in edits_of if e is not None)
    whole = len(changes) == len(edits_of) and found.fragments is None and not audit.ruleset.tracks
    # of a table inet it is said where it is true of both
    family = "IPv4 " if audit.space.family is Family.IPV4 else "IPv6 "
    of = "" if first.table.startswith("inet ") else family
    yield Finding(
        CODE,
        NAME,
        SEVERITY,
        f"no {of}connection needs tracking, and every one is tracked, because of {lines(rules, 8)}",
        places.state_test(first) or first.span,
        "the kernel tracks as long as a rule asks for this",
        tuple(Label(places.state_test(r) or r.span, "and for this") for r in others[:3]),
        tuple(_notes(audit, found, rules)),
        _witness(audit),
        Fix(
            found.kind if whole else FixClass.MANUAL,
            "take them out; then nothing is tracked",
            changes if whole else (),
        ),
    )


def _notes(audit: Audit, found: Untracked, rules: list[Rule]) -> Iterator[tuple[str, str]]:
    yield "proved", "with all of that taken out the same connections work; only packets of no connection fare otherwise"
    yield "cost", "one table entry for each connection, forwarded ones and those on lo included"
    if found.fragments is not None:
        lost = found.fragments.witness
        yield "note", f"fragments are no longer put together then: {lost.packet} would be lost; accept fragments first"
    for what, some in (
        ("delete what is in", [r for r in rules if found.changes[r] is None]),
        ("take the state tests out of", [r for r in rules if found.changes[r] == ALWAYS]),
        ("ask for TCP flags instead in", [r for r in rules if found.changes[r] not in (None, ALWAYS)]),
    ):
        if some:
            yield "help", f"{what} {lines(some)}"
    if audit.ruleset.tracks:
        yield "help", "delete the ct helper, timeout and expectation objects too: they are not used"


def _edit(audit: Audit, rule: Rule, instead: Condition | None) -> Edit | None:
    if instead is None:
        return edits.without_rule(rule, audit.source)
    asking = [m for m in rule.matches if mentions_state(m.condition)]
    return edits.without_test(rule, asking[0], audit.source) if instead == ALWAYS and len(asking) == 1 else None


def _witness(audit: Audit) -> Witness | None:
    """A connection that is let in, and tracked."""
    for kind in KINDS[:3]:
        opening = audit.whole.roles(kind, audit.whole.old).opening
        found = opening.accepted & ~opening.untracked
        if not is_empty(found):
            packet = sample(audit.space, found, kind.there, Frame("opening"), State.NEW).text
            return Witness(packet, "accepted before and after; it has an entry now, and would have none")
    return None
