"""The lossless tree of an iptables-save file: a document of lines, and the words of its rule lines.

Every line keeps its span, line end included, so that printing the document gives the text back byte for byte,
whatever the
text is. Structure follows iptables-restore(8): the first character of a line says what it is.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from sys import intern

from ruleaudit.source import SourceFile, Span
from ruleaudit.syntax.language import family as family
from ruleaudit.syntax.language import sniff as sniff
from ruleaudit.syntax.numbers import decimal
from ruleaudit.syntax.problem import Problem
from ruleaudit.syntax.shapes import Malformed, RawOption, Words, options, unquoted

TABLES = ("raw", "mangle", "nat", "filter", "security")

#: iptables-restore reads a line in pieces of this size, and takes each for a line
LONGEST_LINE = 10_239

_COUNTERS = re.compile(r"[ \t]*\[([0-9]+):([0-9]+)\][ \t]*")
#: iptables-restore takes any words for counters
_ODD_COUNTERS = re.compile(r"\[[^:\]]+:[^\]]+\][ \t]*")
_CHAIN = re.compile(
    r":[ \t]*(?P<name>[^ \t]+)(?:[ \t]+(?P<policy>[^ \t]+)(?:[ \t]+\[(?P<packets>[0-9]+):(?P<bytes>[0-9]+)\])?)?"
    r"[ \t]*(?P<rest>.*)",
    re.DOTALL,
)

#: a file without these whose first command is about a chain is what `iptables -S` prints
_STRUCTURE = re.compile(r"^[ \t]*(?:[*:]|COMMIT\b)", re.M)
_FIRST_COMMAND = re.compile(
    r"(?:[ \t\r]*(?:#.*)?\n)*+(?P<command>(?:(?:-t|--table)[ \t]+\S+[ \t]+)?(?:-P|-N|--policy|--new-chain)[ \t].*)"
)

#: the options that are commands, by every spelling (iptables(8)); the first kind carries a rule
RULE_COMMANDS = {
    spelling: short
    for short, long in (("-A", "append"), ("-I", "insert"), ("-D", "delete"), ("-R", "replace"), ("-C", "check"))
    for spelling in (short, f"--{long}")
}
CHAIN_COMMANDS = {
    spelling: short
    for short, long in (
        ("-N", "new-chain"),
        ("-X", "delete-chain"),
        ("-F", "flush"),
        ("-P", "policy"),
        ("-Z", "zero"),
        ("-E", "rename-chain"),
        ("-L", "list"),
        ("-S", "list-rules"),
    )
    for spelling in (short, f"--{long}")
}


@dataclass(frozen=True, slots=True)
class Word:
    """One word as written, and what iptables takes it for (quotes and escapes undone)."""

    text: str
    value: str
    span: Span


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a rule with its values; `span` covers the `!` and the values too."""

    name: str
    negated: bool
    values: tuple[Word, ...]
    span: Span
    name_span: Span
    negation_span: Span | None


@dataclass(frozen=True, slots=True)
class Blank:
    """An empty line."""

    span: Span


@dataclass(frozen=True, slots=True)
class Comment:
    """A line that starts with `#`."""

    span: Span


@dataclass(frozen=True, slots=True)
class TableLine:
    """`*filter`: a table begins."""

    span: Span
    name: str


@dataclass(frozen=True, slots=True)
class ChainLine:
    """`:INPUT DROP [0:0]`: a chain, its policy (`-` for a user chain) and its counters."""

    span: Span
    name: str
    policy: str
    counters: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class CommitLine:
    """`COMMIT`: the table is complete."""

    span: Span


