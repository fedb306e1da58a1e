"""A state test that holds for every packet that gets to it.

What it finds
    A test of connection state in front of which other rules have taken the packets of all other states: whatever
    gets there and matches the rest of the rule is in a state that the test asks for. It never decides anything.

Why
    Nothing breaks. But the test looks like protection and is none: whoever moves or deletes one of the rules before
    it changes what it does. Without it the rule also stays right for packets that are left untracked some day.
    A NEW test on a service that could leave conntrack is told by RA101, and not here.

Example
    -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
    -A INPUT -m conntrack --ctstate INVALID -j DROP
    -A INPUT -s 10.9.1.0/24 -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT

Instead
    -A INPUT -s 10.9.1.0/24 -p tcp -m tcp --dport 22 -j ACCEPT

Fix safety
    Exact: every packet in every state matches the rule as before. Nothing is offered where the test is the last one
    for which the kernel tracks at all.

References
    iptables-extensions(8), conntrack; nft(8), CT EXPRESSIONS
"""

from collections import Counter
from collections.abc import Iterator

from ruleaudit.analysis.walk import mentions_state
from ruleaudit.diagnostics import Finding, Fix, FixClass, Label, Severity
from ruleaudit.model.condition import Condition, Not, States
from ruleaudit.model.fields import State
from ruleaudit.model.ruleset import Accept, Chain, Drop, Reject, Rule
from ruleaudit.rules import edits, places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example

CODE = "RA103"
NAME = "state-test-after-accept"
SEVERITY = Severity.NOTE
SINCE = "0.1"

_HEAD = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
"""
_INVALID = "-A INPUT -m conntrack --ctstate INVALID -j DROP\n"

EXAMPLES = (
    Example(
        "all other states are decided about before",
        f"""{_HEAD}{_INVALID}-A INPUT -s 10.9.1.0/24 -p tcp -m tcp --dport 22 «-m conntrack --ctstate NEW» -j ACCEPT
COMMIT
""",
    ),
    Example(
        "a negated test, in a chain that only packets of one state get into",
        f"""{_HEAD}:SSH - [0:0]
-A INPUT -p tcp -m tcp --dport 22 -m state --state NEW -j SSH
-A SSH «-m state ! --state INVALID,RELATED» -s 10.9.1.0/24 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "nft, several rules in a line",
        """table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\tct state established,related accept; ct state invalid drop
\t\ticmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept
\t\tip saddr 10.9.1.0/24 tcp dport 22 «ct state new» counter accept; udp dport 123 accept
\t}
}
""",
    ),
    Example(
        "INVALID packets get to the test",
        f"""{_HEAD}-A INPUT -s 10.9.1.0/24 -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
COMMIT
""",
    ),
    Example(
        "untracked packets get to the test",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -s 10.9.1.0/24 -p tcp -m tcp --dport 22 -j CT --notrack
-A OUTPUT -d 10.9.1.0/24 -p tcp -m tcp --sport 22 -j CT --notrack
COMMIT
{_HEAD}-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT
{_INVALID}-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -s 10.9.1.0/24 -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "only some ESTABLISHED packets were accepted before",
        """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i eth0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -s 10.9.1.0/24 -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
COMMIT
""",
    ),
    Example(
        "in one of two families, neighbour discovery gets to the test",
        """table inet filter {
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\tct state established,related accept
\t\tct state invalid drop
\t\tiifname "eth1" ct state new accept
\t}
}
""",
    ),
)


def check(audit: Audit) -> Iterator[Finding]:
    """Each state test that every packet passes; none where it is for these that the kernel tracks at all."""
    if audit.ruleset.partial or not audit.loads or not audit.tracking.required:
        return
    always = {j.rule for j in audit.tracking.judgements if j.always}
    for table in audit.ruleset.tables.values():
        for chain in table.chains.values() if always else ():
            parts = Counter(rule.span for rule in chain.rules)
            takers = _takers(chain)
            for place, rule in enumerate(chain.rules):
                if rule in always and parts[rule.span] == 1:
                    before = tuple(label for at, label in takers if at < place)
                    yield from _finding(audit, rule, before[-3:])


def _finding(audit: Audit, rule: Rule, takers: tuple[Label, ...]) -> Iterator[Finding]:
    asking = [m for m in rule.matches if mentions_state(m.condition)]
    said = _states(asking[0].condition) if len(asking) == 1 else ""
    if not said:
        return
    span = places.state_test(rule) or rule.span
    edit = edits.without_test(rule, asking[0], audit.source)
    kind = FixClass.EXACT if edit is not None else FixClass.MANUAL
    yield Finding(
        CODE,
        NAME,
        SEVERITY,
        f"this state test decides nothing: every packet that gets here and matches the rest of the rule {said}",
        span,
        "always true",
        takers,
        (("proved", "without it every packet in every state matches as before"),),
        fix=Fix(kind, f"take `{' '.join(audit.source.slice(span).split())}` out", (edit,) if edit else ()),
    )


def _states(condition: Condition) -> str:
    """What is true of the packets of a plain state test; empty for every other test."""
    match condition:
        case States(states):
            return f"is {_names(states)}"
        case Not(States(states)):
            return f"is not {_names(states)}"
        case _:
            return ""


def _names(states: frozenset[State]) -> str:
    return " or ".join(state.value.upper() for state in State if state in states)


def _takers(chain: Chain) -> list[tuple[int, Label]]:
    """The rules of a chain that take all packets of some states, with their places in it."""
    return [
        (place, Label(rule.span, f"takes what is {_names(rule.condition.states)}"))
        for place, rule in enumerate(chain.rules)
        if isinstance(rule.verdict, Accept | Drop | Reject) and isinstance(rule.condition, States)
    ]
