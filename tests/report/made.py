"""Hand-made answers of the analysis over the example of the README, for the reports to print."""

from ruleaudit import lower
from ruleaudit.diagnostics import Finding, Fix, FixClass, Label, Severity, Witness
from ruleaudit.model.ruleset import Chain, Rule, Ruleset
from ruleaudit.results import (
    Comparison,
    Difference,
    DifferenceKind,
    FileReport,
    Judgement,
    Outcome,
    Ports,
    RuleClass,
    Tracking,
    Undecided,
)
from ruleaudit.results.observation import Disagreement, Loaded, Observation
from ruleaudit.results.suggestion import Change, CouldLeave, Flow, Kept, Offer, Refused, Suggestion
from ruleaudit.source import Edit, SourceFile, Span, apply

TEXT = """\
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A INPUT -s 10.9.1.0/24 -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -p tcp -m multiport --dports 80,443 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -m limit --limit 5/min -j LOG --log-prefix "INPUT drop: "
COMMIT
"""
SOURCE = SourceFile("rules.v4", TEXT)
RULESET: Ruleset = lower(SOURCE).rulesets[0]
LATER = Witness("in tcp 198.51.100.7:4242 > 10.9.0.2:443 flags A iif eth0", "later packets would be refused")
STRAY = Witness("in tcp 198.51.100.7:4242 > 10.9.0.2:443 flags A iif eth0 state invalid", "drop, then accept")


def rule(line: int, ruleset: Ruleset = RULESET) -> Rule:
    """The rule in a line."""
    return next(r for r in ruleset.rules() if r.line == line)


def chain(name: str, ruleset: Ruleset = RULESET) -> Chain:
    """A chain of the filter table."""
    return ruleset.tables["filter"].chains[name]


def span(text: str, start: int = 0) -> Span:
    """Where a text stands in the example."""
    at = TEXT.index(text, start)
    return Span(at, at + len(text))


TRACKING = Tracking(
    RULESET,
    (
        Judgement(rule(6), RuleClass.REPLACEABLE, "only packets of no connection fare otherwise without it"),
        Judgement(rule(7), RuleClass.REQUIRED, "replies to what this host starts", (LATER, STRAY)),
        Judgement(rule(9), RuleClass.REDUNDANT, "the test changes nothing", same_work=(rule(10),)),
        Judgement(rule(10), RuleClass.REDUNDANT, "the test changes nothing"),
    ),
)
FINDING = Finding(
    "RA101",
    "needless-tracking",
    Severity.WARNING,
    "web traffic is tracked but no rule needs its state",
    span("-m conntrack --ctstate NEW", TEXT.index("80,443")),
    "not needed: tcp to 80,443",
    (Label(span("-m conntrack --ctstate RELATED,ESTABLISHED"), "later packets are accepted here today"),),
    (("proved", "every connection keeps its verdict without state"), ("help", "ruleaudit suggest rules.v4")),
    STRAY,
    Fix(FixClass.SAME_CONNECTIONS, "take the test out", (Edit(span(" -m conntrack --ctstate NEW"), ""),)),
)
NOTE = Finding("RA100", "needs-tracking", Severity.NOTE, "this rule needs tracking", span("-m conntrack --ctstate REL"))
REPORT = FileReport(SOURCE, RULESET, 7, 7, (), (NOTE, FINDING), TRACKING)

