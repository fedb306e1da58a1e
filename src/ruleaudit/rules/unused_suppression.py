"""A comment that ignores what is not there.

What it finds
    `ruleaudit: ignore[...]` where no finding of that code is in the line that the comment is about, or in the file.

Why
    It was about something that is gone. Left alone it hides the same fault when somebody makes it again.

Example
    # ruleaudit: ignore[RA201] repaired long ago
    -A PREROUTING -p tcp --dport 80 -j ACCEPT

Instead
    -A PREROUTING -p tcp --dport 80 -j ACCEPT

Fix safety
    Exact: a comment has no effect on packets.

References
    ruleaudit rule RA004
"""

from collections.abc import Iterator

from ruleaudit.diagnostics import Finding, Fix, FixClass, Severity
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.source import Edit, SourceFile, Span
from ruleaudit.suppress import Suppression

CODE = "RA003"
NAME = "unused-suppression"
SEVERITY = Severity.WARNING
SINCE = "0.1"

EXAMPLES = (
    Example(
        "nothing to ignore in the next line",
        """*filter
:INPUT ACCEPT [0:0]
# «ruleaudit: ignore[RA101] was there before»
-A INPUT -p tcp -m tcp --dport 25 -j DROP
COMMIT
""",
    ),
    Example(
        "nothing to ignore in the rule's own line",
        """*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 25 -m comment --comment "«ruleaudit: ignore[RA301] x»" -j DROP
COMMIT
""",
    ),
    Example(
        "it ignores what is there",
        """*filter
:INPUT ACCEPT [0:0]
# ruleaudit: ignore[RA301] made at boot
-A INPUT -p tcp -m tcp --dport 25 -j MINE
COMMIT
""",
    ),
)


def check(audit: Audit) -> Iterator[Finding]:
    """Nothing: which comments are unused is known when all other findings are."""
    yield from ()


def finding(source: SourceFile, comment: Suppression) -> Finding:
    """The finding about a comment that covers nothing."""
    fix = None
    if comment.own_line:
        part, base = source.file_at(comment.span.start)
        start = part.text.rfind("\n", 0, comment.span.start - base) + 1
        end = part.text.find("\n", comment.span.end - base) + 1 or len(part.text)
        fix = Fix(FixClass.EXACT, "delete the comment", (Edit(Span(base + start, base + end), ""),))
    codes = ", ".join(comment.codes) or "nothing"
    message = f"this comment ignores {codes}, which is not found here"
    return Finding(CODE, NAME, SEVERITY, message, comment.span, fix=fix)
