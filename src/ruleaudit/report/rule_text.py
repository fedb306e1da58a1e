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
        f"{rule.CODE}  {rule.SEVERITY.value:<7}  {rule.NAME:<{width}}  {(rule.__doc__ or '').split(chr(10))[0]}\n"
        for rule in sorted(rules, key=lambda r: r.CODE)
    )


def page(rule: LintRule) -> str:
    """The documentation of one rule."""
    head = f"{rule.CODE} {rule.NAME}"
    return f"{head:<56}{rule.SEVERITY.value} · since {rule.SINCE}\n\n{(rule.__doc__ or '').strip()}\n"
