"""The types of values (nft(8), DATA TYPES): which words each takes; and the type of every selector."""

import re
from functools import cache
from typing import NamedTuple

from ruleaudit.syntax.numbers import decimal
from ruleaudit.syntax.refusal import did_you_mean
from ruleaudit.syntax.services import PROTOCOLS, SERVICES


class Type(NamedTuple):
    """A type: its name, the greatest number, its words, and whether other words may exist (files of the host)."""

    name: str
    greatest: int = 0
    words: frozenset[str] = frozenset()
    open: bool = False
    pattern: str = ""
    shown: str = ""  #: what messages call it
    number: bool = True


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DSCP = "be lephb va ef df le " + " ".join(
    [f"cs{i}" for i in range(8)] + [f"af{i}{j}" for i in range(1, 5) for j in range(1, 4)]
)
_ICMP_TYPES = """
echo-reply destination-unreachable source-quench redirect echo-request router-advertisement router-solicitation
time-exceeded parameter-problem timestamp-request timestamp-reply info-request info-reply address-mask-request
address-mask-reply
"""
_ICMP6_TYPES = """
destination-unreachable packet-too-big time-exceeded parameter-problem echo-request echo-reply mld-listener-query
mld-listener-report mld-listener-done mld-listener-reduction nd-router-solicit nd-router-advert nd-neighbor-solicit
nd-neighbor-advert nd-redirect router-renumbering ind-neighbor-solicit ind-neighbor-advert mld2-listener-report
"""
_U8, _U16, _U32, _U64 = 0xFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_H = "[0-9a-fA-F]{1,4}"
_IPV4 = r"(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:/(?:3[0-2]|[12]?\d))?"
_IPV6 = (
    rf"(?:(?:{_H}:){{7}}{_H}|(?:{_H}(?::{_H}){{0,6}})?::(?:{_H}(?::{_H}){{0,6}})?|(?:{_H}:){{6}}[0-9.]+"
    rf"|(?:{_H}(?::{_H}){{0,5}})?::(?:{_H}:){{0,6}}[0-9.]+)(?:/(?:12[0-8]|1[01]\d|\d?\d))?"
)
_TIME = r"(?:\d+(?:d|h|m|s|ms))+"

