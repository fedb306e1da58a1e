"""What `check` finds in each of its files, in one process or in several."""

import os
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from itertools import chain, islice

import ruleaudit
from ruleaudit import cache, kept, workers
from ruleaudit.answer import load_source
from ruleaudit.config import Settings
from ruleaudit.diagnostics import SourceError
from ruleaudit.results import FileReport
from ruleaudit.selection import NAMED
from ruleaudit.source import SourceFile


@dataclass(frozen=True)
class Task:
    """One file to be checked: its path, and where its twin may be.

    What is no regular file can be read only once: its text is here, or why there is none, and so it is for its twin.
    """

    path: str
    source: SourceFile | SourceError | None
    beside: tuple[str | SourceFile, ...]
    settings: Settings


@dataclass(frozen=True)
class Outcome:
    """What became of one file: a report, or why there is none."""

    path: str
    report: FileReport | None = None
    failure: str = ""
    seconds: float = 0
    trace: str = ""


def tasks(asked: Namespace, settings: Mapping[str, Settings]) -> list[Task]:
    """What there is to do for some files and their settings. Raises SourceError if standard input cannot be read."""
    from ruleaudit.discovery import companions

    beside = companions([path for path in settings if path != "-"])
    read = {path: _read_once(path, asked) for path in settings}
    twins = {path: found if isinstance(found, SourceFile) else path for path, found in read.items()}
    return [
        Task(path, read[path], tuple(twins[other] for other in beside.get(path, ())), chosen)
        for path, chosen in settings.items()
    ]


def _read_once(path: str, asked: Namespace) -> SourceFile | SourceError | None:
    """The text of standard input, or of a pipe such as `<(iptables-save)`; none for what is a file, or not there."""
    if path == "-":
        return load_source(path, asked)
    if os.path.isfile(path) or not os.path.exists(path):
        return None
    try:
        return load_source(path, asked)
    except SourceError as error:
        return error


def outcomes(asked: Namespace, check: "Check", tasks: Sequence[Task]) -> Iterator[Outcome]:
    """What is found in each file, in their order; many files are shared out among several processes."""
    if not asked.no_cache:
        kept.tidy()
    jobs = workers.number(len(tasks), asked.jobs)
    if jobs > 1:
        # what every process needs is loaded, and the grammars are read, before there are several; no packet set is
        # made here: what computes with them has a thread of its own, which no fork takes along
        import ruleaudit.rules

        for text in ("*filter\nCOMMIT\n", "table inet filter {\n}\n"):
            ruleaudit.lower(SourceFile("nothing", text))
    found = workers.in_order(check, tasks, jobs, _died)
    # the bar has a thread of its own, too: the processes have begun when the first file is done
    first = list(islice(found, 1))
    with _progress(asked, len(tasks)) as told:
        for outcome in chain(first, found):
            told(outcome.path)
            yield outcome


class Check:
    """Checks one file after the other; the ipsets are read once."""

    def __init__(self, asked: Namespace) -> None:
        self._language, self._ipset = asked.language, tuple(asked.ipset)
        self._keeps = not asked.no_cache
        self._sets: dict[tuple[str, ...], ruleaudit.Sets] = {}

    def __call__(self, task: Task) -> Outcome:
        started = time.monotonic()
        try:
            if isinstance(task.source, SourceError):
                raise task.source
            report = self._known(task, task.source or ruleaudit.load(task.path))
        except SourceError as error:
            return Outcome(task.path, failure=str(error), seconds=time.monotonic() - started)
        except Exception as error:
            import traceback

            # one file that breaks it does not hide what is found in the others
            failure = f"{task.path}: internal error: {type(error).__name__}: {error}".rstrip(": ")
            return Outcome(task.path, None, failure, time.monotonic() - started, traceback.format_exc())
        return Outcome(task.path, report, seconds=time.monotonic() - started)

    def _known(self, task: Task, source: SourceFile) -> FileReport:
        """The outline of what is found in the file of a task, which may be known from an earlier run."""
        keeps = self._keeps and not self._ipset
        name = cache.key(source, self._beside(task), task.settings, self._language) if keeps else None
        found = cache.read(name) if name else None
        if found is None:
            found = self.report(task, source).outline
            if name:
                kept.write(name, found)
        return found

    def report(self, task: Task, source: SourceFile, includes: "ruleaudit.Includes | None" = None) -> FileReport:
        """What is found in the file of a task, or in another text of it."""
        found: FileReport = ruleaudit.check(
            [source],
            language=self._language,
            sets=self.sets(task.settings),
            beside=self._beside(task),
            settings=task.settings,
            includes=includes,
        )[0]
        return found

    def _beside(self, task: Task) -> list[SourceFile]:
        """The texts among which the twin may be."""
        others = []
        for other in task.beside:
            with suppress(SourceError):  # it is named where it is checked itself
                others.append(other if isinstance(other, SourceFile) else ruleaudit.load(other))
        return others

    def sets(self, settings: Settings) -> "ruleaudit.Sets":
        """The ipsets that the settings name."""
        paths = (*settings.ipset, *self._ipset)
        if paths not in self._sets:
            self._sets[paths] = ruleaudit.read_sets(paths)
        return self._sets[paths]


def _died(task: Task, how: str) -> Outcome:
    return Outcome(task.path, failure=f"{task.path}: the process that checked it died: {how}")


def _progress(asked: Namespace, number: int) -> AbstractContextManager[Callable[[str], None]]:
    from ruleaudit.report import progress

    if number <= NAMED or asked.quiet or not progress.is_wanted():
        return nullcontext(lambda path: None)
    return progress.shown(number)