@dataclass(frozen=True, slots=True)
class RuleLine:
    """A rule: where its line starts, the line without its end, how long that is, and at which offset in it the rule
    begins, behind the counters.
    """

    start: int
    line: str
    ending: int
    body: int
    command: str
    chain: str

    @property
    def span(self) -> Span:
        """The line with its end."""
        return Span(self.start, self.start + len(self.line) + self.ending)

    @property
    def counters(self) -> tuple[int, int] | None:
        """Packets and bytes, if the line has them."""
        found = _COUNTERS.match(self.line)
        return (decimal(found[1]) or 0, decimal(found[2]) or 0) if found and self.body else None

    @property
    def text(self) -> str:
        """The rule without its counters."""
        return self.line[self.body :]

    @property
    def text_span(self) -> Span:
        """Where the rule stands, without counters, surrounding blanks and line end."""
        text = self.text
        start = self.start + self.body + len(text) - len(text.lstrip(" \t"))
        return Span(start, start + len(text.strip(" \t")))

    @property
    def raw(self) -> tuple[Words, tuple[RawOption, ...] | Malformed]:
        """The words and options, without spans; remembered by nobody."""
        return options(self.text)

    @property
    def options(self) -> tuple[Option, ...]:
        """The options in order, the command among them, with their places; nothing for a malformed line."""
        words, raw = self.raw
        if isinstance(raw, Malformed):
            return ()
        base = self.start + self.body
        return tuple(_with_places(option, words, base) for option in raw)

    def options_named(self, *names: str) -> tuple[Option, ...]:
        """The options with one of these names, as spelled in the line."""
        return tuple(o for o in self.options if o.name in names)


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command for a whole chain: `-N`, `-X`, `-F`, `-P`, `-Z`, `-E`, and its arguments; `table` is what `-t` says."""

    span: Span
    command: str
    arguments: tuple[str, ...]
    table: str = ""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is nothing of the language."""

    span: Span
    message: str
    at: Span


Line = Blank | Comment | TableLine | ChainLine | RuleLine | CommandLine | CommitLine | BadLine


@dataclass(frozen=True, slots=True)
class TableSection:
    """One `*table` … `COMMIT` part of a document; `commit` is None when the file ends before it."""

    table: TableLine
    chains: tuple[ChainLine, ...]
    rules: tuple[RuleLine, ...]
    commit: CommitLine | None
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Document:
    """A whole file; `str(document)` is its text."""

    source: SourceFile
    lines: tuple[Line, ...]
    problems: tuple[Problem, ...] = field(default=())
    listing: bool = False  #: what `iptables -S` prints: commands without tables, which iptables-restore does not take

    def __str__(self) -> str:
        text = self.source.text
        return "".join([text[line.span.start : line.span.end] for line in self.lines])

    @cached_property
    def newline(self) -> str:
        """The line end in use: `\\r\\n` or `\\n`."""
        first = self.source.text.find("\n")
        return "\r\n" if first > 0 and self.source.text[first - 1] == "\r" else "\n"

    @cached_property
    def sections(self) -> tuple[TableSection, ...]:
        """The tables of the file, in order."""
        out: list[TableSection] = []
        table: TableLine | None = None
        inside: list[Line] = []

        def close(commit: CommitLine | None) -> None:
            if table is not None:
                chains = tuple(line for line in inside if isinstance(line, ChainLine))
                rules = tuple(line for line in inside if isinstance(line, RuleLine))
                out.append(TableSection(table, chains, rules, commit, tuple(inside)))

        for line in self.lines:
            if isinstance(line, TableLine):
                close(None)
                table, inside = line, []
            elif isinstance(line, CommitLine):
                close(line)
                table, inside = None, []
            elif table is not None:
                inside.append(line)
        close(None)
        return tuple(out)

    @cached_property
    def _starts(self) -> list[int]:
        return [line.span.start for line in self.lines]

    def line_at(self, offset: int) -> Line | None:
        """The line that holds an offset."""
        if not self.lines:
            return None
        return self.lines[max(bisect_right(self._starts, offset) - 1, 0)]

    def rule_line_at(self, offset: int) -> RuleLine | None:
        """The rule line that holds an offset, such as the start of a Rule's or a Match's span."""
        line = self.line_at(offset)
        return line if isinstance(line, RuleLine) else None


def _with_places(option: RawOption, words: Words, base: int) -> Option:
    def span(index: int) -> Span:
        start = base + words.starts[index]
        return Span(start, start + len(words.text[index]))

    at = option.first + (words.shape[option.first] == "!")
    negation = span(option.first) if at != option.first else None
    values: list[Word] = []
    name_span = span(at)
    if words.shape[at] == "G":
        whole = words.text[at]
        cut = len(option.name) + (whole[len(option.name) :][:1] == "=" and whole.startswith("--"))
        name_span = Span(name_span.start, name_span.start + len(option.name))
        if whole[cut:]:
            values.append(Word(whole[cut:], unquoted(whole[cut:]), Span(name_span.start + cut, span(at).end)))
    for index in range(at + 1, option.last):
        if words.shape[index] == "~":
            negation = span(index)
        else:
            values.append(Word(words.text[index], unquoted(words.text[index]), span(index)))
    whole_span = Span(span(option.first).start, span(option.last - 1).end)
    return Option(option.name, option.negated, tuple(values), whole_span, name_span, negation)


