"""Names and numbers of protocols and ports, from a table of our own: a ruleset means the same on every machine.

The names are those of IANA and of the usual /etc/protocols and /etc/services; a name that is not here is an error, with
the advice to write the number. Numbers are read as iptables reads them: 0x50 and 0120 are 80, too.
"""

import re
from functools import cache

from ruleaudit.syntax.refusal import Refused, did_you_mean

_PROTOCOLS = """
all=0 hopopt=0 ip=0 icmp=1 igmp=2 ggp=3 ip-encap=4 ipencap=4 st=5 tcp=6 egp=8 igp=9 pup=12 udp=17 hmp=20 xns-idp=22
rdp=27 iso-tp4=29 dccp=33 xtp=36 ddp=37 idpr-cmtp=38 ipv6=41 ipv6-route=43 ipv6-frag=44 idrp=45 rsvp=46 gre=47 esp=50
ipsec-esp=50 ipv6-crypt=50 ah=51 ipsec-ah=51 ipv6-auth=51 skip=57 icmpv6=58 ipv6-icmp=58 ipv6-nonxt=59 ipv6-opts=60
cphb=73 rspf=73 vmtp=81 eigrp=88 ospf=89 ospfigp=89 ax.25=93 ipip=94 etherip=97 encap=98 pim=103 ipcomp=108 vrrp=112
l2tp=115 isis=124 sctp=132 fc=133 ipv6-mh=135 mh=135 mobility-header=135 udplite=136 mpls-in-ip=137 manet=138 hip=139
shim6=140 wesp=141 rohc=142 ethernet=143 mptcp=262
"""

_BOTH = """
echo=7 discard=9 null=9 sink=9 systat=11 daytime=13 netstat=15 chargen=19 source=19 ttytst=19 time=37 timserver=37
tacacs=49 domain=53 http=80 kerberos=88 kerberos-sec=88 kerberos5=88 krb5=88 portmapper=111 sunrpc=111 ntp=123
epmap=135 loc-srv=135 netbios-ns=137 netbios-dgm=138 netbios-ssn=139 snmp=161 snmp-trap=162 snmptrap=162 cmip-man=163
cmip-agent=164 rpc2portmap=369 codaauth2=370 ldap=389 svrloc=427 https=443 microsoft-ds=445 kpasswd=464 syslog=514
gdomap=538 rtsp=554 submission=587 ipp=631 ldaps=636 ldp=646 tinc=655 kdc=750 kerberos-iv=750 kerberos4=750
kerberos-master=751 domain-s=853 rsync=873 socks=1080 openvpn=1194 ms-sql-s=1433 ms-sql-m=1434 datametrics=1645
old-radius=1645 old-radacct=1646 sa-msg-port=1646 radius=1812 radacct=1813 radius-acct=1813 nfs=2049 gnunet=2086
rtcm-sc104=2101 venus=2430 venus-se=2431 codasrv=2432 codasrv-se=2433 mon=2583 isns=3205 mysql=3306 nut=3493
distcc=3632 svn=3690 sieve=4190 iax=4569 sip=5060 sip-tls=5061 xmpp-client=5222 xmpp-server=5269 postgres=5432
postgresql=5432 gnutella-svc=6346 gnutella-rtr=6347 bacula-dir=9101 bacula-fd=9102 bacula-sd=9103 git=9418
zabbix-agent=10050 zabbix-trapper=10051 asp=27374
"""
_TCP = """
tcpmux=1 users=11 qotd=17 quote=17 ftp-data=20 ftp=21 ssh=22 telnet=23 mail=25 smtp=25 nicname=43 whois=43 gopher=70
finger=79 www=80 www-http=80 hostnames=101 iso-tsap=102 tsap=102 acr-nema=104 dicom=104 poppassd=106 pop2=109
pop-3=110 pop3=110 auth=113 authentication=113 ident=113 tap=113 sftp=115 nntp=119 readnews=119 untp=119 imap=143
imap2=143 mailq=174 bgp=179 irc=194 smux=199 qmtp=209 wais=210 z3950=210 rpki-rtr=323 pawserv=345 zserv=346 snpp=444
smtps=465 ssmtp=465 submissions=465 urd=465 saft=487 exec=512 login=513 cmd=514 shell=514 printer=515 spooler=515
uucp=540 uucpd=540 klogin=543 krcmd=544 kshell=544 afpovertcp=548 nntps=563 snntp=563 nqs=607 qmqp=628 silc=706
kerberos-adm=749 hprop=754 krb-prop=754 krb5_prop=754 krb_prop=754 moira-db=775 moira_db=775 moira-update=777
moira_update=777 spamd=783 supfilesrv=871 swat=901 ftps-data=989 ftps=990 telnets=992 imaps=993 ircs=994 pop3s=995
proofd=1093 rootd=1094 rmiregistry=1099 supfiledbg=1127 skkserv=1178 rmtcfg=1236 nessus=1241 xtel=1313 xtelw=1314
lotusnote=1352 lotusnotes=1352 ingreslock=1524 kermit=1649 groupwise=1677 pptp=1723 mqtt=1883 cisco-sccp=2000
gsigatekeeper=2119 iprop=2121 gris=2135 cvspserver=2401 zebrasrv=2600 zebra=2601 ripd=2602 ripngd=2603 ospfd=2604
bgpd=2605 ospf6d=2606 ospfapi=2607 isisd=2608 dict=2628 f5-globalsite=2792 gsiftp=2811 gpsd=2947 gds-db=3050
gds_db=3050 squid=3128 iscsi-target=3260 ms-wbt-server=3389 rdp=3389 daap=3689 subversion=3690 suucp=4031 sysrqd=4094
f5-iquery=4353 epmd=4369 remctl=4373 ntske=4460 fax=4557 hylafax=4559 mtn=4691 radmin-port=4899 lrrd=4949 munin=4949
jabber-client=5222 jabber-server=5269 xmpp-bosh=5280 cfengine=5308 freeciv=5556 rptp=5556 nrpe=5666 nsca=5667
amqps=5671 amqp=5672 canna=5680 x11=6000 x11-0=6000 x11-1=6001 x11-2=6002 x11-3=6003 x11-4=6004 x11-5=6005 x11-6=6006
x11-7=6007 redis=6379 sge-qmaster=6444 sge_qmaster=6444 sge-execd=6445 sge_execd=6445 mysql-proxy=6446 syslog-tls=6514
sane=6566 sane-port=6566 saned=6566 ircd=6667 ircs-u=6697 bbs=7000 font-service=7100 xfs=7100 zope-ftp=8021
http-alt=8080 webcache=8080 tproxy=8081 omniorb=8088 puppet=8140 clc-build-daemon=8990 xinetd=9098 xmms2=9667
zope=9673 webmin=10000 amanda=10080 kamanda=10081 amandaidx=10082 amidxtape=10083 nbd=10809 hkp=11371 sgi-cad=17004
db-lsp=17500 dcap=22125 gsidcap=22128 wnn6=22273 binkp=24554 csync2=30865 dircproxy=57000 tfido=60177 fido=60179
"""
_UDP = """
fsp=21 fspd=21 rlp=39 bootps=67 bootpc=68 tftp=69 xdmcp=177 ipx=213 ptp-event=319 ptp-general=320 Clearcase=371
clearcase=371 ike=500 isakmp=500 biff=512 comsat=512 who=513 whod=513 talk=517 ntalk=518 rip=520 route=520 routed=520
router=520 ripng=521 dhcpv6-client=546 dhcpv6-server=547 asf-rmcp=623 snmp-agentx=705 kerberos_master=751
passwd-server=752 passwd_server=752 moira-ureg=779 moira_ureg=779 predict=1210 l2f=1701 l2tp=1701 zephyr-srv=2102
zephyr-clt=2103 zephyr-hm=2104 icp=3130 icpv2=3130 ipsec-nat-t=4500 vxlan=4789 mdns=5353 rplay=5555 babel=6696
afs3-fileserver=7000 afs3-callback=7001 afs3-prserver=7002 afs3-vlserver=7003 afs3-kaserver=7004 afs3-volser=7005
afs3-bos=7007 afs3-update=7008 afs3-rmtsys=7009 sgi-cmsd=17001 sgi-crsd=17002 sgi-gcd=17003
"""

