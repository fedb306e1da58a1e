"""`rules` and `rule CODE`: the lint rules, whose documentation is the docstring of their module."""

from collections.abc import Sequence
from typing import Protocol

from ruleaudit.diagnostics import Severity


class LintRule(Protocol):
    """What a module of `ruleaudit.rules` says of its rule."""

    CODE: str
    NAME: str
    SEVERITY: Severity
    SINCE: str
    __doc__: str | None


def listing(rules: Sequence[LintRule]) -> str:
    """Code, severity, name and first sentence of every rule."""
    width = max((len(rule.NAME) for rule in rules), default=0)
    return "".join(
        f"{rule.CODE}  {rule.SEVERITY.value:<7}  {rule.NAME:<{width}}  {(rule.__doc__ or '').split(chr(10))[0]}"
        f"{' (preview)' if _in_preview(rule) else ''}\n"
        for rule in sorted(rules, key=lambda r: r.CODE)
    )


def page(rule: LintRule) -> str:
    """The documentation of one rule."""
    head = f"{rule.CODE} {rule.NAME}"
    since = f"since {rule.SINCE}" + (" · in preview: check --preview" if _in_preview(rule) else "")
    return f"{head:<56}{rule.SEVERITY.value} · {since}\n\n{(rule.__doc__ or '').strip()}\n"


def _in_preview(rule: LintRule) -> bool:
    return bool(getattr(rule, "PREVIEW", False))
