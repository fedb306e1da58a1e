"""The text of haproxy.cfg: sections, their lines, and the words of each line as HAProxy sees them.

Variables are put in, and `.if` blocks that do not hold are left out, as readcfgfile() in HAProxy's cfgparse.c does it.
What the words mean is not known here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from ruleaudit.source import SourceFile, Span
from ruleaudit.syntax.haproxy_condition import Conditions
from ruleaudit.syntax.haproxy_words import RawWord, Unread, split
from ruleaudit.syntax.problem import Problem

SECTIONS = (
    "acme", "backend", "cache", "crt-store", "defaults", "fcgi-app", "frontend", "global", "http-errors", "listen",
    "log-forward", "log-profile", "mailers", "namespace_list", "peers", "program", "resolvers", "ring", "traces",
    "userlist",
)  # fmt: skip
#: HAProxy takes no more words in a line
MOST_WORDS = 64
_BLANKS = " \t\v\f\r"


@dataclass(frozen=True, slots=True)
class Word:
    """One word: its text without quotes and with variables put in, and where it stands.

    unset   the variables in it that have no value; HAProxy would put in nothing
    """

    text: str
    span: Span
    unset: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """One line that has words. `environment`: the variables as they are at this line."""

    words: tuple[Word, ...]
    span: Span
    environment: Mapping[str, str]

    def text(self, at: int) -> str:
        """The text of word `at`; empty behind the last one."""
        return self.words[at].text if at < len(self.words) else ""


@dataclass(frozen=True, slots=True)
class Section:
    """A section: its first line, whose first word is its kind, and the others. Kind is empty for one that nobody
    knows.
    """

    kind: str
    head: Line
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Document:
    """The sections of one file in order, and what is wrong with it."""

    source: SourceFile
    sections: tuple[Section, ...]
    problems: tuple[Problem, ...]
    environment: Mapping[str, str]


def read(source: SourceFile, environment: Mapping[str, str]) -> Document:
    """The sections of a file; `environment` are the variables that HAProxy would have when it comes to it."""
    return _Reader(source, environment).read()


class _Reader:
    """One file, line by line: the variables and conditions in force change on the way."""

    def __init__(self, source: SourceFile, environment: Mapping[str, str]) -> None:
        self.source = source
        self.environment = environment
        self.sections: list[Section] = []
        self.problems: list[Problem] = []
        self.conditions = Conditions(environment)
        self.name = ""

    def read(self) -> Document:
        at = 0
        text = self.source.text
        for number, raw in enumerate(text.split("\n"), 1):
            self._line(raw, at, number)
            at += len(raw) + 1
        if self.conditions.open:
            self._problem(Span(len(text), len(text)), "an .if has no .endif")
        if text and not text.endswith("\n"):
            start = text.rfind("\n") + 1
            self._problem(Span(start, len(text)), "the last line has no line end: HAProxy takes the file for cut off")
        return Document(self.source, tuple(self.sections), tuple(self.problems), self.environment)

    def _problem(self, span: Span, message: str, refused: bool = True) -> None:
        self.problems.append(Problem(span, message, refused=refused))

    def _line(self, raw: str, start: int, number: int) -> None:
        stripped = raw.lstrip(_BLANKS)
        if not stripped or stripped[0] in "#[":  # [scope] stands in the files of SPOE alone
            return
        start += len(raw) - len(stripped)
        stripped = stripped.partition("\r")[0]
        span = Span(start, start + len(stripped))
        found = split(stripped)
        if isinstance(found, Unread):
            self._problem(Span(start + found.at, span.end), found.message)
            return
        words = self._words(found, start, number)
        if not words or not words[0].text:
            return
        if words[0].text[0] == "." and self._directive(words, span):
            return
        if not self.conditions.holds:
            return
        if words[0].text[0] == ".":
            self._message(words, span)
            return
        if len(words) > MOST_WORDS:
            self._problem(words[MOST_WORDS].span, f"more than {MOST_WORDS} words in one line")
        if words[-1].text == "\\":
            self._problem(words[-1].span, "a backslash at the end: HAProxy knows no lines that go on in the next one")
        self._placed(Line(words, span, self.environment), raw[:1] not in _BLANKS)

    def _words(self, found: tuple[RawWord, ...], start: int, number: int) -> tuple[Word, ...]:
        words: list[Word] = []
        for raw in found:
            span = Span(start + raw.start, start + raw.end)
            if len(raw.pieces) == 1 and not raw.pieces[0].variable:
                words.append(Word(raw.pieces[0].text, span))
                continue
            texts, unset = [""], []
            for piece in raw.pieces:
                value: str | None = piece.text
                if piece.variable:
                    value = self._value(piece.variable, number)
                    if value is None:
                        value = piece.default
                    if value is None:
                        unset.append(piece.variable)
                        continue
                assert value is not None
                if piece.split:
                    first, *more = re.split(r"[ \t\n\v\f\r]+", value)
                    texts[-1] += first
                    texts += more
                else:
                    texts[-1] += value
            words += [Word(text, span, tuple(unset)) for text in texts]
        return tuple(words)

    def _value(self, name: str, number: int) -> str | None:
        match name:
            case ".LINE":
                return str(number)
            case ".FILE":
                return self.source.path
            case ".SECTION":
                return self.name
        return self.environment.get(name)

    def _directive(self, words: tuple[Word, ...], span: Span) -> bool:
        """Whether the line opens, parts or closes a block under a condition."""
        name, text = words[0].text, " ".join(word.text for word in words[1:])
        if name not in (".if", ".elif", ".else", ".endif"):
            return False
        unset = dict.fromkeys(variable for word in words for variable in word.unset)
        if unset and name != ".endif" and self.conditions.holds:
            are = "is" if len(unset) == 1 else "are"
            self._problem(span, f"{', '.join(unset)} {are} not set in the environment: taken as empty", refused=False)
        self.conditions.environment = self.environment
        remark = self.conditions.step(name, text)
        if remark is not None:
            self._problem(span, remark.message, remark.refused)
        return True

    def _message(self, words: tuple[Word, ...], span: Span) -> None:
        name = words[0].text
        if name in (".alert", ".warning", ".notice", ".diag"):
            if len(words) > 2:
                self._problem(span, f"{name} takes one word: put the message into quotes")
            elif name == ".alert":
                self._problem(span, f"HAProxy stops here: {words[1].text if len(words) > 1 else '.alert'}")
        else:
            self._problem(words[0].span, f'unknown directive "{name}"')

    def _placed(self, line: Line, at_margin: bool) -> None:
        """A line as the first of a section, or as one of the last one's."""
        name = line.words[0].text
        if name in SECTIONS:
            self.sections.append(Section(name, line))
            self.name = line.text(1) or name
            return
        near = get_close_matches(name, SECTIONS, 1, 0.8) if at_margin and len(line.words) <= 4 else []
        if near:
            self._problem(line.words[0].span, f'unknown section "{name}": did you mean {near[0]}? It is left out')
            self.sections.append(Section("", line))
        elif not self.sections:
            self._problem(line.words[0].span, f'"{name}" stands before the first section, such as frontend')
        else:
            section = self.sections[-1]
            section.lines.append(line)
            if section.kind == "global":
                self._set(line)

    def _set(self, line: Line) -> None:
        """The keywords of `global` that change variables."""
        match [word.text for word in line.words]:
            case ["setenv", name, value]:
                self.environment = {**self.environment, name: value}
            case ["presetenv", name, value]:
                self.environment = {name: value, **self.environment}
            case ["unsetenv", *names]:
                self.environment = {k: v for k, v in self.environment.items() if k not in names}
            case ["resetenv", *names]:
                self.environment = {k: v for k, v in self.environment.items() if k in names}
            case ["localpeer", name]:
                self.environment = {**self.environment, "HAPROXY_LOCALPEER": name}
