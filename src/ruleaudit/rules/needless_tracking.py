"""A service that is tracked although no rule needs its state.

What it finds
    A rule that lets a public service in only while its packets are NEW, where that test decides about no
    connection: with or without it the same clients get in. Only services that `ruleaudit suggest` frees by default
    are named; ssh, services for a few sources, and what NAT or another consumer of conntrack touches are left
    alone. Where no connection at all needs tracking, RA102 says so instead.

Why
    Each client connection takes an entry, and keeps it for 120 s after it has closed (sysctl
    nf_conntrack_tcp_timeout_time_wait). A busy web server fills a table of 262,144 entries at about 2,200
    connections a second; then new connections are dropped, ssh included.

Example
    -A INPUT -p tcp -m multiport --dports 80,443 -m conntrack --ctstate NEW -j ACCEPT

Instead
    -A INPUT -p tcp -m multiport --dports 80,443 -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT
    with NOTRACK of both directions in table raw, as `ruleaudit suggest FILE` prints it

Fix safety
    Same connections: stray segments that belong to none reach the socket, and are answered with RST. `ruleaudit
    suggest` proves the whole change before it prints it.

References
    iptables-extensions(8), conntrack, CT
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ruleaudit.analysis.alignment import Alignment
from ruleaudit.analysis.compare import ASSUMPTIONS
from ruleaudit.analysis.consumers import check as consumers_of
from ruleaudit.analysis.consumers import consumed
from ruleaudit.analysis.differing import class_words
from ruleaudit.analysis.pair import Pair, has_nat
from ruleaudit.analysis.space import Frame
from ruleaudit.analysis.walk import Identities
from ruleaudit.analysis.witness import sample
from ruleaudit.diagnostics import Finding, Label, Severity, Witness
from ruleaudit.model.condition import Condition, Interface, Not, States, Values, all_of, tests
from ruleaudit.model.fields import MIRROR, AddressType, Field, State
from ruleaudit.model.ruleset import (
    IPTABLES_HOOKS,
    NOWHERE,
    Chain,
    Continue,
    Effect,
    EffectKind,
    Match,
    Rule,
    Ruleset,
    Table,
)
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.results import Difference, Judgement, RuleClass
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example

if TYPE_CHECKING:
    from ruleaudit.rewrite.flows import Candidate

CODE = "RA101"
NAME = "needless-tracking"
SEVERITY = Severity.WARNING
SINCE = "0.1"

_HEAD = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -s 10.9.1.0/24 -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
"""