#: what a misspelt protocol is most likely meant to be
_COMMON = ("tcp", "udp", "icmp", "ipv6-icmp", "icmpv6", "sctp", "udplite", "dccp", "gre", "esp", "ah", "igmp", "all")
_WRITE_NUMBER = "write its number"

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,10}")


def _table(text: str) -> dict[str, int]:
    return {name: int(port) for name, port in (entry.split("=") for entry in text.split())}


PROTOCOLS: dict[str, int] = _table(_PROTOCOLS)
SERVICES: dict[str, dict[str, int]] = {
    "tcp": _table(_BOTH) | _table(_TCP),
    "udp": _table(_BOTH) | _table(_UDP),
    "sctp": {"amqp": 5672},
}
_SERVICE_PROTOCOL = {6: "tcp", 17: "udp", 132: "sctp", 33: "dccp", 136: "udplite"}


def number(word: str) -> int | None:
    """A number as strtoul(3) with base 0 reads it; None for anything else.

    >>> number("0x50"), number("0120"), number("80"), number("http")
    (80, 80, 80, None)
    """
    if not _NUMBER.fullmatch(word):
        return None
    if word[:2] in ("0x", "0X"):
        return int(word, 16)
    if word[0] == "0" and len(word) > 1:
        return int(word, 8) if word.strip("01234567") == "" else None
    return int(word)


def protocol(word: str) -> int:
    """The number of a protocol by name or number; 0 is every protocol."""
    value = number(word)
    if value is not None:
        if value <= 255:
            return value
        raise Refused(f'bad protocol "{word}": at most 255', word)
    known = PROTOCOLS.get(word.lower())
    if known is None:
        near = did_you_mean(word.lower(), _COMMON) or did_you_mean(word.lower(), PROTOCOLS)
        raise Refused(f'unknown protocol "{word}"', word, near or _WRITE_NUMBER)
    return known


def port(word: str, number_of_protocol: int | None) -> int:
    """The number of a port by name or number; the protocol decides what a name means."""
    value = number(word)
    if value is not None:
        if value <= 65535:
            return value
        raise Refused(f'bad port "{word}": at most 65535', word)
    named = _SERVICE_PROTOCOL.get(number_of_protocol or 0)
    tables = [SERVICES.get(named, {})] if named else list(SERVICES.values())
    for table in tables:
        if word in table:
            return table[word]
    known = [name for table in tables for name in table]
    raise Refused(f'unknown port or service "{word}"', word, did_you_mean(word, known) or _WRITE_NUMBER)


@cache
def port_range(word: str, number_of_protocol: int | None, separator: str = ":") -> tuple[int, int]:
    """`port`, `first:last`, `:last` or `first:`; with `-` between them (NAT targets) a range has numbers only."""
    if number(word) is not None:
        return (port(word, number_of_protocol),) * 2
    first, colon, last = word.partition(separator)
    if not colon or (separator == "-" and (number(first) is None or number(last) is None)):
        return (port(word, number_of_protocol),) * 2
    low = port(first, number_of_protocol) if first else 0
    high = port(last, number_of_protocol) if last else 65535
    if low > high:
        raise Refused(f'bad port range "{word}": {low} is greater than {high}', word)
    return low, high
