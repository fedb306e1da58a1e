"""A test of the connection's state that says something else than it seems to: always true, or never.

What it finds
    nft's `ct state != established,related`, which compares the whole state with both bits at once and so holds for
    every packet; and an element such as `new | untracked` of a set or verdict map, which no packet has.

Why
    Without an operator `ct state established,related` asks for one of the bits; with `!=` it asks whether the state is
    something else than the two bits together, and no packet has two. `ct state != established,related drop` drops
    everything, established connections included.

Example
    ct state != established,related drop

Instead
    ct state != { established, related } drop

Fix safety
    Not automatic: the rule as it was meant drops or accepts other packets than the rule as it is. `ruleaudit verify`
    shows which.

References
    nft(8), CT EXPRESSIONS
"""

import re
from collections.abc import Iterator

from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.model.condition import Always, Never
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example

CODE = "RA306"
NAME = "always-true-test"
SEVERITY = Severity.WARNING
SINCE = "0.1"

EXAMPLES = (
    Example(
        "a comparison of the whole state",
        """table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy accept;
\t\ttcp dport 22 «ct state != established,related» counter
\t}
}
""",
    ),
    Example(
        "a set, and a single state",
        """table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy accept;
\t\ttcp dport 22 ct state != { established, related } counter
\t\ttcp dport 22 ct state != established counter
\t}
}
""",
    ),
    Example(
        "two states as one element",
        """table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy accept;
\t\t«ct state { new | untracked }» counter
\t}
}
""",
    ),
)


def check(audit: Audit) -> Iterator[Finding]:
    """Each test of the state whose answer does not depend on the state."""
    for rule in audit.ruleset.rules():
        for match in rule.matches:
            if match.name != "ct state" or not match.text:
                continue
            if isinstance(match.condition, Always) and "!=" in match.text.split():
                states = ", ".join(re.findall(r"[\w$@]+", match.text.partition("!=")[2]))
                notes = (("help", f"write: ct state != {{ {states} }}"),)
                message = "this holds for every packet: != compares the whole state with all these bits at once"
                yield Finding(CODE, NAME, SEVERITY, message, rule.place_of(match), "always true", (), notes)
            elif isinstance(match.condition, Never):
                message = "no packet has this state: an element is compared as a whole, and a packet has one state"
                notes = (("help", "give each state an element of its own"),)
                yield Finding(CODE, NAME, SEVERITY, message, rule.place_of(match), "never true", (), notes)
