"""How far a long run is: a bar on a terminal, on standard error, gone when it is done."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ruleaudit.report.wording import shortened

#: so many columns for the name of the file that was just looked at
_NAME = 40


def is_wanted() -> bool:
    """Whether somebody sits there and looks: no pipe, no CI, no dumb terminal."""
    return (
        sys.stderr is not None
        and sys.stderr.isatty()
        and not os.environ.get("CI")
        and os.environ.get("TERM", "dumb") != "dumb"
    )


@contextmanager
def shown(number: int) -> Iterator[Callable[[str], None]]:
    """A bar for so many files; what it gives is called with each file that is done."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=number)
        yield lambda path: progress.update(task, advance=1, description=shortened(path, _NAME))


@contextmanager
def passing(path: str, size: int) -> Iterator[Callable[[int], None]]:
    """A bar for a file of so many bytes; what it gives is called with how far the reading is."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(shortened(path, _NAME), total=size)
        yield lambda place: progress.update(task, completed=place)
