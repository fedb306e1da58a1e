"""The edits of a fix: a rule, or one test of it, taken out of the text; a rule moved. None where no edit is safe.

nft in JSON is left alone: there, what is said in words has to do. So are lines of iptables whose place in the chain is
a number, and chains in which a command counts rules.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from ruleaudit.diagnostics import Fix, FixClass
from ruleaudit.model.ruleset import Match, Rule
from ruleaudit.rules.audit import Audit
from ruleaudit.source import Edit, SourceFile, Span

#: commands that count the rules of a chain: with a line less they mean another rule
_COUNTING = re.compile(r"^(?:\[\d+:\d+\] *)?(?:-[DRI]|--delete|--replace|--insert) ", re.MULTILINE)
_COUNTING_NFT = re.compile(r"\b(?:index|position) \d")
_APPENDED = re.compile(r"(?:\[\d+:\d+\] *)?(?:-A|--append) ")
_STATE_OPTION = re.compile(r"(?<!\S)--(?:ct\w*|stat\w*)(?![\w-])")


def without_rule(rule: Rule, source: SourceFile) -> Edit | None:
    """The rule taken out; with its lines, if it has them for itself."""
    if not _may_change(rule, source):
        return None
    place = _Place(rule, source)
    if place.alone:
        return Edit(place.lines, "")
    if not place.in_block:
        return None  # the rule of a command that names its chain
    behind = re.match(r"[ \t]*;[ \t]*", place.text[place.end :])
    return Edit(Span(rule.span.start, rule.span.end + (behind.end() if behind else 0)), "")


def deletion(audit: Audit, rules: Iterable[Rule], what: str) -> Fix:
    """The fix that takes rules out which decide about no packet: exact, unless they alone switch tracking on."""
    gone = {rule.span: rule for rule in rules}
    found = [without_rule(gone[span], audit.source) for span in sorted(gone)]
    edits = tuple(_joined(edit for edit in found if edit is not None))
    if None in found or not edits:
        return Fix(FixClass.MANUAL, f"delete {what}")
    users = audit.conntrack_users
    if users and not audit.ruleset.tracks and all(user.span in gone for user in users):
        return Fix(FixClass.MANUAL, f"delete {what}; nothing is tracked any more then, for no other rule asks for it")
    return Fix(FixClass.EXACT, f"delete {what}", edits)


def _joined(edits: Iterable[Edit]) -> Iterator[Edit]:
    """Deletions that touch each other as one."""
    begun: Edit | None = None
    for edit in sorted(edits):
        if begun is not None and edit.span.start <= begun.span.end:
            begun = Edit(Span(begun.span.start, max(begun.span.end, edit.span.end)), "")
            continue
        if begun is not None:
            yield begun
        begun = edit
    if begun is not None:
        yield begun


def without_test(rule: Rule, match: Match, source: SourceFile) -> Edit | None:
    """One test of the rule taken out, with the blanks behind it."""
    span = rule.place_of(match)
    text = source.slice(span)
    if not _may_change(rule, source, whole=False):
        return None
    if " " in rule.table:
        # an element of a verdict map is no test of its own
        if not match.text:
            return None
    elif not text.startswith("-m ") or len(_STATE_OPTION.findall(text)) != len(_STATE_OPTION.findall(rule.text)):
        return None  # its words are not side by side, or another match asks too
    place = _Place(rule, source)
    behind = re.match(r"[ \t]*", place.text[span.end - place.base :])
    return Edit(Span(span.start, span.end + (behind.end() if behind else 0)), "")


def moved(rule: Rule, before: Rule, source: SourceFile) -> tuple[Edit, ...] | None:
    """The rule moved before another one, where both have lines of their own in one file."""
    if not (_may_change(rule, source) and _may_change(before, source)):
        return None
    here, there = _Place(rule, source), _Place(before, source)
    if not (here.alone and there.alone) or source.number_at(rule.span.start) != source.number_at(before.span.start):
        return None
    line = source.slice(here.lines)
    if not line.endswith("\n"):
        return None
    return Edit(Span(there.lines.start, there.lines.start), line), Edit(here.lines, "")


@lru_cache(maxsize=8)
def _counts(text: str, counting: re.Pattern[str]) -> bool:
    """Some command of a text counts the rules of a chain."""
    return counting.search(text) is not None


def _may_change(rule: Rule, source: SourceFile, *, whole: bool = True) -> bool:
    """The text of the rule can be changed by itself; `whole`: and the places of other rules may shift."""
    part, base = source.file_at(rule.span.start)
    if " " in rule.table:
        return not (part.text.lstrip().startswith(("{", "[")) or (whole and _counts(part.text, _COUNTING_NFT)))
    start = part.text.rfind("\n", 0, rule.span.start - base) + 1
    if not whole:
        return True
    return _APPENDED.match(part.text, start) is not None and not _counts(part.text, _COUNTING)


class _Place:
    """Where a rule stands in its file."""

    def __init__(self, rule: Rule, source: SourceFile) -> None:
        part, self.base = source.file_at(rule.span.start)
        self.text = part.text
        start, self.end = rule.span.start - self.base, rule.span.end - self.base
        begin = self.text.rfind("\n", 0, start) + 1
        newline = self.text.find("\n", self.end)
        close = newline + 1 if newline >= 0 else len(self.text)
        before, after = self.text[begin:start].strip(), self.text[self.end : close].strip()
        #: the lines of the rule, their ends included
        self.lines = Span(begin + self.base, close + self.base)
        if " " in rule.table:
            # `add rule inet filter input ...` goes with its command; others would count its place
            command = re.fullmatch(r"add\s+rule\s+(?:\w+\s+)?\S+\s+\S+", before)
            self.in_block = not before or before.endswith((";", "{"))
            self.alone = (not before or command is not None) and (after in ("", ";") or after.startswith("#"))
        else:
            self.in_block, self.alone = False, True
