"""Every match extension that is known, in one list; a new one is a module and an entry here.

A match without a module stays in the text as an opaque test and is named in the report. A module is loaded when a rule
first asks for it.
"""

from typing import TYPE_CHECKING

from ruleaudit.matches.loading import Extensions
from ruleaudit.model.fields import Family

if TYPE_CHECKING:
    from ruleaudit.matches.extension import MatchExtension

#: by every name that `-m` takes; behind it the module
MATCHES: "Extensions[MatchExtension]" = Extensions(
    "ruleaudit.matches",
    {
        "addrtype": "addrtype",
        "ah": "ah",
        "bpf": "bpf",
        "cgroup": "cgroup",
        "cluster": "cluster",
        "comment": "comment",
        "connbytes": "connbytes",
        "connlabel": "connlabel",
        "connlimit": "connlimit",
        "connmark": "connmark",
        "conntrack": "conntrack",
        "cpu": "cpu",
        "dccp": "dccp",
        "devgroup": "devgroup",
        "dscp": "dscp",
        "dst": "dst",
        "ecn": "ecn",
        "esp": "esp",
        "eui64": "eui64",
        "frag": "frag",
        "hashlimit": "hashlimit",
        "hbh": "hbh",
        "helper": "helper",
        "hl": "hl",
        "icmp": "icmp",
        "icmp6": "icmp6",
        "icmpv6": "icmp6",
        "ipv6-icmp": "icmp6",
        "ipcomp": "ipcomp",
        "iprange": "iprange",
        "ipv6header": "ipv6header",
        "ipvs": "ipvs",
        "length": "length",
        "limit": "limit",
        "mac": "mac",
        "mark": "mark",
        "mh": "mh",
        "multiport": "multiport",
        "nfacct": "nfacct",
        "osf": "osf",
        "owner": "owner",
        "physdev": "physdev",
        "pkttype": "pkttype",
        "policy": "policy",
        "quota": "quota",
        "rateest": "rateest",
        "realm": "realm",
        "recent": "recent",
        "rpfilter": "rpfilter",
        "rt": "rt",
        "sctp": "sctp",
        "set": "set",
        "socket": "socket",
        "srh": "srh",
        "state": "state",
        "statistic": "statistic",
        "string": "string",
        "tcp": "tcp",
        "tcpmss": "tcpmss",
        "time": "time",
        "tos": "tos",
        "ttl": "ttl",
        "u32": "u32",
        "udp": "udp",
        "udplite": "udplite",
    },
)

#: of xtables-addons, OpenWrt, nDPI and the old patch-o-matic: a machine may have them
OTHER_MATCHES = frozenset(
    ("account", "asn", "bandwidth", "BCOUNT", "bcount", "condition", "connrate", "dns", "dstlimit", "exp", "fuzzy",
     "geoip", "gradm", "iface", "id", "ipp2p", "ipv4options", "layer7", "length2", "lscan", "macsave", "mport",
     "ndpi", "nth", "pknock", "pool", "proto", "psd", "quota2", "random", "timerange", "unclean", "web", "webmon",
     "webstr", "weburl")
)  # fmt: skip

#: the matches that `-p` loads: by the number of the protocol
_LOADED_BY = {1: "icmp", 6: "tcp", 17: "udp", 33: "dccp", 58: "icmp6", 132: "sctp", 136: "udplite"}


def matches_of_protocol(number: int, family: Family) -> "MatchExtension | None":
    """The match that `-p` loads when an option is met that nobody else knows."""
    name = _LOADED_BY.get(number)
    found = MATCHES[name] if name else None
    return found if found and found.family in (None, family) else None
