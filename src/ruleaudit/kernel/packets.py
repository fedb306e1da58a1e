"""The bytes of packets: with right checksums, and a number in the header by which they are known again."""

import socket
import struct
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

from ruleaudit.model.fields import DCCP, ICMP, ICMPV6, SCTP, TCP, UDP, UDPLITE, Family, Field

#: ICMP messages with an identifier behind their header
_WITH_IDENTIFIER = {ICMP: (0, 8, 13, 14, 15, 16, 17, 18), ICMPV6: (128, 129)}


def of(family: Family, values: Mapping[Field, int], number: int) -> bytes:
    """What a packet with these fields looks like on the wire."""
    cls = IPv4Address if family is Family.IPV4 else IPv6Address
    source, to = (str(cls(values[side])) for side in (Field.SADDR, Field.DADDR))
    protocol, sport, dport = (values[name] for name in (Field.PROTOCOL, Field.SPORT, Field.DPORT))
    if protocol == TCP:
        made = tcp(source, sport, to, dport, values[Field.TCP_FLAGS])
    elif protocol in (UDP, UDPLITE, SCTP, DCCP):
        made = {UDP: udp, UDPLITE: udplite, SCTP: sctp, DCCP: dccp}[protocol](source, sport, to, dport)
    elif protocol == family.icmp:
        kind = values[Field.ICMP_TYPE]
        rest = b"\0\1\0\0" if kind in _WITH_IDENTIFIER[protocol] else b"\0" * 4
        made = icmp(source, to, kind, values[Field.ICMP_CODE], rest, b"\0" * 28)
    else:
        made = ip(source, to, protocol, b"\0" * 16)
    return numbered(made, number)


def numbered(packet: bytes, number: int) -> bytes:
    """The packet with a number: the identification of IPv4, the flow label of IPv6."""
    if packet[0] >> 4 == 6:
        return struct.pack("!I", 6 << 28 | number) + packet[4:]
    head = packet[:4] + struct.pack("!H", number) + packet[6:10] + b"\0\0" + packet[12:20]
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + packet[20:]


def number_of(header: bytes) -> int:
    """The number that a packet with this network header was given."""
    if header[0] >> 4 == 6:
        return int.from_bytes(header[1:4], "big") & 0xFFFFF
    return int.from_bytes(header[4:6], "big")


def tcp(source: str, sport: int, to: str, dport: int, bits: int, sequence: int = 1000, acknowledged: int = 5) -> bytes:
    """A TCP segment without data, with any of the eight flags."""
    body = struct.pack("!HHIIBBHHH", sport, dport, sequence, acknowledged, 5 << 4, bits, 65535, 0, 0)
    total = checksum(_pseudo(source, to, 6, len(body)) + body)
    return ip(source, to, 6, body[:16] + struct.pack("!H", total) + body[18:])


def udp(source: str, sport: int, to: str, dport: int, data: bytes = b"x") -> bytes:
    """A UDP datagram."""
    body = struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data
    total = checksum(_pseudo(source, to, 17, len(body)) + body) or 0xFFFF
    return ip(source, to, 17, body[:6] + struct.pack("!H", total) + body[8:])


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


def icmp(source: str, to: str, kind: int, code: int, rest: bytes = b"\0" * 4, payload: bytes = b"") -> bytes:
    """An ICMP or ICMPv6 message; neighbour discovery takes only those with a hop limit of 255."""
    six = ":" in source
    body = struct.pack("!BBH", kind, code, 0) + rest + payload
    total = checksum((_pseudo(source, to, 58, len(body)) if six else b"") + body)
    return ip(source, to, 58 if six else 1, body[:2] + struct.pack("!H", total) + body[4:], 255)


def ip(source: str, to: str, protocol: int, payload: bytes, hops: int = 64) -> bytes:
    """An IPv4 or IPv6 packet."""
    if ":" in source:
        return struct.pack("!IHBB", 6 << 28, len(payload), protocol, hops) + _addresses(source, to) + payload
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, hops, protocol, 0) + _addresses(source, to)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


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


def _pseudo(source: str, to: str, protocol: int, length: int) -> bytes:
    if ":" in source:
        return _addresses(source, to) + struct.pack("!II", length, protocol)
    return _addresses(source, to) + struct.pack("!BBH", 0, protocol, length)


def crc32c(data: bytes) -> int:
    total = 0xFFFFFFFF
    for byte in data:
        total ^= byte
        for _ in range(8):
            total = total >> 1 ^ (0x82F63B78 if total & 1 else 0)
    return total ^ 0xFFFFFFFF
