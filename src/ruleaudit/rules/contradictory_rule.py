"""A rule that accepts what was refused before, or refuses what was accepted: it never comes to it.

What it finds
    An accept of which no packet is left because earlier rules of its chain drop or reject every one that it would
    match; and a drop or reject of which none is left because all were accepted before. Where only a part of its packets
    is decided otherwise before, nothing is said: exceptions are written like that.

Why
    Two lines of the file say the opposite of each other, and somebody relies on the one that has no effect: a service
    that was opened and is closed, or an address that was blocked and gets in.

Example
    -A INPUT -p tcp -m tcp --dport 8080 -j ACCEPT
    -A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 8080 -j DROP

Instead
    -A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 8080 -j DROP
    -A INPUT -p tcp -m tcp --dport 8080 -j ACCEPT

Fix safety
    Not automatic: only the author knows which of the two was meant. To move the rule up changes what is let in, to
    delete it changes nothing; `ruleaudit verify` shows it.

References
    iptables(8); nft(8), VERDICT STATEMENTS
"""

from collections.abc import Iterator

from ruleaudit.analysis.left import Void
from ruleaudit.diagnostics import Finding, Fix, FixClass, Severity
from ruleaudit.model.lines import does, lines
from ruleaudit.model.ruleset import Accept
from ruleaudit.rules import taken
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example

CODE = "RA308"
NAME = "contradictory-rule"
SEVERITY = Severity.WARNING
SINCE = "0.1"

EXAMPLES = (
    Example(
        "blocked behind an accept, and opened behind a drop",
        """*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 8080 -j ACCEPT
-A INPUT -s 198.51.100.0/24 -j DROP
«-A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 8080 -j DROP»
«-A INPUT -s 198.51.100.7/32 -p tcp -m tcp --dport 22 -j ACCEPT»
-A INPUT -s 192.0.2.0/24 -j DROP
COMMIT
""",
    ),
    Example(
        "an exception stands before the rule, and a rule is only partly taken",
        """*filter
:INPUT ACCEPT [0:0]
-A INPUT -s 192.0.2.7/32 -j ACCEPT
-A INPUT -s 192.0.2.0/24 -j DROP
-A INPUT -i eth0 -p tcp -m tcp --dport 25 -j DROP
-A INPUT -p tcp -m tcp --dport 25 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "a test of a blocklist that may hold anything takes nothing for certain",
        """*filter
:INPUT ACCEPT [0:0]
-A INPUT -m set --match-set blocked src -j DROP
-A INPUT -s 192.0.2.7/32 -j ACCEPT
-A INPUT -m set --match-set trusted src -j ACCEPT
COMMIT
""",
    ),
    Example(
        "an nft chain, called for some packets",
        """table ip filter {
\tchain web {
\t\tip saddr 192.0.2.0/24 drop
\t\t«ip saddr 192.0.2.7 accept»
\t\taccept
\t}
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\ttcp dport { 80, 443 } jump web
\t\tip saddr 192.0.2.7 accept
\t}
}
""",
    ),
    Example(
        "refused for IPv4 and accepted for IPv6",
        """table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\tmeta nfproto ipv4 tcp dport 25 reject
\t\ttcp dport 25 accept
\t}
}
""",
    ),
)


def check(audit: Audit) -> Iterator[Finding]:
    """Each accept of which every packet was refused before, and each refusal of which every packet was accepted."""
    for void in audit.left.void if audit.loads else ():
        if taken.is_contradicted(void):
            yield _finding(audit, void)


def _finding(audit: Audit, void: Void) -> Finding:
    takers = tuple(dict.fromkeys(taker for taker, _ in void.takers))
    word = "accepts" if isinstance(void.rule.verdict, Accept) else "refuses"
    first = taken.first(audit, void).where
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        f"this rule {word} nothing: {does(takers, 'all that it would match')}",
        void.rule.span,
        related=taken.labels(void),
        witness=taken.witness(audit, void),
        certainty=taken.certainty(void),
        fix=Fix(FixClass.MANUAL, f"move the rule before {first} if it is right; delete it if {lines(takers)} is"),
    )
