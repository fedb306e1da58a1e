"""Rules that mean to let ssh in, and no ssh connection that works.

What it finds
    A ruleset with a rule that accepts ssh (tcp to port 22, or to a port that its comment or chain calls ssh), while
    no ssh connection from outside can work: the opening is refused before that rule, or the replies or later packets
    are refused.

Why
    The session that loads the rules goes on for a while (its packets are ESTABLISHED), the next one does not get in.

Example
    -A INPUT -m conntrack --ctstate NEW -j DROP
    -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT

Instead
    -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
    -A INPUT -m conntrack --ctstate NEW -j DROP

Fix safety
    Not automatic: what has to move, or which packets to accept, is for the author to say. Load such rules with a way
    back (`ruleaudit suggest --script` prints one).
    A limit, a list of recent sources or a set may let a connection through: then nothing is said, nor of rulesets that
    accept no ssh.

References
    ssh(1); iptables-apply(8)
"""

import re
from collections.abc import Iterator

from ruleaudit.analysis.connection import KINDS
from ruleaudit.analysis.walk import chains_from
from ruleaudit.diagnostics import Finding, Fix, FixClass, Label, Severity, Witness
from ruleaudit.model.condition import And, Condition, Interval, Values, merged
from ruleaudit.model.fields import Family, Field, Hook
from ruleaudit.model.ruleset import Accept, Goto, Jump, Rule
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.rules.services import (
    Refusal,
    Services,
    filtering,
    on_a_wire,
    opening,
    refused,
    sends_elsewhere,
    shown,
    tcp_to,
)

CODE = "RA304"
NAME = "lockout"
SEVERITY = Severity.ERROR
SINCE = "0.1"

EXAMPLES = (
    Example(
        "dropped before",
        """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 1:1023 -j DROP
-A INPUT -s 192.0.2.0/24 -p tcp -m tcp --dport 22 «-j ACCEPT»
COMMIT
""",
    ),
    Example(
        "the answers do not leave",
        """*filter
:INPUT DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 2222 -m comment --comment "ssh, moved" «-j ACCEPT»
-A OUTPUT -p tcp -m tcp --sport 22 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "only the first packet is let in",
        """table ip filter {
	chain input {
		type filter hook input priority filter; policy drop;
		tcp dport 22 ct state new «accept»
	}
}
""",
    ),
    Example(
        "in a chain of its own, behind a reject",
        """table inet filter {
	chain ssh {
		ip saddr 198.51.100.0/24 accept
	}
	chain input {
		type filter hook input priority filter; policy accept;
		ct state established accept
		meta l4proto tcp reject with tcp reset
		tcp dport 22 «jump ssh»
	}
}
""",
    ),
    Example(
        "from one network",
        """*filter
:INPUT DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -p tcp -m tcp --dport 22 ! -s 192.0.2.0/24 -j DROP
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A OUTPUT -p tcp -m tcp --sport 22 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "those who knock, and a limit",
        """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 7000 -m recent --name knock --set -j DROP
-A INPUT -p tcp -m tcp --dport 22 -m recent --name knock ! --rcheck --seconds 10 -j DROP
-A INPUT -p tcp -m tcp --dport 22 -m limit --limit 3/min -j ACCEPT
COMMIT
""",
    ),
    Example(
        "sources of a set that is filled elsewhere",
        """table inet filter {
	set admins { type ipv4_addr; flags timeout; }
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established accept
		tcp dport 22 ip saddr != @admins drop
		tcp dport ssh accept
	}
}
""",
    ),
    Example(
        "no ssh was meant",
        """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j DROP
-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "ssh over IPv4, and no IPv6 at all",
        """table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		meta nfproto ipv6 drop
		ct state established accept
		tcp dport 22 accept
	}
}
""",
    ),
)

_SSH = re.compile(r"(?<![a-z])sshd?(?![a-z])", re.IGNORECASE)
_PORT = 22
#: ports that a rule names in a list or small range; more of them are not about ssh
_FEW = 32


def check(audit: Audit) -> Iterator[Finding]:
    """The rule that means to let ssh in, where nobody gets in."""
    found = locked_out(audit)
    if found is not None:
        yield _finding(audit, *found)


def locked_out(audit: Audit) -> tuple[Rule, Refusal] | None:
    """The first rule that means to let ssh in, and who refuses what ssh cannot do without; None if some ssh works."""
    if audit.ruleset.partial or any(f.severity is Severity.ERROR for f in audit.read):
        return None
    named = [(rule, ports) for rule in _candidates(audit) if (ports := _ports(rule))]
    if not named:
        return None
    pair, space, kind = audit.whole, audit.space, KINDS[0]
    seen = pair.roles(kind, pair.old).opening
    meant = [(rule, seen.packets & tcp_to(space, ports) & _would_accept(audit, rule)) for rule, ports in named]
    meant = [(rule, packets) for rule, packets in meant if not is_empty(packets)]
    if not meant:
        return None
    every = seen.packets & on_a_wire(space) & tcp_to(space, merged(i for _, ports in named for i in ports))
    passing = every & ~refused(seen)
    rule, first = meant[0]
    services = Services(pair, kind)
    if is_empty(passing):
        if audit.ruleset.family is Family.IPV6 and is_empty(seen.accepted):
            return None  # no IPv6 at all, on purpose
        found = shown(pair, seen, "opening", first, kind.there)
        if found is None or (sends_elsewhere(audit.ruleset.rules()) and not _by_a_filter(audit, found)):
            return None
        return rule, found
    if not is_empty(services.working(passing)) or any(not is_empty(r.untracked) for _, r in services.roles.items()):
        return None
    found = services.refusal(passing)
    return None if found is None else (rule, found)


def _candidates(audit: Audit) -> Iterator[Rule]:
    """The rules of INPUT that accept, or lead to one that does."""
    ruleset = audit.ruleset
    chains = filtering(ruleset, Hook.INPUT)
    for rule in ruleset.rules():
        if (rule.table, rule.chain) in chains and isinstance(rule.verdict, Accept | Jump | Goto):
            yield rule


def _ports(rule: Rule) -> tuple[Interval, ...]:
    """The ports of a rule that are ssh's."""
    named = [i for match in rule.matches for i in _named(match.condition)]
    if not named or sum(high - low + 1 for low, high in named) > _FEW:
        return ()
    if any(low <= _PORT <= high for low, high in named):
        return ((_PORT, _PORT),)
    return merged(named) if _SSH.search(f"{rule.chain} {rule.text}") and isinstance(rule.verdict, Accept) else ()


