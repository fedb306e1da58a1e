"""The text of a ruleset after edits, where some of them fall into files that it includes.

What is printed is one whole ruleset: a file with edits is written out in place of its include, and the files that the
author keeps for themselves stay as they are. An include without edits stays an include.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from ruleaudit.source import Edit, Include, SourceFile, Span, apply

#: what a name may hold to be included by it: no wildcard, no quote
_PLAIN = re.compile(r"[\w./+@:,=~ -]+")


def rewritten(source: SourceFile, edits: Iterable[Edit]) -> str:
    """The whole text after edits of a file and of what it includes."""
    changes = tuple(edits)
    touched = _with_includers(source, {source.number_at(edit.span.start) for edit in changes})
    return _Writer(source, changes, touched).text(0)


def moved(source: SourceFile) -> str:
    """The text for another folder: what it includes by a relative name is included by an absolute one.

    A file that itself includes something by a relative name is written out.
    """
    relative = {source.number_at(i.span.start) for i in source.includes if not i.pattern.startswith("/")}
    unnamed = {n + 1 for i in source.includes if not _PLAIN.fullmatch(os.path.abspath(i.folder)) for n in i.files}
    return _Writer(source, (), _with_includers(source, relative | unnamed), True).text(0)


def _with_includers(source: SourceFile, numbers: set[int]) -> set[int]:
    """The parts of these numbers, and those that include them."""
    includer = {n + 1: source.number_at(include.span.start) for include in source.includes for n in include.files}
    out: set[int] = set()
    for number in numbers:
        while number not in out:
            out.add(number)
            number = includer.get(number, 0)
    return out


@dataclass(frozen=True)
class _Writer:
    """touched: the numbers of the parts that are written out; absolute: other names than absolute ones become such."""

    source: SourceFile
    edits: tuple[Edit, ...]
    touched: set[int]
    absolute: bool = False

    def text(self, number: int) -> str:
        """A part of the source after its edits."""
        part, base = list(self.source.parts())[number]
        edits = [edit for edit in self.edits if self.source.number_at(edit.span.start) == number]
        for include in self.source.includes:
            if self.source.number_at(include.span.start) != number:
                continue
            start, end = include.span.start - base, include.span.end - base
            before, rest = part.text[:start].rpartition("\n")[2], part.text[end:].partition("\n")[0]
            if self.touched & {n + 1 for n in include.files}:
                edits.append(Edit(include.span, self._written_out(include, before, rest)))
            elif self.absolute and not include.pattern.startswith("/"):
                path = os.path.normpath(os.path.join(os.path.abspath(include.folder), include.pattern))
                edits.append(Edit(include.span, f'include "{path}"'))
        moved = (Edit(Span(e.span.start - base, e.span.end - base), e.text) for e in edits)
        return apply(part.text, moved)

    def _written_out(self, include: Include, before: str, rest: str) -> str:
        """What stands in place of an include; `before` and `rest` are the other parts of its line."""
        indent = "" if before.strip() else before
        lines = []
        for number in include.files:
            path = self.source.included[number].path
            name = self._name(include, path)
            if number + 1 not in self.touched and _PLAIN.fullmatch(name):
                lines.append(f'{indent}include "{name}"')
                continue
            shown = "".join(c if c.isprintable() else "?" for c in os.path.normpath(name))
            pattern = "".join(c if c.isprintable() else "?" for c in include.pattern)
            named = f'include "{pattern}"' + (f": {shown}" if os.path.normpath(pattern) != shown else "")
            text = self.text(number + 1).removesuffix("\n")
            lines += [f"{indent}# {named}, written out", text, f"{indent}# end of {shown}"]
        return "\n".join(lines).removeprefix(indent) + (
            "\n" if rest.strip() and not rest.lstrip().startswith("#") else ""
        )

    def _name(self, include: Include, path: str) -> str:
        """How a file that a pattern matched is included by itself."""
        if include.pattern.startswith("/") or self.absolute:
            return os.path.abspath(path)
        name = os.path.relpath(path, include.folder or ".")
        return f"./{name}" if include.pattern.startswith("./") and not name.startswith("../") else name
