"""What was read of one file: its tree, the rules of each address family in it, and what is wrong with it."""

from dataclasses import dataclass

from ruleaudit.diagnostics import Finding
from ruleaudit.model.ruleset import Ruleset
from ruleaudit.syntax.iptables import Document


@dataclass(frozen=True, slots=True)
class Reading:
    """An iptables-save file has the rules of one family."""

    document: Document
    rulesets: tuple[Ruleset, ...]
    findings: tuple[Finding, ...]
