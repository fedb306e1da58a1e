"""A list of banned hosts that is asked when the connections that it should stop have been accepted.

What it finds
    A jump to a chain of bans (fail2ban's f2b-..., sshguard, crowdsec, a blocklist), or a drop of what a list of such a
    name holds, behind the rules that accept the connections that it names: none that would be accepted ever comes by.

Why
    The ban program says that it has banned somebody, and he goes on trying: the accept comes first. fail2ban inserts
    its jump at the top; rules that are saved and loaded again, or appended by hand, put it behind.

Example
    -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
    -A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd

Instead
    -A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd
    -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT

Fix safety
    Not automatic: with the jump before the accept the hosts that are banned by now are shut out.

References
    jail.conf(5), action iptables; sshguard-setup(7)
"""

import re
from collections.abc import Iterator

from ruleaudit.analysis.connection import KINDS
from ruleaudit.analysis.differing import class_words
from ruleaudit.analysis.space import Frame
from ruleaudit.analysis.stretch import Block
from ruleaudit.analysis.verdicts import ACCEPT
from ruleaudit.analysis.witness import follow, sample
from ruleaudit.diagnostics import Finding, Fix, FixClass, Label, Severity, Witness
from ruleaudit.model.condition import Opaque, tests
from ruleaudit.model.fields import Hook, State
from ruleaudit.model.lines import lines
from ruleaudit.model.ruleset import Drop, Goto, Jump, Reject, Rule
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.rules.services import opening

CODE = "RA313"
NAME = "late-ban"
SEVERITY = Severity.WARNING
SINCE = "0.1"

_BANS = """-A f2b-sshd -s 203.0.113.9/32 -j REJECT --reject-with icmp-port-unreachable
-A f2b-sshd -j RETURN
COMMIT
"""

EXAMPLES = (
    Example(
        "fail2ban's jump behind the accept",
        f"""*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
:f2b-sshd - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p tcp -m multiport --dports 22 «-j f2b-sshd»
{_BANS}""",
    ),
    Example(
        "for all ports, behind every accept",
        f"""*filter
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:f2b-sshd - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m multiport --dports 22,80,443 -j ACCEPT
-A INPUT -p tcp «-j f2b-sshd»
-A INPUT -j DROP
{_BANS}""",
    ),
    Example(
        "a set of banned addresses, filled elsewhere",
        """table inet filter {
	set blocklist { type ipv4_addr; flags interval, timeout; }
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established,related accept
		tcp dport { 22, 443 } accept
		ip saddr @blocklist «drop»
	}
}
""",
    ),
    Example(
        "where fail2ban puts it",
        f"""*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
:f2b-sshd - [0:0]
-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
{_BANS}""",
    ),
    Example(
        "behind established packets and a trusted network",
        f"""*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
:f2b-sshd - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -s 192.0.2.0/24 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j f2b-sshd
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
{_BANS}""",
    ),
    Example(
        "for all ports, before one of the accepts",
        f"""*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
:f2b-sshd - [0:0]
-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT
-A INPUT -p tcp -j f2b-sshd
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
{_BANS}""",
    ),
    Example(
        "the port is closed to everybody",
        f"""*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
:f2b-sshd - [0:0]
-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j f2b-sshd
{_BANS}""",
    ),
    Example(
        "the table of the ban program comes first",
        """table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		tcp dport 22 accept
	}
}
table inet f2b-table {
	set addr-set-sshd { type ipv4_addr; }
	chain f2b-chain {
		type filter hook input priority filter - 1; policy accept;
		tcp dport 22 ip saddr @addr-set-sshd reject
	}
}
""",
    ),
)

#: how ban programs and people name chains and sets of banned hosts
_BAN = re.compile(
    r"f2b|fail2ban|sshguard|crowdsec|denyhosts|spamhaus|firehol|(?<![a-z])banned(?![a-z])"
    r"|(?<![a-z])(?:black|block|deny|ban|drop|bad)[-_]?(?:list|host|ip|guy)s?(?![a-z])",
    re.IGNORECASE,
)

#: an unknown test that looks up a set
_LIST = re.compile(r"@|\bset\b|match-set")


def check(audit: Audit) -> Iterator[Finding]:
    """Each jump or drop of bans that no connection meets which would be accepted."""
    if audit.ruleset.partial or any(f.severity is Severity.ERROR for f in audit.read):
        return
    for chain in audit.ruleset.base_chains(Hook.INPUT):
        for rule in () if chain.nat else chain.rules:
            if _bans(audit, rule):
                early = _accepted_before(audit, rule)
                if not is_empty(early):
                    yield from _finding(audit, rule, early)


def _bans(audit: Audit, rule: Rule) -> bool:
    """The rule asks a chain or list of banned hosts."""
    match rule.verdict:
        case Jump(name) | Goto(name):
            target = audit.ruleset.tables[rule.table].chains.get(name)
            if target is None or not _BAN.search(name):
                return False
            # a chain that refuses whatever comes to it is no list
            return not any(not r.matches and isinstance(r.verdict, Drop | Reject) for r in target.rules)
        case Drop() | Reject():
            asked = [t.name for t in tests(rule.condition) if isinstance(t, Opaque)]
            return any(_LIST.search(name) and _BAN.search(name) for name in asked)
        case _:
            return False


def _accepted_before(audit: Audit, rule: Rule) -> PacketSet:
    """The openings that a rule would look at and that are accepted before; none if it decides about any at all."""
    space, pair = audit.space, audit.whole
    seen = pair.roles(KINDS[0], pair.old).opening
    condition = opening(pair, rule)
    reached = seen.walk.matched.get(rule, space.none)
    for _, _, packets in seen.walk.decided.about(condition, lambda by, _: isinstance(by, Block) and rule in by.rules):
        reached = reached | packets
    # what comes by and is accepted when nobody is banned hangs on the rule
    if not is_empty(space.whatever_is_unknown(reached) & seen.accepted):
        return space.none
    return seen.packets & space.whatever_is_unknown(condition) & seen.accepted


def _finding(audit: Audit, rule: Rule, early: PacketSet) -> Iterator[Finding]:
    space, pair = audit.space, audit.whole
    seen = pair.roles(KINDS[0], pair.old).opening
    accepts = list(seen.walk.decided.accepts(early, lambda by: by.table == rule.table))
    if not accepts:
        return
    first, packets = accepts[0]
    frame, path = Frame("opening"), KINDS[0].there
    chosen = sample(space, packets, path, frame, State.NEW if pair.old.active else None)
    if follow(pair, pair.old, chosen, State.NEW).verdict != ACCEPT:
        return
    before = lines(by for by, _ in accepts)
    cure = f"put {rule.where} before {first.where}"
    yield Finding(
        CODE,
        NAME,
        SEVERITY,
        f"bans have no effect on {class_words(space, early, path, frame)}: accepted before, by {before}",
        places.target(rule, audit.source),
        "no connection that is accepted comes by here",
        (Label(places.target(first, audit.source), "accepts them before"),),
        (("help", cure),),
        Witness(chosen.text, f"accepted by {first.where}, banned or not"),
        Fix(FixClass.MANUAL, cure),
    )
