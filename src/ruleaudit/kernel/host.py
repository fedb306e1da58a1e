"""A host whose rulesets are asked: a network namespace with placeholder interfaces, each wired to a second namespace.

Packets are put on the wires, or sent by the host itself, one at a time; the kernel tells which way each one took.
"""

import contextlib
import errno
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from ruleaudit.kernel import netlink, packets
from ruleaudit.kernel.namespace import Namespace
from ruleaudit.kernel.trace import Event, Passage, event, passages

#: the table by which packets are traced; it looks at no connection, so that it makes nobody track them
TABLE = "ruleaudit_trace"
#: the number of the packet behind each other one: it is dropped before anything else, and says that the first one is
#: through
_LAST = 0xFFFF
#: seconds that a packet may take, and one from the host to itself, whose end nothing tells if it is sent elsewhere
_PATIENCE, _PATIENCE_LOCAL = 0.25, 0.1
_DEVICE, _BROADCAST = 25, b"\xff" * 6


@dataclass(frozen=True, slots=True)
class Probe:
    """A packet to send: `number` is in its header; `to` is its destination address.

    link    the link-layer destination: unicast, broadcast or multicast
    """

    number: int
    path: str
    iif: str
    oif: str
    to: str
    raw: bytes
    mark: int = 0
    link: str = "unicast"

    @property
    def six(self) -> bool:
        return self.raw[0] >> 4 == 6


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of a packet: the base chains that it passed, and whether it was there at the end of its path.

    `lost` says why nothing is known of it.
    """

    passages: tuple[Passage, ...]
    arrived: bool
    lost: str = ""


class Host:
    """Use it as a context manager; all of it is gone when it is left, or when the process dies."""

    def __init__(self, interfaces: Sequence[str], lock: str) -> None:
        """`lock`: the path of a lock file for iptables, which otherwise takes one for all namespaces."""
        self.space, self.wires = Namespace(), Namespace()
        self._open = contextlib.ExitStack()
        for space in (self.space, self.wires):
            self._open.callback(space.close)
        self.interfaces = interfaces
        self.environment = {"XTABLES_LOCKFILE": lock, "LC_ALL": "C"}
        self._addresses: dict[str, bytes] = {}

    def __enter__(self) -> Self:
        try:
            self._settings()
            self._plug()
        except BaseException:
            self._open.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    # -- interfaces and addresses ------------------------------------------------------------------

    def _settings(self) -> None:
        """Packets from and to everywhere are taken, and the host says as little as possible by itself."""
        for name in ("all", "default"):
            self._sysctl(f"net.ipv4.conf.{name}.rp_filter", 0)
            self._sysctl(f"net.ipv4.conf.{name}.accept_local", 1)
            self._sysctl(f"net.ipv4.conf.{name}.send_redirects", 0)
            self._sysctl(f"net.ipv6.conf.{name}.accept_dad", 0)
            self._sysctl(f"net.ipv6.conf.{name}.router_solicitations", 0)
            self._sysctl(f"net.ipv6.conf.{name}.addr_gen_mode", 1)
        self._sysctl("net.ipv4.ip_forward", 1)
        self._sysctl("net.ipv6.conf.all.forwarding", 1)
        with contextlib.suppress(OSError):
            self.wires.sysctl("net.ipv6.conf.all.disable_ipv6", 1)

    def _sysctl(self, name: str, value: int) -> None:
        # what a kernel does not have (IPv6, say) need not be set
        with contextlib.suppress(OSError):
            self.space.sysctl(name, value)

    def _plug(self) -> None:
        """A cable for each interface; names that no interface can have are left out."""
        lines = ["link set lo up"]
        ours = [name for name in self.interfaces if name != "lo"]
        for number, name in enumerate(ours):
            link = f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
            self._addresses[name] = bytes.fromhex(link.replace(":", ""))
            peer = f"type veth peer name w{number} netns /proc/self/fd/{self.wires.fd}"
            lines += [f"link add name {name} address {link} {peer}", f"link set dev {name} arp off up"]
        commands = "\n".join((*lines, ""))
        self.space.run("ip", "-force", "-batch", "-", text=commands, check=False, pass_fds=(self.wires.fd,))
        self.wires.run(
            *("ip", "-force", "-batch", "-"),
            text="".join(f"link set dev w{number} up\n" for number in range(len(ours))),
            check=False,
        )
        self.sockets: dict[str, socket.socket] = {}
        for number, name in enumerate(ours):
            with contextlib.suppress(OSError):
                self.space.wait_for_carrier(name, 2)
                with self.wires.inside():
                    wire = self._open.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
                    wire.bind((f"w{number}", 0))
                self.sockets[name] = wire
        if ours and not self.sockets:
            made = self.space.run("ip", "link", "add", "ruleaudit0", "type", "veth", check=False)
            raise OSError(errno.ENODEV, f"no virtual interface (veth) can be made here {made}".strip())

    def route(self, local: Iterable[str], out: Mapping[str, str]) -> None:
        """These addresses are the host's own, and those are reached by an interface."""
        lines: dict[bool, list[str]] = {False: [], True: []}
        for six in (False, True):
            table = "route flush table local proto 99\nroute flush proto 99\n"
            lines[six].append(table)
            if self.sockets:
                lines[six].append(f"route add default dev {next(iter(self.sockets))} proto 99\n")
        for address in local:
            lines[":" in address].append(f"route replace local {address} dev lo table local proto 99\n")
        for address, device in out.items():
            lines[":" in address].append(f"route replace {address} dev {device} proto 99\n")
        for six, commands in lines.items():
            self.space.run("ip", f"-{6 if six else 4}", "-force", "-batch", "-", text="".join(commands), check=False)

    # -- packets -----------------------------------------------------------------------------------

    def watch(self, marks: Mapping[int, int], ingress: bool) -> None:
        """Trace what comes in and what is sent; a packet of a number carries a mark from the beginning.

        Nothing else leaves the host.
        """
        named = {number: mark for number, mark in marks.items() if mark}
        four = [f"ip id {number} meta mark set {mark:#x}" for number, mark in named.items()]
        six = [f"ip6 flowlabel {number} meta mark set {mark:#x}" for number, mark in named.items()]
        # what the kernel answers belongs to nobody's socket; it would meet the rules, and be counted
        ours = ["meta skuid 0-65534 accept"]
        ends = [f"ip id {_LAST} drop", f"ip6 flowlabel {_LAST} drop"]
        chains = {
            "first": ("prerouting", -(1 << 31), ["meta nftrace set 1", *ends, *four, *six]),
            "sent": ("output", -(1 << 31), ["meta nftrace set 1", *four, *six, *ours, "drop"]),
            "arrived": ("input", (1 << 31) - 1, []),
            "left": ("postrouting", (1 << 31) - 1, []),
        }
        text = [f"table inet {TABLE} {{"]
        for name, (hook, priority, rules) in chains.items():
            text += [f"chain {name} {{", f"type filter hook {hook} priority {priority};", *rules, "}"]
        text.append("}")
        if ingress:
            text.append(f"table netdev {TABLE} {{")
            for number, name in enumerate(self.sockets):
                hook = f'type filter hook ingress device "{name}" priority {-(1 << 31)};'
                text += [f"chain c{number} {{", hook, "meta nftrace set 1", "}"]
            text.append("}")
        self.run("nft", "-f", "-", text="\n".join((*text, "")))
        with self.space.inside():
            self.traces = self._open.enter_context(netlink.open_traces())

    def run(self, *command: str, text: str | None = None, timeout: float = 60) -> str:
        """Standard output of a command on the host. Raises RuntimeError with what it said when it fails."""
        return self.space.run(*command, text=text, environment=self.environment, timeout=timeout)

    def forget(self) -> None:
        """Empty the connection table. Raises OSError."""
        with self.space.inside():
            try:
                netlink.forget_connections()
            except OSError as error:
                raise OSError(error.errno, f"the connection table cannot be emptied: {error.strerror}") from error

    def send(self, probe: Probe) -> Seen:
        """Send a packet, and wait for the end of its way."""
        self._drain()
        try:
            if probe.path in ("in", "forward"):
                if probe.iif not in self.sockets:
                    return Seen((), False, f"no interface {probe.iif} can be made")
                self._put_on_wire(probe)
            else:
                self._send_out(probe)
        except OSError as error:
            # what a rule drops on its way out is refused, and the sender is told
            if error.errno not in (errno.EPERM, errno.EACCES):
                return Seen((), False, f"it cannot be sent: {error.strerror}")
        try:
            events = list(self._events(probe))
        except OSError as error:
            return Seen((), False, f"the kernel lost the messages about it: {error.strerror}")
        end = "left" if probe.path in ("out", "forward") else "arrived"
        arrived = any(e.table == TABLE and e.chain == end for e in events)
        found = tuple(p for p in passages(events) if p.table != TABLE)
        return Seen(found, arrived)

    def _put_on_wire(self, probe: Probe) -> None:
        own = self._addresses[probe.iif]
        group = bytes.fromhex("333300000001" if probe.six else "01005e000001")
        link = {"unicast": own, "broadcast": _BROADCAST, "multicast": group}[probe.link]
        source, kind = b"\x02\xff" + own[2:], b"\x86\xdd" if probe.six else b"\x08\x00"
        wire = self.sockets[probe.iif]
        wire.send(link + source + kind + probe.raw)
        last = packets.numbered(packets.udp("192.0.2.1", 9, "192.0.2.2", 9), _LAST)
        wire.send(own + source + b"\x08\x00" + last)

    def _send_out(self, probe: Probe) -> None:
        with self.space.inside():
            made = socket.socket(socket.AF_INET6 if probe.six else socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with made:
            made.setsockopt(socket.SOL_SOCKET, _DEVICE, probe.oif.encode() + b"\0")
            if not probe.six:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            made.sendto(probe.raw, (probe.to, 0))

    def _drain(self) -> None:
        """Nothing that is told from now on is about an earlier packet."""
        self.traces.settimeout(0)
        while True:
            try:
                self.traces.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise

    def _events(self, probe: Probe) -> Iterator[Event]:
        """What the kernel tells of a packet, to the end of its way. Raises OSError when messages are lost."""
        # a packet that is sent has left, or been dropped, when the call returns
        deadline = time.monotonic() + {"out": 0, "local": _PATIENCE_LOCAL}.get(probe.path, _PATIENCE)
        ours: set[int] = set()
        body = probe.raw[8:40] if probe.six else probe.raw[12:20]
        end = {"in": "arrived", "local": "arrived"}.get(probe.path, "left")
        while True:
            self.traces.settimeout(max(deadline - time.monotonic(), 0))
            try:
                datagram = self.traces.recv(1 << 16)
            except (TimeoutError, BlockingIOError):
                return
            for found in filter(None, (event(*one) for one in netlink.traces(datagram))):
                if found.header:
                    number = packets.number_of(found.header)
                    if number == _LAST:
                        return
                    addresses = found.header[8:40] if probe.six else found.header[12:20]
                    mine = number == probe.number and (addresses == body or found.packet in ours)
                    (ours.add if mine else ours.discard)(found.packet)
                if found.packet not in ours:
                    continue
                yield found
                if found.table == TABLE and found.chain == end and probe.path not in ("in", "forward"):
                    return
                if found.verdict in ("drop", "stolen") and probe.path not in ("in", "forward"):
                    return


def pin() -> None:
    """Keep this process on one processor: packets that it sends arrive in their order."""
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
