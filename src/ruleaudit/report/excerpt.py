"""Excerpt and caret: the lines of a file that a finding is about, what is meant underlined."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ruleaudit.report.style import PLAIN, Style
from ruleaudit.report.wording import WIDTH, printable, shortened
from ruleaudit.source import SourceFile, Span

#: a longer line is shown in part, around what is underlined
_LONGEST = 160
_LONGEST_LABEL = 400


@dataclass(frozen=True, slots=True)
class Mark:
    """What to underline, with what, and what to say beside it."""

    span: Span
    sign: str
    label: str


def excerpt(source: SourceFile, marks: Sequence[Mark], style: Style = PLAIN) -> Iterator[str]:
    """The lines of an excerpt with their gutter, in the order of the file, that of the first mark before other files.

    `  -->` above them is the caller's.
    """
    gutter = gutter_width(source, marks)
    empty = style.place(f"{'':{gutter}} |")
    yield empty
    path = source.position(marks[0].span.start).path
    before: int | None = None
    for mark in sorted(marks, key=lambda m: (source.position(m.span.start).path != path, m.span.start, m.sign)):
        place = source.position(mark.span.start)
        if place.path != path:
            yield f"{'':{gutter}}{style.place(':::')} {printable(place.path)}:{place.line}:{place.column}"
            yield empty
            path, before = place.path, None
        if before is not None and place.line > before + 1:
            yield empty
        text = source.line(place.line, mark.span.start)
        start = place.column - 1
        size = max(1, min(mark.span.end - mark.span.start, len(text) - start))
        text, start, size = window(text, start, size)
        if place.line != before:
            yield f"{style.place(f'{place.line:>{gutter}} |')} {printable(text)}"
        before = place.line
        column = _columns(text[:start])
        underline = mark.sign * max(1, _columns(text[start : start + size]))
        painted = style.bad(underline) if mark.sign == "^" else style.place(underline)
        yield from _with_label(empty, column, underline, painted, shortened(mark.label, _LONGEST_LABEL))


def gutter_width(source: SourceFile, marks: Sequence[Mark]) -> int:
    """How wide the line numbers are."""
    return max([2, *(len(str(source.position(mark.span.start).line)) for mark in marks)])


def _with_label(gutter: str, column: int, underline: str, painted: str, label: str) -> Iterator[str]:
    import textwrap

    indent = " " * column
    if not label:
        yield f"{gutter} {indent}{painted}"
    elif column + len(underline) + 1 + len(label) <= WIDTH:
        yield f"{gutter} {indent}{painted} {label}"
    else:
        yield f"{gutter} {indent}{painted}"
        column = min(column, WIDTH - 50)
        for line in textwrap.wrap(label, WIDTH - column):
            yield f"{gutter} {' ' * column}{line}"


def window(text: str, start: int, size: int) -> tuple[str, int, int]:
    """The part of a line around a span, and the span in it."""
    if len(text) <= _LONGEST:
        return text, start, size
    size = min(size, _LONGEST - 40)
    left = max(0, min(start - 20, len(text) - _LONGEST))
    part = text[left : left + _LONGEST]
    if left + _LONGEST < len(text):
        part += "..."
    if left:
        return f"...{part}", start - left + 3, size
    return part, start, size


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)
