"""What a real HAProxy opens: its listening sockets, in a network namespace of its own, and what `-c` says."""

import contextlib
import itertools
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from ruleaudit.kernel.namespace import Namespace

PEER = "here"
#: sockets that are bound to no port of the configuration have one of these
EPHEMERAL = (61000, 61999)
_LOCAL = re.compile(r"(?P<address>\*|\[[^]%]*\]|[^%:]*)(?:%(?P<interface>[^:\]]+))?\]?:(?P<port>[0-9]+)")
#: state that HAProxy leaves on the disk is seen by it alone, and gone with it
_APART = """
echo "$0" > /proc/sys/kernel/hostname &&
mount -t tmpfs none /run && mkdir /run/haproxy && mount -t tmpfs none /var/lib/haproxy && exec "$@"
"""


class Socket(NamedTuple):
    """A listening socket; `both`: on `::`, and IPv4 comes to it too."""

    address: str
    port: int
    protocol: str
    interface: str = ""
    both: bool = False


class HaproxyHost:
    """A namespace with lo, eth0 and eth1, in which any address may be bound."""

    def __init__(self) -> None:
        self.space = Namespace()
        self.space.run("ip", "link", "set", "lo", "up")
        self.space.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
        for setting, value in (
            ("net.ipv4.ip_nonlocal_bind", "1"),
            ("net.ipv6.ip_nonlocal_bind", "1"),
            ("net.ipv4.ip_local_port_range", "{} {}".format(*EPHEMERAL)),
        ):
            self.space.sysctl(setting, value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.space.close()

    def _start(self, files: Sequence[Path], environment: dict[str, str]) -> subprocess.Popen[str]:
        command = ["haproxy", "-db", "-n", "100", *(word for file in files for word in ("-f", str(file)))]
        with self.space.inside():
            return subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--uts", "sh", "-c", _APART, PEER, *command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
            )

    def contacted(self, files: Sequence[Path], own: set[Socket], wanted: set[Socket]) -> set[Socket]:
        """Where it opens connections to over lo, and sends datagrams; somebody connects and sends to its `own` sockets.

        Returns when all that is wanted was seen and nothing else came for a while, at the latest after seconds.
        """
        program = self._start(files, {})
        with self.space.inside():
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        stop = threading.Event()
        asking = threading.Thread(target=self._ask, args=(own, stop))
        try:
            asking.start()
            tap.bind(("lo", 0x0800))
            tap.settimeout(0.05)
            seen: set[Socket] = set()
            begin = time.monotonic()
            last = 0.0
            while (now := time.monotonic() - begin) < 20 and not (wanted <= seen and now - last > 1):
                with contextlib.suppress(TimeoutError):
                    found = _destination(tap.recv(65535))
                    if found is not None and found not in own | seen:
                        seen.add(found)
                        last = now
            assert program.poll() is None, program.communicate(timeout=5)[0]
            return seen
        finally:
            stop.set()
            asking.join()
            tap.close()
            program.kill()
            program.communicate(timeout=5)

    def _ask(self, own: set[Socket], stop: threading.Event) -> None:
        """A connection, or a datagram, to each socket, over and over."""
        for one in itertools.takewhile(lambda _: not stop.is_set(), itertools.cycle(sorted(own))):
            time.sleep(0.01)
            with self.space.inside():
                kind = socket.SOCK_STREAM if one.protocol == "tcp" else socket.SOCK_DGRAM
                asking = socket.socket(socket.AF_INET, kind)
            with asking, contextlib.suppress(OSError):
                asking.settimeout(0.02)
                asking.connect((one.address, one.port))
                asking.sendall(b"<14>question" if one.protocol == "udp" else b"question")
                asking.recv(1)

    def sockets(self, files: Sequence[Path], expected: set[Socket], environment: dict[str, str]) -> set[Socket] | str:
        """What it opens, as soon as that is what is expected, at the latest after seconds; why it does not start."""
        program = self._start(files, environment)
        try:
            deadline = time.monotonic() + 3
            found: set[Socket] = set()
            while time.monotonic() < deadline:
                if program.poll() is not None:
                    assert program.stdout is not None
                    return program.stdout.read()
                found = self._open()
                if found == expected and found:
                    time.sleep(0.1)  # nothing more may come
                    return self._open()
                time.sleep(0.03)
            return found
        finally:
            program.kill()
            program.communicate(timeout=5)

    def _open(self) -> set[Socket]:
        found = set()
        for line in self.space.run("ss", "-Hlntu").splitlines():
            protocol, _, _, _, local, *_ = line.split()
            match = _LOCAL.fullmatch(local)
            assert match is not None, line
            port = int(match["port"])
            if protocol == "udp" and EPHEMERAL[0] <= port <= EPHEMERAL[1]:
                continue
            # ss writes * for the socket on :: that takes IPv4 too
            address = "::" if match["address"] == "*" else match["address"].strip("[]").removeprefix("::ffff:")
            found.add(Socket(address, port, protocol, match["interface"] or "", match["address"] == "*"))
        return found


def _destination(packet: bytes) -> Socket | None:
    """Where a SYN or a datagram goes."""
    head = (packet[0] & 15) * 4
    address, port = socket.inet_ntoa(packet[16:20]), int.from_bytes(packet[head + 2 : head + 4], "big")
    if packet[9] == socket.IPPROTO_TCP and packet[head + 13] & 0x12 == 0x02:
        return Socket(address, port, "tcp")
    # answers of a name server's port, and what goes back to a sender, are none
    return Socket(address, port, "udp") if packet[9] == socket.IPPROTO_UDP and port < EPHEMERAL[0] else None


def checked(files: Sequence[Path], environment: dict[str, str]) -> tuple[bool, str]:
    """Whether `haproxy -c` takes some files, and what it says."""
    done = subprocess.run(
        ["haproxy", "-c", "-L", PEER, *(word for file in files for word in ("-f", str(file)))],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=20,
        check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
    )
    return done.returncode == 0, done.stdout + done.stderr


def missing() -> str | None:
    """Why HAProxy cannot be asked here; None if it can."""
    absent = [p for p in ("haproxy", "ss", "ip", "setpriv", "unshare") if shutil.which(p) is None]
    return f"not installed: {', '.join(absent)}" if absent else None