def read(source: SourceFile) -> Document:
    """The tree of a file; whatever the text is, there is one."""
    text = source.text
    lines: list[Line] = []
    problems: list[Problem] = []
    listing = None if _STRUCTURE.search(text) else _FIRST_COMMAND.match(text)
    table: TableLine | None = _no_table(listing, problems) if listing else None
    carriage_returns = False
    at, size = 0, len(text)
    while at < size:
        newline = text.find("\n", at)
        end = newline + 1 if newline >= 0 else size
        content_end = newline if newline >= 0 else size
        if content_end > at and text[content_end - 1] == "\r":
            content_end -= 1
            if not carriage_returns and text[at] != "#" and content_end > at:
                carriage_returns = True
                message = "lines end in a carriage return (CRLF); iptables-restore takes it for part of the last word"
                problems.append(Problem(Span(at, content_end), message, "convert the file with dos2unix"))
        content = text[at:content_end]
        span = Span(at, end)
        first = content[:1]
        if content_end - at >= LONGEST_LINE:
            message = f"a line of {content_end - at} characters: iptables-restore reads at most {LONGEST_LINE - 1}"
            bad = BadLine(span, message, Span(at, at + 40))
            lines.append(bad)
            problems.append(Problem(bad.at, bad.message))
        elif first == "-" or first == "[":
            lines.append(_rule_or_problem(span, content, table, problems))
        elif first == "":
            lines.append(Blank(span))
        elif first == "#":
            lines.append(Comment(span))
        elif first == "*":
            name = content[1:].strip(" \t").split(" ")[0].split("\t")[0]
            if table is not None:
                message = f"table {table.name} is not finished: COMMIT is missing before this line"
                problems.append(Problem(Span(at, content_end), message))
            table = TableLine(span, name)
            lines.append(table)
        elif first == ":":
            lines.append(_chain(span, content, problems))
            if table is None:
                problems.append(
                    Problem(
                        Span(at, content_end), "a chain outside of a table: a line such as *filter is missing before it"
                    )
                )
        elif content.strip(" \t") == "COMMIT":
            commit = Span(at + content.index("C"), at + content.index("C") + len("COMMIT"))
            if content != "COMMIT":
                problems.append(Problem(commit, "COMMIT must stand alone in its line, without blanks around it"))
            if table is None:
                message = "COMMIT without a table: a line such as *filter is missing before it"
                problems.append(Problem(commit, message))
            lines.append(CommitLine(span))
            table = None
        else:
            lines.append(_other(span, content, table, problems))
        at = end
    if table is not None and not listing:
        message = f"the file ends inside table {table.name}: COMMIT is missing, so iptables-restore loads none of it"
        start = size if text.endswith("\n") else lines[-1].span.start
        problems.append(Problem(Span(start, size), message, "truncated?"))
    return Document(source, tuple(lines), tuple(problems), listing is not None)


def _no_table(listing: re.Match[str], problems: list[Problem]) -> TableLine:
    """The table of a listing's rules, until one says otherwise; said once."""
    start, end = listing.span("command")
    message = "no *table line: this is what iptables -S prints, and iptables-restore takes nothing of it"
    problems.append(Problem(Span(start, end), message, "save rules with iptables-save", refused=False))
    return TableLine(Span(start, start), "filter")


def _other(span: Span, content: str, table: TableLine | None, problems: list[Problem]) -> Line:
    """A line that starts with a blank or with no character of the language."""
    at, stripped = span.start, content.strip(" \t")
    indent = at + len(content) - len(content.lstrip(" \t"))
    whole = Span(indent, indent + len(stripped))
    if not stripped:
        problems.append(Problem(Span(at, at + len(content)), "a line of blanks alone: iptables-restore refuses it"))
        return Blank(span)
    if stripped[0] == "#":
        problems.append(Problem(Span(whole.start, whole.start + 1), "a comment must start in the first column"))
        return Comment(span)
    if stripped[0] == "[":
        problems.append(Problem(Span(whole.start, whole.start + 1), "counters must start in the first column"))
    if stripped[0] in "-[":
        return _rule_or_problem(span, content, table, problems)
    word = stripped.split(" ")[0].split("\t")[0]
    place = Span(whole.start, whole.start + len(word))
    bad = BadLine(span, f'unexpected "{_short(word)}": a line starts with *, :, -A, # or is COMMIT', place)
    problems.append(Problem(bad.at, bad.message))
    return bad


