"""The words of a file, read from left to right: statements, names, variables, and what to do when one is wrong."""

import re
from collections.abc import Callable, Sequence
from typing import NoReturn

from ruleaudit.source import SourceFile, Span
from ruleaudit.syntax import nft_values
from ruleaudit.syntax.nft_tokens import BRACES, END, JUNK, SELECTOR, STRING, VARIABLE, WORD, Token, tokens
from ruleaudit.syntax.problem import Problem
from ruleaudit.syntax.refusal import did_you_mean

#: what decides where a statement ends, and what has to be looked at in it
_NOTABLE = re.compile(r"[;{}$]")
#: how many braces may stand in each other
DEEPEST = 40
#: how many words variables may stand for in all their places together, and how many more for each word of the file:
#: variables of variables double in every line; hundreds of hosts in hundreds of rules are 200,000
_ROOM, _ROOM_FOR_WORD = 300_000, 20
_CARRIAGE_RETURN = re.compile(r"^[^#\n]*?(\r)", re.M)
_NAME = re.compile(r"[A-Za-z_.]")
_OPENING = re.compile(r"^[ \t]*(table|chain|set|map|flowtable)[ \t]+[\w -]+\{", re.M)


class SyntaxProblem(Exception):
    """A statement that cannot be read on; what is wrong with it."""

    def __init__(self, span: Span, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.problem = Problem(span, message, hint)


class Undefined(Exception):
    """A variable that nothing defines."""

    def __init__(self, word: Token) -> None:
        super().__init__(f"${word.text} is defined nowhere in this file")
        self.word = word


class WordReader:
    """A place in the words of a file and of what it includes.

    `scopes` hold the variables, the innermost last: each the words that it stands for.
    """

    def __init__(self, source: SourceFile) -> None:
        self.source = source
        self.words = tokens(source.text)
        self.kinds = "".join([word.kind for word in self.words])
        self.at = 0
        self.scopes: list[dict[str, tuple[Token, ...]]] = [{}]
        self.defined: set[str] = set()  #: every variable of the file
        self.written_out = 0  #: words that variables stood for so far
        self.problems: list[Problem] = []
        self.anonymous: Callable[[Token], str] | None = None
        self.look_at_lines(source.text, 0, self.words)

    def look_at_lines(self, text: str, base: int, words: Sequence[Token]) -> None:
        """What nft refuses of the characters of a file: carriage returns, a byte order mark, an unended comment."""
        if text.startswith("\ufeff"):
            self.problems.append(Problem(Span(base, base + 1), "a byte order mark, which nft does not take"))
        found = _CARRIAGE_RETURN.search(text) if "\r" in text else None
        if found:
            message = "lines end in a carriage return (CRLF), which nft does not take"
            self.problems.append(
                Problem(Span(base + found.start(1), base + found.end(1)), message, "convert the file with dos2unix")
            )
        if text and not text.endswith("\n"):
            behind = max(words[-1].end - base if words else 0, text.rfind("\n") + 1)
            at = text.find("#", behind)
            if at >= 0:
                message = "the file ends in a comment, and its last line has no line end: nft does not take it"
                self.problems.append(Problem(Span(base + at, base + len(text)), message, "add an empty line"))

    # -- words

    def peek(self, ahead: int = 0) -> Token | None:
        """The word here, or some words on; None behind the last."""
        place = self.at + ahead
        return self.words[place] if place < len(self.words) else None

    def text(self, ahead: int = 0) -> str:
        """The text of a word that is no string; "" where there is none."""
        word = self.peek(ahead)
        return word.text if word is not None and word.kind != STRING else ""

    def take(self) -> Token:
        """The word here; raises SyntaxProblem behind the last."""
        word = self.peek()
        if word is None:
            self.fail_at_end()
        self.at += 1
        return word

    def fail_at_end(self) -> NoReturn:
        """The file ends too early."""
        last = self.words[-1] if self.words else Token(WORD, "", 0, 0)
        raise SyntaxProblem(Span(last.start, last.end), "the file ends here, and something is not closed")

    def fail(self, word: Token | None, message: str, hint: str = "") -> NoReturn:
        """Something is wrong with a word."""
        if word is None:
            self.fail_at_end()
        raise SyntaxProblem(Span(word.start, word.end), message, hint)

    def expect(self, text: str, what: str = "") -> Token:
        """The word here, which must be this one."""
        word = self.peek()
        if word is None or word.text != text or word.kind == STRING:
            self.fail(word, f"{shown(word)}: {what or quoted(text)} is missing before it")
        self.at += 1
        return word

    def name(self, what: str) -> Token:
        """The name of something; a variable is no name, but what it stands for may be (chains)."""
        word = self.peek()
        if word is not None and word.kind == SELECTOR:
            word = self._split(word)
        if word is None or word.kind in (VARIABLE, STRING, JUNK) or not _NAME.match(word.text):
            self.fail(word, f"{shown(word)}: the name of a {what} is missing before it")
        self.at += 1
        return word

    def _split(self, word: Token) -> Token:
        """A selector where names are: `ip length` is two words."""
        parts = word.text.split(" ")
        if parts[0] == "meta" and word.end - word.start == len(parts[-1]):
            parts = parts[1:]
        out, at = [], word.start
        for part in parts:
            out.append(Token(WORD, part, at, min(at + len(part), word.end)))
            at += len(part) + 1
        self.replace(self.at, self.at + 1, out)
        return out[0]

    def replace(self, first: int, last: int, new: Sequence[Token]) -> None:
        """Other words for [first, last)."""
        self.words[first:last] = new
        self.kinds = self.kinds[:first] + "".join([word.kind for word in new]) + self.kinds[last:]

    def skip_ends(self) -> None:
        """Go behind line ends and semicolons."""
        while self.at < len(self.words) and self.kinds[self.at] == END:
            self.at += 1

    @property
    def unbalanced(self) -> bool:
        """Whether more braces open than close."""
        return self.kinds.count("{") > self.kinds.count("}")

    def back_to_line_end(self, offset: int) -> None:
        """Go back to the end of the line of an offset, if that is before here."""
        at = self.at
        while at > 0 and self.words[at - 1].start >= offset:
            at -= 1
        while at < self.at and self.words[at].text != "\n":
            at += 1
        self.at = at

    def skip_statement(self) -> None:
        """Go to where the statement here ends, over its braces, and not out of the braces that it stands in."""
        depth = 0
        while self.at < len(self.words):
            kind = self.kinds[self.at]
            if depth == 0 and kind in (END, "}"):
                return
            depth += (kind == "{") - (kind == "}")
            self.at += 1

    # -- statements

    def statement(self) -> list[Token]:
        """The words up to where the statement ends: variables are written out, braces are one word.

        Raises Undefined, SyntaxProblem.
        """
        found = _NOTABLE.search(self.kinds, self.at)
        if found is None or found[0] in ";}":
            end = found.start() if found else len(self.words)
            out = self.words[self.at : end]
            self.at = end
            return out
        out = []
        failed: Undefined | SyntaxProblem | None = None
        while self.at < len(self.words):
            word = self.words[self.at]
            if word.kind in (END, "}"):
                break
            if word.kind == "{":
                if self.anonymous is not None and out and out[-1].text in ("jump", "goto"):
                    name = self.anonymous(word)
                    out.append(Token(WORD, name, word.start, self.words[self.at - 1].end))
                    continue
                out.append(self.braces())
                continue
            self.at += 1
            if word.kind != VARIABLE:
                out.append(word)
                continue
            try:
                self._expand(word, out)
            except (Undefined, SyntaxProblem) as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return out

    def _expand(self, word: Token, out: list[Token]) -> None:
        stands_for = self.variable(word)
        moved = [at_place(part, word) for part in stands_for]
        operators = any(part.kind in "&|^»" for part in moved)
        if operators and len(moved) > 1:
            moved = [Token("(", "(", word.start, word.end), *moved, Token(")", ")", word.start, word.end)]
        out += moved

    def variable(self, word: Token) -> tuple[Token, ...]:
        """What a variable stands for. Raises Undefined, SyntaxProblem."""
        for scope in reversed(self.scopes):
            if word.text in scope:
                self.written_out += extent(scope[word.text])[0]
                if self.written_out > _ROOM + _ROOM_FOR_WORD * len(self.words):
                    self.fail(word, "what the variables up to here stand for is too much to be read")
                return scope[word.text]
        raise Undefined(word)

    def known_variables(self) -> list[str]:
        """Their names."""
        return [name for scope in self.scopes for name in scope]

    def undefined(self, word: Token) -> Problem:
        """The problem of a variable that nothing defines; the place is its name."""
        if word.text == "$":
            return Problem(Span(word.start, word.end), 'unexpected "$"', "write $name, without braces around the name")
        hint = did_you_mean(word.text, self.known_variables())
        return Problem(
            Span(word.end - len(word.text), word.end), f'"${word.text}" is defined nowhere before this line', hint
        )

    def braces(self, depth: int = 0) -> Token:
        """What stands in the braces that open here, as one word."""
        first = self.at
        opening = self.take()
        if depth > DEEPEST:
            raise SyntaxProblem(Span(opening.start, opening.end), "too many braces in each other")
        close = self.kinds.find("}", self.at)
        inside = self.kinds[self.at : close] if close >= 0 else "{"
        if "{" not in inside and "$" not in inside:
            between = self.words[self.at : close]
            self._not_swallowed(first, close)
            self.at = close + 1
            if END in inside:
                self._no_semicolon(between)
                between = [word for word in between if word.kind != END]
            return Token(BRACES, "", opening.start, self.words[close].end, tuple(between))
        out: list[Token] = []
        failed: Undefined | SyntaxProblem | None = None
        while True:
            word = self.peek()
            if word is None:
                self._unclosed(first)
            if word.kind == "}":
                self._not_swallowed(first, self.at)
                self.at += 1
                break
            if word.kind == "{":
                out.append(self.braces(depth + 1))
                continue
            self.at += 1
            if word.kind == END:
                self._no_semicolon([word])
            elif word.kind == VARIABLE:
                try:
                    self._expand(word, out)
                except (Undefined, SyntaxProblem) as error:
                    failed = failed or error
            else:
                out.append(word)
        if failed is not None:
            raise failed
        return Token(BRACES, "", opening.start, word.end, tuple(out))

    def _no_semicolon(self, words: Sequence[Token]) -> None:
        for word in words:
            if word.kind == END and word.text == ";":
                raise SyntaxProblem(Span(word.start, word.end), 'unexpected ";" inside of braces')

    def _not_swallowed(self, opening: int, close: int) -> None:
        """A chain or a set cannot begin inside of a set: the brace at word `opening` was not closed."""
        start, end = self.words[opening].end, self.words[close].start
        file, base = self.source.file_at(start)
        found = _OPENING.search(file.text, start - base, max(end - base, 0))
        if found:
            at = found.start(1) + base
            self.at = next(i for i in range(opening, close + 1) if self.words[i].start >= at)
            line = self.source.position(start).line
            place = Span(at, found.end(1) + base)
            raise SyntaxProblem(place, f'unexpected "{found[1]}": the "{{" of line {line} is not closed')

    def _unclosed(self, opening: int) -> NoReturn:
        """Go on behind the line of a brace, word `opening`, that is not closed."""
        self.at = opening + 1
        while self.at < len(self.words) and self.words[self.at].text != "\n":
            self.at += 1
        inside = self.words[opening + 1 : self.at]
        if not any(word.kind in "{}$" for word in inside):
            nft_values.elements(inside)
        brace = self.words[opening]
        raise SyntaxProblem(Span(brace.start, brace.end), 'this "{" is not closed')


def extent(words: Sequence[Token]) -> tuple[int, int]:
    """How many words these are with all that stands in braces, and how deep the braces are."""
    inner = [extent(word.inner) for word in words if word.inner]
    return len(words) + sum(count for count, _ in inner), max((depth + 1 for _, depth in inner), default=0)


def at_place(word: Token, place: Token) -> Token:
    """A word of a definition, at the place where the variable stands."""
    inner = tuple([at_place(part, place) for part in word.inner])
    return Token(word.kind, word.text, place.start, place.end, inner)


def quoted(text: str) -> str:
    """A text in quotes, for messages."""
    return f'"{text}"'


def shown(word: Token | None) -> str:
    """A word as messages name it."""
    if word is None:
        return "the file ends"
    if word.kind == END and word.text == "\n":
        return "the line ends"
    return f'unexpected "{word.text or "{"}"'
