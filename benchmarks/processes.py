"""One run of a command: its seconds, and the memory of the process itself."""

import ctypes
import os
import resource
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

_SUBREAPER = 36
_NEW_NETWORK = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Run:
    """Seconds by the clock and of the processor, the peak of resident memory in MB, and how it ended."""

    wall: float
    cpu: float
    megabytes: float
    code: int


def adopt() -> None:
    """Take what the shell below leaves behind as children of this process."""
    if _libc.prctl(_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot become the parent of orphans")


def own_network() -> bool:
    """Whether this process is now in a network of its own, where rules may be tested; root alone may."""
    return os.geteuid() == 0 and _libc.unshare(_NEW_NETWORK) == 0


def _kilobytes(gigabytes: int) -> str:
    most = resource.getrlimit(resource.RLIMIT_AS)[1]
    asked = gigabytes << 30
    return str((asked if most == resource.RLIM_INFINITY else min(asked, most)) >> 10)


#: waits for a line on 4, so that nothing has ended before its parent has left; 3 is what the command reads
_STARTER = 'ulimit -v "$1"; shift; { read -r _ <&4; exec "$@" <&3 4<&-; } >/dev/null 2>&1 & echo $!'


def run(words: list[str], stdin: Path | None, timeout: float, surroundings: dict[str, str], memory: int) -> Run | None:
    """Nothing, if it did not end in time; `memory` is the address space that it may take, in GB.

    The kernel counts the peak of a process from before exec: from what started it. So a shell of 1 MB starts it and
    leaves, and it is waited for here.
    """
    late = threading.Event()
    with (stdin or Path(os.devnull)).open("rb") as source, tempfile.TemporaryDirectory() as folder:
        hold, release = os.pipe()
        starter = ["/bin/sh", "-c", f"exec 3<&0 4<&{hold}; {_STARTER}", "sh", _kilobytes(memory), *words]
        shell = subprocess.run(
            starter, stdin=source, stdout=subprocess.PIPE, check=True, pass_fds=[hold],
            env={**surroundings, "XTABLES_LOCKFILE": f"{folder}/lock"},
        )  # fmt: skip
        process = int(shell.stdout)
        started = monotonic()
        os.write(release, b"\n")

        def stop() -> None:
            late.set()
            os.kill(process, signal.SIGKILL)

        watch = threading.Timer(timeout, stop)
        watch.start()
        _, status, usage = os.wait4(process, 0)
        ended = monotonic()
        watch.cancel()
        os.close(hold)
        os.close(release)
    if late.is_set():
        return None
    code = os.waitstatus_to_exitcode(status)
    return Run(ended - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, code)
