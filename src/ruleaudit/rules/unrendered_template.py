"""A template that has not been rendered.

What it finds
    Jinja, Go or ERB markup in the file: `{{ ... }}`, `{% ... %}`, `<% ... %>`.

Why
    The ruleset is what the template renders to; with other values of its variables it is another ruleset. Nothing
    is guessed, nothing is reported as broken syntax, and nothing is rewritten.

Example
    -A INPUT -p tcp --dport {{ web_port }} -j ACCEPT

Instead
    Render it and check the result, for instance
    python3 -c "import jinja2, sys; print(jinja2.Template(sys.stdin.read()).render(web_port=80))" < rules.v4.j2 |
    ruleaudit check -

Fix safety
    No fix: the file is left alone.

References
    iptables-save(8)
"""

import re
from collections.abc import Iterator

from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.source import SourceFile, Span

CODE = "RA005"
NAME = "unrendered-template"
SEVERITY = Severity.NOTE
SINCE = "0.1"

EXAMPLES = (
    Example(
        "a Jinja expression",
        """*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp --dport «{{ web_port }}» -j ACCEPT
COMMIT
""",
    ),
    Example(
        "a Jinja statement; only the first markup is marked",
        """*filter
:INPUT ACCEPT [0:0]
«{% for port in ports %}»
-A INPUT -p tcp --dport {{ port }} -j ACCEPT
{% endfor %}
COMMIT
""",
    ),
    Example(
        "an ERB expression",
        """*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp --dport «<%= @port %>» -j ACCEPT
COMMIT
""",
    ),
    Example(
        "a finished ruleset",
        """*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 80 -m comment --comment "80 % of it {web}" -j ACCEPT
COMMIT
""",
    ),
)

_MARKUP = re.compile(r"\{\{.*?(?:\}\}|$)|\{%.*?(?:%\}|$)|<%.*?%>", re.M)


def find(source: SourceFile) -> Finding | None:
    """The note about a template, at its first markup."""
    found = _MARKUP.search(source.text)
    if found is None:
        return None
    help_text = f"render it first, and give the result to `ruleaudit check -` (ruleaudit rule {CODE} shows how)"
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        "a template, not a ruleset: nothing in it was checked",
        Span(found.start(), found.end()),
        "filled in by the template engine",
        notes=(("help", help_text),),
    )


def check(audit: Audit) -> Iterator[Finding]:
    """A file that was read as a ruleset is none."""
    return iter(())
