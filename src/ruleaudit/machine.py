"""What this machine, or a snapshot of another one, says of its connection table: the only reader of /proc.

A snapshot is a folder in which files lie where they lie in / (report/templates/snapshot.sh writes it), so both are read
by the same code. Nothing is changed, and no process is started.
"""

import os
import re
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.resources import files
from ipaddress import ip_address
from pathlib import Path

from ruleaudit.diagnostics import SourceError
from ruleaudit.model.conntrack import Conntrack, Moment

#: where /proc is
ROOT = Path("/")
_SETTINGS = Path("proc/sys/net/netfilter")
_COUNT = _SETTINGS / "nf_conntrack_count"
_STAT, _SLABS, _SOCKETS = Path("proc/net/stat/nf_conntrack"), Path("proc/slabinfo"), Path("proc/net/sockstat")
_RELEASE, _UPTIME = Path("proc/sys/kernel/osrelease"), Path("proc/uptime")
#: only the machine's own network namespace has it there too
_OF_THE_MACHINE = Path("proc/sys/net/nf_conntrack_max")
_ENTRIES = Path("proc/net/nf_conntrack")
#: seconds between the two counts of a live table
PAUSE = 0.1
#: how much of a live connection table is looked at, in bytes: about 4,000 entries
SAMPLE = 700_000
#: a line of the kernel about a full table, in all of its forms (re, and grep -E)
FULL = "(nf|ip)_conntrack: table full.*dropping packet"
#: names of the columns of /proc/net/stat/nf_conntrack that `conntrack -S` calls otherwise
_CALLED = {"icmp_error": "error", "clashres": "clash_resolve", "chainlength": "chaintoolong"}


def live() -> Conntrack:
    """The connection table of this network namespace, at one moment. Raises SourceError without a Linux to ask."""
    found = _Reader(ROOT)
    first = found.moment(time.monotonic())
    told = found.conntrack(first)
    if first is None:
        return told
    log = tuple(_kernel_log(found.unread))
    return replace(told, log=log, netns=_namespace(), addresses=tuple(_addresses()), unread=tuple(found.unread))


def again(table: Conntrack) -> Conntrack:
    """The same with a second moment, PAUSE seconds after the first or later."""
    if table.first is None:
        return table
    time.sleep(max(0.0, table.first.seconds + PAUSE - time.monotonic()))
    return replace(table, later=_Reader(ROOT).moment(time.monotonic()))


def snapshot(folder: str) -> Conntrack:
    """The connection table of the machine that a snapshot was taken of. Raises SourceError for what is none."""
    root = Path(folder)
    if not root.is_dir():
        raise SourceError(f"{folder}: there is no such folder")
    found, after = _Reader(root), _Reader(root / "later")
    first = found.moment(found.uptime())
    noted = (line.partition(": ") for line in found.lines("unread"))
    netns = "".join(found.lines("netns")).removeprefix("net:[").removesuffix("]")
    inet = (line.split() for line in found.lines("ip-addr"))
    own = [words[1] for words in inet if len(words) > 1 and words[0] in ("inet", "inet6")]
    return replace(
        found.conntrack(first),
        later=after.moment(after.uptime()) if first is not None else None,
        netns=int(netns) if netns.isdigit() else None,
        addresses=tuple(address for one in own for address in _outward(one.partition("/")[0])),
        log=tuple(found.lines("log")),
        unread=tuple((path, why) for path, _, why in noted),
    )


def beside(folder: str, name: str) -> str | None:
    """The path of a file of a snapshot; None where it has none, or an empty one."""
    path = Path(folder, name)
    return str(path) if path.is_file() and path.stat().st_size else None


def script() -> str:
    """The shell script that takes a snapshot."""
    return files("ruleaudit.report").joinpath("templates", "snapshot.sh").read_text("utf-8")


def sample() -> bytes:
    """The first entries of the live table, whole lines; in the order of a hash; empty where it cannot be read."""
    try:
        with open(ROOT / _ENTRIES, "rb") as entries:
            data = entries.read(SAMPLE)
    except OSError:
        return b""
    return data[: data.rfind(b"\n") + 1]


