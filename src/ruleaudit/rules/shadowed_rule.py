"""A rule of which no packet is left: the rules before it take every packet that it would match.

What it finds
    A rule, in the middle of a chain, to which no packet gets that it matches, whatever packets there are: earlier
    rules of the chain, or of chains that they call, accept, drop, return or send elsewhere all of them. Most often it
    is the same rule twice, or a narrow rule behind a wide one with the same verdict. Also a rule in a chain into which
    nobody sends what it matches. Rules that another verdict makes void are RA308, rules behind the end of a chain
    RA309.

Why
    The rule does nothing. Who deletes "the rule for port 443" deletes one of two, and wonders; who changes the second
    one changes nothing.

Example
    -A INPUT -s 10.0.0.0/8 -j ACCEPT
    -A INPUT -s 10.9.1.0/24 -p tcp -m tcp --dport 22 -j ACCEPT

Instead
    -A INPUT -s 10.0.0.0/8 -j ACCEPT

Fix safety
    Exact: the rule is deleted, and every packet fares as before. If it was meant to be met, it belongs before the
    rules that are named.

References
    iptables(8); nft(8), RULES
"""

from collections.abc import Iterator

from ruleaudit.analysis.left import Void
from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.model.lines import does, lines
from ruleaudit.model.ruleset import Rule
from ruleaudit.rules import taken
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example

CODE = "RA302"
NAME = "shadowed-rule"
SEVERITY = Severity.WARNING
SINCE = "0.1"

