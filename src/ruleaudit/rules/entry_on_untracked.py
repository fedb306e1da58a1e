"""A limit, mark or count of connections that the ruleset itself leaves untracked: it silently stops working.

What it finds
    A match or target that lives in the conntrack entry (connlimit, `ct count`, connbytes, `ct bytes`, connmark,
    `ct mark`, CONNMARK --restore-mark, connlabel, cluster), met by connections that a notrack rule takes the entry
    away from, and that get in all the same. Marks and labels count only where a rule here gives one to these very
    connections. What is refused since it is untracked is RA202's, NAT is RA204's.

Why
    Nothing says so when the rules are loaded. connlimit counts no untracked connection that is open, only those whose
    packets come within the same few milliseconds: whoever is not in a hurry opens as many as he likes (8 of 8 got in
    where 2 were allowed), and a burst may be refused in the middle of a connection. An untracked packet has no mark,
    label or byte count: such a test never matches, negated or not, and a mark that is restored for policy routing is
    missing, so that answers leave by the wrong uplink.

Example
    *raw     -A PREROUTING -p tcp --dport 80 -j CT --notrack
    *filter  -A INPUT -p tcp --dport 80 -m connlimit --connlimit-above 20 -j REJECT

Instead
    *filter  -A INPUT -p tcp --dport 80 --syn -m hashlimit --hashlimit-above 50/sec --hashlimit-mode srcip
             --hashlimit-name web -j DROP
    or leave the service tracked; marks can be set anew in each direction, by port or interface

Fix safety
    Not automatic: no stateless rule counts the connections that are open.

References
    iptables-extensions(8), connlimit, connmark, connbytes, CONNMARK; nft(8), CONNTRACK EXPRESSIONS
"""

from collections.abc import Iterator

from ruleaudit.analysis.connection import KINDS, Kind
from ruleaudit.analysis.consumers import consumed
from ruleaudit.analysis.differing import class_words
from ruleaudit.analysis.pair import Pair, Roles
from ruleaudit.analysis.space import Frame
from ruleaudit.analysis.witness import sample
from ruleaudit.diagnostics import Finding, Label, Severity, Witness
from ruleaudit.model.ruleset import EffectKind, Rule
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.rules.served import by_asking_port, names_the_serving_side, refused_since, unmarked

CODE = "RA208"
NAME = "entry-on-untracked"
SEVERITY = Severity.WARNING
SINCE = "0.1"

