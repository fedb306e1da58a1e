"""A rewrite as a unified diff that `patch -p1` and `git apply` take, or as lines side by side."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from ruleaudit.source import SourceFile

_NO_NEWLINE = "\\ No newline at end of file\n"


def unified(source: SourceFile, text: str, context: int = 3) -> str:
    """The difference from a file to its new text; lines end at `\\n` alone, so that CRLF survives."""
    old, new = _lines(source.text), _lines(text)
    tail = _common_end(old, new, context)
    cut_old, cut_new = old[: len(old) - tail], new[: len(new) - tail]
    name = source.path.lstrip("/")
    end = "\t" if " " in name else ""
    hunks = difflib.unified_diff(cut_old, cut_new, f"a/{name}{end}", f"b/{name}{end}", n=context)
    return "".join(_marked(hunks))


def _common_end(old: Sequence[str], new: Sequence[str], context: int) -> int:
    """How many lines at the end are no business of the differ: it looks at what is left."""
    tail = 0
    while tail < min(len(old), len(new)) and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    return max(0, tail - context)


def _lines(text: str) -> list[str]:
    parts = text.split("\n")
    return [part + "\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _marked(hunks: Iterator[str]) -> Iterator[str]:
    for line in hunks:
        yield line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}"


@dataclass(frozen=True)
class Row:
    """A line of the old text beside that of the new; a number is None where a side has no line there."""

    old: int | None
    new: int | None
    before: str
    after: str

    @property
    def same(self) -> bool:
        return self.old is not None and self.new is not None and self.before == self.after


def side_by_side(source: SourceFile, text: str, context: int = 3) -> Iterator[tuple[Row, ...]]:
    """The difference from a file to its new text as groups of rows, each with some lines around it."""
    old, new = ([line.rstrip("\r\n") for line in _lines(one)] for one in (source.text, text))
    tail = _common_end(old, new, context)
    matcher = difflib.SequenceMatcher(None, old[: len(old) - tail], new[: len(new) - tail])
    for group in matcher.get_grouped_opcodes(context):
        yield tuple(
            Row(
                a + 1 if a is not None else None,
                b + 1 if b is not None else None,
                old[a] if a is not None else "",
                new[b] if b is not None else "",
            )
            for _, a0, a1, b0, b1 in group
            for a, b in zip_longest(range(a0, a1), range(b0, b1))
        )
