"""Fixes applied: the edits of class exact, in a ruleset and in the files that it includes.

The new text is read again and compared with the old one: what is not proved to change nothing is not taken.
"""

import os
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import ruleaudit
from ruleaudit.diagnostics import Finding, FixClass, RuleauditError
from ruleaudit.includes import finder
from ruleaudit.reading import Reading
from ruleaudit.results import FileReport
from ruleaudit.source import Edit, SourceFile, Span, apply
from ruleaudit.syntax.nft_definitions import Found, Load

#: fixes that stand in each other's way are applied one after the other, so often at most
MOST_ROUNDS = 10


@dataclass(frozen=True)
class Fixed:
    """What became of a ruleset.

    report   what is found in the new text
    texts    the new texts, by the paths of the files that change
    refused  what is said of fixes that were not applied
    """

    report: FileReport
    texts: Mapping[str, str]
    refused: tuple[str, ...]


def fix(
    report: FileReport,
    wanted: Callable[[FileReport], Sequence[Finding]],
    read: Callable[[SourceFile, Load], Reading],
    audit: Callable[[SourceFile, Load], FileReport],
    shared: Collection[str] = (),
) -> Fixed:
    """Apply the fixes of the findings of a report that are `wanted`; `read` and `audit` look at the new text.

    `shared` are the real paths of files that are parts of other rulesets, too: they are left alone.
    """
    return _Fixing(report, wanted, read, audit, shared).done()


@dataclass
class _Fixing:
    """One ruleset on its way: its texts by path, and what is found in them."""

    report: FileReport
    wanted: Callable[[FileReport], Sequence[Finding]]
    read: Callable[[SourceFile, Load], Reading]
    audit: Callable[[SourceFile, Load], FileReport]
    shared: Collection[str]
    refused: dict[tuple[str, ...], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        source = self.report.source
        self.path = source.path
        self.load = finder(source.path)
        self.old = {part.path: part.text for part, _ in source.parts()}
        self.texts = dict(self.old)
        self.before = self._reading(self.old)

    def done(self) -> Fixed:
        number = 0
        for _ in range(MOST_ROUNDS):
            wanted = [f for f in self.wanted(self.report) if f.fixable and self._known(f) not in self.refused]
            wanted = [f for f in wanted if not self._is_shared(f)]
            batch = list(_apart(self.report.source, wanted))
            if not batch:
                break
            taken = self._proved([], batch)
            for finding in batch:
                if finding not in taken:
                    self._refuse(finding, "it could not be proved to change nothing")
            if taken:
                number += len(taken)
                self.texts = self._after(taken)
                self.report = self.audit(*self._source(self.texts))
        changed = {path: text for path, text in self.texts.items() if text != self.old[path]}
        return Fixed(replace(self.report, fixed=number), changed, tuple(self.refused.values()))

    def _proved(self, taken: Sequence[Finding], more: list[Finding]) -> list[Finding]:
        """Those of `more` that may be applied besides `taken`; where not all of them may, each half is tried."""
        if self._is_same([*taken, *more]):
            return more
        if len(more) == 1:
            return []
        half = len(more) // 2
        first = self._proved(taken, more[:half])
        return first + self._proved([*taken, *first], more[half:])

    def _is_same(self, findings: Sequence[Finding]) -> bool:
        """Whether every packet fares as in the old text; what is logged may change."""
        after = self._reading(self._after(findings))
        if self.before is None or after is None:
            return False
        try:
            comparison = ruleaudit.compared(self.before, after)
        except RuleauditError:
            # errors in the text, or a text that is of the other family now
            return False
        if comparison.undecided or comparison.not_compared:
            return False
        return all(difference.loosens is FixClass.EXACT for difference in comparison.differences)

    def _after(self, findings: Sequence[Finding]) -> dict[str, str]:
        """The texts with the fixes of some findings."""
        edits: dict[str, set[Edit]] = {}
        for finding in findings:
            for path, edit in _edits(self.report.source, finding):
                edits.setdefault(path, set()).add(edit)
        return self.texts | {path: apply(self.texts[path], some) for path, some in edits.items()}

    def _source(self, texts: Mapping[str, str]) -> tuple[SourceFile, Load]:
        def load(pattern: str, by: str) -> Found:
            found = self.load(pattern, by)
            return replace(found, files=tuple(replace(f, text=texts.get(f.path, f.text)) for f in found.files))

        return SourceFile(self.path, texts[self.path]), load

    def _reading(self, texts: Mapping[str, str]) -> Reading | None:
        try:
            return self.read(*self._source(texts))
        except RuleauditError:
            return None

    def _is_shared(self, finding: Finding) -> bool:
        for path, _ in _edits(self.report.source, finding):
            if path != self.path and os.path.realpath(path) in self.shared:
                self._refuse(finding, f"{path} is a part of other rulesets, too")
                return True
        return False

    def _known(self, finding: Finding) -> tuple[str, ...]:
        place = self.report.source.position(finding.span.start)
        line = self.report.source.line(place.line, finding.span.start)
        return place.path, line, finding.code, finding.message

    def _refuse(self, finding: Finding, why: str) -> None:
        place = self.report.source.position(finding.span.start)
        self.refused[self._known(finding)] = f"{place.path}:{place.line}: {finding.code} not fixed: {why}"


def _edits(source: SourceFile, finding: Finding) -> Iterator[tuple[str, Edit]]:
    """The edits of a finding's fix, each with the path of its file and counted from where that begins."""
    for edit in finding.fix.edits if finding.fix else ():
        part, base = source.file_at(edit.span.start)
        yield part.path, Edit(Span(edit.span.start - base, edit.span.end - base), edit.text)


def _apart(source: SourceFile, findings: Sequence[Finding]) -> Iterator[Finding]:
    """The findings whose fixes can be applied at once: none touches what another one changes."""
    busy: dict[str, list[Span]] = {}  #: by path, in order
    for finding in findings:
        edits = list(_edits(source, finding))
        if not any(_meets(edit.span, busy.get(path, ())) for path, edit in edits):
            for path, edit in edits:
                insort(busy.setdefault(path, []), edit.span)
            yield finding


def _meets(span: Span, others: Sequence[Span]) -> bool:
    """Whether a span touches what one of some spans does; they are in order, and none meets another."""
    at = bisect_left(others, span)
    return any(_meet(span, other) for other in others[max(at - 1, 0) : at + 1])


def _meet(one: Span, other: Span) -> bool:
    return one.start == other.start or (one.start < other.end and other.start < one.end)