def _rule_or_problem(span: Span, content: str, table: TableLine | None, problems: list[Problem]) -> Line:
    rule = _rule(span, content)
    if isinstance(rule, BadLine):
        problems.append(Problem(rule.at, rule.message))
    elif table is None:
        stripped = content.strip(" \t")
        start = span.start + content.index(stripped)
        message = "a rule outside of a table: a line such as *filter is missing before it"
        problems.append(Problem(Span(start, start + len(stripped)), message))
    if isinstance(rule, RuleLine) and rule.body and rule.counters is None:
        place = Span(span.start, span.start + len(content[: rule.body].rstrip(" \t")))
        problems.append(Problem(place, "counters should look like [12:3456]", refused=False))
    return rule


def _short(word: str) -> str:
    return word if len(word) <= 40 else word[:37] + "..."


def _chain(span: Span, content: str, problems: list[Problem]) -> Line:
    found = _CHAIN.fullmatch(content)
    whole = Span(span.start, span.start + len(content))
    if found is None:
        problems.append(Problem(whole, "a chain has no name"))
        return BadLine(span, "a chain has no name", whole)
    name, policy = found["name"], found["policy"] or ""
    if not policy:
        problems.append(Problem(whole, f'chain "{_short(name)}" has no policy: ACCEPT, DROP, or - for a user chain'))
    elif found["rest"]:
        place = Span(span.start + found.start("rest"), span.start + len(content))
        message = f'"{_short(found["rest"].strip())}" behind the policy is ignored: counters look like [0:0]'
        problems.append(Problem(place, message, refused=False))
    counters = (
        (int(found["packets"]), int(found["bytes"]))
        if found["packets"] and len(found["packets"] + found["bytes"]) < 80
        else None
    )
    return ChainLine(span, name, policy, counters)


def _rule(span: Span, content: str) -> RuleLine | CommandLine | BadLine:
    body = 0
    if content[0] != "-":
        counters = _COUNTERS.match(content) or _ODD_COUNTERS.match(content)
        if counters:
            body = counters.end()
        elif content.lstrip(" \t")[0] == "[":
            at = Span(span.start, span.start + len(content.split("]")[0]) + 1)
            return BadLine(
                span, "counters must look like [12:3456]", Span(at.start, min(at.end, span.start + len(content)))
            )
    if content.startswith("-A ", body):
        rest = content[body + 3 :].split(None, 1)
        if rest and rest[0][0] not in '-"!':
            return RuleLine(span.start, content, span.end - span.start - len(content), body, "-A", intern(rest[0]))
    words, raw = options(content[body:])
    if isinstance(raw, Malformed):
        start = span.start + body + (words.starts[raw.word] if words.starts else 0)
        word = words.text[raw.word] if words.text else ""
        if words.shape[raw.word : raw.word + 1] == "U":
            return BadLine(span, "this quote does not close", Span(start + word.find('"'), start + len(word)))
        return BadLine(
            span,
            f'unexpected "{_short(word)}"' if word else "no command, such as -A INPUT",
            Span(start, start + len(word)),
        )
    for option in raw:
        if option.name in RULE_COMMANDS:
            if not option.values:
                break
            ending = span.end - span.start - len(content)
            return RuleLine(span.start, content, ending, body, RULE_COMMANDS[option.name], option.values[0])
        if option.name in CHAIN_COMMANDS:
            named = next((o.values[0] for o in raw if o.name in ("-t", "--table") and o.values), "")
            return CommandLine(span, CHAIN_COMMANDS[option.name], option.values, named)
    at_first = Span(span.start + body, span.start + len(content))
    command = next((o.name for o in raw if o.name in RULE_COMMANDS), None)
    if command:
        return BadLine(span, f"{command} names no chain", at_first)
    return BadLine(span, "no command: a rule starts with -A and the name of a chain", at_first)
