"""A rewrite as a unified diff that `patch -p1` and `git apply` take."""

import difflib
from collections.abc import Iterator

from ruleaudit.source import SourceFile

_NO_NEWLINE = "\\ No newline at end of file\n"


def unified(source: SourceFile, text: str, context: int = 3) -> str:
    """The difference from a file to its new text; lines end at `\\n` alone, so that CRLF survives."""
    old, new = _lines(source.text), _lines(text)
    # the common end is no business of the differ: it looks at what is left
    tail = 0
    while tail < min(len(old), len(new)) and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    tail = max(0, tail - context)
    cut_old, cut_new = old[: len(old) - tail], new[: len(new) - tail]
    name = source.path.lstrip("/")
    end = "\t" if " " in name else ""
    hunks = difflib.unified_diff(cut_old, cut_new, f"a/{name}{end}", f"b/{name}{end}", n=context)
    return "".join(_marked(hunks))


def _lines(text: str) -> list[str]:
    parts = text.split("\n")
    return [part + "\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


def _marked(hunks: Iterator[str]) -> Iterator[str]:
    for line in hunks:
        yield line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}"
