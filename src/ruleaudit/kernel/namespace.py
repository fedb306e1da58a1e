"""One network namespace, held by a file descriptor: it needs no name and is gone when the process is."""

import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_CLONE_NEWNET, _CLONE_NEWUSER = 0x40000000, 0x10000000
#: linux/sockios.h; IFF_RUNNING of linux/if.h
_SIOCGIFFLAGS, _RUNNING = 0x8913, 0x40
_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def leave() -> None:
    """Take this process out of the network namespace that it is in; an ordinary user becomes root of a namespace.

    As `unshare -n`, or `unshare -Urn`, does. Nothing outside is gained by it, and it cannot be undone. Raises OSError
    where the system forbids it; the process must not have threads.
    """
    try:
        _check(_libc.unshare(_CLONE_NEWNET), "unshare")
    except PermissionError:
        user, group = os.geteuid(), os.getegid()
        _check(_libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET), "unshare")
        for name, line in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path("/proc/self", name).write_text(line)


class Namespace:
    """A new network namespace; commands and sockets are made inside it."""

    def __init__(self) -> None:
        made: list[int | OSError] = []

        def make() -> None:
            try:
                _check(_libc.unshare(_CLONE_NEWNET), "unshare")
                made.append(os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC))
            except OSError as error:
                made.append(error)

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        self.fd = made[0]

    def close(self) -> None:
        os.close(self.fd)

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and the sockets, threads and processes that it starts, belong to the namespace."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _check(_libc.setns(self.fd, _CLONE_NEWNET), "setns")
            try:
                yield
            finally:
                _check(_libc.setns(before, _CLONE_NEWNET), "setns back")
        finally:
            os.close(before)

    def run(
        self,
        *command: str,
        text: str | None = None,
        environment: dict[str, str] | None = None,
        check: bool = True,
        pass_fds: tuple[int, ...] = (),
        timeout: float = 20,
    ) -> str:
        """Standard output of a command. Raises RuntimeError with what it said when it fails."""
        with self.inside():
            done = subprocess.run(
                command,
                input=text,
                text=True,
                capture_output=True,
                env={**os.environ, **(environment or {})},
                pass_fds=pass_fds,
                timeout=timeout,
                check=False,
            )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.returncode}: {done.stderr.strip()}\n{text or ''}")
        return done.stdout

    def sysctl(self, name: str, value: int | str) -> None:
        """Set `net.ipv4.ip_forward` and the like, for this namespace."""
        with self.inside():
            Path("/proc/sys", *name.split(".")).write_text(str(value))

    def wait_for_carrier(self, device: str, seconds: float) -> None:
        """The kernel drops what is sent before it has noticed that the other end is up. Raises OSError."""
        deadline = time.monotonic() + seconds
        with self.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            while time.monotonic() < deadline:
                answer = fcntl.ioctl(asking, _SIOCGIFFLAGS, struct.pack("16s16x8x", device.encode()))
                if struct.unpack_from("H", answer, 16)[0] & _RUNNING:
                    return
                time.sleep(0.002)
        raise OSError(errno.ENETDOWN, f"{device}: no carrier")