EXAMPLES = (
    Example(
        "the same rule twice, and a narrow one behind a wide one",
        """*filter
:INPUT DROP [0:0]
-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT
-A INPUT -s 10.0.0.0/8 -j ACCEPT
«-A INPUT -p tcp -m tcp --dport 443 -m comment --comment "web" -j ACCEPT»
«-A INPUT -s 10.9.1.0/24 -p tcp -m tcp --dport 22 -j ACCEPT»
COMMIT
""",
    ),
    Example(
        "two rules together take it",
        """*filter
:INPUT DROP [0:0]
-A INPUT -p tcp -m tcp --dport 0:1023 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 1024:65535 -j ACCEPT
«-A INPUT -p tcp -m multiport --dports 22,8080 -j ACCEPT»
COMMIT
""",
    ),
    Example(
        "a chain of its own takes it",
        """*filter
:INPUT DROP [0:0]
:WEB - [0:0]
-A INPUT -p tcp -j WEB
«-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT»
-A INPUT -p tcp -m tcp --dport 81 -j ACCEPT
-A WEB -p tcp -m tcp --dport 80 -j ACCEPT
-A WEB -p tcp -m tcp --dport 81 -j RETURN
COMMIT
""",
    ),
    Example(
        "a chain into which nobody sends what the rule matches",
        """*filter
:INPUT DROP [0:0]
:WEB - [0:0]
-A INPUT -p tcp -j WEB
-A WEB -p tcp -m tcp --dport 80 -j ACCEPT
«-A WEB -p udp -m udp --dport 443 -j ACCEPT»
COMMIT
""",
    ),
    Example(
        "rules that look alike",
        """*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT ! -i eth0 -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -p udp -m limit --limit 5/sec -j ACCEPT
-A INPUT -p udp -m limit --limit 5/sec -j ACCEPT
-A INPUT -p icmp -m icmp --icmp-type 8 -m recent --set
-A INPUT -p icmp -m icmp --icmp-type 8 -m recent --set
-A INPUT -s 192.0.2.0/24
-A INPUT -s 192.0.2.7
-A FORWARD -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "a mark that is set between the tests",
        """*mangle
:PREROUTING ACCEPT [0:0]
-A PREROUTING -m mark --mark 0x1 -j ACCEPT
-A PREROUTING -p tcp -j MARK --set-xmark 0x1/0xffffffff
-A PREROUTING -m mark --mark 0x1 -j DROP
«-A PREROUTING -p tcp -m tcp --dport 22 -j DROP»
COMMIT
*filter
:INPUT ACCEPT [0:0]
COMMIT
""",
    ),
    Example(
        "a set that the rules themselves fill",
        """*filter
:INPUT ACCEPT [0:0]
-A INPUT -m set --match-set seen src -j ACCEPT
-A INPUT -p tcp -j SET --add-set seen src
-A INPUT -m set --match-set seen src -j DROP
COMMIT
""",
    ),
    Example(
        "packets that hardly exist keep a rule alive",
        """*filter
:INPUT DROP [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -p tcp -m tcp --tcp-flags SYN,FIN SYN,FIN -j DROP
-A INPUT -s 127.0.0.0/8 ! -i lo -j DROP
COMMIT
""",
    ),
    Example(
        "Docker's chain is called from outside",
        """*filter
:FORWARD ACCEPT [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -p tcp -j DOCKER-USER
-A DOCKER-USER -p udp -j DROP
COMMIT
""",
    ),
    Example(
        "nft: sets, a verdict map, and a rule that is alive for one family",
        """table inet filter {
\tset office {
\t\ttype ipv4_addr
\t\tflags interval
\t\telements = { 192.0.2.0/24 }
\t}
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\tip saddr @office accept
\t\t«ip saddr 192.0.2.7 tcp dport { 22, 80 } accept»
\t\ttcp dport vmap { 25 : accept, 26 : drop }
\t\t«tcp dport vmap { 25 : accept, 26 : drop }»
\t\ttcp dport vmap { 25 : accept, 27 : drop }
\t\tmeta nfproto ipv4 udp dport 53 accept
\t\tudp dport 53 accept
\t}
}
""",
    ),
    Example(
        "nft: what a named set holds may change, and the rule comes to life",
        """table ip filter {
\tset office {
\t\ttype ipv4_addr
\t\telements = { 192.0.2.7 }
\t}
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\tip saddr 192.0.2.0/24 accept
\t\tip saddr @office accept
\t\ttcp dport 80 accept
\t\t«ip saddr @office tcp dport 80 accept»
\t\tip saddr @office tcp dport 81 counter accept
\t\tip saddr @office udp dport 53 drop
\t}
}
""",
    ),
    Example(
        "nft: two base chains of one hook, and a set whose elements come and go",
        """table inet filter {
\tset seen {
\t\ttype ipv4_addr
\t\tflags dynamic, timeout
\t\ttimeout 1h
\t}
\tchain early {
\t\ttype filter hook input priority filter - 5; policy accept;
\t\ttcp dport 80 accept
\t}
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\ttcp dport 80 accept
\t\tip saddr @seen drop
\t\ttcp dport 81 add @seen { ip saddr }
\t\tip saddr @seen drop
\t}
}
""",
    ),
    Example(
        "an nft chain that only one family enters",
        """table inet filter {
\tchain of_v4 {
\t\tip saddr 192.0.2.0/24 drop
\t\t«tcp dport 22 ip saddr 192.0.2.0/25 drop»
\t\ttcp dport 22 accept; «tcp dport 22 counter accept»
\t}
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\tmeta nfproto ipv4 jump of_v4
\t}
}
""",
    ),
)


def check(audit: Audit) -> Iterator[Finding]:
    """Each rule of which no packet is left, unless what it decides was decided the other way."""
    for void in audit.left.void if audit.loads else ():
        if not taken.is_contradicted(void):
            yield _finding(audit, void)


def _finding(audit: Audit, void: Void) -> Finding:
    rule = void.rule
    takers = tuple(dict.fromkeys(taker for taker, _ in void.takers))
    notes: tuple[tuple[str, str], ...] = ()
    if len(takers) == 1 and _says_the_same(takers[0], rule):
        message = f"this rule says what {takers[0].where} says: no packet is left for it"
    elif takers:
        message = f"no packet is left for this rule: {does(takers, 'all that it would match')}"
        first = taken.first(audit, void).where
        notes = (("help", f"if it is meant to do something else, move it before {first}"),)
    else:
        callers = audit.left.callers(audit.ruleset.tables[rule.table].chains[rule.chain])
        leading = "leads" if len(callers) == 1 else "lead"
        message = f"no packet in chain {rule.chain} matches this rule: {lines(callers, 8)} {leading} none here"
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        message,
        rule.span,
        related=taken.labels(void),
        notes=notes,
        witness=taken.witness(audit, void),
        certainty=taken.certainty(void),
        fix=taken.deletion(audit, void),
    )


def _says_the_same(taker: Rule, rule: Rule) -> bool:
    """The same packets, and the same done with them; in comments and counters they may differ."""
    return (taker.verdict, taker.effects, taker.condition) == (rule.verdict, rule.effects, rule.condition)
