"""A chain of rules into which no packet gets.

What it finds
    A chain that is no base chain, holds rules that decide or do something, and that no rule of the file leads to; or to
    which only rules lead that no packet reaches. Left alone are chains that other programs are known to call (Docker,
    ufw, kube-proxy, fail2ban...), chains of fragments, chains of an nft table with a verdict map that is filled
    elsewhere, and chains without a caller that refuse whatever comes, perhaps with a log (LOGDROP). The rules in the
    chain, and the chains that only it calls, are not told one by one.

Why
    The rules in it look as if they protected something. A forgotten jump is the usual reason, or a jump behind the end
    of its chain.

Example
    :WEB - [0:0]
    -A WEB -p tcp -m tcp --dport 80 -j ACCEPT

Instead
    -A INPUT -p tcp -j WEB
    -A WEB -p tcp -m tcp --dport 80 -j ACCEPT

Fix safety
    Not automatic: only the author knows whether the chain or the jump is what is wrong. To delete the chain changes
    nothing for any packet, to call it does.

References
    iptables(8), -N and -j; nft(8), CHAINS
"""

from collections.abc import Iterator

from ruleaudit.analysis.walk import chains_from
from ruleaudit.diagnostics import Finding, Fix, FixClass, Label, Severity
from ruleaudit.model.condition import Always
from ruleaudit.model.lines import in_words, lines
from ruleaudit.model.ruleset import Chain, Continue, Drop, Goto, Jump, Reject, Return, Rule
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example

CODE = "RA303"
NAME = "unreachable-chain"
SEVERITY = Severity.WARNING
SINCE = "0.1"

EXAMPLES = (
    Example(
        "nobody calls it, nor the chain that it calls",
        """*filter
:INPUT ACCEPT [0:0]
«:WEB - [0:0]»
:LOGGED - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A WEB -p tcp -m tcp --dport 80 -j LOGGED
-A LOGGED -j LOG
-A LOGGED -j ACCEPT
COMMIT
""",
    ),
    Example(
        "its caller stands behind the end of the chain",
        """*filter
:INPUT ACCEPT [0:0]
«:WEB - [0:0]»
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -j DROP
-A INPUT -p tcp -m tcp --dport 80 -j WEB
-A WEB -j ACCEPT
COMMIT
""",
    ),
    Example(
        "empty chains, and chains that others call",
        """*filter
:INPUT ACCEPT [0:0]
:IN_public_pre - [0:0]
:DOCKER-USER - [0:0]
:f2b-sshd - [0:0]
-A DOCKER-USER -j RETURN
-A f2b-sshd -s 192.0.2.7/32 -j REJECT --reject-with icmp-port-unreachable
-A f2b-sshd -j RETURN
COMMIT
""",
    ),
    Example(
        "ways to refuse packets, kept ready for rules that want them",
        """*filter
:INPUT DROP [0:0]
:LOGDROP - [0:0]
:LOGREFUSE - [0:0]
:REFUSE - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A LOGDROP -m limit --limit 5/min -j LOG --log-prefix "dropped: "
-A LOGDROP -m comment --comment "the rest" -j DROP
-A LOGREFUSE -j LOG --log-prefix "refused: "
-A LOGREFUSE -j REFUSE
-A REFUSE -p tcp -j REJECT --reject-with tcp-reset
-A REFUSE -j REJECT --reject-with icmp-port-unreachable
COMMIT
""",
    ),
    Example(
        "a list of what is refused is none of them",
        """*filter
:INPUT ACCEPT [0:0]
«:BAD - [0:0]»
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A BAD -s 192.0.2.0/24 -j DROP
-A BAD -s 198.51.100.7/32 -j DROP
COMMIT
""",
    ),
    Example(
        "a fragment for iptables-restore --noflush",
        """*filter
:WEB - [0:0]
-F WEB
-A WEB -p tcp -m tcp --dport 80 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "nft: a chain of one family, and one that a verdict map leads to",
        """table inet filter {
\tchain of_v6 {
\t\ttcp dport 22 accept
\t}
\tchain web {
\t\taccept
\t}
\tchain «lost» {
\t\tudp dport 53 accept
\t}
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
\t\tmeta nfproto ipv6 jump of_v6
\t\ttcp dport vmap { 80 : jump web, 443 : jump web }
\t}
}
""",
    ),
    Example(
        "nft: a map that is filled by others",
        """table ip filter {
\tmap services {
\t\ttype inet_service : verdict
\t}
\tchain web {
\t\taccept
\t}
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\ttcp dport vmap @services
\t}
}
""",
    ),
)


def check(audit: Audit) -> Iterator[Finding]:
    """Each chain that does something and that no packet enters, unless another such chain is all that calls it."""
    if not audit.loads or audit.ruleset.partial:
        return
    lost = [chain for chain in _chains(audit) if not _is_entered(audit, chain) and chain.span is not None]
    names = {(chain.table, chain.name) for chain in lost}
    for chain in lost:
        callers = audit.left.callers(chain)
        if callers and all((r.table, r.chain) in names and r.chain != chain.name for r in callers):
            continue
        if not callers and _is_ready_made(audit, chain):
            continue
        if any(not isinstance(r.verdict, Continue | Return) or r.effects for r in chain.rules):
            below = chains_from(audit.ruleset, (chain,)) & names
            yield _finding(audit, chain, sorted(name for _, name in below if name != chain.name))


def _is_entered(audit: Audit, chain: Chain) -> bool:
    return (chain.table, chain.name) in audit.left.entered


def _is_ready_made(audit: Audit, chain: Chain, above: frozenset[str] = frozenset()) -> bool:
    """A way to refuse, the same for every packet: firewall programs, and people, write such chains in advance."""
    chains, above = audit.ruleset.tables[chain.table].chains, above | {chain.name}
    if not chain.rules or not isinstance(chain.rules[-1].condition, Always):
        return False

    def refuses(rule: Rule) -> bool:
        match rule.verdict:
            case Drop() | Reject():
                return True
            case Jump(name) | Goto(name):
                return name in chains and name not in above and _is_ready_made(audit, chains[name], above)
            case _:
                return False

    *others, last = chain.rules
    return refuses(last) and all(isinstance(rule.verdict, Continue) or refuses(rule) for rule in others)


def _chains(audit: Audit) -> Iterator[Chain]:
    for table in audit.ruleset.tables.values():
        if any(chain.hook is not None for chain in table.chains.values()):
            yield from table.chains.values()


def _finding(audit: Audit, chain: Chain, below: list[str]) -> Finding:
    callers = audit.left.callers(chain)
    outside = tuple(r for r in callers if (r.table, r.chain) != (chain.table, chain.name))
    if outside:
        lead, match = ("leads", "matches") if len(outside) == 1 else ("lead", "match")
        message = f"no packet gets into chain {chain.name}: {lines(outside, 8)} {lead} to it and {match} none"
        todo = f"mend {lines(outside[:1])} if the chain is meant to be met; delete both if not"
    else:
        message = f"no packet gets into chain {chain.name}: no rule of this file leads to it"
        todo = "add the jump that is missing, or delete the chain"
    more = (("note", f"nor into {in_words(below[:8])}, which it calls"),) if below else ()
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        message,
        places.chain_name(chain, audit.source),
        related=tuple(Label(rule.span, "no packet gets here that matches") for rule in outside[:3]),
        notes=more,
        fix=Fix(FixClass.MANUAL, todo),
    )
