"""Names and numbers of protocols and ports: a table of the common ones, then /etc/protocols and /etc/services."""

import socket

from ruleaudit.syntax.refusal import Refused, did_you_mean

#: iptables' own names (xtables_chain_protos) and those of every /etc/protocols that rulesets are seen to use
PROTOCOLS: dict[str, int] = {
    "all": 0, "any": 0, "ip": 0, "icmp": 1, "igmp": 2, "ipencap": 4, "ipip": 4, "tcp": 6, "egp": 8, "igp": 9,
    "udp": 17, "dccp": 33, "ipv6": 41, "ipv6-route": 43, "ipv6-frag": 44, "rsvp": 46, "gre": 47, "esp": 50,
    "ipv6-crypt": 50, "ah": 51, "ipv6-auth": 51, "skip": 57, "ipv6-icmp": 58, "icmpv6": 58, "ipv6-nonxt": 59,
    "ipv6-opts": 60, "eigrp": 88, "ospf": 89, "ospfigp": 89, "etherip": 97, "encap": 98, "pim": 103, "ipcomp": 108,
    "vrrp": 112, "l2tp": 115, "isis": 124, "sctp": 132, "fc": 133, "mobility-header": 135, "ipv6-mh": 135,
    "mh": 135, "udplite": 136, "mpls-in-ip": 137, "hip": 139, "shim6": 140,
}  # fmt: skip

_BOTH = """
echo=7 discard=9 systat=11 daytime=13 netstat=15 chargen=19 time=37 domain=53 kerberos=88 kerberos5=88 krb5=88
sunrpc=111 portmapper=111 ntp=123 epmap=135 loc-srv=135 netbios-ns=137 netbios-dgm=138 netbios-ssn=139 snmp=161
snmp-trap=162 snmptrap=162 ldap=389 svrloc=427 https=443 microsoft-ds=445 kpasswd=464 ipp=631 ldaps=636 openvpn=1194
ms-sql-s=1433 ms-sql-m=1434 datametrics=1645 sa-msg-port=1646 radius=1812 radius-acct=1813 nfs=2049 mysql=3306
postgresql=5432 postgres=5432 sip=5060 sip-tls=5061 xmpp-client=5222 xmpp-server=5269 sieve=4190 git=9418 iax=4569
rsync=873 socks=1080 svn=3690 distcc=3632 zabbix-agent=10050 zabbix-trapper=10051 bacula-dir=9101 bacula-fd=9102
bacula-sd=9103
"""
_TCP = """
tcpmux=1 ftp-data=20 ftp=21 ssh=22 telnet=23 smtp=25 mail=25 whois=43 nicname=43 tacacs=49 gopher=70 finger=79 http=80
www=80 www-http=80 hostnames=101 iso-tsap=102 pop2=109 pop3=110 pop-3=110 auth=113 ident=113 tap=113 sftp=115 nntp=119
imap=143 imap2=143 bgp=179 irc=194 qmtp=209 submissions=465 smtps=465 ssmtp=465 urd=465 exec=512 login=513 shell=514
cmd=514 printer=515 spooler=515 nntps=563 submission=587 ftps-data=989 ftps=990 telnets=992 imaps=993 ircs=994
pop3s=995 rtsp=554 kerberos-adm=749 webmin=10000 swat=901 nessus=1241 pptp=1723 x11=6000 rmtcfg=1236 cvspserver=2401
venus=2430 redis=6379 ircd=6667 amqp=5672 mqtt=1883 http-alt=8080 webcache=8080 tproxy=8081 munin=4949 nrpe=5666
nsca=5667 squid=3128 omniorb=8088 rdp=3389 ms-wbt-server=3389 xmpp-bosh=5280 domain-s=853 rpki-rtr=323
gnutella-svc=6346
"""
_UDP = """
tftp=69 bootps=67 bootpc=68 rlp=39 xdmcp=177 isakmp=500 ike=500 biff=512 comsat=512 who=513 whod=513 syslog=514
talk=517 ntalk=518 router=520 route=520 rip=520 ripng=521 dhcpv6-client=546 dhcpv6-server=547 ipsec-nat-t=4500
mdns=5353 l2f=1701 l2tp=1701 domain-s=853 asf-rmcp=623 gnutella-svc=6346 snmp-agentx=705 http=80 submission=587
vxlan=4789
"""


def _table(text: str) -> dict[str, int]:
    return {name: int(port) for name, port in (entry.split("=") for entry in text.split())}


SERVICES: dict[str, dict[str, int]] = {"tcp": _table(_BOTH) | _table(_TCP), "udp": _table(_BOTH) | _table(_UDP)}
_SERVICE_PROTOCOL = {6: "tcp", 17: "udp", 132: "sctp", 33: "dccp", 136: "udplite"}


def protocol(word: str) -> int:
    """The number of a protocol by name or number; 0 is every protocol."""
    name = word.lower()
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    if name.isascii() and name.isdigit():
        if int(name) <= 255:
            return int(name)
    else:
        try:
            return socket.getprotobyname(name)
        except (OSError, UnicodeError, ValueError):
            pass
    raise Refused(f'unknown protocol "{word}"', word, did_you_mean(word, PROTOCOLS))


def port(word: str, number_of_protocol: int | None) -> int:
    """The number of a port by name or number; the protocol decides what a name means."""
    if word.isascii() and word.isdigit():
        value = int(word)
        if value <= 65535:
            return value
        raise Refused(f'bad port "{word}": at most 65535', word)
    named = _SERVICE_PROTOCOL.get(number_of_protocol or 0)
    tables = [SERVICES[named]] if named in SERVICES else list(SERVICES.values())
    for table in tables:
        if word in table:
            return table[word]
    try:
        return socket.getservbyname(word, named) if named else socket.getservbyname(word)
    except (OSError, UnicodeError, ValueError):
        known = [name for table in tables for name in table]
        raise Refused(f'unknown port or service "{word}"', word, did_you_mean(word, known)) from None


def port_range(word: str, number_of_protocol: int | None, separator: str = ":") -> tuple[int, int]:
    """`port`, `first:last`, `:last` or `first:`; with `-` between them (NAT targets) a range has numbers only."""
    if word.isdigit():
        return (port(word, number_of_protocol),) * 2
    first, colon, last = word.partition(separator)
    if not colon or (separator == "-" and not (first.isdigit() and last.isdigit())):
        return (port(word, number_of_protocol),) * 2
    low = port(first, number_of_protocol) if first else 0
    high = port(last, number_of_protocol) if last else 65535
    if low > high:
        raise Refused(f'bad port range "{word}": {low} is greater than {high}', word)
    return low, high
