"""The kernel's own trace of packets in nf_tables: what `nft monitor trace` prints, read from the same netlink group.

Every rule that a packet matches, and the policy of every base chain that it leaves at its end, is one event; so are
those of iptables-nft. A packet is known by the identification (IPv4) or the flow label (IPv6) of its header.
"""

import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from ruleaudit.kernel.namespace import Namespace
from ruleaudit.model.fields import State

_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP, _NO_ENOBUFS, _GROUP = 12, 270, 1, 5, 9
_SO_RCVBUFFORCE = 33
_TRACE = 10 << 8 | 17  # NFNL_SUBSYS_NFTABLES, NFT_MSG_TRACE
_GET_RULES, _NEW_RULE = 10 << 8 | 7, 10 << 8 | 6
_REQUEST, _DUMP, _DONE, _ERROR = 1, 0x300, 3, 2
_TABLE, _CHAIN, _HANDLE, _TYPE, _VERDICT, _ID, _NETWORK, _MARK, _POLICY, _CT_DIRECTION, _CT_STATE = (
    1, 2, 3, 4, 5, 6, 8, 14, 16, 19, 21,
)  # fmt: skip
_STATES = {2: State.ESTABLISHED, 4: State.RELATED, 8: State.NEW, 64: State.UNTRACKED}
_FAMILIES = {1: "inet", 2: "ip", 10: "ip6"}
_POLICY_STEP = 1


@dataclass(frozen=True, slots=True)
class Event:
    """One step: a rule that matched, by its handle, or the policy of a base chain (handle 0).

    state     what conntrack says of the packet, on the first step in each base chain
    original  the packet travels in the original direction of its entry, if it has one
    """

    table: str
    chain: str
    policy: bool
    handle: int
    verdict: int
    mark: int
    state: State | None
    original: bool

    @property
    def drops(self) -> bool:
        return self.verdict == 0


@dataclass
class Listener:
    """Hears the traces of one namespace; use it as a context manager."""

    namespace: Namespace
    _ids: dict[int, int] = field(default_factory=dict)
    _heard: dict[int, list[Event]] = field(default_factory=dict)

    def __enter__(self) -> "Listener":
        with self.namespace.inside():
            self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 27)
        self.socket.bind((0, 0))
        self.socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP)
        self.socket.settimeout(0)
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def packets(self, last: int, patience: float = 10) -> dict[int, list[Event]]:
        """What was heard of each packet, by its number, up to a packet numbered `last`.

        Raises OSError when the kernel could not keep up.
        """
        self._ids, self._heard = {}, {}
        deadline = time.monotonic() + patience
        quiet = 0
        while quiet < 3:
            try:
                data = self.socket.recv(1 << 16)
            except BlockingIOError:
                # what another CPU had to say may come behind the last packet
                quiet += last in self._heard
                if time.monotonic() > deadline:
                    raise TimeoutError(f"packet {last} was not heard of") from None
                time.sleep(0.001)
                continue
            for kind, family, attributes in _messages(data):
                if kind == _TRACE:
                    self._hear(family, attributes)
        return self._heard

    def _hear(self, family: int, found: dict[int, bytes]) -> None:
        skb = struct.unpack("!I", found[_ID])[0]
        if _NETWORK in found:
            self._ids[skb] = _number(found[_NETWORK])
        number = self._ids.get(skb)
        if number is None:
            return
        table, chain = _text(found[_TABLE]), _text(found[_CHAIN])
        kind = struct.unpack("!I", found[_TYPE])[0]
        verdict = _verdict(found)
        state = None
        if _NETWORK in found:
            state = _STATES[struct.unpack("!I", found[_CT_STATE])[0]] if _CT_STATE in found else State.INVALID
        original = _CT_DIRECTION not in found or not found[_CT_DIRECTION][0]
        handle = struct.unpack("!Q", found[_HANDLE])[0] if _HANDLE in found else 0
        mark = struct.unpack("!I", found[_MARK])[0] if _MARK in found else 0
        event = Event(
            f"{_FAMILIES.get(family, family)} {table}",
            chain,
            kind == _POLICY_STEP,
            handle,
            verdict,
            mark,
            state,
            original,
        )
        if event.policy or handle or state is not None:
            self._heard.setdefault(number, []).append(event)


def handles(namespace: Namespace) -> dict[tuple[str, str], list[int]]:
    """The handles of the rules in each (table, chain), in order."""
    with namespace.inside():
        asking = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETFILTER)
    found: dict[tuple[str, str], list[int]] = {}
    with asking:
        asking.settimeout(10)
        asking.send(struct.pack("=IHHIIBBH", 20, _GET_RULES, _REQUEST | _DUMP, 1, 0, 0, 0, 0))
        while True:
            for kind, family, attributes in _messages(asking.recv(1 << 18)):
                if kind == _DONE:
                    return found
                if kind != _NEW_RULE:
                    raise OSError(f"no rules were listed: netlink message {kind}")
                place = f"{_FAMILIES.get(family, family)} {_text(attributes[_TABLE])}", _text(attributes[_CHAIN])
                found.setdefault(place, []).append(struct.unpack("!Q", attributes[_HANDLE])[0])


def _messages(data: bytes) -> Iterator[tuple[int, int, dict[int, bytes]]]:
    """Type, family and attributes of each message."""
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        more = kind not in (_DONE, _ERROR)
        yield kind, data[at + 16] if more else 0, _attributes(data, at + 20, at + length) if more else {}
        at += (length + 3) & ~3


def _attributes(data: bytes, at: int, end: int) -> dict[int, bytes]:
    found = {}
    while at + 4 <= end:
        length, kind = struct.unpack_from("=HH", data, at)
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def _verdict(found: dict[int, bytes]) -> int:
    if _VERDICT in found:
        inner = _attributes(found[_VERDICT], 0, len(found[_VERDICT]))
        code: int = struct.unpack("!i", inner[1])[0]
        return code & 0xFF if code >= 0 else code
    policy: int = struct.unpack("!I", found[_POLICY])[0] if _POLICY in found else -1
    return policy


def _number(header: bytes) -> int:
    """The identification, or the flow label."""
    if header[0] >> 4 == 6:
        return int.from_bytes(header[1:4], "big") & 0xFFFFF
    return int.from_bytes(header[4:6], "big")


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode()
