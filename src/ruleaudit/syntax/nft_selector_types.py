"""The type of what every selector gives (nft(8), PRIMARY EXPRESSIONS, PAYLOAD EXPRESSIONS)."""

import re
from functools import cache

from ruleaudit.syntax.nft_types import TYPES, Type
from ruleaudit.syntax.numbers import decimal

_SELECTORS = """
ether_addr ether saddr, ether daddr, arp saddr ether, arp daddr ether, meta ibrhwaddr
ether_type ether type, vlan type, meta protocol, gre protocol, arp ptype, meta ibrvproto
12 vlan id, meta ibrpvid
1 vlan cfi, vlan dei, ip6 frag, frag more-fragments
3 vlan pcp
16 ip frag-off, arp htype, ip length, ip id, ip checksum, ip6 length, icmp checksum, icmp id, icmp sequence, icmp mtu
16 igmp checksum
16 icmpv6 checksum, icmpv6 id, icmpv6 sequence, icmpv6 max-delay, tcp window, tcp checksum, tcp urgptr, udp length
16 udp checksum, udplite csumcov, udplite checksum, ct zone, comp cpi, ah reserved, srh tag, mh checksum, geneve type
8 arp hlen, arp plen, ip ttl, ip6 hoplimit, igmp mrt, ah hdrlength, comp flags, hbh hdrlength, dst hdrlength
8 mh hdrlength, mh reserved, rt hdrlength, rt type, rt seg-left, srh flags, srh last-entry, srh seg-left, frag reserved
8 vxlan flags
arp_op arp operation
4 ip version, ip hdrlength, ip6 version, tcp doff, tcp reserved
13 frag frag-off
2 frag reserved2
20 ip6 flowlabel
24 vxlan vni, geneve vni
32 icmp gateway, icmpv6 parameter-problem, icmpv6 packet-too-big, icmpv6 mtu, tcp sequence, tcp ackseq, sctp vtag
32 sctp checksum, ah spi, ah sequence, esp spi, esp sequence, frag id, meta length, meta cpu, meta cgroup, meta random
32 ipsec in reqid, ipsec out reqid, ipsec in spi, ipsec out spi, ct id, meta iiftype number
dscp ip dscp, ip6 dscp
ecn ip ecn, ip6 ecn
inet_proto ip protocol, ip6 nexthdr, meta l4proto, ct protocol, ct original protocol, ct reply protocol, ah nexthdr
inet_proto comp nexthdr, frag nexthdr, hbh nexthdr, dst nexthdr, rt nexthdr, mh nexthdr
ipv4_addr ip saddr, ip daddr, arp saddr ip, arp daddr ip, ct original ip saddr, ct original ip daddr, ct reply ip saddr
ipv4_addr ct reply ip daddr, igmp group, rt ip nexthop, ipsec in ip saddr, ipsec in ip daddr, ipsec out ip saddr
ipv4_addr ipsec out ip daddr
ipv6_addr ip6 saddr, ip6 daddr, ct original ip6 saddr, ct original ip6 daddr, ct reply ip6 saddr, ct reply ip6 daddr
ipv6_addr icmpv6 taddr, icmpv6 daddr, rt ip6 nexthop, ipsec in ip6 saddr, ipsec in ip6 daddr, ipsec out ip6 saddr
ipv6_addr ipsec out ip6 daddr
icmp_type icmp type
icmp_code icmp code
icmpv6_type icmpv6 type
icmpv6_code icmpv6 code
igmp_type igmp type
mh_type mh type
dccp_pkttype dccp type
tcp_flag tcp flags
inet_service tcp sport, tcp dport, udp sport, udp dport, udplite sport, udplite dport, sctp sport, sctp dport
inet_service dccp sport, dccp dport, th sport, th dport, ct original proto-src, ct original proto-dst
inet_service ct reply proto-src, ct reply proto-dst
mark meta mark, ct mark, socket mark
iface_index meta iif, meta oif, meta sdif, meta ibriport number, fib oif
ifname meta iifname, meta oifname, meta ibrname, meta obrname, meta ibriport, meta obriport, meta ibridgename
ifname meta obridgename, meta sdifname, meta iifkind, meta oifkind
iface_type meta iiftype, meta oiftype
devgroup meta iifgroup, meta oifgroup
uid meta skuid
gid meta skgid
realm meta rtclassid, rt classid
pkt_type meta pkttype
nf_proto meta nfproto, ct l3proto, ct original l3proto, ct reply l3proto
classid meta priority
1 meta nftrace, meta broute, socket transparent, socket wildcard
boolean meta ipsec, meta secpath, rt ipsec, exthdr hbh, exthdr frag, exthdr rt, exthdr dst, exthdr mh, exthdr srh
time meta time, ct expiration
day meta day
hour meta hour
ct_state ct state
ct_dir ct direction
ct_status ct status
ct_event ct event
ct_label ct label
short name ct helper, osf name, osf version
64 ct bytes, ct packets, ct avgpkt, ct original bytes, ct original packets, ct original avgpkt, ct reply bytes
64 ct reply packets, ct reply avgpkt
16 rt mtu, ct original zone, ct reply zone, tcp option maxseg size, tcp option mss size
8 tcp option window count
32 tcp option sack left, tcp option sack right, tcp option sack0 left, tcp option sack0 right, tcp option sack1 left
32 tcp option sack1 right, tcp option sack2 left, tcp option sack2 right, tcp option sack3 left
32 tcp option sack3 right, tcp option timestamp tsval, tcp option timestamp tsecr
presence tcp option eol, tcp option nop, tcp option noop, tcp option maxseg, tcp option mss, tcp option window
presence tcp option sack-perm, tcp option sack-permitted, tcp option sack0, tcp option sack1, tcp option sack2
presence tcp option sack3, tcp option sack, tcp option timestamp, tcp option echo, tcp option fastopen
presence tcp option md5sig, tcp option mptcp
"""


def _by_selector() -> dict[str, str]:
    out = {}
    for line in _SELECTORS.strip().splitlines():
        name, _, selectors = line.partition(" ") if not line.startswith("short") else ("short name", "", line[11:])
        for selector in selectors.split(", "):
            out[selector] = name
    return out


_BY_SELECTOR = _by_selector()
_TUNNELS = ("gre ", "gretap ", "vxlan ", "geneve ")
_RAW = re.compile(r"(?:tcp option )?@\w+,\w+,(?P<bits>[0-9]+)")
#: longer fields are addresses and the like
_LONGEST_NUMBER = 64


@cache
def type_of(selector: str) -> Type | None:
    """The type of what a selector gives; None where nothing is known of it."""
    name = _BY_SELECTOR.get(selector)
    if name is None:
        if selector.startswith("fib "):
            name = {"type": "fib_addrtype", "oifname": "ifname", "oif": "iface_index"}.get(selector.split(" ")[-1])
        elif selector.startswith("osf ttl "):
            return type_of(f"osf {selector.split(' ')[-1]}")
        elif raw := _RAW.fullmatch(selector):
            bits = decimal(raw["bits"]) or 0
            return Type(raw["bits"], 2**bits - 1, open=True, shown="number") if 0 < bits <= _LONGEST_NUMBER else None
        elif selector.startswith(_TUNNELS):
            return type_of(selector.partition(" ")[2])
    return TYPES.get(name) if name else None
