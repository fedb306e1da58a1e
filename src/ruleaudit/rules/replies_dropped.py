"""A service that is let in, and whose replies or later packets are refused: no connection to it works.

What it finds
    A rule that accepts the opening packets of connections by their port, while the replies to all of them are refused
    (or, of TCP, the further packets of the client): no rule accepts ESTABLISHED packets in the other direction, or the
    one that accepts the replies names another port or interface. The first twenty rules are told.

Why
    The first packet arrives and nothing else does: the client waits and gives up. It looks like a dead service.

Example
    :OUTPUT DROP [0:0]
    -A INPUT -p tcp -m tcp --dport 443 -j ACCEPT

Instead
    :OUTPUT DROP [0:0]
    -A INPUT -p tcp -m tcp --dport 443 -j ACCEPT
    -A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT

Fix safety
    Not automatic: accepting the replies lets out what was refused.
    Replies are expected by the interface that the opening came from, and TCP clients to use ports from 32768 up: that
    OUTPUT accepts what goes to port 80 helps no reply to a client. Datagrams that nobody answers (syslog, NetFlow,
    VXLAN, multicast) are left alone, and so is what the ruleset's own NOTRACK leaves untracked (RA201, RA202).

References
    iptables-extensions(8), conntrack; nft(8), CT EXPRESSIONS
"""

from collections.abc import Iterator
from itertools import islice

from ruleaudit.analysis.connection import KINDS
from ruleaudit.analysis.differing import class_words
from ruleaudit.analysis.space import Frame
from ruleaudit.diagnostics import Finding, Fix, FixClass, Label, Severity, Witness
from ruleaudit.model.ruleset import Rule
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.rules.lockout import locked_out
from ruleaudit.rules.services import HOOKS, Refusal, Services, has_accepts

CODE = "RA310"
NAME = "replies-dropped"
SEVERITY = Severity.ERROR
SINCE = "0.1"

EXAMPLES = (
    Example(
        "nothing leaves",
        """*filter
:INPUT DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m multiport --dports 80,443 «-j ACCEPT»
-A INPUT -p udp -m udp --dport 53 «-j ACCEPT»
COMMIT
""",
    ),
    Example(
        "what leaves by its destination port is no reply",
        """*filter
:INPUT DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 443 «-j ACCEPT»
-A OUTPUT -p tcp -m multiport --dports 22,80,443 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "the reply accept names another port",
        """*filter
:INPUT DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -p tcp -m tcp --dport 8443 «-j ACCEPT»
-A OUTPUT -p tcp -m tcp --sport 443 -m conntrack --ctstate ESTABLISHED -j ACCEPT
COMMIT
""",
    ),
    Example(
        "forwarded, and accepted on the way back by the wrong interface",
        """table ip filter {
	chain forward {
		type filter hook forward priority filter; policy drop;
		iifname "lan0" oifname "wan0" tcp dport { 80, 443 } «accept»
		iifname "wan1" oifname "lan0" ct state established accept
	}
}
""",
    ),
    Example(
        "what this host asks for",
        """*filter
:INPUT DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -m conntrack --ctstate RELATED -j ACCEPT
-A OUTPUT -p udp -m udp --dport 53 «-j ACCEPT»
COMMIT
""",
    ),
    Example(
        "the client's further packets",
        """table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		tcp dport 443 ct state new «accept»
		udp dport 443 ct state new accept
	}
}
""",
    ),
    Example(
        "replies by their source port, without conntrack",
        """*filter
:INPUT DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT
-A OUTPUT -p tcp -m tcp --sport 443 ! --syn -j ACCEPT
COMMIT
""",
    ),
    Example(
        "some clients' replies leave",
        """*filter
:INPUT DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT
-A OUTPUT -d 192.0.2.0/24 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "leftovers, behind an accept of the interface that there is",
        """*filter
:INPUT DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -i eth0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A OUTPUT -o eth0 -j ACCEPT
-A OUTPUT -p tcp -m tcp --dport 443 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "nobody answers syslog, and DHCP answers by other means",
        """*filter
:INPUT DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -p udp -m multiport --dports 67,514 -j ACCEPT
-A INPUT -d 224.0.0.251/32 -p udp -m udp --dport 5353 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "time servers talk from port to port",
        """*filter
:INPUT DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -p udp -m udp --sport 123 --dport 123 -j ACCEPT
-A OUTPUT -p udp -m udp --dport 123 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "answers to this host's queries, let in by their source port",
        """*filter
:INPUT DROP [0:0]
:OUTPUT DROP [0:0]
-A INPUT -p udp -m udp --sport 53 -j ACCEPT
-A OUTPUT -p udp -m udp --dport 53 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "in a map of verdicts, with the mark that the opening got",
        """table inet filter {
	chain output {
		type filter hook output priority filter; policy drop;
		ct mark 0x1 accept
	}
	chain input {
		type filter hook input priority filter; policy drop;
		ct state vmap { established : accept, invalid : drop }
		tcp dport 443 ct mark set 0x1 accept
	}
}
""",
    ),
)


#: what is wrong with so many rules is one thing; no more are told
MOST = 20


def check(audit: Audit) -> Iterator[Finding]:
    """Each rule whose connections all fail, up to `MOST`."""
    yield from islice(_dead(audit), MOST)


def _dead(audit: Audit) -> Iterator[Finding]:
    if audit.ruleset.partial or any(f.severity is Severity.ERROR for f in audit.read):
        return
    ssh = locked_out(audit)
    for kind in KINDS[:3]:
        if not has_accepts(audit.ruleset, HOOKS[kind.name]):
            continue
        services = Services(audit.whole, kind)
        for rule, openings in services.in_vain():
            if not services.by_port(openings):
                continue
            wanted = services.answered(openings)
            # what an earlier rule has taken, by the only interface that there is perhaps, may work
            if not is_empty(services.working(services.alike(rule, wanted))) or (ssh is not None and ssh[0] is rule):
                continue
            refusal = services.refusal(wanted)
            if refusal is not None:
                yield _finding(audit, services, rule, wanted, refusal)


def _finding(audit: Audit, services: Services, rule: Rule, openings: PacketSet, found: Refusal) -> Finding:
    words = class_words(audit.space, openings, services.kind.there, Frame("opening"))
    what = "replies" if found.role == "reply" else "later packets"
    by = found.by
    span = by.span if isinstance(by, Rule) else places.policy(by, audit.source)
    cure = f"accept its {what} before {found.where}: packets of established connections, or from its port"
    if found.role == "later":
        cure = f"accept packets of established connections before {found.where}"
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        f"no connection works that this lets {'through' if services.kind.name == 'forward' else services.kind.name}"
        f" ({words}): its {what} are refused by {found.where}",
        places.target(rule, audit.source),
        "accepts the opening packets",
        (Label(span, f"refuses the {what}"),) if span is not None else (),
        (("help", cure),),
        Witness(found.sample.text, f"refused by {found.where}"),
        Fix(FixClass.MANUAL, cure),
    )