TYPES = {
    t.name: t
    for t in (
        Type("ipv4_addr", open=True, pattern=_IPV4, shown="IPv4 address"),
        Type("ipv6_addr", open=True, pattern=_IPV6, shown="IPv6 address"),
        Type("ether_addr", pattern=r"[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2})*", shown="hardware address"),
        Type("ll_addr", pattern=r"[0-9a-fA-F]{1,2}(?::[0-9a-fA-F]{1,2})*", shown="hardware address"),
        Type("inet_service", _U16, _words(" ".join({*SERVICES["tcp"], *SERVICES["udp"]})), shown="port or service"),
        Type("inet_proto", _U8, frozenset({*PROTOCOLS, "comp"}), shown="protocol"),
        Type("mark", _U32, open=True),
        Type("realm", _U32, open=True),
        Type("devgroup", _U32, open=True),
        Type("classid", _U32, open=True),
        Type("uid", _U32, open=True),
        Type("gid", _U32, open=True),
        Type("iface_index", _U32, open=True),
        Type("ifname", _U64, open=True),
        Type("string", _U64, open=True),
        Type("short name", _U64, open=True),
        Type("ct_state", _U32, _words("invalid established related new untracked"), shown="state of a connection"),
        Type("ct_dir", 1, _words("original reply"), shown="direction of a connection"),
        Type("ct_status", _U32, _words("expected seen-reply assured confirmed snat dnat dying"), shown="ct status"),
        Type(
            "ct_event",
            _U32,
            _words("new related destroy reply assured protoinfo helper mark seqadj secmark label"),
            shown="event",
        ),
        Type("ct_label", 127, open=True),
        Type("pkt_type", _U8, _words("host unicast broadcast multicast other"), shown="type of packet"),
        Type("tcp_flag", _U8, _words("fin syn rst psh ack urg ecn cwr"), shown="TCP flag"),
        Type("dscp", 63, _words(_DSCP), shown="DSCP"),
        Type("ecn", 3, _words("not-ect ect0 ect1 ce"), shown="ECN"),
        Type("icmp_type", _U8, _words(_ICMP_TYPES), shown="ICMP type"),
        Type("icmpv6_type", _U8, _words(_ICMP6_TYPES), shown="ICMPv6 type"),
        Type(
            "icmp_code",
            _U8,
            _words(
                "net-unreachable host-unreachable prot-unreachable port-unreachable net-prohibited host-prohibited "
                "admin-prohibited frag-needed"
            ),
            shown="ICMP code",
        ),
        Type(
            "icmpv6_code",
            _U8,
            _words("no-route admin-prohibited addr-unreachable port-unreachable policy-fail reject-route"),
            shown="ICMPv6 code",
        ),
        Type(
            "icmpx_code",
            _U8,
            _words("port-unreachable admin-prohibited no-route host-unreachable"),
            shown="ICMP code of both families",
        ),
        Type(
            "igmp_type",
            _U8,
            _words("membership-query membership-report-v1 membership-report-v2 membership-report-v3 leave-group"),
            shown="IGMP type",
        ),
        Type(
            "dccp_pkttype",
            15,
            _words("request response data ack dataack closereq close reset sync syncack"),
            shown="DCCP type",
        ),
        Type(
            "mh_type",
            _U8,
            _words(
                "binding-refresh-request home-test-init careof-test-init home-test careof-test binding-update "
                "binding-acknowledgement binding-error fast-binding-update fast-binding-acknowledgement "
                "fast-binding-advertisement experimental-mobility-header home-agent-switch-message"
            ),
            shown="mobility header type",
        ),
        Type("arp_op", _U16, _words("request reply rrequest rreply inrequest inreply nak"), shown="ARP operation"),
        Type("ether_type", _U16, _words("ip arp ip6 vlan 8021q 8021ad"), shown="Ethernet protocol"),
        Type("nf_proto", _U8, _words("ipv4 ipv6"), shown="family"),
        Type(
            "fib_addrtype",
            _U32,
            _words(
                "unspec unicast local broadcast anycast multicast blackhole unreachable prohibit throw nat xresolve"
            ),
            shown="type of address",
        ),
        Type("boolean", 1, _words("exists missing"), shown="exists or missing"),
        Type("presence", _U8, _words("exists missing true false"), shown="exists or missing"),
        Type(
            "day",
            6,
            _words("Sunday Monday Tuesday Wednesday Thursday Friday Saturday"),
            shown="day of the week",
        ),
        Type("hour", 86400, pattern=r"(?:[01]?\d|2[0-3]):[0-5]\d(?::(?:[0-5]\d|60))?", shown="time of day"),
        Type("time", _U64, pattern=rf"\d{{4}}-\d\d-\d\d(?:[ T]\d\d?:\d\d(?::\d\d)?)?|{_TIME}", shown="time"),
        Type("cgroupsv2", _U64, open=True),
        Type("iface_type", _U16, open=True),
        Type("1", 1),
        Type("2", 3),
        Type("3", 7),
        Type("4", 15),
        Type("8", _U8),
        Type("12", 0xFFF),
        Type("13", 0x1FFF),
        Type("16", _U16),
        Type("20", 0xFFFFF),
        Type("24", 0xFFFFFF),
        Type("32", _U32),
        Type("64", _U64),
    )
}

#: the types that `type` in a set may name besides those; their words are not looked at
OTHER_TYPES = _words(
    "verdict integer bitmask lladdr ct_id date tc_handle iface_kind ifkind kernel_ifname os osf xinteger nfacct "
    "counter quota limit secmark synproxy tunnel priority"
)

_OTHER_NAMES = {"ping": "write echo-request", "echo": "write echo-request", "pong": "write echo-reply"}
#: types that are taken for each other
_SIBLINGS = {"icmp_type": (("icmpv6_type", "icmpv6"),), "icmpv6_type": (("icmp_type", "icmp"),)}
#: types of any length: a set needs to know more
UNQUALIFIED = ("integer", "string", "bitmask", "verdict", "ll_addr")

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+")


