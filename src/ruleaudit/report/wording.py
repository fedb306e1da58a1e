"""How the reports say lines, verdicts and long texts, so that all of them say it alike."""

import textwrap
from collections.abc import Iterable, Sequence

from ruleaudit.model.ruleset import Rule
from ruleaudit.results import Flow, Outcome

#: text is wrapped at this column
WIDTH = 110


def printable(text: str) -> str:
    """Text of a ruleset, fit for a terminal: control characters would be carried out, tabs would move the caret."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        " " if c == "\t" else c if c.isprintable() else "\ufffd" for c in text.encode("utf-8", "replace").decode()
    )


def shortened(text: str, width: int) -> str:
    """At most `width` characters, the middle left out."""
    text = printable(text)
    if len(text) <= width:
        return text
    keep = width - 3
    return f"{text[: keep - keep // 3]}...{text[len(text) - keep // 3 :]}"


def count(number: int, noun: str) -> str:
    """`1 rule`, `7 rules`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def lines(rules: Iterable[Rule]) -> str:
    """`line 6`, `lines 6, 7, 9, 10`, and no more than twelve of a file; those of included files with its path."""
    found: dict[str, set[int]] = {}
    for rule in rules:
        found.setdefault(rule.path, set()).add(rule.line)
    return in_words([_of_one_file(path, sorted(numbers)) for path, numbers in sorted(found.items())])


def places(rules: Iterable[Rule]) -> int:
    """How many lines some rules stand in."""
    return len({(rule.path, rule.line) for rule in rules})


def _of_one_file(path: str, numbers: Sequence[int]) -> str:
    of = f" of {printable(path)}" if path else ""
    if len(numbers) == 1:
        return f"line {numbers[0]}{of}"
    shown = ", ".join(map(str, numbers[:12]))
    return f"lines {shown}" + (f" and {len(numbers) - 12} more" if len(numbers) > 12 else "") + of


def in_words(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def flow_words(flow: Flow) -> str:
    """A flow with its direction where it is not the usual one: `tcp/80,443`, `tcp/80 (forwarded)`."""
    return {"in": "", "out": "to "}.get(flow.direction, "forwarded ") + flow.words


def verdict(outcome: Outcome) -> str:
    """`drop (line 6)`, `accept (policy of INPUT)`."""
    if outcome.rule is not None:
        return f"{outcome.verdict} ({outcome.rule.where})"
    if outcome.chain is not None:
        return f"{outcome.verdict} (policy of {outcome.chain.name})"
    return outcome.verdict


def wrapped(text: str, first: str, rest: str | None = None) -> str:
    """A paragraph: `first` begins its first line, `rest` (as many blanks as `first`) the others."""
    indent = " " * len(first) if rest is None else rest
    return textwrap.fill(
        printable(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
