"""A rule in a spelling that iptables or nft has given up.

What it finds
    iptables: `-m state --state`, the target NOTRACK, `-m set --set`, the targets ULOG and CLUSTERIP, and NFLOG's
    `--nflog-range`. nft: `meter` and `flow table`, and `set add` and `set update` before the key. Each of them still
    loads, or did until lately. The old place of `!` (`-i ! eth0`) is refused by iptables 1.8, and an error of the
    syntax (RA001).

Why
    iptables translates these or warns of them, nft prints another spelling than it was given, and the manuals
    describe the new ones only. What is given up today is refused by some later version, at boot.

Example
    -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT

Instead
    -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT

Fix safety
    Exact where it is offered: the new spelling is the same test or target for the kernel. A meter needs a set of its
    own, ULOG and CLUSTERIP need programs of their own on the host: there the finding says what to write.

References
    iptables-extensions(8), conntrack, state, CT, set, ULOG, CLUSTERIP, NFLOG; nft(8), SET STATEMENT
"""

import re
from collections.abc import Iterator

from ruleaudit.diagnostics import Finding, Fix, FixClass, Severity
from ruleaudit.model.ruleset import Rule
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.source import Edit, Span

CODE = "RA006"
NAME = "deprecated-spelling"
SEVERITY = Severity.NOTE
SINCE = "0.1"

EXAMPLES = (
    Example(
        "the state match",
        """*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT «-m state --state RELATED,ESTABLISHED» -j ACCEPT
-A INPUT -p tcp «-m state ! --state INVALID» -m tcp --dport 22 -j ACCEPT
COMMIT
""",
    ),
    Example(
        "targets and options",
        """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 53 «-j NOTRACK»
-A OUTPUT -p udp -m udp --sport 53 «-j NOTRACK»
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -m set «--set» blocked src -j DROP
-A INPUT -p tcp -m tcp --dport 25 -j NFLOG --nflog-group 5 «--nflog-range 64»
-A INPUT -p tcp -m tcp --dport 25 «-j ULOG»
COMMIT
""",
    ),
    Example(
        "nft",
        """table inet filter {
\tset seen {
\t\ttype ipv4_addr
\t\tflags dynamic
\t\ttimeout 1m
\t}
\tchain input {
\t\ttype filter hook input priority filter; policy accept;
\t\ttcp dport 22 «set add ip saddr @seen» accept
\t\tudp dport 53 «meter dns { ip saddr limit rate 10/second }» accept
\t}
}
""",
    ),
    Example(
        "words that only look alike",
        """*raw
:NOTRACK-WEB - [0:0]
:PREROUTING ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 80 -j NOTRACK-WEB
COMMIT
*filter
:INPUT ACCEPT [0:0]
-A INPUT -m comment --comment "was -m state --state NEW" -m conntrack --ctstate INVALID -j DROP
-A INPUT -p tcp -m tcp --dport 22 -m recent --set --name ssh --mask 255.255.255.255 --rsource
COMMIT
""",
    ),
)

_MANUAL = {
    "ULOG": "write -j NFLOG --nflog-group N, and let ulogd2 listen to group N",
    "CLUSTERIP": "write -m cluster in PREROUTING of table mangle, see iptables-extensions(8), cluster",
}
_METER = "declare a set with `flags dynamic`, and write add @NAME { ... }"
#: the words of a rule, quoted texts as one
_WORD = re.compile(r'"(?:\\.|[^"\\])*"|\S+')


def check(audit: Audit) -> Iterator[Finding]:
    """Each old spelling in its own place."""
    told: set[Span] = set()
    for rule in audit.ruleset.rules():
        if rule.span in told or not rule.understood:
            continue
        told.add(rule.span)
        if audit.ruleset.is_nft:
            yield from _nft(audit, rule)
        else:
            yield from _iptables(audit, rule)


def _finding(old: str, cure: str, span: Span, edits: tuple[Edit, ...]) -> Finding:
    fix = Fix(FixClass.EXACT if edits else FixClass.MANUAL, cure, edits)
    return Finding(CODE, NAME, SEVERITY, f"{old} is an old spelling: {cure}", span, fix=fix)


# -- iptables -----------------------------------------------------------------------------------------


def _iptables(audit: Audit, rule: Rule) -> Iterator[Finding]:
    names = {m.name for m in rule.matches}
    text = audit.source.slice(rule.span)
    if not (names & {"state", "set"} or "NOTRACK" in text or "LOG" in text or "CLUSTERIP" in text):
        return
    start = rule.span.start
    words = [(w.group(), Span(start + w.start(), start + w.end())) for w in _WORD.finditer(text)]
    for match in rule.matches:
        if match.name == "state":
            place = rule.place_of(match)
            yield _state(rule, [(w, s) for w, s in words if place.start <= s.start < place.end], place)
    for (before, first), (word, span) in zip([("", rule.span), *words], words, strict=False):
        match before, word:
            case "-j" | "--jump", "NOTRACK":
                yield _finding(
                    "-j NOTRACK", "-j CT --notrack", Span(first.start, span.end), (Edit(span, "CT --notrack"),)
                )
            case "-j" | "--jump", "ULOG" | "CLUSTERIP":
                yield _finding(f"-j {word}", _MANUAL[word], Span(first.start, span.end), ())
            case "set", "--set" if "set" in names:
                yield _finding("--set", "write --match-set", span, (Edit(span, "--match-set"),))
            case "--nflog-range", _:
                whole = Span(first.start, span.end)
                gone = Span(first.start - 1, span.end)
                cure = "it has never worked; take it out, or write --nflog-size"
                yield _finding("--nflog-range", cure, whole, (Edit(gone, ""),))


def _state(rule: Rule, words: list[tuple[str, Span]], span: Span) -> Finding:
    """`-m state --state X`, with its words where they stand."""
    new = {"state": "conntrack", "--state": "--ctstate"}
    edits = tuple(Edit(place, new[word]) for word, place in words if word in new)
    once = [m.name for m in rule.matches].count("state") == 1 and "conntrack" not in {m.name for m in rule.matches}
    return _finding("-m state --state", "write -m conntrack --ctstate", span, edits if len(edits) == 2 and once else ())


# -- nft ----------------------------------------------------------------------------------------------

_OLD_UPDATE = re.compile(r"set\s+(add|update)\s+(.+?)\s+(@[\w.-]+)")


def _nft(audit: Audit, rule: Rule) -> Iterator[Finding]:
    told: set[Span] = set()
    for match in rule.matches:
        place = rule.place_of(match)
        text = audit.source.slice(place)
        if place in told or match.writes is None:
            continue
        told.add(place)
        old = _OLD_UPDATE.fullmatch(text)
        if old is not None:
            new = f"{old[1]} {old[3]} {{ {old[2]} }}"
            yield _finding(f"set {old[1]}", f"write {new}", place, ())
        elif re.match(r"meter\s|flow\s+table\s", text):
            yield _finding(text.split("{")[0].strip(), _METER, place, ())
