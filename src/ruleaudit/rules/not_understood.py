"""A match, target or statement that ruleaudit does not know.

What it finds
    A match (`-m name`) or target, a test or statement of nft, whose meaning is not known here. The text stays as it is.

Why
    The analysis takes such a test as one that may or may not match, whatever the packet. Nothing wrong is claimed
    because of it, but what depends on it cannot be proved either: a service behind it stays tracked.

Example
    -A INPUT -m geoip --src-cc XX -j DROP

Instead
    An ipset, or a rule of its own for the traffic that should leave connection tracking, before this one.

Fix safety
    No automatic fix.

References
    iptables-extensions(8), nft(8)
"""

from collections.abc import Iterator

from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example

CODE = "RA002"
NAME = "not-understood"
SEVERITY = Severity.WARNING
SINCE = "0.1"

EXAMPLES = (
    Example(
        "an extension that is not part of iptables",
        """*filter
:INPUT ACCEPT [0:0]
-A INPUT -m «geoip» --src-cc XX -j DROP
COMMIT
""",
    ),
    Example(
        "a limit is understood, although nobody can say which packets it takes",
        """*filter
:INPUT ACCEPT [0:0]
-A INPUT -p icmp -m limit --limit 5/second -j ACCEPT
COMMIT
""",
    ),
)


def check(audit: Audit) -> Iterator[Finding]:
    """The reader has found them."""
    yield from (f for f in audit.read if f.code == CODE)
