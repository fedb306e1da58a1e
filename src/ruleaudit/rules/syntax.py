"""A line that iptables-restore or nft would not load.

What it finds
    An unknown option, match, selector, table, state or protocol, a missing argument, a value of the wrong type, a rule
    of a chain that does not exist: everything for which `iptables-restore` or `nft -f` gives up. Every such line is
    reported in one run.

Why
    iptables-restore stops at the first bad line and loads nothing of that table, nft loads nothing of the whole file:
    at boot the box then comes up without a firewall, or with the one of last week.

Example
    -A INPUT -m conntrack --ctstate NEW,ESTBLISHED -j ACCEPT

Instead
    -A INPUT -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT

Fix safety
    No automatic fix: only the author knows which word was meant.

References
    iptables(8), iptables-restore(8), iptables-extensions(8), nft(8)
"""

from collections.abc import Iterator

from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example

CODE = "RA001"
NAME = "syntax"
SEVERITY = Severity.ERROR
SINCE = "0.1"

EXAMPLES = (
    Example(
        "a misspelt state",
        """*filter
:INPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate NEW,«ESTBLISHED» -j ACCEPT
COMMIT
""",
    ),
    Example(
        "two bad lines, both reported",
        """*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport «70000» -j ACCEPT
-A INPUT -s «10.9.0.300» -j DROP
COMMIT
""",
    ),
    Example(
        "nft: a chain that the table does not have, and a value that its selector does not take",
        """table inet filter {
	chain input {
		type filter hook input priority filter;
		tcp dport «70000» accept
		jump «nowhere»
	}
}
""",
        "nft",
    ),
    Example(
        "a shortened state name, as iptables takes it",
        """*filter
:INPUT ACCEPT [0:0]
-A INPUT -m state --state ESTAB -j ACCEPT
COMMIT
""",
    ),
)


def check(audit: Audit) -> Iterator[Finding]:
    """The reader has found them."""
    yield from (f for f in audit.read if f.code == CODE)