def _named(condition: Condition) -> Iterator[Interval]:
    """The destination ports that a condition asks for."""
    match condition:
        case Values(Field.DPORT, intervals):
            yield from intervals
        case And(items):
            for item in items:
                yield from _named(item)


def _would_accept(audit: Audit, rule: Rule) -> PacketSet:
    """The opening packets that a rule would let in if they came to it."""
    found = opening(audit.whole, rule)
    if isinstance(rule.verdict, Jump | Goto):
        target = audit.ruleset.tables[rule.table].chains.get(rule.verdict.chain)
        accepted = audit.space.none
        for table, name in chains_from(audit.ruleset, (target,)) if target is not None else ():
            for one in audit.ruleset.tables[table].chains[name].rules:
                if isinstance(one.verdict, Accept):
                    accepted = accepted | opening(audit.whole, one)
        found = found & accepted
    return found


def _by_a_filter(audit: Audit, found: Refusal) -> bool:
    """The refusal stands behind NAT: what it refuses is what came out of that."""
    by = found.by
    return (by.table, by.chain if isinstance(by, Rule) else by.name) in filtering(audit.ruleset, Hook.INPUT)


def _finding(audit: Audit, rule: Rule, found: Refusal) -> Finding:
    what = {"opening": "the opening packets", "reply": "the replies", "later": "the later packets"}[found.role]
    cure = {
        "opening": "accept ssh before it",
        "reply": "accept the replies before it: packets of established connections",
        "later": "accept packets of established connections before it",
    }[found.role]
    by = found.by
    span = by.span if isinstance(by, Rule) else places.policy(by, audit.source)
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        f"no ssh connection from outside works: {found.where} refuses {what}",
        places.target(rule, audit.source),
        "means to let ssh in",
        (Label(span, f"refuses {what}"),) if span is not None else (),
        (("help", cure),),
        Witness(found.sample.text, f"refused by {found.where}"),
        Fix(FixClass.MANUAL, cure),
    )