@cache
def number(word: str) -> int | None:
    """A number as nft writes it: decimal, 0x hexadecimal, 0 octal.

    >>> number("0x10"), number("010"), number("ssh")
    (16, 8, None)
    """
    if not _NUMBER.fullmatch(word):
        return None
    if word[:2] in ("0x", "0X"):
        return int(word, 16)
    return int(word, 8) if word[0] == "0" and not word.strip("01234567") else decimal(word)


class Wrong(NamedTuple):
    """What is wrong with a word."""

    message: str
    hint: str = ""


def wrong(type_: Type, text: str, quoted: bool = False) -> Wrong | None:
    """What is wrong with a word as a value of a type; None if nothing is.

    >>> wrong(TYPES["inet_service"], "70000").message
    '70000 is too great: a port or service is at most 65535'
    >>> wrong(TYPES["ct_state"], "establishd").hint
    'did you mean established?'
    """
    return _PATTERNED[type_.name](type_, text) if type_.name in _PATTERNED else _plain(type_, text, quoted)


@cache
def _plain(type_: Type, text: str, quoted: bool) -> Wrong | None:
    shown = type_.shown or ("number" if not type_.open else type_.name)
    value = number(text) if not quoted or not type_.open else None
    if value is not None:
        if value > type_.greatest and not type_.pattern:
            return Wrong(f"{text} is too great: a {shown} is at most {type_.greatest}")
        return None
    if type_.name in ("ifname", "string", "short name"):
        if not text:
            return Wrong("an empty name")
        longest = 255 if type_.name == "string" else 15
        return Wrong(f'"{text}" is too long: it has at most {longest} characters') if len(text) > longest else None
    if type_.name == "iface_index" and text.endswith("*"):
        return Wrong(f'"{text}" is no single device', "write iifname or oifname for patterns")
    if type_.name == "mark" and text in TYPES["ct_dir"].words:
        return Wrong(f'"{text}" is no mark: a mark has no direction')
    if type_.open or text in type_.words or (type_.pattern and re.fullmatch(type_.pattern, text)):
        return None
    if type_.name == "day" and any(word.lower().startswith(text.lower()) and len(text) > 2 for word in type_.words):
        return None
    if type_.name == "boolean" and text in ("true", "false"):
        return None
    if not type_.pattern and "/" in text and all(number(part) is not None for part in text.split("/")):
        return None
    what = f'"{text}" is no {shown}' if type_.shown else f'"{text}" is no number'
    if re.fullmatch("[0-9]+:[0-9]+", text):
        return Wrong(what, f"a range is written {text.replace(':', '-')}")
    if type_.name in ("ipv4_addr", "ipv6_addr"):
        return Wrong(what)
    return Wrong(what, _OTHER_NAMES.get(text, "") or did_you_mean(text, type_.words) or _of_sibling(type_, text))


def _of_sibling(type_: Type, text: str) -> str:
    """A hint for a word of the other ICMP."""
    for other, header in _SIBLINGS.get(type_.name, ()):
        if text in TYPES[other].words:
            return f"write {header} type {text}"
    return ""


_compiled = cache(re.compile)


def _address(type_: Type, text: str) -> Wrong | None:
    if _compiled(type_.pattern).fullmatch(text) or text == "*":
        return None
    if (
        re.fullmatch(r"[A-Za-z_](?=[\w.-]*[g-zG-Z_-])[\w.-]*|[A-Za-z][\w-]*(?:\.[\w-]+)+", text)
        or number(text) is not None
    ):
        return None  # the name of a host: the host that loads the file resolves it
    other = "ipv6_addr" if type_.name == "ipv4_addr" else "ipv4_addr"
    if re.fullmatch(TYPES[other].pattern, text):
        return Wrong(f'"{text}" is an {TYPES[other].shown}, no {type_.shown}')
    address, slash, length = text.partition("/")
    if slash and re.fullmatch(type_.pattern, address) and length.isdigit():
        return Wrong(f"a prefix of {length} bits is too long for an {type_.shown}")
    return Wrong(f'"{text}" is no {type_.shown}')


_PATTERNED = {"ipv4_addr": _address, "ipv6_addr": _address}
