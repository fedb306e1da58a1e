"""define, redefine, undefine and include, in files and in blocks (nft(8), INCLUDE FILES, SYMBOLIC VARIABLES)."""

import posixpath
from collections.abc import Callable
from dataclasses import dataclass, replace

from ruleaudit.source import Include, SourceFile, Span
from ruleaudit.syntax import nft_values
from ruleaudit.syntax.nft_blocks import BlockReader
from ruleaudit.syntax.nft_tokens import END, STRING, Token, tokens
from ruleaudit.syntax.nft_words import DEEPEST, WordReader, extent, quoted, shown
from ruleaudit.syntax.problem import Problem
from ruleaudit.syntax.refusal import did_you_mean

#: so many files may stand in each other, the first included
_DEEPEST = 16
#: how many files are read in all: those that include all others of their folder would be n! in number
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """What an include names.

    folder    where it was found; "" for an absolute path
    known     False: what the ruleset has from it cannot be told here
    problem   what is wrong with it; `refused`: nft does not load the ruleset
    """

    files: tuple[SourceFile, ...] = ()
    folder: str = ""
    known: bool = True
    problem: str = ""
    hint: str = ""
    refused: bool = True


#: gives what an include names: its pattern, and the path of the file that says it
Load = Callable[[str, str], Found]


class Definitions:
    """Reads the variables of a file and what it includes.

    partial   a part of the ruleset is elsewhere
    unread    the includes whose files could not be looked at
    """

    def __init__(self, source: SourceFile, load: Load | None) -> None:
        self.words = WordReader(source)
        self.blocks = BlockReader(self.words, self.general)
        self.load = load
        self.partial = False
        self.unread: list[str] = []
        self.includers: dict[int, int] = {}  #: where a file begins, and where the one begins that includes it

    def general(self) -> bool:
        """Read a define or an include, if one stands here."""
        text = self.words.text()
        if text in ("define", "redefine", "undefine") and self.words.text(1) not in ("", "{"):
            self.blocks.guarded(self._define)
            return True
        if text == "include":
            self.blocks.guarded(self._include)
            return True
        return False

    def _define(self) -> None:
        words = self.words
        how = words.take()
        name = words.name("variable")
        known = {key for scope in words.scopes[-1:] for key in scope}
        if how.text == "undefine":
            if name.text not in known and not self.blocks.unknown_variables:
                words.fail(name, f"{quoted(name.text)} is not defined", did_you_mean(name.text, known))
            words.scopes[-1].pop(name.text, None)
            self._ended_by_line()
            return
        words.expect("=")
        here = words.peek()
        if here is None or here.kind == END:
            words.fail(here or name, f'what "{name.text}" stands for is missing')
        if how.text == "define" and name.text in known:
            message = f"{quoted(name.text)} is defined already"
            words.problems.append(Problem(Span(name.start, name.end), message, "redefine changes it"))
        stands_for = tuple(words.statement())
        if extent(stands_for)[1] > DEEPEST:
            words.fail(name, f"{quoted(name.text)} stands for too many braces in each other")
        words.scopes[-1][name.text] = stands_for
        words.defined.add(name.text)
        nft_values.definition(stands_for)
        self._ended_by_line()

    def _ended_by_line(self) -> None:
        """A define or an include needs a line end, even where the file ends."""
        if self.words.peek() is None:
            end = self.words.words[-1].end
            self.words.problems.append(Problem(Span(end, end), "the file ends here, and this line needs a line end"))

    def _include(self) -> None:
        words = self.words
        first = words.take()
        name = words.take()
        if name.kind != STRING:
            words.fail(name, f"{shown(name)}: a file name in quotes is needed")
        by, base = words.source.file_at(first.start)
        place = Span(name.start, name.end)
        found = self.load(name.text, by.path) if self.load is not None else Found(known=False)
        if found.problem:
            words.problems.append(Problem(place, found.problem, found.hint, refused=found.refused))
        if not found.known:
            self.partial = self.blocks.unknown_variables = True
            self.unread.append(name.text)
        self._ended_by_line()
        if not found.files:
            self._note(Include(Span(first.start, name.end), name.text, found.folder, ()))
            return
        self.blocks.ended()
        outer = self._outer(base)
        new: list[Token] = []
        numbers: list[int] = []
        for file in found.files:
            if posixpath.normpath(file.path) in outer:
                words.problems.append(Problem(place, f"{file.path} includes itself"))
            elif len(outer) >= _DEEPEST:
                words.problems.append(Problem(place, f"nft follows no more than {_DEEPEST} files in each other"))
            elif len(words.source.included) >= _MOST:
                words.fail(name, f"more than {_MOST} files are included")
            else:
                self._joined(new, place)
                numbers.append(len(words.source.included))
                new += self._included(file, base, place)
        following = words.peek(1)
        if following is not None and following.kind != END:
            self._joined(new, place)
        words.replace(words.at, words.at, [Token(END, "\n", name.end, name.end), *new])
        self._note(Include(Span(first.start, name.end), name.text, found.folder, tuple(numbers)))

    def _note(self, include: Include) -> None:
        self.words.source = replace(self.words.source, includes=(*self.words.source.includes, include))

    def _joined(self, new: list[Token], place: Span) -> None:
        """Something follows the words of a file; nft makes no line end where the file has none."""
        file = self.words.source.file_at(new[-1].end)[0] if new else None
        if file is not None and new[-2:-1] and new[-2].kind != END:
            message = f"the last line of {file.path} has no line end: nft goes on with what is behind this include"
            self.words.problems.append(Problem(place, message, "add one"))

    def _outer(self, base: int) -> list[str]:
        """The paths of the file that begins at an offset and of those that include it."""
        out = [posixpath.normpath(self.words.source.file_at(base)[0].path)]
        while base:
            base = self.includers[base]
            out.append(posixpath.normpath(self.words.source.file_at(base)[0].path))
        return out

    def _included(self, file: SourceFile, by: int, place: Span) -> list[Token]:
        """The words of an included file, its text put behind all others."""
        words = self.words
        base = sum(len(f.text) + 1 for f in (words.source, *words.source.included))
        words.source = replace(words.source, included=(*words.source.included, file))
        self.includers[base] = by
        new = tokens(file.text, base)
        words.look_at_lines(file.text, base, new)
        depth = 0
        for word in new:
            depth += (word.kind == "{") - (word.kind == "}")
            if depth < 0:
                break
        if depth:
            words.problems.append(Problem(place, f"the braces of {file.path} are not closed in it"))
            return []
        end = base + len(file.text)
        return [*new, Token(END, "\n", end, end)]
