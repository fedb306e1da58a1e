"""What was read of one file: its tree, the rules of each address family in it, and what is wrong with it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ruleaudit.diagnostics import Finding
from ruleaudit.model.ruleset import Rule, Ruleset
from ruleaudit.source import Span

if TYPE_CHECKING:
    from ruleaudit.syntax.iptables import Document
    from ruleaudit.syntax.nft_tree import NftDocument


@dataclass(frozen=True, slots=True)
class Reading:
    """An iptables-save file has the rules of one family, an nft ruleset those of one or two."""

    document: "Document | NftDocument"
    rulesets: tuple[Ruleset, ...]
    findings: tuple[Finding, ...]

    def rules_in(self, ruleset: Ruleset, line: int) -> list[tuple[Rule, ...]]:
        """The rules of one family in a line of the file itself; a rule of the text may be several in the model."""
        found: dict[Span, list[Rule]] = {}
        for rule in ruleset.rules():
            first = self.document.source.position(rule.span.start)
            last = self.document.source.position(max(rule.span.start, rule.span.end - 1))
            if first.path == self.document.source.path and first.line <= line <= last.line:
                found.setdefault(rule.span, []).append(rule)
        return [tuple(found[span]) for span in sorted(found)]

    def without_rule(self, line: int) -> str:
        """What a line is that holds no rule, and where the nearest rule is."""
        source = self.document.source
        lines = source.text.splitlines()
        if not 1 <= line <= len(lines):
            return f"there is no such line; the file has {len(lines)}"
        text = lines[line - 1].strip()
        if not text:
            what = "an empty line"
        elif text.startswith("#"):
            what = "a comment"
        elif text.startswith((":", "chain ")):
            what = "where a chain begins"
        else:
            what = f'no rule, but "{text[:60]}"'
        places = ((source.position(rule.span.start), rule) for ruleset in self.rulesets for rule in ruleset.rules())
        own = [(abs(place.line - line), place.line, rule.text) for place, rule in places if place.path == source.path]
        if not own:
            return f"{what}, and there is no rule in this file"
        _, near, nearest = min(own)
        return f"{what}; the nearest rule is in line {near}: {nearest}"
