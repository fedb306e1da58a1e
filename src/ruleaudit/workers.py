"""Processes that do one task after the other, for a command that has many files to look at.

A process that dies takes its own task with it and no other; Ctrl-C and the end of the command end all of them at once.
"""

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

T = TypeVar("T")
R = TypeVar("R")
#: so many files are worth a process of its own
WORTH = 8


def number(files: int, asked: int | None = None) -> int:
    """How many processes so many files get; 1: none but this one."""
    if asked is not None:
        return max(1, min(asked, files))
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(here, files // WORTH))


def in_order(do: Callable[[T], R], tasks: Sequence[T], jobs: int, died: Callable[[T, str], R]) -> Iterator[R]:
    """What `do` makes of each task, in the order of the tasks; `died` says what is made of one that killed its process.

    With one job everything is done in this process.
    """
    if jobs > 1:
        yield from _Pool(do, tasks, died).results(jobs)
        return
    for position, task in enumerate(tasks):
        if position:
            _tidy()
        yield do(task)


def _tidy() -> None:
    """What the last task left behind is freed; what is still there is not looked at again."""
    gc.collect()
    gc.freeze()


class _Pool(Generic[T, R]):
    """The processes, each with the task that it is at."""

    def __init__(self, do: Callable[[T], R], tasks: Sequence[T], died: Callable[[T, str], R]) -> None:
        import multiprocessing

        self._do, self._tasks, self._died = do, tasks, died
        forks = multiprocessing.get_context("fork").Process if _may_fork() else None
        self._process = forks or multiprocessing.get_context("spawn").Process
        self._next = 0
        self._pipe = multiprocessing.Pipe
        self._busy: dict[Connection, tuple[BaseProcess, int]] = {}

    def results(self, jobs: int) -> Iterator[R]:
        """What becomes of each task, in order."""
        from multiprocessing.connection import Connection, wait

        early: dict[int, R] = {}
        told = 0
        try:
            for _ in range(jobs):
                self._start()
            while self._busy:
                for connection in wait(list(self._busy)):
                    assert isinstance(connection, Connection)
                    position, result = self._received(connection)
                    early[position] = result
                while told in early:
                    yield early.pop(told)
                    told += 1
        finally:
            for process, _ in self._busy.values():
                process.kill()
            for process, _ in self._busy.values():
                process.join()

    def _start(self) -> None:
        """One process more, if there is something left to do."""
        if self._next == len(self._tasks):
            return
        ours, theirs = self._pipe()
        process = self._process(target=_work, args=(self._do, theirs, [ours, *self._busy]), daemon=True)
        with _no_interrupt():
            process.start()
            theirs.close()
            self._give(ours, process)

    def _give(self, connection: "Connection", process: "BaseProcess") -> None:
        self._busy[connection] = process, self._next
        self._next += 1
        # one that has died is seen when its answer is waited for
        with suppress(BrokenPipeError):
            connection.send(self._tasks[self._next - 1])

    def _received(self, connection: "Connection") -> tuple[int, R]:
        process, position = self._busy[connection]
        try:
            result: R = connection.recv()
        except (EOFError, OSError):
            process.join()
            del self._busy[connection]
            connection.close()
            self._start()
            return position, self._died(self._tasks[position], _end(process.exitcode))
        if self._next < len(self._tasks):
            self._give(connection, process)
        else:
            # whose end is closed has nothing more to do
            connection.close()
            process.join()
            del self._busy[connection]
        return position, result


def _work(do: Callable[[T], R], connection: "Connection", others: "Sequence[Connection]") -> None:
    """The life of a process: task after task, until no more come."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for other in others:
        # a copy of its end would keep a process waiting for a parent that is gone
        other.close()
    gc.freeze()
    while True:
        try:
            task: T = connection.recv()
        except (EOFError, OSError):
            return
        result = do(task)
        try:
            connection.send(result)
        except OSError:
            return
        del task, result
        _tidy()


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Ctrl-C waits until a new process is known here, so that it is ended, and ignores the signal itself.

    The mask is what the new process inherits. It does not suffice here: where there are more threads, one of them
    takes the signal, and it is the main one that is interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else None
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if held:
            signal.raise_signal(signal.SIGINT)


def _may_fork() -> bool:
    """Whether a process may begin as a copy of this one, with all that is loaded: it would have none of its threads."""
    return sys.platform.startswith("linux") and len(os.listdir("/proc/self/task")) == 1


def _end(code: int | None) -> str:
    """How a process ended, in words."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"it ended with {code}"
