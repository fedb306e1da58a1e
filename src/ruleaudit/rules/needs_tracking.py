"""A rule that needs connection tracking, and the connections for which it does.

What it finds
    Every rule whose work is done by conntrack: NAT, connlimit, CONNMARK, helpers; and state tests without which
    some connection would be refused, or another one let in, and which no stateless test can replace.

Why
    This is inventory, not a fault. As long as one such rule is there the kernel tracks every packet of this family
    in this network namespace; only NOTRACK takes traffic out of the table.

Example
    -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT

Instead
    Nothing. What does not need this rule can leave: `ruleaudit suggest FILE`.

Fix safety
    No fix.

References
    iptables-extensions(8), conntrack; ruleaudit explain FILE gives the class of every rule that mentions conntrack.
"""

from collections.abc import Iterator

from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.results import RuleClass
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example

CODE = "RA100"
NAME = "needs-tracking"
SEVERITY = Severity.NOTE
SINCE = "0.1"

EXAMPLES = (
    Example(
        "replies to what this host starts",
        """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT «-m conntrack --ctstate RELATED,ESTABLISHED» -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "NAT",
        """*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -o eth0 «-j MASQUERADE»
COMMIT
""",
    ),
    Example(
        "a counter of connections",
        """*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 80 «-m connlimit --connlimit-above 20 --connlimit-mask 32 --connlimit-saddr» -j DROP
COMMIT
""",
    ),
    Example(
        "every packet is accepted, so that no connection hangs on the INVALID drop",
        """*filter
:INPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate INVALID -j DROP
COMMIT
""",
    ),
)


def check(audit: Audit) -> Iterator[Finding]:
    """Each rule that was judged `required`."""
    for judgement in audit.tracking.judgements:
        if judgement.kind is not RuleClass.REQUIRED:
            continue
        what = judgement.consumer
        yield Finding(
            CODE,
            NAME,
            SEVERITY,
            f"this rule needs connection tracking: {judgement.reason}",
            places.consumer(judgement.rule, audit.source),
            f"{what} lives in conntrack" if what else "this test needs the connection's state",
            notes=tuple(("note", f"{w.packet}: {w.description}") for w in judgement.connections[1:]),
            witness=judgement.connections[0] if judgement.connections else None,
        )
