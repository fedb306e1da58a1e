"""NOTRACK on one, the other or both directions, in front of six filters: what breaks on the kernel is reported.

The expectations are what Linux 6.18 did with a real client (iptables-nft and -legacy, tcp_loose 0 and 1).
"""

import pytest

from ruleaudit.analysis.pair import Pair, make_space
from ruleaudit.packets.diagram import FIRST_ROOM
from ruleaudit.results import FileReport
from ruleaudit.rules import RULES
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.file_report import check_source
from ruleaudit.source import SourceFile

IN = "-A PREROUTING ! -i lo -p tcp -m tcp --dport 80 -j CT --notrack\n"
OUT = "-A OUTPUT ! -o lo -p tcp -m tcp --sport 80 -j CT --notrack\n"
RAW = {"none": "", "in": IN, "out": OUT, "both": IN + OUT}

KNOWN = "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
BARE = "-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT\n"
NEW = "-A INPUT -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT\n"
INVALID = "-A INPUT -m conntrack --ctstate INVALID -j DROP\n"
UNTRACKED = "-A INPUT -m conntrack --ctstate UNTRACKED,RELATED,ESTABLISHED -j ACCEPT\n"
FILTERS = {
    "NEW accept": ("ACCEPT", KNOWN + NEW),
    "bare accept": ("ACCEPT", KNOWN + BARE),
    "INVALID drop first": ("ACCEPT", INVALID + KNOWN + BARE),
    "filtered OUTPUT": ("DROP", KNOWN + BARE + "-A OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"),
    "INVALID drop in OUTPUT": ("ACCEPT", KNOWN + BARE + "-A OUTPUT -m conntrack --ctstate INVALID -j DROP\n"),
    "UNTRACKED accept": ("ACCEPT", UNTRACKED + NEW),
}
BROKEN = {
    ("NEW accept", "in"),
    ("NEW accept", "out"),
    ("NEW accept", "both"),
    ("INVALID drop first", "out"),
    ("filtered OUTPUT", "in"),
    ("filtered OUTPUT", "out"),
    ("filtered OUTPUT", "both"),
    ("INVALID drop in OUTPUT", "in"),
    ("UNTRACKED accept", "out"),
}
#: path-MTU errors get in: every finding is about the connections themselves
PMTU = "-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT\n"


def report(filtering: str, notrack: str, errors: str = PMTU) -> FileReport:
    policy, rules = FILTERS[filtering]
    text = (
        f"*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n{RAW[notrack]}COMMIT\n"
        f"*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT {policy} [0:0]\n"
        f"-A INPUT -i lo -j ACCEPT\n{errors}{rules}COMMIT\n"
    )
    return check_source(SourceFile("table.rules", text))


@pytest.mark.parametrize("notrack", RAW)
@pytest.mark.parametrize("filtering", FILTERS)
def test_what_breaks_is_reported(filtering: str, notrack: str) -> None:
    findings = report(filtering, notrack).findings
    closed = any(f.code == "RA202" for f in findings)
    notes = [text for f in findings if f.code == "RA201" for kind, text in f.notes if kind == "note"]
    assert (closed or any("does not work" in note for note in notes)) == ((filtering, notrack) in BROKEN)
    assert ("RA201" in {f.code for f in findings}) == (notrack in ("in", "out"))


@pytest.mark.parametrize(
    "filtering", ["bare accept", "INVALID drop first", "INVALID drop in OUTPUT", "UNTRACKED accept"]
)
def test_black_hole(filtering: str) -> None:
    assert "RA203" in {f.code for f in report(filtering, "both", "").findings}
    assert "RA203" not in {f.code for f in report(filtering, "both").findings}
    assert "RA203" not in {f.code for f in report(filtering, "none", "").findings}


def test_without_notrack_nothing_is_computed() -> None:
    found = report("NEW accept", "none")
    assert found.ruleset is not None and found.tracking is not None
    whole = Pair.alone(make_space((found.ruleset,), FIRST_ROOM), found.ruleset)
    audit = Audit(found.source, found.ruleset, found.tracking, whole)
    for rule in RULES:
        if rule.CODE.startswith("RA2"):
            assert list(rule.check(audit)) == []
    assert "untracking" not in vars(audit)
    assert not whole._roles and not whole._free


_SYNPROXY = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -i eth0 -p tcp -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -j CT --notrack
COMMIT
*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p {icmp} -j ACCEPT
-A INPUT -i eth0 -p tcp -m tcp --dport 80 -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --sack-perm --mss 1460
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -p tcp -m tcp --dport 80 -m connlimit --connlimit-above 20 -j REJECT
-A INPUT -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW -m recent --set --name web --rsource
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m multiport --dports 22,80 -m conntrack --ctstate NEW -j ACCEPT
COMMIT
"""
_SYNPROXY_NFT = """table inet firewall {
    chain raw {
        type filter hook prerouting priority raw; policy accept;
        tcp dport 80 tcp flags & (fin | syn | rst | ack) == syn notrack
    }
    chain input {
        type filter hook input priority filter; policy drop;
        iif "lo" accept
        meta l4proto { icmp, ipv6-icmp } accept
        tcp dport 80 ct state invalid,untracked synproxy mss 1460 wscale 7 timestamp sack-perm
        ct state invalid drop
        ct state established accept
        tcp dport { 22, 80 } ct state new accept
    }
}
"""


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (_SYNPROXY.format(icmp="icmp"), "iptables-save"),
        (_SYNPROXY.format(icmp="ipv6-icmp"), "ip6tables-save"),
        (_SYNPROXY_NFT, "nft"),
    ],
    ids=["iptables", "ip6tables", "nft"],
)
def test_the_idiom_of_synproxy_is_right_as_it_is(text: str, language: str) -> None:
    assert [f for f in check_source(SourceFile("proxy.rules", text), language).findings if f.code[:3] == "RA2"] == []
