"""Traffic that fares otherwise than the configuration says it must.

What it finds
    An `[[expect]]` block of ruleaudit.toml (or `[[tool.ruleaudit.expect]]` of pyproject.toml) that does not hold for
    all packets of its traffic, or of which that cannot be proved: then the test on which it hangs is named.

Why
    Rules are rewritten, moved and merged; what the firewall is for stays. Stated once and checked each time, nobody
    closes the website or opens the database by accident.

Example
    [[expect]]
    traffic = "in tcp dport 443"
    verdict = "accept"
    tracked = false

    [[expect]]
    traffic = "in tcp dport 5432 from 0.0.0.0/0"
    verdict = "refuse"

Instead
    Change the rule that the finding points at, or the expectation: narrow its traffic (from 192.0.2.0/24, iif eth0),
    or give what is not known (`--ipset`).

    `accept` speaks of the connections that the traffic opens: the first packet, the replies and the later packets of
    both directions pass. It is asked of usual packets: unmarked, from one host to an address of the other, SYN with or
    without ECN. `drop`, `reject` and `refuse` (either) speak of the first packet, and are asked of every one that can
    come. `tracked = false`: neither direction makes an entry; `true`: both belong to one. Traffic that opens nothing
    (`in icmp type 3/4`, flags, a state) means its packets, in each state that they can have.

Fix safety
    Not automatic: only its author knows which of the two is right.

References
    README.md; `ruleaudit explain FILE --packet P --connection` shows the way of the packet
"""

from collections.abc import Iterator

from ruleaudit.diagnostics import Finding, Label, Severity
from ruleaudit.model.expectation import Expectation, Fate
from ruleaudit.model.lines import lines
from ruleaudit.model.ruleset import Chain, Rule
from ruleaudit.results.expectation import Stage, Unmet
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.source import Span

CODE = "RA501"
NAME = "unmet-expectation"
SEVERITY = Severity.ERROR
SINCE = "0.1"

_EXPECTED = '[[expect]]\ntraffic = "in tcp dport 443"\nverdict = "accept"\n'
_REFUSED = '[[expect]]\ntraffic = "in tcp dport 5432"\nverdict = "refuse"\n'
_FREED = '[[expect]]\ntraffic = "in tcp dport 443"\ntracked = false\n'

EXAMPLES = (
    Example(
        "the port is closed",
        """*filter
«:INPUT DROP [0:0]»
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT
COMMIT
""",
        configuration=_EXPECTED,
    ),
    Example(
        "the replies do not leave",
        """*filter
:INPUT DROP [0:0]
«:OUTPUT DROP [0:0]»
-A INPUT -p tcp -j ACCEPT
-A OUTPUT -m conntrack --ctstate RELATED -j ACCEPT
COMMIT
""",
        configuration=_EXPECTED,
    ),
    Example(
        "a limit lets only some of them through",
        """*filter
«:INPUT DROP [0:0]»
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 443 -m limit --limit 5/sec -j ACCEPT
COMMIT
""",
        configuration=_EXPECTED,
    ),
    Example(
        "somebody is let in to the database",
        """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -s 192.0.2.0/24 «-j ACCEPT»
COMMIT
""",
        configuration=_REFUSED,
    ),
    Example(
        "it is tracked after all",
        """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 443 «-j ACCEPT»
COMMIT
""",
        configuration=_FREED,
    ),
    Example(
        "nft",
        """table inet filter {
	chain input {
		type filter hook input priority filter; policy drop;
		tcp dport 443 ip saddr 192.0.2.0/24 «drop»
		tcp dport 443 accept
	}
}
""",
        configuration=_EXPECTED,
    ),
    Example(
        "all is as expected",
        """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 443 -j CT --notrack
-A OUTPUT -p tcp -m tcp --sport 443 -j CT --notrack
COMMIT
*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT
COMMIT
""",
        configuration=_EXPECTED + _REFUSED + _FREED,
    ),
)

_WANTED = {
    Fate.ACCEPT: "accepted",
    Fate.DROP: "dropped",
    Fate.REJECT: "rejected",
    Fate.REFUSE: "refused",
    Fate.QUEUE: "queued for a program",
}
_WHO = {
    Stage.OPENING: ("it", "is"),
    Stage.PACKETS: ("it", "is"),
    Stage.REPLY: ("its replies", "are"),
    Stage.LATER: ("its later packets", "are"),
}


def check(audit: Audit) -> Iterator[Finding]:
    """Each expectation that does not hold."""
    for found in audit.unmet:
        yield _finding(audit, found)


def _finding(audit: Audit, found: Unmet) -> Finding:
    expectation = found.expectation
    notes: list[tuple[str, str]] = []
    if found.others:
        notes.append(("note", f"{lines(found.others, 8)} too"))
    if found.stage is Stage.OPENING and found.witness is not None:
        command = f"ruleaudit explain {audit.source.path} --connection --packet '{found.witness.packet}'"
        notes.append(("help", command))
    if expectation.reason:
        notes.append(("reason", expectation.reason))
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        _message(found),
        _place(audit, found.decided_by),
        f"{found.reason} here" if found.proved and found.decided_by is not None else "",
        (Label(expectation.span, f"expected to be {_wanted(expectation)}"),) if expectation.span.end else (),
        tuple(notes),
        found.witness,
        certainty=_certainty(audit, found),
    )


def _certainty(audit: Audit, found: Unmet) -> str:
    if not found.proved:
        return "undecided"
    return "assuming: no other rules than those of this file" if audit.ruleset.partial else "proved"


def _message(found: Unmet) -> str:
    expectation = found.expectation
    named = f"{expectation.name}: " if expectation.name else ""
    text = f'{named}"{expectation.traffic.text}" is expected to be {_wanted(expectation)}'
    who, verb = _WHO[found.stage]
    if found.proved:
        some = "" if found.whole else "some of "
        return f"{text}, but {some}{who} {verb} {found.reason}"
    if found.depends_on:
        depends = ", ".join(found.depends_on)
        return f"{text}, but that is not certain: {who} may be {found.reason}, depending on {depends}"
    return f"{text}, but that is not certain: {found.reason}"


def _wanted(expectation: Expectation) -> str:
    wanted = [] if expectation.verdict is None else [_WANTED[expectation.verdict]]
    if expectation.tracked is not None:
        wanted.append("tracked" if expectation.tracked else "untracked")
    return " and ".join(wanted)


def _place(audit: Audit, by: Rule | Chain | None) -> Span:
    """The verdict of the deciding rule, the line of a policy, else the beginning of the file."""
    if isinstance(by, Rule):
        return places.target(by, audit.source)
    place = places.policy(by, audit.source) if by is not None else None
    return place or Span(0, 0)