_RAW = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m tcp --dport 80 -j CT --notrack
-A OUTPUT ! -o lo -p tcp -m tcp --sport 80 -j CT --notrack
COMMIT
"""
_NFT_RAW = """table inet raw {
    chain prerouting {
        type filter hook prerouting priority raw;
        iif != "lo" tcp dport 80 notrack
    }
    chain output {
        type filter hook output priority raw;
        oif != "lo" tcp sport 80 notrack
    }
}
"""
_ERRORS = "-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT\n"

EXAMPLES = (
    Example(
        "no more than 20 connections for each address",
        f"""{_RAW}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
{_ERRORS}-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 80 «-m connlimit --connlimit-above 20 --connlimit-mask 32» -j REJECT
-A INPUT -p tcp -m multiport --dports 22,80 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "the same, asked of new connections",
        f"""{_RAW}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
{_ERRORS}-A INPUT -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW «-m connlimit --connlimit-above 20» -j DROP
-A INPUT -p tcp -m multiport --dports 22,80 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "in nft",
        f"""{_NFT_RAW}table inet filter {{
    chain input {{
        type filter hook input priority filter; policy drop;
        icmp type destination-unreachable accept
        icmpv6 type {{ packet-too-big, nd-neighbor-solicit, nd-neighbor-advert }} accept
        tcp dport 80 «ct count over 20» drop
        tcp dport {{ 22, 80 }} accept
    }}
}}
""",
    ),
    Example(
        "the mark of the uplink that a connection came by is missing on its answers",
        f"""{_RAW}*mangle
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -i eth1 -m conntrack --ctstate NEW -j CONNMARK --set-mark 0x2
-A OUTPUT «-j CONNMARK --restore-mark»
COMMIT
*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
{_ERRORS}-A INPUT -p tcp -m multiport --dports 22,80 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "a mark that is saved and restored, in nft",
        f"""{_NFT_RAW}table inet mangle {{
    chain prerouting {{
        type filter hook prerouting priority mangle;
        iifname "eth1" meta mark set 2
        meta mark != 0 ct mark set meta mark
    }}
    chain output {{
        type route hook output priority mangle;
        «meta mark set ct mark»
    }}
}}
""",
    ),
    Example(
        "long downloads are slowed down",
        f"""{_RAW}*mangle
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -p tcp --sport 80 «-m connbytes --connbytes 10000000: --connbytes-dir both --connbytes-mode bytes»\
 -j CLASSIFY --set-class 1:30
COMMIT
*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
{_ERRORS}-A INPUT -p tcp -m multiport --dports 22,80 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "only marked connections are let in",
        f"""{_RAW}*mangle
:PREROUTING ACCEPT [0:0]
-A PREROUTING -s 192.0.2.0/24 -j CONNMARK --set-mark 0x2
COMMIT
*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
{_ERRORS}-A INPUT -p tcp -m multiport --dports 22,80 «-m connmark --mark 0x2» -j ACCEPT
COMMIT
""",
    ),
    Example(
        "the limit is on another port",
        f"""{_RAW}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
{_ERRORS}-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -m connlimit --connlimit-above 3 -p tcp -m tcp --dport 22 -j REJECT
-A INPUT -p tcp -m multiport --dports 22,80 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "marks are restored for all, and given to mail alone",
        f"""{_RAW}*mangle
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 25 -j CONNMARK --set-mark 0x2
-A OUTPUT -j CONNMARK --restore-mark
COMMIT
*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
{_ERRORS}-A INPUT -p tcp -m multiport --dports 25,80 -j ACCEPT
COMMIT
""",
    ),
)

_COUNTS = "this limit does not count the connections that are open, only packets of the same instant"
_NOTHING = "there is nothing to measure, and this test never matches"
#: what is lost with the entry, by the consumer's name
_LOSSES = {
    "connlimit": _COUNTS,
    "ct count": _COUNTS,
    "connbytes": _NOTHING,
    "cluster": "this test never matches, on no node of the cluster",
    "connmark": "it has no connection mark, and this test never matches",
    "ct mark": "it has no connection mark, and this test never matches",
    "CONNMARK restore": "no mark is restored",
    "connlabel": "it has no label",
    "ct label": "it has no label, and this test never matches",
    **{f"ct {side}{unit}": _NOTHING for side in ("", "original ", "reply ") for unit in ("bytes", "packets", "avgpkt")},
}
#: what gives a connection a mark or a label, for those that read one
_WRITERS = {
    **dict.fromkeys(("connmark", "ct mark", "CONNMARK restore"), ("CONNMARK set", "CONNMARK save", "ct mark set")),
    **dict.fromkeys(("connlabel", "ct label"), ("connlabel", "ct label set")),
}


def check(audit: Audit) -> Iterator[Finding]:
    """Each consumer that untracked connections would meet with an entry, and meet without one."""
    if not audit.notracks or not any(what in _LOSSES for r in audit.ruleset.rules() for what in _consumers(r)):
        return
    told: set[Rule] = set()
    for kind in KINDS[:3]:
        yield from _of_kind(audit, audit.untracking, kind, told)


def _consumers(rule: Rule) -> Iterator[str]:
    yield from (c.what for c in rule.consumers)
    yield from (m.consumer.what for m in rule.matches if m.consumer is not None)


