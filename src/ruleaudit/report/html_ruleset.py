"""A ruleset with what is to be said of it in place, for a page: a word beside each line, findings beneath.

Long stretches in which nothing is found are folded; no line is left out, and no more than `_MOST` findings are told.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.model.ruleset import Rule
from ruleaudit.report.check_full import LONGEST, is_shown, notes_of
from ruleaudit.report.excerpt import window
from ruleaudit.report.html_page import fill
from ruleaudit.report.wording import shortened
from ruleaudit.results import FileReport, RuleClass
from ruleaudit.results.suggestion import Suggestion
from ruleaudit.source import SourceFile, Span

#: a longer line is shown in part, and each finding has its own excerpt of it
_LONGEST_LINE = 1000
#: a file of more lines is folded, but for those around findings, and those with a word beside them if these are few
_WHOLE, _AROUND, _WORTH, _FEW = 150, 3, 8, 50
_MOST = 500

_WORDS = {
    RuleClass.REQUIRED: ("needs tracking", "plain"),
    RuleClass.REPLACEABLE: ("replaceable", "good"),
    RuleClass.REDUNDANT: ("redundant", "good"),
    RuleClass.DEAD: ("dead", "good"),
}
TONES = {Severity.ERROR: "bad", Severity.WARNING: "warning", Severity.NOTE: "plain"}


@dataclass(frozen=True)
class Piece:
    """A part of a line; `marked` where a finding is about it."""

    text: str
    marked: bool


@dataclass(frozen=True)
class Told:
    """A finding as it stands beneath its line: `open` unless it is a mere note.

    excerpt     the part of a long line that it is about
    related     other places: the id of their line, how they are called, what is said of them
    """

    finding: Finding
    tone: str
    open: bool
    message: str
    notes: tuple[tuple[str, str], ...]
    related: tuple[tuple[str, str, str], ...]
    excerpt: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class Line:
    """A line of a file; `words` beside it, each with its tone."""

    id: str
    number: int
    pieces: tuple[Piece, ...]
    words: tuple[tuple[str, str], ...]
    told: tuple[Told, ...]


@dataclass(frozen=True)
class Stretch:
    """Some lines that follow each other."""

    lines: tuple[Line, ...]
    folded: bool


@dataclass(frozen=True)
class Part:
    """A file, or one that it includes."""

    path: str
    stretches: tuple[Stretch, ...]


def render(report: FileReport, suggestion: Suggestion | None, name: str, notes: bool) -> Markup:
    """The section; `name` begins the ids of its lines, `notes`: mere notes are unfolded."""
    shown = _Shown(report, suggestion, name, notes)
    parts = tuple(shown.parts())
    return fill("ruleset.html", parts=parts, left=max(0, len(report.findings) - _MOST), path=report.source.path)


def line_id(name: str, source: SourceFile, offset: int) -> str:
    """The id of the line that an offset lies in."""
    return f"{name}-{source.number_at(offset)}-{source.position(offset).line}"


class _Shown:
    """The lines of one report."""

    def __init__(self, report: FileReport, suggestion: Suggestion | None, name: str, notes: bool) -> None:
        self.report, self.source, self.name, self.notes = report, report.source, name, notes
        worst = sorted(report.findings, key=lambda f: list(Severity).index(f.severity))[:_MOST]
        self.findings: dict[tuple[int, int], list[Finding]] = {}
        for finding in sorted(worst, key=lambda f: f.span.start):
            self.findings.setdefault(self._place(finding.span.start), []).append(finding)
        self.words = self._words(suggestion)
        self.open = {place for place, some in self.findings.items() if any(map(self._is_open, some))}
        open_ones = [f for some in self.findings.values() for f in some if self._is_open(f)]
        self.open |= {self._place(label.span.start) for f in open_ones for label in f.related}

    def _place(self, offset: int) -> tuple[int, int]:
        return self.source.number_at(offset), self.source.position(offset).line

    def _is_open(self, finding: Finding) -> bool:
        return self.notes or is_shown(finding)

    def _words(self, suggestion: Suggestion | None) -> dict[tuple[int, int], list[tuple[str, str]]]:
        found: dict[tuple[int, int], list[tuple[str, str]]] = {}

        def say(rule: Rule, word: tuple[str, str]) -> None:
            words = found.setdefault(self._place(rule.span.start), [])
            if word not in words:
                words.append(word)

        for judgement in self.report.tracking.judgements if self.report.tracking else ():
            say(judgement.rule, _WORDS[judgement.kind])
        for flow in suggestion.flows if suggestion else ():
            if flow.rule is not None:
                # that says more than the class of its rule
                found[self._place(flow.rule.span.start)] = [("can leave", "good")]
        for rule in self.report.opaque:
            say(rule, ("not understood", "warning"))
        return found

    def parts(self) -> Iterator[Part]:
        """The file, what it includes, and its configuration where something is found in that."""
        included = {number + 1 for include in self.source.includes for number in include.files}
        spans = [s for some in self.findings.values() for f in some for s in (f.span, *(r.span for r in f.related))]
        concerned = {self.source.number_at(span.start) for span in spans}
        for number, (file, base) in enumerate(self.source.parts()):
            if number == 0 or number in included | concerned:
                yield Part(file.path, tuple(self._stretches(number, file, base)))

    def _stretches(self, number: int, file: SourceFile, base: int) -> Iterator[Stretch]:
        texts = file.text.split("\n")
        if not texts[-1] and (number, len(texts)) not in self.findings.keys() | self.open:
            texts.pop()  # the end of the last line begins no other, unless something is missing there
        lines, start = [], base
        for count, text in enumerate(texts, 1):
            lines.append(self._line(number, count, text.rstrip("\r"), start))
            start += len(text) + 1
        if len(lines) <= _WHOLE:
            yield Stretch(tuple(lines), folded=False)
            return
        told = [line - 1 for part, line in self.open if part == number]
        near = {at + by for at in told for by in range(-_AROUND, _AROUND + 1)} | set(range(_AROUND))
        if len(self.words) <= _FEW:
            near |= {line - 1 for part, line in self.words if part == number}
        yield from _folded(lines, near)

    def _line(self, number: int, count: int, text: str, start: int) -> Line:
        mine = self.findings.get((number, count), [])
        spans = [self._within(f.span, start, text) for f in mine]
        pieces = _pieces(text, spans) if len(text) <= _LONGEST_LINE else (Piece(shortened(text, _LONGEST_LINE), False),)
        words = [(f.severity.value, TONES[f.severity]) for f in mine if is_shown(f)]
        words = list(dict.fromkeys(words)) + self.words.get((number, count), [])
        told = tuple(self._told(f, text, span) for f, span in zip(mine, spans, strict=True))
        return Line(f"{self.name}-{number}-{count}", count, pieces, tuple(words), told)

    def _within(self, span: Span, start: int, text: str) -> tuple[int, int]:
        first = min(span.start - start, len(text))
        return first, min(span.end - start, len(text))

    def _told(self, finding: Finding, text: str, span: tuple[int, int]) -> Told:
        excerpt: tuple[Piece, ...] = ()
        if len(text) > _LONGEST_LINE:
            part, first, size = window(text, span[0], max(1, span[1] - span[0]))
            excerpt = _pieces(part, [(first, first + size)])
        related = []
        for label in finding.related:
            place = self.source.position(label.span.start)
            where = f"line {place.line}" if place.path == self.source.path else f"line {place.line} of {place.path}"
            related.append((line_id(self.name, self.source, label.span.start), where, label.text))
        notes = tuple((kind, shortened(text, LONGEST)) for kind, text in notes_of(finding))
        message = shortened(finding.message, LONGEST)
        return Told(finding, TONES[finding.severity], self._is_open(finding), message, notes, tuple(related), excerpt)


def _folded(lines: Sequence[Line], near: Iterable[int]) -> Iterator[Stretch]:
    """Stretches of lines, folded where they are not near anything and long enough to be worth it."""
    kept = sorted(at for at in near if 0 <= at < len(lines))
    done = 0
    for at in (*kept, len(lines)):
        if at - done >= _WORTH:
            yield Stretch(tuple(lines[done:at]), folded=True)
            done = at
        elif at > done:
            yield Stretch(tuple(lines[done:at]), folded=False)
            done = at
        if at < len(lines):
            yield Stretch((lines[at],), folded=False)
            done = at + 1


def _pieces(text: str, spans: Sequence[tuple[int, int]]) -> tuple[Piece, ...]:
    """A line, cut where spans begin and end."""
    cuts = sorted({0, len(text), *(at for span in spans for at in span)})
    pairs = zip(cuts, cuts[1:], strict=False)
    return tuple(
        Piece(text[a:b].replace("\t", "    "), any(low <= a and b <= high for low, high in spans)) for a, b in pairs
    )
