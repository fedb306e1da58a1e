"""Crafted packets: what no ordinary socket sends (strays, ICMP errors about a connection, router advertisements)."""

import socket
import struct

from ruleaudit.kernel.packets import checksum, crc32c, dccp, icmp, ip, sctp, udp, udplite
from ruleaudit.kernel.packets import tcp as tcp_with_flags

__all__ = ["crc32c", "dccp", "icmp", "ip", "sctp", "tcp", "tcp_with_flags", "udp", "udplite"]

_FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32}


def tcp(source: str, sport: int, to: str, dport: int, flags: str) -> bytes:
    """A TCP segment without data."""
    return tcp_with_flags(source, sport, to, dport, sum(_FLAGS[f] for f in flags))


def too_big(source: str, to: str, about: bytes, mtu: int = 1280) -> bytes:
    """Fragmentation needed (3/4), or packet too big in IPv6, about a packet."""
    if ":" in source:
        return icmp(source, to, 2, 0, struct.pack("!I", mtu), about[:48])
    return icmp(source, to, 3, 4, struct.pack("!HH", 0, mtu), about[:28])


def router_advertisement(source: str, prefix: str) -> bytes:
    """A router advertisement to all nodes: a default route and an on-link prefix for addresses of one's own."""
    head = struct.pack("!BBH", 64, 0, 1800)
    prefix_option = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 3600, 0) + socket.inet_pton(socket.AF_INET6, prefix)
    return icmp(source, "ff02::1", 134, 0, head, struct.pack("!II", 0, 0) + prefix_option)


def _head(packet: bytes) -> int:
    """The length of the IP header, without IPv6's extension headers."""
    return 40 if packet[0] >> 4 == 6 else (packet[0] & 15) * 4


def _ip4(head: bytes, payload: bytes) -> bytes:
    """An IPv4 packet with a header whose length and checksum are to be set."""
    head = head[:2] + struct.pack("!H", len(head) + len(payload)) + head[4:10] + b"\0\0" + head[12:]
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def _ip6(packet: bytes, kind: int, header: bytes) -> bytes:
    """An IPv6 packet with one more extension header behind the first one."""
    added = bytes([packet[6]]) + header + packet[40:]
    return packet[:4] + struct.pack("!HB", len(added), kind) + packet[7:40] + added


def with_class(packet: bytes, value: int) -> bytes:
    """The packet with this type of service, or traffic class."""
    if packet[0] >> 4 == 6:
        return struct.pack("!H", 6 << 12 | value << 4) + packet[2:]
    return _ip4(packet[:1] + bytes([value]) + packet[2:20] + packet[20 : _head(packet)], packet[_head(packet) :])


def with_options(packet: bytes) -> bytes:
    """The packet with options that say nothing: IPv4's NOP, IPv6's destination options of padding."""
    if packet[0] >> 4 == 6:
        return _ip6(packet, 60, b"\0\1\4\0\0\0\0")
    head = bytes([packet[0] + 1]) + packet[1 : _head(packet)] + b"\1\1\1\1"
    return _ip4(head, packet[_head(packet) :])


def fragment(packet: bytes, offset: int, more: bool) -> bytes:
    """The packet's payload as a piece of a datagram, `offset` eights of bytes behind its begin."""
    at = _head(packet)
    payload = packet[at:] + b"\0" * (-len(packet[at:]) % 8)
    if packet[0] >> 4 == 6:
        return _ip6(packet[:at] + payload, 44, struct.pack("!BHI", 0, offset << 3 | more, 0x1234))
    return _ip4(packet[:6] + struct.pack("!H", more << 13 | offset) + packet[8:at], payload)
