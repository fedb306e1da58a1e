"""Hosts joined by cables, in network namespaces of their own: load a ruleset on one, ask it from another.

    client c0 10.9.0.1 fd09::1  --  s0 10.9.0.2 fd09::2 server                          Lab()
    client c0 10.9.0.1 fd09::1  --  r0 .254 router r1  --  s0 10.9.1.2 fd09:1::2 server   Lab(router=True)

Nothing is named and nothing is loaded outside: a Lab that is left, or whose process dies, leaves nothing behind.
"""

import contextlib
import ctypes
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from ruleaudit.kernel.namespace import Namespace

CLIENT, SERVER, BEHIND = "10.9.0.1", "10.9.0.2", "10.9.1.2"
CLIENT6, SERVER6, BEHIND6 = "fd09::1", "fd09::2", "fd09:1::2"
ROUTER, ROUTER6, OUTSIDE, OUTSIDE6 = "10.9.0.254", "fd09::fe", "10.9.1.254", "fd09:1::fe"
#: the two programs that load an iptables ruleset
VARIANTS = ("nft", "legacy")
#: how long a probe waits for an answer; on a veth an answer takes less than a millisecond
PATIENCE = 0.4

_libc = ctypes.CDLL(None)

_CHAINS = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
_EMPTY = "".join(
    f"*{table}\n" + "".join(f":{chain} ACCEPT [0:0]\n" for chain in chains) + "COMMIT\n"
    for table, chains in _CHAINS.items()
)