class _Reader:
    """Files below a root; what cannot be read is noted once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.unread: list[tuple[str, str]] = []

    def text(self, path: Path) -> str | None:
        try:
            return (self.root / path).read_text("utf-8", "replace")
        except OSError as error:
            if not any(str(path) == name for name, _ in self.unread):
                self.unread.append((str(path), (error.strerror or str(error)).lower()))
            return None

    def lines(self, name: str) -> list[str]:
        """Of a file that a snapshot has besides those of /proc, if it has it."""
        path = self.root / name
        return path.read_text("utf-8", "replace").splitlines() if path.is_file() else []

    def number(self, path: Path) -> int | None:
        text = (self.text(path) or "").strip()
        return int(text) if text.isascii() and text.removeprefix("-").isdigit() else None

    def uptime(self) -> float:
        with suppress(ValueError, IndexError):
            return float((self.text(_UPTIME) or "").split()[0])
        return 0.0

    def moment(self, seconds: float) -> Moment | None:
        count = self.number(_COUNT)
        return None if count is None else Moment(seconds, count, counters(self.text(_STAT) or ""))

    def conntrack(self, first: Moment | None) -> Conntrack:
        """What does not change from moment to moment. Raises SourceError where nothing can be said."""
        kernel = (self.text(_RELEASE) or "").strip()
        if first is None and not ((self.root / _SETTINGS.parent).is_dir() and kernel):
            where = f"{self.root}: no snapshot" if self.root != ROOT else "no connection table can be asked here"
            raise SourceError(
                f"{where}: {self.root / _COUNT} is missing, as is all else that Linux has there;"
                " take a snapshot on the host: ruleaudit capacity --snapshot-script"
            )
        return Conntrack(
            self._settings(),
            first,
            kernel=kernel,
            object_bytes=_object_bytes(self.text(_SLABS) or ""),
            sockets=_tcp_sockets(self.text(_SOCKETS) or ""),
            initial=(self.root / _OF_THE_MACHINE).exists(),
        )

    def _settings(self) -> Mapping[str, int]:
        folder = self.root / _SETTINGS
        names = sorted(path.name for path in folder.glob("nf_conntrack_*")) if folder.is_dir() else []
        read = {name: self.number(_SETTINGS / name) for name in names}
        return {name.removeprefix("nf_conntrack_"): value for name, value in read.items() if value is not None}


def counters(text: str) -> dict[str, int]:
    """The sums over all CPUs of /proc/net/stat/nf_conntrack: hexadecimal columns, named by the first line.

    Their number and names differ from kernel to kernel; those that `conntrack -S` shows have its names.
    """
    lines = text.splitlines()
    names = [_CALLED.get(name, name) for name in lines[0].split()] if lines else []
    sums = dict.fromkeys(names, 0)
    for line in lines[1:]:
        for name, word in zip(names, line.split(), strict=False):
            with suppress(ValueError):
                sums[name] += int(word, 16)
    sums.pop("entries", None)
    return sums


def _object_bytes(text: str) -> int | None:
    """The size of an object of the slab nf_conntrack; kernels before 4.12 have one for each namespace."""
    for line in text.splitlines():
        words = line.split()
        if len(words) > 3 and words[0].startswith(("nf_conntrack", "ip_conntrack")) and "expect" not in words[0]:
            return int(words[3]) if words[3].isdigit() else None
    return None


def _tcp_sockets(text: str) -> int | None:
    for line in text.splitlines():
        words = line.split()
        if words[:2] == ["TCP:", "inuse"] and words[2:] and words[2].isdigit():
            return int(words[2])
    return None


def _namespace() -> int | None:
    try:
        return os.stat("/proc/self/ns/net").st_ino
    except OSError:
        return None


def _addresses() -> Iterator[str]:
    """Of the interfaces of this network namespace, asked by rtnetlink (RTM_GETADDR)."""
    request, dump, done, error = 22, 0x301, 3, 2
    with suppress(OSError), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as asking:
        asking.settimeout(1)
        asking.send(struct.pack("=IHHII", 24, request, dump, 1, 0) + bytes(8))
        while True:
            data = asking.recv(1 << 16)
            while len(data) >= 16:
                length, kind = struct.unpack_from("=IH", data)
                if kind in (done, error):
                    return
                yield from _of_interface(data[16:length])
                data = data[(length + 3) & ~3 :]


def _of_interface(message: bytes) -> Iterator[str]:
    """The address of one message: IFA_LOCAL where there is one, IFA_ADDRESS elsewhere."""
    family, attributes, found = message[0], message[8:], dict[int, bytes]()
    while len(attributes) >= 4:
        length, kind = struct.unpack_from("=HH", attributes)
        if length < 4:
            break
        found[kind] = attributes[4:length]
        attributes = attributes[(length + 3) & ~3 :]
    packed = found.get(2) or found.get(1)
    if packed and family in (socket.AF_INET, socket.AF_INET6):
        yield from _outward(packed)


def _outward(address: str | bytes) -> Iterator[str]:
    """An address, if it is one that others can talk to."""
    with suppress(ValueError):
        known = ip_address(address)
        if not known.is_loopback:
            yield str(known)


def _kernel_log(unread: list[tuple[str, str]]) -> Iterator[str]:
    """The lines of /dev/kmsg about a full table: those that the kernel still has."""
    full = re.compile(FULL)
    try:
        log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        unread.append(("dev/kmsg", (error.strerror or str(error)).lower()))
        return
    try:
        while True:
            try:
                record = os.read(log, 8192)
            except BrokenPipeError:
                continue  # overwritten meanwhile; the next read gives the oldest that is left
            _, _, message = record.decode("utf-8", "replace").partition(";")
            if full.search(message):
                yield message.splitlines()[0]
    except BlockingIOError:
        pass  # that was the last one
    except OSError as error:
        unread.append(("dev/kmsg", (error.strerror or str(error)).lower()))
    finally:
        os.close(log)
