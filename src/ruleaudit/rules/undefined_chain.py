"""A jump to a chain or target that does not exist.

What it finds
    `-j NAME` or `-g NAME` where the table has no chain NAME and no target is called so. Chains that other programs
    are known to own (Docker, ufw, kube-proxy, fail2ban...) are left alone: a file need not show them.
    In nft rulesets it is an error of the syntax (RA001), as nft itself says it.

Why
    The kernel refuses the whole table. `iptables-restore --test` with the nft backend says nothing about it: the
    first one to notice is the boot that ends without a firewall.

Example
    -A INPUT -p tcp --dport 80 -j ACEPT

Instead
    -A INPUT -p tcp --dport 80 -j ACCEPT

Fix safety
    No automatic fix: a chain that is missing may also have been forgotten.

References
    iptables(8), TARGETS; iptables-restore(8)
"""

from collections.abc import Iterable, Iterator

from ruleaudit.analysis.tracking import called_from_outside
from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.model.ruleset import Goto, Jump
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example

CODE = "RA301"
NAME = "undefined-chain"
SEVERITY = Severity.ERROR
SINCE = "0.1"

EXAMPLES = (
    Example(
        "a misspelt target",
        """*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 80 -j «ACEPT»
COMMIT
""",
    ),
    Example(
        "a chain of another table",
        """*mangle
:WEB - [0:0]
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 80 -g «WEB»
COMMIT
""",
    ),
    Example(
        "a chain that is there, and one of Docker's",
        """*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:WEB - [0:0]
-A INPUT -p tcp -m tcp --dport 80 -j WEB
-A FORWARD -j DOCKER-USER
-A WEB -j ACCEPT
COMMIT
""",
    ),
)

#: what a misspelt target most often was meant to be
_TARGETS = ("ACCEPT", "DROP", "REJECT", "RETURN", "LOG", "NFLOG", "MARK", "CONNMARK", "NFQUEUE", "CT", "NOTRACK")
_TARGETS_OF_NAT = ("MASQUERADE", "DNAT", "SNAT", "REDIRECT", "NETMAP")


def check(audit: Audit) -> Iterator[Finding]:
    """Each jump or goto whose chain the table does not have; the reader of nft says it itself, as nft does."""
    for rule in () if audit.ruleset.is_nft else audit.ruleset.rules():
        match rule.verdict:
            case Jump(name) | Goto(name):
                pass
            case _:
                continue
        chains = audit.ruleset.tables[rule.table].chains
        if name in chains or called_from_outside(name):
            continue
        more = _TARGETS_OF_NAT if rule.table == "nat" else ()
        elsewhere = [t.name for t in audit.ruleset.tables.values() if name in t.chains]
        hint = _nearest(name, (*chains, *_TARGETS, *more))
        if elsewhere:
            hint = f"chain {name} belongs to table {elsewhere[0]}; every table has chains of its own"
        yield Finding(
            CODE,
            NAME,
            SEVERITY,
            f"table {rule.table} has no chain {name}, and no target is called so: the kernel refuses the whole table",
            places.target_name(rule, audit.source),
            hint,
        )


def _nearest(name: str, known: Iterable[str]) -> str:
    import difflib

    by_case = {word.lower(): word for word in known}
    near = difflib.get_close_matches(name.lower(), by_case, 1, 0.6)
    return f"did you mean {by_case[near[0]]}?" if near else ""
