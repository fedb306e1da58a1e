"""Rules behind a verdict that every packet of their chain meets.

What it finds
    A rule without any condition that accepts, drops, rejects, queues, returns or goes to another chain, or jumps into
    a chain that does so, where more rules stand behind it in the same chain. One finding tells of all of them.
    Left alone is what is there to be on the safe side, as the last rule: a refusal of everything behind a refusal of
    everything, and the RETURN or comment with which programs end their chains.

Why
    No packet ever gets to the rules behind. Somebody who appends a rule to such a chain (`iptables -A`, a line at the
    end of the file) sees it in every listing, and it does nothing.

Example
    -A INPUT -j DROP
    -A INPUT -p tcp -m tcp --dport 8080 -j ACCEPT

Instead
    -A INPUT -p tcp -m tcp --dport 8080 -j ACCEPT
    -A INPUT -j DROP

Fix safety
    Exact: the rules behind are deleted, and every packet fares as before. If they were meant to work, move them
    before the verdict instead; `ruleaudit verify` shows what that changes.

References
    iptables(8), TARGETS; nft(8), VERDICT STATEMENTS
"""

from collections.abc import Iterator

from ruleaudit.analysis.ends import End
from ruleaudit.diagnostics import Finding, Label, Severity
from ruleaudit.model.condition import Always
from ruleaudit.model.lines import does, done
from ruleaudit.model.ruleset import Continue, Drop, Reject, Return
from ruleaudit.rules import edits
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example

CODE = "RA309"
NAME = "rule-after-verdict"
SEVERITY = Severity.WARNING
SINCE = "0.1"

EXAMPLES = (
    Example(
        "appended behind the last rule",
        """*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -m comment --comment "all the rest" -j DROP
«-A INPUT -p tcp -m tcp --dport 8080 -j ACCEPT»
-A INPUT -p tcp -m tcp --dport 8443 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "a chain that ends in a chain of its own for every packet",
        """*filter
:INPUT ACCEPT [0:0]
:REFUSED - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -j REFUSED
«-A INPUT -i lo -j ACCEPT»
-A REFUSED -m limit --limit 5/min -j LOG
-A REFUSED -p tcp -j REJECT --reject-with tcp-reset
-A REFUSED -j DROP
COMMIT
""",
    ),
    Example(
        "the same, but some packets come back",
        """*filter
:INPUT ACCEPT [0:0]
:REFUSED - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -j REFUSED
-A INPUT -i lo -j ACCEPT
-A REFUSED -i lo -j RETURN
-A REFUSED -j DROP
COMMIT
""",
    ),
    Example(
        "a limit is a condition, and so is an interface",
        """*filter
:INPUT DROP [0:0]
-A INPUT -m limit --limit 10/sec -j ACCEPT
-A INPUT -i eth0 -j DROP
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "nft, several rules on a line",
        """table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy accept;
\t\ttcp dport 22 accept; counter drop; «udp dport 53 accept»; tcp dport 53 accept
\t}
}
""",
    ),
    Example(
        "a refusal behind a refusal, as firewalld ends its chains",
        """table inet firewalld {
\tchain filter_INPUT {
\t\ttype filter hook input priority filter + 10; policy accept;
\t\tct state { established, related } accept
\t\tjump filter_INPUT_ZONES
\t\treject with icmpx admin-prohibited
\t}
\tchain filter_INPUT_ZONES {
\t\tiifname "eth0" goto filter_IN_public
\t\tgoto filter_IN_public
\t}
\tchain filter_IN_public {
\t\ttcp dport 22 accept
\t\treject with icmpx admin-prohibited
\t}
}
""",
    ),
    Example(
        "a chain of a program, which ends in RETURN, with a rule put before",
        """*filter
:FORWARD ACCEPT [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A DOCKER-USER -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 443 -j ACCEPT
-A DOCKER-USER -j DROP
-A DOCKER-USER -j RETURN
COMMIT
""",
    ),
    Example(
        "a rule that is a comment, as Proxmox signs its chains",
        """*filter
:INPUT ACCEPT [0:0]
:PVEFW-smurflog - [0:0]
-A INPUT -s 224.0.0.0/4 -g PVEFW-smurflog
-A PVEFW-smurflog -j DROP
-A PVEFW-smurflog -m comment --comment "PVESIG:2gfT1VMkfr0JL6OccRXTGXo"
COMMIT
""",
    ),
    Example(
        "a drop behind a chain that accepts everything",
        """*filter
:INPUT DROP [0:0]
:ALLOWED - [0:0]
-A INPUT -i eth0 -p tcp -m tcp --dport 25 -j DROP
-A INPUT -j ALLOWED
«-A INPUT -j DROP»
-A ALLOWED -j ACCEPT
COMMIT
""",
    ),
    Example(
        "a verdict for one family only, and one in another chain of the hook",
        """table inet filter {
\tchain first {
\t\ttype filter hook input priority filter - 10; policy accept;
\t\taccept
\t}
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\tmeta nfproto ipv4 accept
\t\ttcp dport 22 accept
\t}
}
""",
    ),
)


def check(audit: Audit) -> Iterator[Finding]:
    """One finding for each chain that goes on behind its end."""
    if not audit.loads:
        return
    for end in audit.left.ends:
        first = end.behind[0]
        chain = audit.ruleset.tables[first.table].chains[first.chain]
        is_met = (first.table, first.chain) in audit.called or audit.left.is_called_elsewhere(chain)
        if is_met and not _is_net(end):
            yield _finding(audit, end)


def _is_net(end: End) -> bool:
    """What gets here is refused, and all that stands behind would refuse or return the rest: nobody misses it."""
    behind = [rule for rule in end.behind if rule.effects or not isinstance(rule.verdict, Continue)]
    if not behind:
        return True
    last = behind[0]
    if len(behind) > 1 or last.effects or not isinstance(last.condition, Always):
        return False
    refuses = isinstance(end.verdict, Drop | Reject) and isinstance(last.verdict, Drop | Reject)
    return refuses or isinstance(last.verdict, Return)


def _finding(audit: Audit, end: End) -> Finding:
    first, by = end.behind[0], end.by
    behind = len({rule.span for rule in end.behind}) - 1
    others = {0: "", 1: " and to the one behind it"}.get(behind, f" and to the {behind} behind it")
    work, them = ("they are", "them") if behind else ("it is", "it")
    gone = "these rules" if behind else "this rule"
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        f"no packet gets to this rule{others}: {does((by,), 'everything')} before",
        first.span,
        related=(Label(by.span, done(by, "everything that gets here")),),
        notes=(("help", f"if {work} meant to do something, move {them} before {by.where}"),),
        fix=edits.deletion(audit, end.behind, gone),
    )
