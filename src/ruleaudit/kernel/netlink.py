"""Three questions to netfilter over netlink: which rules there are, what became of a packet, and to forget connections.

The messages about packets are those that `nft monitor trace` prints. Sources: linux/netlink.h, linux/netfilter/
nfnetlink.h, nf_tables.h and nfnetlink_conntrack.h.
"""

import os
import socket
import struct
from collections.abc import Iterator

_NETLINK_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_OF_TRACES = 12, 270, 1, 9
_REQUEST, _ACK, _DUMP = 1, 4, 0x300
_ERROR, _DONE = 2, 3
_CONNTRACK, _DELETE_ENTRIES = 1, 2
_NFTABLES, _NEW_RULE, _GET_RULE, _TRACE = 10, 6, 7, 17
_RULE_TABLE, _RULE_CHAIN, _RULE_HANDLE = 1, 2, 3
_PATIENCE = 5.0  #: seconds; the kernel answers at once

Attributes = dict[int, bytes]


def _open() -> socket.socket:
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
    made.settimeout(_PATIENCE)
    # without an address of its own a socket is told nothing; binding it later would end its memberships
    made.bind((0, 0))
    return made


def _request(subsystem: int, kind: int, flags: int) -> bytes:
    """A message without attributes, about every family."""
    return struct.pack("=IHHIIBBH", 20, subsystem << 8 | kind, _REQUEST | flags, 1, 0, 0, 0, 0)


def attributes(data: bytes) -> Attributes:
    """The attributes of a message by number; of several with one number, the last."""
    found: Attributes = {}
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[at + 4 : at + length]
        at += (length + 3) & ~3
    return found


def text(value: bytes) -> str:
    """An attribute that holds a name."""
    return value.rstrip(b"\0").decode("utf-8", "surrogateescape")


def number(value: bytes) -> int:
    """An attribute that holds a number."""
    return int.from_bytes(value, "big")


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The kind and the family of each message of a datagram, and what stands behind its header."""
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from("=IH", data, at)
        body = data[at + 16 : at + length]
        if kind in (_ERROR, _DONE):
            yield kind, 0, body
        else:
            yield kind, body[0], body[4:]
        at += (length + 3) & ~3


def _raise_refusal(body: bytes) -> None:
    code = struct.unpack_from("=i", body)[0] if len(body) >= 4 else 0
    if code:
        raise OSError(-code, os.strerror(-code))


def forget_connections() -> None:
    """Empty the connection table of this namespace. Raises OSError."""
    with _open() as asking:
        asking.send(_request(_CONNTRACK, _DELETE_ENTRIES, _ACK))
        for kind, _, body in _messages(asking.recv(1 << 16)):
            if kind == _ERROR:
                _raise_refusal(body)


def rules() -> Iterator[tuple[int, str, str, int]]:
    """Family, table, chain and handle of every nftables rule of this namespace, in order. Raises OSError."""
    with _open() as asking:
        asking.send(_request(_NFTABLES, _GET_RULE, _DUMP))
        while True:
            for kind, family, body in _messages(asking.recv(1 << 18)):
                if kind in (_ERROR, _DONE):
                    _raise_refusal(body)
                    return
                if kind == _NFTABLES << 8 | _NEW_RULE:
                    found = attributes(body)
                    names = text(found[_RULE_TABLE]), text(found[_RULE_CHAIN])
                    yield family, *names, number(found[_RULE_HANDLE])


def open_traces() -> socket.socket:
    """A socket on which the kernel tells of traced packets of this namespace. Raises OSError."""
    made = _open()
    made.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_OF_TRACES)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    return made


def traces(datagram: bytes) -> Iterator[tuple[int, Attributes]]:
    """The family of the table and the attributes of each message about a traced packet."""
    for kind, family, body in _messages(datagram):
        if kind == _NFTABLES << 8 | _TRACE:
            yield family, attributes(body)
