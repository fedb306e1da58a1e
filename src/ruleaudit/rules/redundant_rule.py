"""A rule that could be deleted: what it decides is decided in the same way behind it.

What it finds
    An accept, drop or reject of packets that later rules of the same chain, or its policy, accept, drop or reject just
    so, with nothing in between that would decide otherwise, log them, mark them or count them in a limit. Rules with a
    comment are left alone, and tests of connections' states, of which other rules speak.

Why
    Every line that decides nothing is a line to read at 3 a.m. Many are kept on purpose, to show what is meant; so this
    is a note.

Example
    -P INPUT DROP
    -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
    -A INPUT -p tcp -m tcp --dport 23 -j DROP

Instead
    -P INPUT DROP
    -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT

Fix safety
    Exact: the rule is deleted, and every packet in every state fares as before; only counters differ. All such
    deletions together are exact as well.

References
    iptables(8); nft(8), RULES
"""

from collections.abc import Iterator

from ruleaudit.analysis.spare import Spare
from ruleaudit.diagnostics import Finding, Label, Severity
from ruleaudit.model.lines import does, done
from ruleaudit.model.ruleset import Drop
from ruleaudit.rules import edits
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example

CODE = "RA307"
NAME = "redundant-rule"
SEVERITY = Severity.NOTE
SINCE = "0.1"

EXAMPLES = (
    Example(
        "a drop before a DROP policy, and a narrow accept before a wide one",
        """*filter
:INPUT DROP [0:0]
«-A INPUT -s 10.9.1.0/24 -p tcp -m tcp --dport 22 -j ACCEPT»
-A INPUT -s 10.0.0.0/8 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT
«-A INPUT -p tcp -m tcp --dport 23 -j DROP»
«-A INPUT -j DROP»
COMMIT
""",
    ),
    Example(
        "something in between decides otherwise, logs, or counts",
        """*filter
:INPUT DROP [0:0]
-A INPUT -s 10.9.1.0/24 -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j REJECT --reject-with tcp-reset
-A INPUT -s 10.9.1.0/24 -p udp -j ACCEPT
-A INPUT -p udp -m limit --limit 5/sec -j ACCEPT
-A INPUT -p udp -m udp --dport 137:138 -j DROP
-A INPUT -j LOG --log-prefix "refused "
-A INPUT -s 10.0.0.0/8 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "of two equal rules one stays",
        """*filter
:INPUT DROP [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p udp -m udp --dport 53 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "a chain of its own decides; another kind of refusal; a comment",
        """*filter
:INPUT DROP [0:0]
:WEB - [0:0]
«-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 80 -j ACCEPT»
-A INPUT -p tcp -m tcp --dport 80 -j WEB
-A INPUT -p tcp -m tcp --dport 25 -j REJECT --reject-with tcp-reset
-A INPUT -p udp -m comment --comment "as the policy does" -j DROP
-A WEB -s 192.0.2.0/24 -j DROP
-A WEB -j ACCEPT
COMMIT
""",
    ),
    Example(
        "nft, and a rule that one of the families needs",
        """table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy accept;
\t\ttcp dport 22 accept; «tcp dport 80 accept»
\t\tudp dport 53 accept
\t\ttcp dport 22 drop
\t\tmeta nfproto ipv6 udp dport 53 drop
\t}
}
""",
    ),
)


def check(audit: Audit) -> Iterator[Finding]:
    """Each rule without which every packet fares the same."""
    for spare in audit.spares.all if audit.loads else ():
        yield _finding(audit, spare)


def _finding(audit: Audit, spare: Spare) -> Finding:
    rule = spare.rule
    chain = audit.ruleset.tables[rule.table].chains[rule.chain]
    who = [does(spare.instead, "them")] if spare.instead else []
    if spare.policy and chain.hook is not None:
        who.append(f"the policy of chain {chain.name} {'drops' if isinstance(chain.policy, Drop) else 'accepts'} them")
    by = f": {' or '.join(who)}" if who else ""
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        f"without this rule its packets fare the same{by}",
        rule.span,
        related=tuple(Label(other.span, done(other, "them")) for other in spare.instead[:3]),
        fix=edits.deletion(audit, (rule,), "this rule"),
    )