def _of_kind(audit: Audit, pair: Pair, kind: Kind, told: set[Rule]) -> Iterator[Finding]:
    space, part = pair.space, pair.space.connection_part
    before, now = pair.roles(kind, pair.old), pair.roles(kind, pair.new)
    working: dict[str, PacketSet] = {}
    given: dict[tuple[str, ...], PacketSet] = {}
    for rule, what, role, packets in consumed(before):
        if what not in _LOSSES or rule in told:
            continue
        tracked, seen = dict(before.items())[role], dict(now.items())[role]
        found = unmarked(space, packets) & seen.untracked
        # the rest of the rule has to match, too, whatever the limit says
        matched = tracked.walk.matched.get(rule, space.none)
        found = found & space.whatever_is_unknown(matched)
        if what in _WRITERS and not is_empty(found):
            writers = _WRITERS[what]
            if writers not in given:
                given[writers] = _given(pair, before, writers)
            found = found & given[writers]
        if is_empty(found):
            continue
        if role not in working:
            working[role] = _working(pair, before, now, role)
        found = found & working[role] & ~by_asking_port(space, part(seen.untracked))
        if is_empty(found) or not names_the_serving_side(space, part(found)):
            continue
        told.add(rule)
        yield _finding(audit, pair, kind, role, rule, what, found)


def _working(pair: Pair, before: Roles, now: Roles, role: str) -> PacketSet:
    """The connections that get in untracked or tracked, without what RA202 tells of, and those of SYNPROXY; their
    packets but the replies come by the interface of the first one.
    """
    part = pair.space.connection_part
    let_in = (before.opening.accepted | now.opening.accepted) & now.opening.untracked
    out = part(let_in, keep_interfaces=role != "reply")
    for (role, was), (_, seen) in zip(before.items(), now.items(), strict=True):
        out = out & ~part(refused_since(pair.space, role, before.opening.accepted, was, seen))
    for _, what, _, packets in consumed(now):
        if what == "SYNPROXY":
            out = out & ~part(packets)
    return out


def _sets_a_mark(rule: Rule) -> bool:
    return any(e.kind is EffectKind.MARK and e.mask is not None and e.value for e in rule.effects)


def _given(pair: Pair, before: Roles, writers: tuple[str, ...]) -> PacketSet:
    """The connections that some rule gives a mark or label; a packet mark that is saved has to be set first."""
    space, part = pair.space, pair.space.connection_part
    out = carried = space.none
    for _, seen in before.items():
        for _, packets in seen.walk.matched.of(_sets_a_mark):
            carried = carried | part(packets)
    for _, seen in before.items():
        for (rule, consumer), packets in seen.walk.consumed.of():
            if consumer.what in writers:
                saves = consumer.what == "CONNMARK save" or any("meta mark" in e.text for e in rule.effects)
                out = out | (part(packets) & carried if saves else part(packets))
    return out


def _finding(audit: Audit, pair: Pair, kind: Kind, role: str, rule: Rule, what: str, found: PacketSet) -> Finding:
    space = pair.space
    frame = Frame(role, role == "reply")
    path = kind.back if role == "reply" else kind.there
    words = class_words(space, found, path, frame)
    walk = dict(pair.roles(kind, pair.new).items())[role].walk
    notrack = next((r for r in audit.notracks if not is_empty(found & walk.matched.get(r, space.none))), None)
    restores = what == "ct mark" and any(e.kind is EffectKind.MARK for e in rule.effects)
    loss = _LOSSES["CONNMARK restore" if restores else what]
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        f"{words} is untracked: {loss}",
        places.consumer(audit.original(rule), audit.source),
        "works through the conntrack entry",
        (Label(places.target(notrack, audit.source), "left untracked here"),) if notrack else (),
        (
            (
                "help",
                "leave these connections out of the notrack rule, or say it without conntrack (`ruleaudit rule RA208`)",
            ),
        ),
        Witness(sample(space, found, path, frame).text, f"untracked: {rule.where} has no entry to look at"),
    )
