"""What a command answers: an exit code, and texts for the two streams; and what all commands ask of their arguments."""

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import ruleaudit
from ruleaudit.diagnostics import SourceError
from ruleaudit.model.ruleset import Ruleset
from ruleaudit.report.style import Style, wants_colour
from ruleaudit.results.observation import Observation
from ruleaudit.results.table import TableUse
from ruleaudit.source import SourceFile

DONE, FOUND, FAILED = 0, 1, 2
#: a file of so many bytes takes more than a moment to read
_LONG = 10 << 20

BUG = (
    "This is a bug of ruleaudit. Please report it with the ruleset (addresses may be changed),"
    " the command and the traceback that -v shows."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command wants to say: `result` for standard output; `remarks` (not with -q) and `errors` for the other."""

    code: int
    result: str
    remarks: str = ""
    errors: str = ""


def style(asked: Namespace) -> Style:
    """How the result is painted: what goes to a file is painted only where that is asked for."""
    if asked.output and asked.command != "suggest":
        return Style(asked.color == "always")
    return Style(wants_colour(asked.color, os.environ, sys.stdout))


def load_source(path: str, asked: Namespace) -> SourceFile:
    """The text of a file that was named; standard input has the name that was given for it."""
    return ruleaudit.load(path, asked.stdin_filename if path == "-" else None)


def saved_table(path: str, rulesets: Iterable[Ruleset], quiet: int, own: Sequence[str] = ()) -> TableUse:
    """A saved connection table; what the rules treat differently is told apart in it.

    Raises SourceError for what cannot be read, or is no such table.
    """
    with _progress(path, quiet) as passed:
        use = ruleaudit.read_table(path, own=own, regions=ruleaudit.regions(rulesets), passed=passed)
    if use.unread and not use.entries:
        line, text = use.unread[0]
        wanted = "give what conntrack -L prints, or /proc/net/nf_conntrack"
        raise SourceError(f"{use.path}: line {line}: no entry of a connection table ({text[:40]}); {wanted}")
    return use


@contextmanager
def _progress(path: str, quiet: int) -> Iterator[Callable[[int], object] | None]:
    """While a connection table is read: a bar, where somebody looks and it takes long."""
    from ruleaudit.report import progress

    size = os.path.getsize(path) if path != "-" and os.path.isfile(path) else 0
    if quiet or size < _LONG or not progress.is_wanted():
        yield None
    else:
        with progress.passing(path, size) as passed:
            yield passed


def not_observed(observation: Observation | None) -> str:
    """What standard error says when the kernel was asked and did not confirm."""
    from ruleaudit.report import kernel_text

    if observation is None or observation.agrees:
        return ""
    return f"ruleaudit: --kernel: {kernel_text.problem(observation)}\n"
