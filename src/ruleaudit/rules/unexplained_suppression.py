"""A comment that ignores a finding and does not say why.

What it finds
    `ruleaudit: ignore[...]` without a word behind the bracket.

Why
    Whoever reads it in a year, with a full table, needs to know whether the reason still holds.

Example
    # ruleaudit: ignore[RA101]

Instead
    # ruleaudit: ignore[RA101] ten requests a day

Fix safety
    No automatic fix: only its author knows the reason.

References
    ruleaudit rule RA003
"""

from collections.abc import Iterator

from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.suppress import Suppression

CODE = "RA004"
NAME = "unexplained-suppression"
SEVERITY = Severity.NOTE
SINCE = "0.1"

EXAMPLES = (
    Example(
        "no reason",
        """*filter
:INPUT ACCEPT [0:0]
# «ruleaudit: ignore[RA301]»
-A INPUT -p tcp -m tcp --dport 25 -j MINE
COMMIT
""",
    ),
    Example(
        "a reason",
        """*filter
:INPUT ACCEPT [0:0]
# ruleaudit: ignore[undefined-chain] made at boot
-A INPUT -p tcp -m tcp --dport 25 -j MINE
COMMIT
""",
    ),
)


def check(audit: Audit) -> Iterator[Finding]:
    """Nothing: which comments are needed is known when all other findings are."""
    yield from ()


def finding(comment: Suppression) -> Finding:
    """The finding about a comment that gives no reason."""
    return Finding(CODE, NAME, SEVERITY, "this comment does not say why", comment.span)
