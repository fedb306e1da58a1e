"""Traffic on lo is accepted whatever its state, and tracked all the same.

What it finds
    A rule that lets everything in that comes on lo, where no rule looks at the state of such packets, and none does
    NAT with them: leaving them untracked would change nothing for them.

Why
    Each local connection, from a web server to its database or to the resolver on 127.0.0.1, takes an entry for
    which nobody asks. A host that talks to itself a lot fills half of its table with them.

Example
    -A INPUT -i lo -j ACCEPT

Instead
    -A INPUT -i lo -j ACCEPT
    and in table raw: -A OUTPUT -o lo -j CT --notrack

Fix safety
    No automatic fix: restoring a file with a table raw that was not in it before empties the rules that others have
    there. What the finding says was proved for every packet on lo. One rule in OUTPUT is enough: the packet keeps
    its mark as untracked on its way through lo, and a rule in PREROUTING comes too late.

References
    iptables-extensions(8), CT; nft(8), notrack
"""

from collections.abc import Iterator

from ruleaudit.analysis.alignment import Alignment
from ruleaudit.analysis.compare import compare_in
from ruleaudit.analysis.walk import ACCEPT, Identities, is_tracking
from ruleaudit.diagnostics import Finding, Fix, FixClass, Severity
from ruleaudit.model.condition import Interface, tests
from ruleaudit.model.fields import Field, Hook
from ruleaudit.model.ruleset import Chain, Continue, Effect, EffectKind, Match, Rule, Ruleset, Table
from ruleaudit.results import DifferenceKind
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example

CODE = "RA104"
NAME = "loopback-tracked"
SEVERITY = Severity.NOTE
SINCE = "0.1"

_KNOWN = """-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
"""
_HEAD = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
"""

EXAMPLES = (
    Example("lo is accepted first", f"{_HEAD}«-A INPUT -i lo -j ACCEPT»\n{_KNOWN}"),
    Example(
        "nft",
        """table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\t«iif "lo" accept»
\t\tct state established,related accept
\t\ttcp dport 22 accept
\t}
}
""",
    ),
    Example(
        "lo is accepted behind the state rules",
        f"{_HEAD}-A INPUT -m conntrack --ctstate INVALID -j DROP\n-A INPUT -i lo -j ACCEPT\n{_KNOWN}",
    ),
    Example("only one address is accepted on lo", f"{_HEAD}-A INPUT -s 127.0.0.1/32 -i lo -j ACCEPT\n{_KNOWN}"),
    Example(
        "lo is untracked already",
        f"""*raw
:OUTPUT ACCEPT [0:0]
-A OUTPUT -o lo -j CT --notrack
COMMIT
{_HEAD}-A INPUT -i lo -j ACCEPT
{_KNOWN}""",
    ),
    Example(
        "local connections are redirected",
        f"""*nat
:OUTPUT ACCEPT [0:0]
-A OUTPUT -o lo -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080
COMMIT
{_HEAD}-A INPUT -i lo -j ACCEPT
{_KNOWN}""",
    ),
    Example(
        "nothing is tracked", f"{_HEAD}-A INPUT -i lo -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\nCOMMIT\n"
    ),
)


def check(audit: Audit) -> Iterator[Finding]:
    """The first rule that accepts packets because they come on lo, if all of them could be left untracked."""
    if audit.ruleset.partial or not audit.tracking.required or not is_tracking(audit.ruleset):
        return
    rule = _accepting(audit)
    if rule is None:
        return
    old, new, alignment = _untracked(audit)
    differences = compare_in(audit.space, old, new, alignment).differences
    freed = [d for d in differences if d.kind is DifferenceKind.UNTRACKED]
    if not freed or any(d.loosens is not FixClass.EXACT for d in differences):
        return
    cure = 'in a chain of hook output, priority raw: oif "lo" notrack'
    if not audit.ruleset.is_nft:
        cure = "in table raw: -A OUTPUT -o lo -j CT --notrack"
    yield Finding(
        CODE,
        NAME,
        SEVERITY,
        "what comes on lo is accepted here whatever its state, and tracked all the same",
        rule.span,
        "each local connection has an entry that nobody asks for",
        notes=(("proved", "left untracked in OUTPUT, every packet on lo fares the same"),),
        witness=freed[0].witness,
        fix=Fix(FixClass.MANUAL, cure),
    )


def _accepting(audit: Audit) -> Rule | None:
    """The first rule at input that accepts what comes on lo, and asks for nothing else."""
    for by, verdict, _ in audit.free["local"].decided:
        if verdict != ACCEPT or not isinstance(by, Rule):
            continue
        chain = audit.ruleset.tables[by.table].chains[by.chain]
        asked = list(tests(by.condition))
        if chain.hook is Hook.INPUT and asked == [Interface(Field.IIF, "lo")]:
            return by
    return None


def _untracked(audit: Audit) -> tuple[Ruleset, Ruleset, Alignment]:
    """The ruleset, and itself with a rule in front of raw OUTPUT that leaves untracked what goes out on lo."""
    old, numbers = audit.ruleset, Identities.of(audit.ruleset).numbers
    place = next(old.rules()).span
    match = Match("", place, Interface(Field.OIF, "lo"))
    added = Rule(
        "OUTPUT", "\0raw", 0, place, "\0notrack lo", (match,), (Effect(EffectKind.NOTRACK, "notrack"),), Continue()
    )
    # a table of its own comes before an existing one of this priority, which may accept
    chain = Chain("OUTPUT", "\0raw", (added,), Hook.OUTPUT, -300)
    new = Ruleset(old.source, old.language, old.family, {**old.tables, "\0raw": Table("\0raw", {"OUTPUT": chain})})
    heirs = Identities({**numbers, added: len(numbers)})
    return old, new, Alignment(Identities(numbers), heirs, (), (added,), False)
