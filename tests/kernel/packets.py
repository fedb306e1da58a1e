"""Crafted packets: what no ordinary socket sends (strays, ICMP errors about a connection, router advertisements)."""

import socket
import struct

_FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32}


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) & 1)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _addresses(source: str, to: str) -> bytes:
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    return socket.inet_pton(family, source) + socket.inet_pton(family, to)


def ip(source: str, to: str, protocol: int, payload: bytes, hops: int = 64) -> bytes:
    """An IPv4 or IPv6 packet."""
    if ":" in source:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, hops) + _addresses(source, to) + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, hops, protocol, 0) + _addresses(source, to)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def _pseudo(source: str, to: str, protocol: int, length: int) -> bytes:
    if ":" in source:
        return _addresses(source, to) + struct.pack("!II", length, protocol)
    return _addresses(source, to) + struct.pack("!BBH", 0, protocol, length)


def tcp(source: str, sport: int, to: str, dport: int, flags: str) -> bytes:
    """A TCP segment without data."""
    bits = sum(_FLAGS[f] for f in flags)
    body = struct.pack("!HHIIBBHHH", sport, dport, 1000, 5, 5 << 4, bits, 65535, 0, 0)
    total = checksum(_pseudo(source, to, 6, len(body)) + body)
    return ip(source, to, 6, body[:16] + struct.pack("!H", total) + body[18:])


def udp(source: str, sport: int, to: str, dport: int, data: bytes = b"x") -> bytes:
    """A UDP datagram."""
    body = struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data
    total = checksum(_pseudo(source, to, 17, len(body)) + body) or 0xFFFF
    return ip(source, to, 17, body[:6] + struct.pack("!H", total) + body[8:])


def icmp(source: str, to: str, kind: int, code: int, rest: bytes = b"\0" * 4, payload: bytes = b"") -> bytes:
    """An ICMP or ICMPv6 message; neighbour discovery takes only those with a hop limit of 255."""
    six = ":" in source
    body = struct.pack("!BBH", kind, code, 0) + rest + payload
    total = checksum((_pseudo(source, to, 58, len(body)) if six else b"") + body)
    return ip(source, to, 58 if six else 1, body[:2] + struct.pack("!H", total) + body[4:], 255)


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


def udplite(source: str, sport: int, to: str, dport: int) -> bytes:
    """A UDP-Lite datagram whose checksum covers all of it (RFC 3828)."""
    body = struct.pack("!HHHH", sport, dport, 0, 0) + b"x" * 8
    total = checksum(_pseudo(source, to, 136, len(body)) + body) or 0xFFFF
    return ip(source, to, 136, body[:6] + struct.pack("!H", total) + body[8:])


def dccp(source: str, sport: int, to: str, dport: int) -> bytes:
    """A DCCP request (RFC 4340)."""
    body = struct.pack("!HHBBHBBHII", sport, dport, 5, 0, 0, 1, 0, 0, 1, 0)
    total = checksum(_pseudo(source, to, 33, len(body)) + body)
    return ip(source, to, 33, body[:6] + struct.pack("!H", total) + body[8:])


def sctp(source: str, sport: int, to: str, dport: int) -> bytes:
    """An SCTP packet with an INIT chunk (RFC 9260)."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 1500, 1, 1, 1)
    total = crc32c(struct.pack("!HHII", sport, dport, 0, 0) + chunk)
    return ip(source, to, 132, struct.pack("!HHI", sport, dport, 0) + struct.pack("<I", total) + chunk)


def crc32c(data: bytes) -> int:
    """The checksum of SCTP (RFC 9260, appendix A)."""
    total = 0xFFFFFFFF
    for byte in data:
        total ^= byte
        for _ in range(8):
            total = total >> 1 ^ (0x82F63B78 if total & 1 else 0)
    return total ^ 0xFFFFFFFF


def tcp_with_flags(
    source: str, sport: int, to: str, dport: int, bits: int, sequence: int = 1000, acknowledged: int = 5
) -> bytes:
    """A TCP segment with any of the eight flags."""
    body = struct.pack("!HHIIBBHHH", sport, dport, sequence, acknowledged, 5 << 4, bits, 65535, 0, 0)
    total = checksum(_pseudo(source, to, 6, len(body)) + body)
    return ip(source, to, 6, body[:16] + struct.pack("!H", total) + body[18:])


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
