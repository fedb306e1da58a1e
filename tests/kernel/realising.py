"""Packets made real: on a wire to the router or out of it, in the state that is wanted of them.

A packet becomes ESTABLISHED or RELATED by real packets that go before it: a handshake, a question and its answer, the
packet that an ICMP error is about. They are sent under a ruleset that lets everything pass, before the one that is
asked is loaded; the entries stay.
"""

import contextlib
import random
import socket
import struct
from dataclasses import dataclass, field
from typing import Self

from ruleaudit.analysis.space import ICMP_ANSWERS, UNTRACKED_ICMPV6
from ruleaudit.model.fields import PORT_PROTOCOLS, TCP, AddressType, Family, Field, PacketType, State
from tests.kernel import packets
from tests.kernel.covering import Wanted, address
from tests.kernel.lab import Lab
from tests.kernel.sender import mac

#: the hops left to the packets that are asked about, and to those before them; a kernel begins with other numbers
ASKED, BEFORE = 77, 78
#: the protocols of which conntrack knows the ports; of DCCP it has ceased to (Linux 6.18)
_PORTS = (6, 17, 136, 132)
_PEER = {Family.IPV4: "198.51.100.77", Family.IPV6: "2001:db8:77::1"}
_ISN = {True: 1000, False: 5000}  #: the first sequence numbers of the originator, and of the responder


@dataclass(frozen=True)
class Sent:
    """A packet and where it enters: `wire` is the router's interface at the end of it, "" the router itself."""

    raw: bytes
    wire: str
    to: str
    link: PacketType = PacketType.UNICAST


@dataclass
class Realiser:
    """Makes packets of which no two belong to the same connection, and what goes before each."""

    rng: random.Random
    family: Family
    before: list[Sent] = field(default_factory=list)
    _taken: set[object] = field(default_factory=set)
    _port: int = 20000

    def make(self, wanted: Wanted, number: int) -> Sent | None:
        """The packet, with a number of its own; None: this cannot be had, or not beside the packets before it."""
        values, state = wanted.packet.values, wanted.state
        ends = (values[Field.SADDR], values.get(Field.SPORT, 0)), (values[Field.DADDR], values.get(Field.DPORT, 0))
        protocol = values[Field.PROTOCOL]
        key = (protocol, frozenset(ends if protocol in _PORTS else (a for a, _ in ends)))
        if key in self._taken or ends[0] == ends[1]:
            return None
        self._taken.add(key)
        raw = self._raw(wanted)
        if state is State.ESTABLISHED and not self._exchange(wanted):
            return None
        if state is State.RELATED:
            about = self._about(wanted)
            if about is None:
                return None
            raw = self._raw(wanted, about)
        natural = protocol == 58 and any(a <= values[Field.ICMP_TYPE] <= b for a, b in UNTRACKED_ICMPV6)
        if state is State.INVALID and wanted.path in ("in", "forward") and not natural:
            raw = _spoilt(raw, protocol)
        link = PacketType(values[Field.PKTTYPE]) if wanted.packet.iif in ("r0", "r1") else PacketType.UNICAST
        return Sent(numbered(raw, number), _wire(wanted, False), self._address(values[Field.DADDR]), link)

    def _address(self, value: int) -> str:
        return address(self.family, value)

    def _raw(self, wanted: Wanted, about: bytes = b"") -> bytes:
        values = wanted.packet.values
        mine = wanted.packet.original
        numbers = (_ISN[mine] + 1, _ISN[not mine] + 1)
        if wanted.state is State.ESTABLISHED and values[Field.TCP_FLAGS] & 2:
            numbers = (_ISN[mine], _ISN[not mine] + 1)
        return self._packet(
            values[Field.PROTOCOL], (values[Field.SADDR], values.get(Field.SPORT, 0)),
            (values[Field.DADDR], values.get(Field.DPORT, 0)), values.get(Field.TCP_FLAGS, 0), numbers,
            (values.get(Field.ICMP_TYPE, 0), values.get(Field.ICMP_CODE, 0)), about,
        )  # fmt: skip

    def _packet(
        self,
        protocol: int,
        one: tuple[int, int],
        other: tuple[int, int],
        flags: int = 0,
        numbers: tuple[int, int] = (1000, 5),
        icmp: tuple[int, int] = (0, 0),
        about: bytes = b"",
    ) -> bytes:
        source, to = self._address(one[0]), self._address(other[0])
        if protocol == TCP:
            return packets.tcp_with_flags(source, one[1], to, other[1], flags, *numbers)
        if protocol in PORT_PROTOCOLS:
            make = {17: packets.udp, 136: packets.udplite, 132: packets.sctp, 33: packets.dccp}[protocol]
            return make(source, one[1], to, other[1])
        if protocol == self.family.icmp:
            with_id = icmp[0] in ((128, 129) if self.family is Family.IPV6 else (0, 8, 13, 14, 15, 16, 17, 18))
            return packets.icmp(source, to, *icmp, b"\0\1\0\0" if with_id else b"\0" * 4, about)
        return packets.ip(source, to, protocol, b"\0" * 16)

    def _exchange(self, wanted: Wanted) -> bool:
        """What opens the connection that a packet belongs to."""
        values, protocol = wanted.packet.values, wanted.packet.values[Field.PROTOCOL]
        if values[Field.DST_TYPE] not in (AddressType.UNICAST, AddressType.LOCAL):
            return False
        here = values[Field.SADDR], values.get(Field.SPORT, 0)
        there = values[Field.DADDR], values.get(Field.DPORT, 0)
        opener, other = (here, there) if wanted.packet.original else (there, here)
        entries = _wire(wanted, not wanted.packet.original), _wire(wanted, wanted.packet.original)
        steps: list[tuple[bool, bytes]] = []
        if protocol == TCP:
            first, second = _ISN[True], _ISN[False]
            for forth, flags, numbers in (
                (True, 0x02, (first, 0)),
                (False, 0x12, (second, first + 1)),
                (True, 0x10, (first + 1, second + 1)),
            ):
                ends = (opener, other) if forth else (other, opener)
                steps.append((forth, self._packet(TCP, *ends, flags, numbers)))
        elif protocol == self.family.icmp:
            answers = ICMP_ANSWERS[self.family]
            kind, code = values[Field.ICMP_TYPE], values[Field.ICMP_CODE]
            asks = {answer: ask for ask, answer in answers.items()}
            ask = kind if wanted.packet.original else asks.get(kind, -1)
            if ask not in answers:
                return False
            steps = [
                (True, self._packet(protocol, opener, other, icmp=(ask, code))),
                (False, self._packet(protocol, other, opener, icmp=(answers[ask], code))),
            ]
        elif protocol in (17, 50, 112) or protocol > 140:
            steps = [(True, self._packet(protocol, opener, other)), (False, self._packet(protocol, other, opener))]
        else:
            return False
        for forth, raw in steps:
            to = other if forth else opener
            self.before.append(Sent(numbered(raw, 0), entries[0] if forth else entries[1], self._address(to[0])))
        return True

    def _about(self, wanted: Wanted) -> bytes | None:
        """The packet that an error is about: one that its receiver sent to a peer, which is part of a connection."""
        values = wanted.packet.values
        if values[Field.DST_TYPE] not in (AddressType.UNICAST, AddressType.LOCAL):
            return None
        self._port += 1
        receiver, peer = (values[Field.DADDR], self._port), (_number(_PEER[self.family]), 777)
        quoted = self._packet(17, receiver, peer)
        opening = self._packet(17, peer, receiver) if wanted.packet.original else quoted
        local = values[Field.DST_TYPE] == AddressType.LOCAL
        wire = "r1" if wanted.packet.original else "" if local else "r0"
        to = receiver if wanted.packet.original else peer
        self.before.append(Sent(numbered(opening, 0), wire, self._address(to[0])))
        return quoted


