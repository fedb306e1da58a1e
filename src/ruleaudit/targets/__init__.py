"""Every target that is known, in one list; a new one is a module and an entry here.

A name that is not here is a chain, or an extension that stays in the text and is named in the report. A module is
loaded when a rule first asks for it.
"""

from typing import TYPE_CHECKING

from ruleaudit.matches.loading import Extensions

if TYPE_CHECKING:
    from ruleaudit.targets.extension import TargetExtension

#: by the name that `-j` takes; behind it the module
TARGETS: "Extensions[TargetExtension]" = Extensions(
    "ruleaudit.targets",
    {
        "ACCEPT": "accept",
        "AUDIT": "audit",
        "CHECKSUM": "checksum",
        "CLASSIFY": "classify",
        "CLUSTERIP": "clusterip",
        "CONNMARK": "connmark",
        "CONNSECMARK": "connsecmark",
        "CT": "ct",
        "DNPT": "dnpt",
        "DROP": "drop",
        "DSCP": "dscp",
        "ECN": "ecn",
        "HL": "hl",
        "HMARK": "hmark",
        "IDLETIMER": "idletimer",
        "LED": "led",
        "LOG": "log",
        "MARK": "mark",
        "DNAT": "nat.DNAT",
        "SNAT": "nat.SNAT",
        "MASQUERADE": "nat.MASQUERADE",
        "REDIRECT": "nat.REDIRECT",
        "NETMAP": "nat.NETMAP",
        "NFLOG": "nflog",
        "NFQUEUE": "nfqueue",
        "NOTRACK": "notrack",
        "QUEUE": "queue",
        "RATEEST": "rateest",
        "REJECT": "reject",
        "RETURN": "return_",
        "SECMARK": "secmark",
        "SET": "set",
        "SNPT": "snpt",
        "SYNPROXY": "synproxy",
        "TCPMSS": "tcpmss",
        "TCPOPTSTRIP": "tcpoptstrip",
        "TEE": "tee",
        "TOS": "tos",
        "TPROXY": "tproxy",
        "TRACE": "trace",
        "TTL": "ttl",
        "ULOG": "ulog",
    },
)

#: of xtables-addons, OpenWrt, nDPI and the old patch-o-matic: a machine may have them
OTHER_TARGETS = frozenset(
    ("ACCOUNT", "BCOUNT", "CHAOS", "CONDITION", "DELUDE", "DHCPMAC", "DNETMAP", "ECHO", "FLOWOFFLOAD", "FULLCONENAT",
     "IMQ", "IPMARK", "IPV4OPTSSTRIP", "LOGMARK", "MIRROR", "NDPI", "PROTO", "PROTONAT", "RAWDNAT", "RAWSNAT", "ROUTE",
     "SAME", "STEAL", "SYSRQ", "TARPIT", "TRIGGER", "XOR")
)  # fmt: skip