def missing() -> str | None:
    """Why the kernel can't be asked here; None if it can."""
    programs = [f"ip{six}tables-{variant}-restore" for six in ("", "6") for variant in VARIANTS]
    absent = [p for p in ("ip", "conntrack", "nft", "ipset", *programs) if shutil.which(p) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    try:
        with Lab() as lab:
            for variant in VARIANTS:
                lab.load("server", "*filter\n-A INPUT -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n", variant)
    except (OSError, RuntimeError) as error:
        return f"needs root and network namespaces: {error}"
    return None


class Lab:
    """The hosts of one experiment; use it as a context manager."""

    def __init__(self, *, router: bool = False, narrow: int | None = None) -> None:
        """`narrow`: the MTU of the router's link towards the client, for path-MTU discovery."""
        self.hosts: dict[str, Namespace] = {}
        self._loaded: set[tuple[str, str, bool]] = set()
        self._open = contextlib.ExitStack()
        self._router, self._narrow = router, narrow
        self._folder = Path()
        self._index = 100
        self._closing = threading.Event()

    def __enter__(self) -> Self:
        try:
            self._folder = Path(self._open.enter_context(tempfile.TemporaryDirectory(prefix="ruleaudit-lab-")))
            if self._router:
                self._build_routed()
            else:
                self.link(("client", "c0", CLIENT, CLIENT6), ("server", "s0", SERVER, SERVER6))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop what was started and let the namespaces go."""
        self._closing.set()
        self._open.close()

    def _build_routed(self) -> None:
        self.link(("client", "c0", CLIENT, CLIENT6), ("router", "r0", ROUTER, ROUTER6))
        self.link(("router", "r1", OUTSIDE, OUTSIDE6), ("server", "s0", BEHIND, BEHIND6))
        self.hosts["router"].sysctl("net.ipv4.ip_forward", 1)
        self.hosts["router"].sysctl("net.ipv6.conf.all.forwarding", 1)
        for host, by in (("client", (ROUTER, ROUTER6)), ("server", (OUTSIDE, OUTSIDE6))):
            for address in by:
                self.run(host, "ip", "route", "add", "default", "via", address)
        if self._narrow is not None:
            self.run("router", "ip", "link", "set", "r0", "mtu", str(self._narrow))
            for host, device in (("client", "c0"), ("router", "r0"), ("router", "r1"), ("server", "s0")):
                # with offloads on, a veth hands over segments larger than any MTU
                self.run(host, "ethtool", "-K", device, "tso", "off", "gso", "off", "gro", "off", check=False)

    # -- hosts and cables ------------------------------------------------------------------------

    def host(self, name: str) -> Namespace:
        """A host with a loopback interface."""
        if name not in self.hosts:
            space = self.hosts[name] = Namespace()
            self._open.callback(space.close)
            for setting, value in (("accept_dad", 0), ("router_solicitations", 0)):
                space.sysctl(f"net.ipv6.conf.default.{setting}", value)
            space.sysctl("net.ipv4.icmp_ratelimit", 0)
            space.sysctl("net.ipv6.icmp.ratelimit", 0)
            space.run("ip", "link", "set", "lo", "up")
        return self.hosts[name]

    def link(self, one: tuple[str, str, str, str], other: tuple[str, str, str, str]) -> None:
        """A cable between two (host, interface, IPv4 address, IPv6 address), in a /24 and a /64."""
        near, far = self.host(one[0]), self.host(other[0])
        # not the number of its other end: of what looks like no cable the kernel tells the carrier a second later
        # (linkwatch_urgent_event in net/core/link_watch.c)
        self._index += 1
        near.run(
            *("ip", "link", "add", one[1], "index", str(self._index), "type", "veth", "peer", "name", other[1]),
            *("netns", f"/proc/self/fd/{far.fd}"),
            pass_fds=(far.fd,),
        )
        for host, device, address, address6 in (one, other):
            lines = f"addr add {address}/24 dev {device}\naddr add {address6}/64 dev {device} nodad\n"
            self.run(host, "ip", "-batch", "-", text=lines + f"link set {device} up\n")
        for host, device, *_ in (one, other):
            self.hosts[host].wait_for_carrier(device, 5)

    def run(self, host: str, *command: str, text: str | None = None, check: bool = True) -> str:
        """Standard output of a command on a host."""
        lock = {"XTABLES_LOCKFILE": str(self._folder / "xtables.lock")}
        return self.hosts[host].run(*command, text=text, environment=lock, check=check)

    def start(self, host: str, *command: str) -> None:
        """A program that runs until the lab closes, or this process dies."""
        with self.hosts[host].inside():
            program = subprocess.Popen(
                ("setpriv", "--pdeathsig", "KILL", *command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

        def stop() -> None:
            program.kill()
            program.wait(5)

        self._open.callback(stop)

    def file(self, name: str, text: str) -> str:
        """The path of a file that lives as long as the lab."""
        path = self._folder / name
        path.write_text(text)
        return str(path)

    # -- rulesets --------------------------------------------------------------------------------

    def load(self, host: str, text: str, variant: str, *, six: bool = False) -> None:
        """Only this iptables-save text rules the host in this family; its connection table is emptied."""
        family = "ip6tables" if six else "iptables"
        for loaded in [x for x in self._loaded if x[0] == host and x[2] == six]:
            self.run(host, f"{family}-{loaded[1]}-restore", text=_EMPTY)
            self._loaded.discard(loaded)
        self._loaded.add((host, variant, six))
        self.restore(host, text, variant, six=six)
        self._forget_everything(host)

    def _forget_everything(self, host: str) -> None:
        self.forget(host)
        for name in self.hosts if self._narrow else ():
            # what a host has learned of the path's MTU belongs to the ruleset before
            for version in ("-4", "-6"):
                self.run(name, "ip", version, "route", "flush", "cache")

    def restore(self, host: str, text: str, variant: str, *, six: bool = False) -> None:
        """Load a text as the administrator does: connections and the tables that it does not name stay."""
        self.run(host, f"{'ip6tables' if six else 'iptables'}-{variant}-restore", text=text)

    def save(self, host: str, variant: str, *, six: bool = False) -> str:
        """What the kernel holds, with counters."""
        return self.run(host, f"{'ip6tables' if six else 'iptables'}-{variant}-save", "-c")

    def load_nft(self, host: str, text: str) -> None:
        """Only this nft text rules the host, in every family; its connection table is emptied."""
        self._loaded -= {x for x in self._loaded if x[0] == host and x[1] == "nft"}
        self.run(host, "nft", "flush", "ruleset")
        self.run(host, "nft", "-f", "-", text=text)
        self._forget_everything(host)

    def hits_nft(self, host: str, comment: str) -> int:
        """How many packets met the nft rules that count, and carry a comment."""
        lines = [x for x in self.run(host, "nft", "list", "ruleset").splitlines() if f'comment "{comment}"' in x]
        assert lines, comment
        return sum(int(line.split(" packets ")[1].split()[0]) for line in lines)

    def hits(self, host: str, comment: str) -> int:
        """How many packets met the rules that carry a comment, in whatever was loaded last."""
        rules = [rule for _, variant, six in self._loaded for rule in self.save(host, variant, six=six).splitlines()]
        lines = [rule for rule in rules if f"--comment {comment} " in rule + " "]
        assert lines, comment
        return sum(int(line[1 : line.index(":")]) for line in lines)

    # -- the connection table --------------------------------------------------------------------

    def entries(self, host: str, *words: str) -> list[str]:
        """The lines of the connection table, both families, that hold all the words (`dport=80`)."""
        lines = [x for f in ("ipv4", "ipv6") for x in self.run(host, "conntrack", "-L", "-f", f).splitlines()]
        return [line for line in lines if all(f" {word} " in line for word in words)]

    def forget(self, host: str) -> None:
        """Empty the connection table."""
        self.run(host, "conntrack", "-F")

    # -- services --------------------------------------------------------------------------------

    def open_socket(self, host: str, kind: socket.SocketKind, *, six: bool = False, protocol: int = 0) -> socket.socket:
        """A socket of a host; it waits for PATIENCE seconds at most."""
        with self.hosts[host].inside():
            made = socket.socket(socket.AF_INET6 if six else socket.AF_INET, kind, protocol)
        made.settimeout(PATIENCE)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if six and kind is not socket.SOCK_RAW:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        return made

    def _serve(self, bound: socket.socket, once: Callable[[socket.socket], None]) -> None:
        """Call `once` over and over until the lab closes."""
        bound.settimeout(0.05)

        def loop() -> None:
            while not self._closing.is_set():
                # a client that left is no reason to stop serving
                with contextlib.suppress(OSError):
                    once(bound)

        thread = threading.Thread(target=loop, daemon=True)
        thread.start()

        def stop() -> None:
            thread.join(5)
            bound.close()

        self._open.callback(stop)

    def serve_tcp(
        self,
        host: str,
        port: int,
        *,
        size: int = 6,
        address: str = "",
        six: bool = False,
        transparent: bool = False,
        user: int = 0,
    ) -> None:
        """A server that answers each connection with `size` bytes at once, and echoes what comes when size is 0.

        `user`: whose the connections are; the listening socket is root's, as with a daemon that lets go of root.
        """
        bound = self.open_socket(host, socket.SOCK_STREAM, six=six)
        if transparent:
            bound.setsockopt(socket.SOL_IP, 19, 1)  # IP_TRANSPARENT
        bound.bind((address, port))
        bound.listen(256)

        def answer(peer: socket.socket) -> None:
            with peer, contextlib.suppress(OSError):
                peer.settimeout(8)
                if size:
                    peer.sendall(b"x" * size)
                while not size and (data := peer.recv(65536)):
                    peer.sendall(data)

        def once(listener: socket.socket) -> None:
            _libc.setfsuid(user)  # of this thread only
            peer, _ = listener.accept()
            threading.Thread(target=answer, args=(peer,), daemon=True).start()

        self._serve(bound, once)

    def serve_udp(
        self, host: str, port: int, *, address: str = "", answer_from: str | None = None, six: bool = False
    ) -> None:
        """A server that sends each datagram back, from another of its addresses if one is given."""
        bound = self.open_socket(host, socket.SOCK_DGRAM, six=six)
        bound.bind((address, port))
        speaker = bound
        if answer_from is not None:
            speaker = self.open_socket(host, socket.SOCK_DGRAM, six=six)
            speaker.bind((answer_from, port))
            self._open.callback(speaker.close)

        def once(listener: socket.socket) -> None:
            data, peer = listener.recvfrom(65535)
            speaker.sendto(data, peer)

        self._serve(bound, once)

    # -- probes ----------------------------------------------------------------------------------

    def tcp(
        self, host: str, to: str, port: int, *, sport: int = 0, source: str = "", patience: float = PATIENCE
    ) -> str:
        """What a client sees that connects and reads: ok, refused, silence..."""
        with self.open_socket(host, socket.SOCK_STREAM, six=":" in to) as asking:
            return outcome(lambda: self._ask(asking, to, port, (source, sport), patience))

    def _ask(self, asking: socket.socket, to: str, port: int, own: tuple[str, int], patience: float) -> bool:
        asking.settimeout(patience)
        if any(own):
            asking.bind(own)
        asking.connect((to, port))
        answered = bool(asking.recv(100))
        with contextlib.suppress(OSError):
            # whoever closes first keeps the connection for a minute, and a port of one's own with it
            while own[1] and asking.recv(65536):
                pass
        return answered

    def udp(self, host: str, to: str, port: int, *, sport: int = 0, patience: float = PATIENCE) -> str:
        """What a client sees that sends a datagram and waits for one."""
        with self.open_socket(host, socket.SOCK_DGRAM, six=":" in to) as asking:
            asking.settimeout(patience)

            def ask() -> bool:
                asking.bind(("", sport))
                asking.connect((to, port))
                asking.send(b"question")
                return bool(asking.recv(100))

            return outcome(ask)

    def download(self, host: str, to: str, port: int = 80, *, patience: float = 1.0) -> int:
        """How many bytes arrive before the end or a silence of `patience` seconds."""
        got = 0
        with self.open_socket(host, socket.SOCK_STREAM, six=":" in to) as asking, contextlib.suppress(OSError):
            asking.settimeout(patience)
            asking.connect((to, port))
            while data := asking.recv(65536):
                got += len(data)
        return got

    def talk(self, host: str, to: str, *words: bytes, port: int = 80, pause: float = 0) -> tuple[str, ...]:
        """Connect to an echo server and say some words, with a pause before each but the first: the fate of each."""
        fates = []
        with self.open_socket(host, socket.SOCK_STREAM, six=":" in to) as asking:

            def connect() -> bool:
                asking.connect((to, port))
                return True

            fates.append(outcome(connect))
            for number, word in enumerate(words if fates == ["ok"] else ()):
                time.sleep(pause if number else 0)

                def say(word: bytes = word) -> bool:
                    asking.sendall(word)
                    return asking.recv(len(word)) == word

                fates.append(outcome(say))
        return tuple(fates)

    # -- crafted packets -------------------------------------------------------------------------

    def send(self, host: str, device: str, to: tuple[str, str] | bytes, *packets: bytes) -> None:
        """Put IP packets on the wire, to the (host, interface) or the link address at its other end."""
        with self.hosts[host].inside():
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        head = (to if isinstance(to, bytes) else self._mac(*to)) + self._mac(host, device)
        with wire:
            wire.bind((device, 0))
            for packet in packets:
                wire.send(head + struct.pack("!H", 0x86DD if packet[0] >> 4 == 6 else 0x0800) + packet)

    def _mac(self, host: str, device: str) -> bytes:
        line = self.run(host, "ip", "-o", "link", "show", device)
        return bytes.fromhex(line.split("link/ether ")[1].split()[0].replace(":", ""))

    @contextlib.contextmanager
    def icmp_errors(self, host: str, *, six: bool = False) -> Iterator[list[tuple[int, int]]]:
        """The ICMP errors (type, code) that pass the host's INPUT in the block, complete when it ends."""
        seen: list[tuple[int, int]] = []
        protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
        with self.open_socket(host, socket.SOCK_RAW, six=six, protocol=protocol) as listening:
            listening.settimeout(0.2)
            yield seen
            with contextlib.suppress(TimeoutError):
                while data := listening.recv(2000):
                    message = data if six else data[(data[0] & 15) * 4 :]
                    if message[0] in ((1, 2, 3, 4) if six else (3, 11, 12)):
                        seen.append((message[0], message[1]))

    @contextlib.contextmanager
    def wire(self, host: str, device: str) -> Iterator[list[bytes]]:
        """The IPv4 packets that arrive at an interface in the block, complete when it ends."""
        seen: list[bytes] = []
        with self.hosts[host].inside():
            tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
        with tap:
            tap.bind((device, 0x0800))
            tap.settimeout(0.2)
            yield seen
            with contextlib.suppress(TimeoutError):
                while data := tap.recv(65535):
                    seen.append(data)


def outcome(ask: Callable[[], object]) -> str:
    """What came of a question, in a word."""
    try:
        return "ok" if ask() else "nothing"
    except TimeoutError:
        return "silence"
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return os.strerror(error.errno) if error.errno else str(error)
