"""Every connection is tracked because of rules that no packet gets to.

What it finds
    Rulesets in which nothing asks conntrack except rules in chains that nobody calls, or a `ct helper`, `ct timeout`
    or `ct expectation` object of nft that no rule uses. Chains that others are known to call (DOCKER-USER, ufw-*,
    KUBE-*...) and fragments of rulesets are left alone.

Why
    The kernel turns tracking on when such a rule or object is loaded, not when a packet meets it: each connection of
    the namespace takes an entry in the table, and no rule ever looks at one.

Example
    :OLD-SSH - [0:0]
    -A OLD-SSH -m conntrack --ctstate NEW -j ACCEPT

Instead
    Nothing: delete the chain with its rules, or the object.

Fix safety
    Same connections: the rules decide about no packet. With the last of them defragmentation goes too; where that
    would lose fragments of something that is let in, the finding says so and has no automatic fix.

References
    nft(8), CT HELPER, CT TIMEOUT, CT EXPECTATION; iptables-extensions(8), conntrack
"""

from collections.abc import Iterator

from ruleaudit.diagnostics import Finding, Fix, FixClass, Label, Severity
from ruleaudit.model.fields import Family
from ruleaudit.model.lines import in_words, lines
from ruleaudit.model.ruleset import Rule
from ruleaudit.rules import edits, places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.source import Span

CODE = "RA105"
NAME = "tracking-in-dead-chain"
SEVERITY = Severity.WARNING
SINCE = "0.1"

EXAMPLES = (
    Example(
        "a chain that is left over",
        """*filter
:INPUT ACCEPT [0:0]
:OLD-SSH - [0:0]
-A INPUT -p tcp -m tcp --dport 25 -j DROP
-A OLD-SSH -p tcp -m tcp --dport 22 «-m conntrack --ctstate NEW» -j ACCEPT
COMMIT
""",
    ),
    Example(
        "a helper that is declared and not used",
        """table inet filter {
\t«ct helper ftp {
\t\ttype "ftp" protocol tcp
\t}»
\tchain input {
\t\ttype filter hook input priority filter; policy accept;
\t\ttcp dport 25 drop
\t}
}
""",
    ),
    Example(
        "another rule needs tracking: nothing is saved",
        """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
:OLD-SSH - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A OLD-SSH -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
COMMIT
""",
    ),
    Example(
        "a chain that others call",
        """*filter
:INPUT ACCEPT [0:0]
:f2b-sshd - [0:0]
-A INPUT -p tcp -m tcp --dport 25 -j DROP
-A f2b-sshd -m conntrack --ctstate NEW -j ACCEPT
COMMIT
""",
    ),
    Example(
        "the helper is given to connections",
        """table inet filter {
\tct helper ftp {
\t\ttype "ftp" protocol tcp
\t}
\tchain prerouting {
\t\ttype filter hook prerouting priority filter; policy accept;
\t\ttcp dport 21 ct helper set "ftp"
\t}
}
""",
    ),
    Example(
        "the chain is called by a map",
        """table inet filter {
\tchain ssh {
\t\tct state established,related accept
\t}
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\ttcp sport vmap { 22 : jump ssh }
\t}
}
""",
    ),
)


def check(audit: Audit) -> Iterator[Finding]:
    """One finding, at the first rule or object that has the kernel track."""
    found = audit.by_accident
    if found is None or any((r.table, r.chain) in audit.called for r in found.changes):
        return
    rules = sorted(found.changes, key=lambda r: r.span)
    spans = [*(places.state_test(r) or r.span for r in rules), *audit.ruleset.tracks]
    changes = [edits.without_rule(rule, audit.source) for rule in rules]
    whole = found.fragments is None and None not in changes and not audit.ruleset.tracks
    notes = [("proved", "no packet meets any of that: without it every connection fares the same, untracked")]
    if found.fragments is not None:
        lost = found.fragments.witness.packet
        notes.append(("note", f"fragments are no longer put together then: {lost} would be lost; accept them first"))
    # of a table inet it is said where it is true of both
    family = "IPv4 " if audit.space.family is Family.IPV4 else "IPv6 "
    of = "" if rules and all(r.table.startswith("inet ") for r in rules) else family
    what = in_words([*([f"{_chains(rules)} ({lines(rules, 8)})"] if rules else []), *_objects(audit.ruleset.tracks)])
    yield Finding(
        CODE,
        NAME,
        SEVERITY,
        f"every {of}connection is tracked only because of {what}, which no packet ever gets to",
        spans[0],
        "has the kernel track all the same",
        tuple(Label(span, "and this") for span in spans[1:4]),
        tuple(notes),
        fix=Fix(
            found.kind if whole else FixClass.MANUAL,
            "delete it; then nothing is tracked",
            tuple(c for c in changes if c is not None) if whole else (),
        ),
    )


def _chains(rules: list[Rule]) -> str:
    names = list(dict.fromkeys(rule.chain for rule in rules))
    return f"chain {names[0]}" if len(names) == 1 else f"chains {in_words(names)}"


def _objects(tracks: tuple[Span, ...]) -> list[str]:
    if not tracks:
        return []
    return ["an object for conntrack"] if len(tracks) == 1 else [f"{len(tracks)} objects for conntrack"]
