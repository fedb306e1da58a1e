"""How the reports say lines, verdicts and long texts, so that all of them say it alike."""

from collections.abc import Iterable

from ruleaudit.model import lines as model_lines
from ruleaudit.model.ruleset import Rule
from ruleaudit.results import Outcome
from ruleaudit.results.suggestion import Flow

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
    """`line 6`, `lines 6, 7, 9, 10`; those of included files with its path."""
    return printable(model_lines.lines(rules))


def places(rules: Iterable[Rule]) -> int:
    """How many lines some rules stand in."""
    return len({(rule.path, rule.line) for rule in rules})


def flow_words(flow: Flow) -> str:
    """A flow in words: `tcp/80,443`, `tcp/8080 to 10.9.2.2`, `forwarded tcp/80`."""
    return ("forwarded " if flow.direction == "forward" else "") + flow.words


def verdict(outcome: Outcome) -> str:
    """`drop (line 6)`, `accept (policy of INPUT)`."""
    if outcome.rule is not None:
        return f"{outcome.verdict} ({outcome.rule.where})"
    if outcome.chain is not None:
        return f"{outcome.verdict} (policy of {outcome.chain.name})"
    return outcome.verdict


def wrapped(text: str, first: str, rest: str | None = None) -> str:
    """A paragraph: `first` begins its first line, `rest` (as many blanks as `first`) the others."""
    import textwrap

    indent = " " * len(first) if rest is None else rest
    return textwrap.fill(
        printable(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
