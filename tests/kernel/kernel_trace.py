"""The kernel's own trace of packets in nf_tables: what `nft monitor trace` prints, read from the same netlink group.

Every rule that a packet matches, and the policy of every base chain that it leaves at its end, is one event; so are
those of iptables-nft. A packet is known by the identification (IPv4) or the flow label (IPv6) of its header.
"""

import socket
import struct
import time
from dataclasses import dataclass, field

from ruleaudit.kernel import netlink
from ruleaudit.kernel.namespace import Namespace
from ruleaudit.kernel.netlink import Attributes, attributes, number, text
from ruleaudit.kernel.packets import number_of
from ruleaudit.kernel.trace import FAMILIES
from ruleaudit.model.fields import State

_SO_RCVBUFFORCE = 33
_TABLE, _CHAIN, _HANDLE, _TYPE, _VERDICT, _ID, _NETWORK, _MARK, _POLICY, _CT_DIRECTION, _CT_STATE = (
    1, 2, 3, 4, 5, 6, 8, 14, 16, 19, 21,
)  # fmt: skip
_STATES = {2: State.ESTABLISHED, 4: State.RELATED, 8: State.NEW, 64: State.UNTRACKED}
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
            self.socket = netlink.open_traces()
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 1 << 27)
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
            for family, found in netlink.traces(data):
                self._hear(family, found)
        return self._heard

    def _hear(self, family: int, found: Attributes) -> None:
        skb = number(found[_ID])
        if _NETWORK in found:
            self._ids[skb] = number_of(found[_NETWORK])
        packet = self._ids.get(skb)
        if packet is None:
            return
        state = None
        if _NETWORK in found:
            state = _STATES[number(found[_CT_STATE])] if _CT_STATE in found else State.INVALID
        event = Event(
            _place(family, text(found[_TABLE])),
            text(found[_CHAIN]),
            number(found[_TYPE]) == _POLICY_STEP,
            number(found.get(_HANDLE, b"")),
            _verdict(found),
            number(found.get(_MARK, b"")),
            state,
            _CT_DIRECTION not in found or not found[_CT_DIRECTION][0],
        )
        if event.policy or event.handle or state is not None:
            self._heard.setdefault(packet, []).append(event)


def handles(namespace: Namespace) -> dict[tuple[str, str], list[int]]:
    """The handles of the rules in each (table, chain), in order."""
    found: dict[tuple[str, str], list[int]] = {}
    with namespace.inside():
        for family, table, chain, handle in netlink.rules():
            found.setdefault((_place(family, table), chain), []).append(handle)
    return found


def _place(family: int, table: str) -> str:
    return f"{FAMILIES.get(family, family)} {table}"


def _verdict(found: Attributes) -> int:
    if _VERDICT in found:
        code: int = struct.unpack("!i", attributes(found[_VERDICT])[1])[0]
        return code & 0xFF if code >= 0 else code
    return number(found[_POLICY]) if _POLICY in found else -1