EXAMPLES = (
    Example(
        "a public web server; ssh is left alone",
        f"""{_HEAD}-A INPUT -p tcp -m multiport --dports 80,443 «-m conntrack --ctstate NEW» -j ACCEPT
COMMIT
""",
    ),
    Example(
        "DNS, in the older spelling",
        f"""{_HEAD}-A INPUT -p udp -m udp --dport 53 «-m state --state NEW» -j ACCEPT
COMMIT
""",
    ),
    Example(
        "a router, and the server behind it, which starts nothing from its port",
        """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -d 192.0.2.80 -p tcp -m tcp --dport 80 «-m conntrack --ctstate NEW» -j ACCEPT
COMMIT
""",
    ),
    Example(
        "the same, but the server may open connections from any port",
        """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -m conntrack --ctstate INVALID -j DROP
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -d 192.0.2.80 -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT
-A FORWARD -s 192.0.2.80 -m conntrack --ctstate NEW -j ACCEPT
COMMIT
""",
    ),
    Example(
        "a web server that is untracked already",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m tcp --dport 80 -j CT --notrack
-A OUTPUT ! -o lo -p tcp -m tcp --sport 80 -j CT --notrack
COMMIT
{_HEAD}-A INPUT -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT
COMMIT
""",
    ),
    Example(
        "the port is redirected: NAT needs conntrack",
        f"""*nat
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080
COMMIT
{_HEAD}-A INPUT -p tcp -m tcp --dport 8080 -m conntrack --ctstate NEW -j ACCEPT
COMMIT
""",
    ),
    Example(
        "connections are counted",
        f"""{_HEAD}-A INPUT -p tcp -m tcp --dport 80 -m connlimit --connlimit-above 20 --connlimit-mask 32 -j DROP
-A INPUT -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT
COMMIT
""",
    ),
    Example(
        "a service for some sources, and one on an inside interface",
        f"""{_HEAD}-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -i br0 -p udp -m udp --dport 53 -m conntrack --ctstate NEW -j ACCEPT
COMMIT
""",
    ),
)

#: what people call the usual services, by protocol and port
_NAMES = {
    ("tcp", "80"): "web",
    ("tcp", "443"): "web",
    ("udp", "443"): "web (QUIC)",
    ("tcp", "8080"): "web",
    ("tcp", "8443"): "web",
    ("tcp", "53"): "DNS",
    ("udp", "53"): "DNS",
    ("tcp", "853"): "DNS",
    ("tcp", "25"): "mail",
    ("tcp", "465"): "mail",
    ("tcp", "587"): "mail",
    ("tcp", "110"): "mail",
    ("tcp", "143"): "mail",
    ("tcp", "993"): "mail",
    ("tcp", "995"): "mail",
    ("udp", "123"): "NTP",
    ("udp", "51820"): "WireGuard",
    ("udp", "1194"): "OpenVPN",
}
_PROVED, _MASQUERADED = "proved", "masq-low-ports"
_COST = {
    "tcp": "one table entry per client connection, kept 120 s after it closes",
    "udp": "one table entry per client and port, kept 30 to 120 s after the last packet",
}


def check(audit: Audit) -> Iterator[Finding]:
    """Each rule with a needless NEW test whose service would leave conntrack by default."""
    needless = {
        j.rule: j
        for j in audit.tracking.judgements
        if j.kind in (RuleClass.REPLACEABLE, RuleClass.REDUNDANT) and _asks_for_new(j.rule)
    }
    if not needless or audit.by_accident is not None:
        return  # where nothing needs tracking, RA102 says so
    from ruleaudit.rewrite.flows import candidates

    flows: dict[Rule, list[Candidate]] = {}
    for flow in candidates(audit.whole, needless):
        if flow.rule is not None:
            flows.setdefault(flow.rule, []).append(flow)
    for rule, leaving in flows.items():
        if any(c.reason or (audit.ruleset.partial and c.kind.name == "forward") for c in leaving):
            continue
        certainties = [_certainty(audit, c) for c in leaving]
        if None not in certainties:
            assuming = [c for c in certainties if c and c != _PROVED]
            yield _finding(audit, needless[rule], leaving, assuming[0] if assuming else _PROVED)


def _asks_for_new(rule: Rule) -> bool:
    found = [t.states for m in rule.matches for t in tests(m.condition) if isinstance(t, States)]
    return any(State.NEW in states for states in found)


# -- may it leave? --------------------------------------------------------------------------------


def _certainty(audit: Audit, flow: "Candidate") -> str | None:
    """Under which assumption the flow may leave; None when a consumer of conntrack, or NAT, works for it."""
    roles = audit.whole.roles(flow.kind, audit.whole.old)
    part = audit.space.connection_part
    if any(not is_empty(part(packets) & flow.connections) for _, _, _, packets in consumed(roles)):
        return None
    if flow.kind.name == "forward":
        # nobody knows of another host that its port is taken: what it starts from there must not work already
        started = audit.whole.swap(flow.connections) & part(roles.opening.accepted) & ~flow.connections
        if not is_empty(started):
            return None
    certainty = f"assuming: {ASSUMPTIONS['known-sets']}" if audit.ruleset.known_sets else _PROVED
    for found in consumers_of(_untracked(audit, flow)) if has_nat(audit.ruleset) else ():
        if not isinstance(found, Difference) or found.loosens is None:
            return None
        if found.assumption == _MASQUERADED:
            certainty = f"assuming: {ASSUMPTIONS[_MASQUERADED]}"
    return certainty


def _untracked(audit: Audit, flow: "Candidate") -> Pair:
    """The ruleset beside itself with the two rules in front of table raw that would leave the flow untracked."""
    ruleset = audit.ruleset
    numbers = dict(Identities.of(ruleset).numbers)
    there = _notrack(audit, flow, "PREROUTING", False)
    back = _notrack(audit, flow, "PREROUTING" if flow.kind.name == "forward" else "OUTPUT", True)
    raw = ruleset.tables.get("raw", Table("raw", {}))
    chains = dict(raw.chains)
    for name, (hook, priority) in IPTABLES_HOOKS["raw"].items():
        chain = chains.get(name, Chain(name, "raw", (), hook, priority))
        added = tuple(r for r in (there, back) if r.chain == name)
        chains[name] = Chain(name, "raw", (*added, *chain.rules), hook, priority, chain.policy)
    tables = {**ruleset.tables, "raw": Table("raw", chains)}
    new = Ruleset(ruleset.source, ruleset.language, ruleset.family, tables)
    before = Identities(dict(numbers))
    for rule in (there, back):
        numbers[rule] = len(numbers)
    return Pair(audit.space, ruleset, new, Alignment(before, Identities(numbers), (), (there, back), False))


def _notrack(audit: Audit, flow: "Candidate", chain: str, mirrored: bool) -> Rule:
    """A notrack rule for one direction of the flow, to and from this host's own addresses."""
    space = audit.space
    host = flow.kind.name == "in"

    def side(name: Field) -> Field:
        return MIRROR[name] if mirrored else name

    words: list[Condition] = [
        Not(Interface(Field.OIF if chain == "OUTPUT" else Field.IIF, "lo")),
        Values(Field.PROTOCOL, tuple(space.taken(flow.connections, Field.PROTOCOL))),
        Values(side(Field.DPORT), flow.ports),
    ]
    if host:
        words.append(Values(side(Field.DST_TYPE), ((AddressType.LOCAL, AddressType.LOCAL),)))
    else:
        words.append(Values(side(Field.DADDR), tuple(space.taken(flow.connections, Field.DADDR))))
    place = flow.rule.span if flow.rule else next(audit.ruleset.rules()).span
    match = Match("", NOWHERE, all_of(words))
    text = f"\0notrack {chain} {mirrored} {flow.flow.words} {place.start}"
    return Rule(chain, "raw", 0, place, text, (match,), (Effect(EffectKind.NOTRACK, "notrack"),), Continue())


# -- what to say ----------------------------------------------------------------------------------


def _finding(audit: Audit, judgement: Judgement, flows: "list[Candidate]", certainty: str) -> Finding:
    rule = judgement.rule
    openings = _all(flows)
    words = class_words(audit.space, openings, flows[0].kind.there, Frame("opening"))
    protocols = dict.fromkeys(c.protocol for c in flows)
    kept = _later(audit, flows)
    proved = "the same connections get in without this test; only packets of no connection fare otherwise"
    if judgement.kind is RuleClass.REDUNDANT:
        proved = "without this test every packet has the same verdict"
    packet = sample(audit.space, openings, flows[0].kind.there, Frame("opening"), State.NEW).text
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        f"{_name(flows)} traffic is tracked but no rule needs its state",
        places.state_test(rule) or rule.span,
        f"not needed: {words} is accepted whatever its state",
        (Label(places.state_test(kept) or kept.span, "later packets are accepted here today"),) if kept else (),
        (
            ("proved", proved),
            *(("cost", _COST[protocol]) for protocol in protocols),
            ("help", f"ruleaudit suggest {audit.source.path}"),
        ),
        Witness(packet, f"accepted by {rule.where}, and tracked"),
        certainty=certainty,
    )


def _name(flows: "list[Candidate]") -> str:
    known = {_NAMES.get((c.protocol, port)) for c in flows for port in c.flow.ports}
    if len(known) == 1 and None not in known:
        return str(known.pop())
    return ", ".join(dict.fromkeys(f"{c.protocol}/{','.join(c.flow.ports)}" for c in flows))


def _later(audit: Audit, flows: "list[Candidate]") -> Rule | None:
    """The rule that accepts the later packets because they are ESTABLISHED."""
    connections = _all(flows)
    later = audit.whole.roles(flows[0].kind, audit.whole.old).later.walk.decided
    asking = later.accepts(connections, lambda by: by is not flows[0].rule and bool(places.state_test(by)))
    return next((by for by, _ in asking), None)


def _all(flows: "list[Candidate]") -> PacketSet:
    out = flows[0].connections
    for flow in flows[1:]:
        out = out | flow.connections
    return out
