"""A comment that ignores what is not there.

What it finds
    `ruleaudit: ignore[...]` where no finding of that code is in the line that the comment is about, or in the file.
    A comment about what this run does not look for (RA207 without the other file, RA501 without expectations, a rule
    in preview) is left alone.

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

import re
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


#: what makes a comment of the words behind it: a line of its own, the rest of a line, a comment of either language
_BEFORE = re.compile(r"""^[ \t]*#[ \t]*\Z|[ \t]+#[ \t]*\Z|[ \t]+(?:-m[ \t]+comment[ \t]+--)?comment[ \t]+"\Z""")


def _all_of_it(text: str, words: Span) -> Span | None:
    """What goes with the words that ignore: the whole comment, unless it says something else; None: no knowing."""
    start = text.rfind("\n", 0, words.start) + 1
    line = text[start : words.start]
    alone = _BEFORE.search(line)
    end = words.end
    if text[end : end + 1] == '"':
        end += alone is not None
    elif "#" in line:
        following = text.find("\n", end)
        own_line = alone is not None and alone.start() == 0
        end = following + own_line if following >= 0 else len(text)
    else:
        return None
    return Span(start + (alone.start() if alone else len(line.rstrip(" \t,;:-"))), end)


def finding(source: SourceFile, comment: Suppression) -> Finding:
    """The finding about a comment that covers nothing."""
    part, base = source.file_at(comment.span.start)
    span = _all_of_it(part.text, Span(comment.span.start - base, comment.span.end - base))
    fix = None
    if span is not None:
        fix = Fix(FixClass.EXACT, "delete the comment", (Edit(Span(base + span.start, base + span.end), ""),))
    codes = ", ".join(comment.codes) or "nothing"
    message = f"this comment ignores {codes}, which is not found here"
    return Finding(CODE, NAME, SEVERITY, message, comment.span, fix=fix)
