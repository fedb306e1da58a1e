"""The fields of a packet header that rules test, and the values they can have.

Addresses, ports and numbers are integers. Interface names are strings; address types and packet types are small
enumerations. Family and hook are no fields: every question is asked in one family and on one path.
"""

from enum import Enum, IntEnum, IntFlag


class Family(Enum):
    """An address family; a ruleset in iptables-save form speaks of exactly one."""

    IPV4 = "ip"
    IPV6 = "ip6"

    __hash__ = object.__hash__

    @property
    def address_bits(self) -> int:
        return 32 if self is Family.IPV4 else 128

    @property
    def icmp(self) -> int:
        """The protocol number of this family's ICMP."""
        return 1 if self is Family.IPV4 else 58


class Field(Enum):
    """A testable header field of one packet."""

    SADDR = "saddr"
    DADDR = "daddr"
    PROTOCOL = "protocol"
    SPORT = "sport"
    DPORT = "dport"
    TCP_FLAGS = "tcp flags"
    ICMP_TYPE = "icmp type"
    ICMP_CODE = "icmp code"
    IIF = "iif"
    OIF = "oif"
    MARK = "mark"
    FRAGMENT = "fragment"
    PKTTYPE = "pkttype"
    SRC_TYPE = "src type"
    DST_TYPE = "dst type"

    __hash__ = object.__hash__  # members are singletons, and are looked up all the time


#: What a field is called in the packet of the opposite direction (addresses and ports change sides, the rest stays).
MIRROR: dict[Field, Field] = {
    Field.SADDR: Field.DADDR,
    Field.DADDR: Field.SADDR,
    Field.SPORT: Field.DPORT,
    Field.DPORT: Field.SPORT,
    Field.SRC_TYPE: Field.DST_TYPE,
    Field.DST_TYPE: Field.SRC_TYPE,
}


class TcpFlag(IntFlag):
    """The eight flag bits of the TCP header (RFC 9293, RFC 3168)."""

    FIN = 1
    SYN = 2
    RST = 4
    PSH = 8
    ACK = 16
    URG = 32
    ECE = 64
    CWR = 128


class AddressType(IntEnum):
    """Routing's name for an address (iptables-extensions(8), addrtype)."""

    UNICAST = 0
    LOCAL = 1
    BROADCAST = 2
    MULTICAST = 3
    OTHER = 4  #: anycast, blackhole, unreachable, prohibit, throw, nat, xresolve, unspec


class PacketType(IntEnum):
    """Link-layer packet type (iptables-extensions(8), pkttype)."""

    UNICAST = 0
    BROADCAST = 1
    MULTICAST = 2


class Fragment(IntEnum):
    """What part of a datagram a packet is; with conntrack active only WHOLE is ever seen (fact section 6)."""

    WHOLE = 0
    FIRST = 1
    LATER = 2


class State(Enum):
    """What conntrack says of a packet."""

    NEW = "new"
    ESTABLISHED = "established"
    RELATED = "related"
    INVALID = "invalid"
    UNTRACKED = "untracked"

    __hash__ = object.__hash__


class Hook(Enum):
    """Where in the packet's path a base chain stands."""

    PREROUTING = "prerouting"
    INPUT = "input"
    FORWARD = "forward"
    OUTPUT = "output"
    POSTROUTING = "postrouting"

    __hash__ = object.__hash__


TCP, UDP, UDPLITE, SCTP, DCCP, ICMP, ICMPV6 = 6, 17, 136, 132, 33, 1, 58
#: Protocols whose header starts with two 16-bit ports.
PORT_PROTOCOLS = (TCP, UDP, UDPLITE, SCTP, DCCP)
#: the source ports of connections that a host opens itself (net.ipv4.ip_local_port_range as the kernel sets it)
CLIENT_PORTS = (32768, 60999)
