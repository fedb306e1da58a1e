"""What can be said about a ruleset: findings, their severity, place and fix; and the exception tree.

    RuleauditError
      UsageError       the command line or the configuration asks for something that does not exist
      SourceError      a file cannot be read or written, or is no ruleset at all

What is wrong with the *input's contents* is never an exception: it is a Finding with a span.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ruleaudit.source import Edit, Span


class RuleauditError(Exception):
    """The root of everything that ruleaudit raises on purpose; its text is fit for the user."""


class UsageError(RuleauditError):
    """The command line or the configuration asks for something that does not exist."""


class SourceError(RuleauditError):
    """A file cannot be read or written, or is no ruleset at all."""


class Severity(Enum):
    """How bad a finding is; error: traffic breaks or the file will not load."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class FixClass(Enum):
    """What applying a fix changes, from strict to loose (design section 5)."""

    EXACT = "exact"
    SAME_CONNECTIONS = "same-connections"
    ASSUMING = "assuming"
    REVERSED = "reversed"
    RELAXING = "relaxing"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Label:
    """A second place that belongs to a finding, and what to say about it."""

    span: Span
    text: str


@dataclass(frozen=True, slots=True)
class Witness:
    """One concrete packet, in the packet language of the command line, and what happens to it."""

    packet: str
    description: str


@dataclass(frozen=True, slots=True)
class Fix:
    """A change that removes a finding."""

    kind: FixClass
    description: str
    edits: tuple[Edit, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One statement about one place in one file.

    `label` is printed beside the caret, `notes` below the excerpt as (kind, text), kind being note, proved, cost, fix
    or help.
    """

    code: str
    name: str
    severity: Severity
    message: str
    span: Span
    label: str = ""
    related: tuple[Label, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    witness: Witness | None = None
    fix: Fix | None = None
    certainty: str = "proved"

    @property
    def fixable(self) -> bool:
        """Whether `check --fix` would apply its fix."""
        return self.fix is not None and self.fix.kind is FixClass.EXACT and bool(self.fix.edits)