def _number(text: str) -> int:
    return int.from_bytes(socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text), "big")


def _wire(wanted: Wanted, other_end: bool) -> str:
    """Where packets from the sender of a packet, or from its receiver, enter the router."""
    match wanted.path:
        case "in":
            return "" if other_end else wanted.packet.iif
        case "out":
            return wanted.packet.oif if other_end else ""
        case "forward":
            return wanted.packet.oif if other_end else wanted.packet.iif
        case _:
            return ""


def numbered(raw: bytes, number: int) -> bytes:
    """The packet with a number as its identification or flow label; 0: one that goes before those asked about."""
    hops = ASKED if number else BEFORE
    if raw[0] >> 4 == 6:
        return struct.pack("!I", 6 << 28 | number) + raw[4:7] + bytes([hops]) + raw[8:]
    head = raw[:4] + struct.pack("!HHB", number, 0, hops) + raw[9:10] + b"\0\0" + raw[12:20]
    return head[:10] + struct.pack("!H", packets.checksum(head)) + head[12:] + raw[20:]


def _spoilt(raw: bytes, protocol: int) -> bytes:
    """With a wrong checksum, where conntrack looks at one."""
    at = (40 if raw[0] >> 4 == 6 else 20) + {6: 16, 17: 6, 1: 2, 58: 2}.get(protocol, -1000)
    if at < 0:
        return raw
    wrong = bytes(b ^ 0x5A for b in raw[at : at + 2])
    return raw[:at] + (wrong if any(wrong) else b"\1\1") + raw[at + 2 :]


class Wires:
    """Sockets on the wires to the router, and of the router itself."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._open = contextlib.ExitStack()
        self.wires: dict[str, tuple[socket.socket, bytes]] = {}
        self.out: dict[bool, socket.socket] = {}

    def __enter__(self) -> Self:
        for six in (False, True):
            out = self.lab.open_socket("router", socket.SOCK_RAW, six=six, protocol=socket.IPPROTO_RAW)
            self.out[six] = self._open.enter_context(out)
        for ours, (host, device) in {"r0": ("client", "c0"), "r1": ("server", "s0")}.items():
            with self.lab.hosts[host].inside():
                wire = self._open.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
                wire.bind((device, 0))
                sender = mac(device)
            with self.lab.hosts["router"].inside():
                self.wires[ours] = (wire, mac(ours) + sender)
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def send(self, one: Sent) -> None:
        six = one.raw[0] >> 4 == 6
        if not one.wire:
            # what a rule drops, its sender is told of
            with contextlib.suppress(PermissionError):
                self.out[six].sendto(one.raw, (one.to, 0, 0, 0) if six else (one.to, 0))
            return
        wire, head = self.wires[one.wire]
        group = bytes.fromhex("333300000001" if six else "01005e000001")
        link = {PacketType.UNICAST: head[:6], PacketType.BROADCAST: b"\xff" * 6, PacketType.MULTICAST: group}[one.link]
        wire.send(link + head[6:] + (b"\x86\xdd" if six else b"\x08\x00") + one.raw)
