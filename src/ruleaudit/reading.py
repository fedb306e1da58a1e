"""What was read of one file: its tree, the rules of each address family in it, and what is wrong with it."""

from dataclasses import dataclass

from ruleaudit.diagnostics import Finding
from ruleaudit.model.ruleset import Ruleset
from ruleaudit.syntax.iptables import Document
from ruleaudit.syntax.nft_tree import NftDocument


@dataclass(frozen=True, slots=True)
class Reading:
    """An iptables-save file has the rules of one family, an nft ruleset those of one or two."""

    document: Document | NftDocument
    rulesets: tuple[Ruleset, ...]
    findings: tuple[Finding, ...]
