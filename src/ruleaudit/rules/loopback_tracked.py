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
from dataclasses import replace

from ruleaudit.analysis.alignment import Alignment
from ruleaudit.analysis.connection import role_shape
from ruleaudit.analysis.pair import Pair
from ruleaudit.analysis.space import Frame
from ruleaudit.analysis.variant import otherwise_affected
from ruleaudit.analysis.verdicts import ACCEPT
from ruleaudit.analysis.walk import PATHS, Identities, chains_from, is_tracking
from ruleaudit.analysis.witness import sample
from ruleaudit.diagnostics import Finding, Fix, FixClass, Severity, Witness
from ruleaudit.model.condition import Interface
from ruleaudit.model.fields import Field, Hook, State
from ruleaudit.model.ruleset import (
    NOWHERE,
    Accept,
    Chain,
    Continue,
    Effect,
    EffectKind,
    Match,
    Rule,
    Ruleset,
    Table,
)
from ruleaudit.packets.diagram import is_empty
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
    if audit.ruleset.partial or not audit.loads or not audit.tracking.required or not is_tracking(audit.ruleset):
        return
    rule = _accepting(audit)
    if rule is None or not _fares_the_same(audit):
        return
    cure = 'in a chain of hook output, priority raw: oif "lo" notrack'
    if not audit.ruleset.is_nft:
        cure = "in table raw: -A OUTPUT -o lo -j CT --notrack"
    packets = audit.free("local").outcomes[ACCEPT] & role_shape(audit.space, "opening")
    packet = sample(audit.space, packets, "local", Frame("any"), State.NEW).text
    yield Finding(
        CODE,
        NAME,
        SEVERITY,
        "what comes on lo is accepted here whatever its state, and tracked all the same",
        rule.span,
        "each local connection has an entry that nobody asks for",
        notes=(("proved", "left untracked in OUTPUT, every packet on lo fares the same"),),
        witness=Witness(packet, "accepted, and tracked"),
        fix=Fix(FixClass.MANUAL, cure),
    )


def _accepting(audit: Audit) -> Rule | None:
    """The first rule at input that accepts what comes on lo, and asks for nothing else."""
    for table in audit.ruleset.tables.values():
        for chain in table.chains.values():
            for rule in chain.rules if chain.hook is Hook.INPUT else ():
                if isinstance(rule.verdict, Accept) and rule.condition == Interface(Field.IIF, "lo"):
                    return rule
    return None


def _fares_the_same(audit: Audit) -> bool:
    """Every packet on lo is accepted, tracked or not, and meets the same effects; conntrack does nothing for any."""
    if _translates_what_is_sent(audit.ruleset):
        return False  # what is sent elsewhere may end on lo, and its answers have to be translated back
    tracked = audit.free("local")
    free = tracked.looked_up & ~tracked.tag
    if is_empty(free) or any(not is_empty(packets) for packets in tracked.consumed.values()):
        return False
    pair = _untracked(audit)
    left = pair.free_walk(pair.new)
    left.run(PATHS["local"], pair.possible("local"))
    if {*tracked.outcomes, *left.outcomes} != {ACCEPT}:
        return False
    same = all(a == b for a, b in zip(tracked.mark, left.mark, strict=True))
    return same and is_empty(otherwise_affected(tracked, left, audit.space.all))


def _translates_what_is_sent(ruleset: Ruleset) -> bool:
    below = chains_from(ruleset, ruleset.base_chains(Hook.OUTPUT))
    rules = (rule for table, name in below for rule in ruleset.tables[table].chains[name].rules)
    return any(effect.kind is EffectKind.NAT for rule in rules for effect in rule.effects)


def _untracked(audit: Audit) -> Pair:
    """The ruleset, and itself with a rule in front of raw OUTPUT that leaves untracked what goes out on lo."""
    old, numbers = audit.ruleset, audit.whole.old.identities.numbers
    place = next(old.rules()).span
    match = Match("", NOWHERE, Interface(Field.OIF, "lo"))
    notrack = (Effect(EffectKind.NOTRACK, "notrack"),)
    added = Rule("OUTPUT", "\0raw", 0, place, "\0notrack lo", (match,), notrack, Continue())
    # a table of its own: a raw table that is there may accept before
    chain = Chain("OUTPUT", "\0raw", (added,), Hook.OUTPUT, -300)
    new = replace(old, tables={**old.tables, "\0raw": Table("\0raw", {"OUTPUT": chain})})
    heirs = Identities({**numbers, added: len(numbers)})
    return Pair(audit.space, old, new, Alignment(audit.whole.old.identities, heirs, (), (added,), False))