WEB = Flow("in", "tcp", ("80", "443"), (), (), rule(10))
SSH = Flow("in", "tcp", ("22",), ("10.9.1.0/24",), (), rule(9))
RAW = """\
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m multiport --dports 80,443 -j CT --notrack
-A OUTPUT ! -o lo -p tcp -m multiport --sports 80,443 -j CT --notrack
COMMIT
"""
_NEW = span(" NEW -j", TEXT.index("80,443"))
CHANGES = (
    Change(Edit(Span(0, 0), RAW), "PREROUTING + OUTPUT", "both directions; one alone saves nothing"),
    Change(
        Edit(Span(rule(6).span.start, rule(6).span.start), "-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT\n"),
        "icmp 3",
        "else path-MTU messages are refused",
    ),
    Change(
        Edit(Span(rule(6).span.start, rule(6).span.start), "-A INPUT -p icmp -m icmp --icmp-type 11 -j ACCEPT\n"),
        "icmp 11",
        "else path-MTU messages are refused",
    ),
    Change(Edit(Span(_NEW.start + 4, _NEW.start + 4), ",UNTRACKED"), "UNTRACKED added", "untracked is never NEW"),
)
REWRITTEN = apply(TEXT, (c.edit for c in CHANGES))
NEW_RULESET: Ruleset = lower(SourceFile("rules.v4.new", REWRITTEN)).rulesets[0]
STRAYS = Difference(
    DifferenceKind.STRAY,
    "tcp to 80,443: packets of no connection were refused and are accepted now",
    STRAY,
    Outcome("drop", rule(6)),
    Outcome("accept", rule(18, NEW_RULESET), tracked=False),
    FixClass.SAME_CONNECTIONS,
    role="stray",
    ports=(Ports("tcp", ((0, 65535),), ((80, 80), (443, 443))),),
)
UNTRACKED = Difference(
    DifferenceKind.UNTRACKED,
    "tcp to 80,443: tracked before, untracked now",
    LATER,
    Outcome("accept", rule(7)),
    Outcome("accept", rule(18, NEW_RULESET), tracked=False),
    FixClass.EXACT,
    ports=(Ports("tcp", ((0, 65535),), ((80, 80), (443, 443))),),
)
BREAKS = Difference(
    DifferenceKind.BREAKS,
    "tcp to 443: openings were accepted and are refused now",
    Witness("in tcp 198.51.100.7:4242 > 10.9.0.2:443 flags S iif eth0", "accept, then drop"),
    Outcome("accept", rule(10)),
    Outcome("drop", chain=chain("INPUT", NEW_RULESET), tracked=False),
    None,
    ports=(Ports("tcp", ((0, 65535),), ((80, 80), (443, 443))),),
)
OWNER = ("no-other-owner", "no other owner of rules in this namespace")
COMPARISON = Comparison(RULESET, NEW_RULESET, (STRAYS, UNTRACKED), (OWNER,))
BROKEN = Comparison(
    RULESET, NEW_RULESET, (BREAKS, STRAYS), undecided=(Undecided(rule(11), "-m bpf is not understood"),)
)
REWRITE = Suggestion(
    SOURCE,
    RULESET,
    "rewrite",
    FixClass.SAME_CONNECTIONS,
    TRACKING,
    flows=(WEB,),
    could_leave=(CouldLeave(SSH, "ssh: low volume"),),
    offers=(Offer(("--port", "22"), (SSH,), FixClass.SAME_CONNECTIONS),),
    kept=(Kept(rule(7), RuleClass.REQUIRED, "replies to what this host starts", LATER),),
    changes=CHANGES,
    text=REWRITTEN,
    comparison=COMPARISON,
    assumptions=(OWNER,),
)
REFUSAL = Suggestion(
    SOURCE,
    RULESET,
    "nothing-to-free",
    None,
    TRACKING,
    kept=(Kept(rule(7), RuleClass.REQUIRED, "replies to what this host starts", LATER),),
    refused=(Refused(WEB, rule(10), "connlimit counts its connections", LATER, "count with nft instead"),),
)
NEEDLESS = Suggestion(
    SOURCE,
    RULESET,
    "nothing-needs-tracking",
    None,
    Tracking(RULESET, TRACKING.judgements[2:]),
)

LOADED = (Loaded("rules.v4", "iptables-nft-restore"), Loaded("rules.v4 (new)", "iptables-nft-restore"))
OBSERVED = Observation("6.1.0", "1.0.6", LOADED, 62, 4, (("there was no time to send it", 2),))
CONTRADICTED = Observation(
    "6.1.0",
    "1.0.6",
    LOADED,
    62,
    0,
    (),
    tuple(
        Disagreement(
            f"in tcp 198.51.100.7:4242 > 10.9.0.2:{port} flags S iif eth0 state new",
            "rules.v4",
            RULESET,
            Outcome("accept", rule=rule(10)),
            Outcome("drop", chain=RULESET.tables["filter"].chains["INPUT"]),
        )
        for port in (80, 443)
    ),
)
REFUSED_BY_KERNEL = Observation(
    "6.1.0", "1.0.6", (Loaded("rules.v4", "nft", "/dev/stdin:9:4-9: Error: syntax error, unexpected comma\nx, y\n", 9),)
)
NOT_OBSERVED = Observation("6.1.0", impossible="not installed: nft")
