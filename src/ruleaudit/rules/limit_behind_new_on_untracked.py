"""A limit or list that asks for NEW, on traffic that the ruleset itself leaves untracked: it never acts.

What it finds
    recent, hashlimit, limit, quota, SET, and nft's limits, meters and set updates that new connections would meet
    behind a test for NEW, of connections that a notrack rule leaves untracked and that get in all the same. A limit
    that only thins a log is left out, and so is connlimit, which cannot count what is untracked (RA208).

Why
    An untracked packet is never NEW: the rule is passed by, the list stays empty, the limit is never reached. The
    protection against floods or guessed passwords is gone, and nothing says so.

Example
    *raw     -A PREROUTING -p tcp --dport 80 -j CT --notrack
    *filter  -A INPUT -p tcp --dport 80 -m conntrack --ctstate NEW -m hashlimit --hashlimit-above 50/sec ... -j DROP

Instead
    *filter  -A INPUT -p tcp --dport 80 --syn -m hashlimit --hashlimit-above 50/sec ... -j DROP

Fix safety
    Not automatic: the number may have to change, since a repeated SYN counts again. For UDP there is no packet that
    opens: without the test every packet counts.

References
    iptables-extensions(8), hashlimit, recent, limit; nft(8), LIMIT STATEMENT, SET STATEMENT
"""

from collections.abc import Container, Iterator

from ruleaudit.analysis.connection import KINDS, Kind
from ruleaudit.analysis.consumers import consumed
from ruleaudit.analysis.differing import class_words
from ruleaudit.analysis.pair import Pair, Seen
from ruleaudit.analysis.space import Frame
from ruleaudit.analysis.trace import Trace
from ruleaudit.analysis.walk import Walk, chains_from
from ruleaudit.analysis.witness import follow, sample
from ruleaudit.diagnostics import Finding, Label, Severity, Witness
from ruleaudit.model.fields import TCP, Field, State
from ruleaudit.model.ruleset import EffectKind, Rule
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.rules.served import by_asking_port, names_the_serving_side, unmarked

CODE = "RA211"
NAME = "limit-behind-new-on-untracked"
SEVERITY = Severity.WARNING
SINCE = "0.1"

_RAW = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m tcp --dport 80 -j CT --notrack
-A OUTPUT ! -o lo -p tcp -m tcp --sport 80 -j CT --notrack
COMMIT
"""
_NFT_RAW = """table ip raw {
    chain prerouting {
        type filter hook prerouting priority raw;
        iif != "lo" tcp dport 80 notrack
    }
    chain output {
        type filter hook output priority raw;
        oif != "lo" tcp sport 80 notrack
    }
}
"""
_ACCEPTS = """-A INPUT -p icmp -m icmp --icmp-type 3 -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m multiport --dports 22,80 -j ACCEPT
"""
_FLOOD = "-m hashlimit --hashlimit-above 50/sec --hashlimit-mode srcip --hashlimit-name web"

EXAMPLES = (
    Example(
        "a flood is dropped while it is NEW",
        f"""{_RAW}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 80 «-m conntrack --ctstate NEW» {_FLOOD} -j DROP
{_ACCEPTS}COMMIT
""",
    ),
    Example(
        "a list is kept in a chain of its own, for new connections",
        f"""{_RAW}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
:GUARD - [0:0]
-A INPUT -p tcp -m tcp --dport 80 «-m state --state NEW» -j GUARD
{_ACCEPTS}-A GUARD -m recent --set --name web --rsource
-A GUARD -m recent --update --seconds 10 --hitcount 40 --name web --rsource -j DROP
COMMIT
""",
    ),
    Example(
        "a limit and a blacklist, in nft",
        f"""{_NFT_RAW}table ip filter {{
    set bad {{ type ipv4_addr; flags dynamic,timeout; timeout 1h; }}
    chain input {{
        type filter hook input priority filter; policy drop;
        icmp type destination-unreachable accept
        ip saddr @bad drop
        tcp dport 80 «ct state new» limit rate over 100/second add @bad {{ ip saddr }} drop
        tcp dport {{ 22, 80 }} accept
    }}
}}
""",
    ),
    Example(
        "the opening packets are asked for by their flags",
        f"""{_RAW}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 80 --syn {_FLOOD} -j DROP
{_ACCEPTS}COMMIT
""",
    ),
    Example(
        "the limit is for what is tracked",
        f"""{_RAW}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -m recent --set --name ssh --rsource
-A INPUT -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -m recent --update --hitcount 4 --name ssh -j DROP
{_ACCEPTS}COMMIT
""",
    ),
    Example(
        "untracked packets are accepted before the limit",
        f"""{_RAW}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 80 -m conntrack --ctstate UNTRACKED -j ACCEPT
-A INPUT -p tcp -m conntrack --ctstate NEW {_FLOOD} -j DROP
{_ACCEPTS}COMMIT
""",
    ),
    Example(
        "the limit only thins a log",
        f"""{_RAW}*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 80 -m conntrack --ctstate NEW -m limit --limit 5/min -j LOG
{_ACCEPTS}COMMIT
""",
    ),
)


def check(audit: Audit) -> Iterator[Finding]:
    """Each state test that keeps untracked connections from a limit or list."""
    if not audit.notracks or not any(_remembers(rule) for rule in audit.ruleset.rules()):
        return
    told: set[Rule] = set()
    for kind in KINDS[:3]:
        yield from _of_kind(audit, audit.untracking, kind, told)


def _remembers(rule: Rule) -> bool:
    """The rule counts or writes what it sees, and does not only write logs."""
    if any(e.kind is EffectKind.WRITE and not e.text.startswith("counter") for e in rule.effects):
        return True
    return any(m.memory and m.consumer is None for m in rule.matches)


def _of_kind(audit: Audit, pair: Pair, kind: Kind, told: set[Rule]) -> Iterator[Finding]:
    space, part = pair.space, pair.space.connection_part
    before, now = pair.roles(kind, pair.old).opening, pair.roles(kind, pair.new).opening
    passed = unmarked(space, now.untracked & now.accepted)
    for _, what, _, packets in consumed(pair.roles(kind, pair.new)):
        if what == "SYNPROXY":
            passed = passed & ~part(packets)
    if is_empty(passed):
        return
    passed = passed & ~by_asking_port(space, part(now.untracked))
    numbers = pair.new.identities.numbers
    remembering = {numbers[rule]: rule for rule in audit.ruleset.rules() if _remembers(rule)}
    was_met, is_met = _met(before.walk, remembering), _met(now.walk, remembering)
    for number, rule in remembering.items():
        missed = was_met.get(number, space.none) & ~is_met.get(number, space.none) & passed
        if is_empty(missed) or not names_the_serving_side(space, missed):
            continue
        guard = _guard(audit, rule, before, now, missed)
        if guard is not None and guard[0] not in told:
            told.add(guard[0])
            yield from _finding(audit, pair, kind, rule, *guard)


def _met(walk: Walk, numbers: Container[int]) -> dict[int, PacketSet]:
    """The packets that limits and lists look at, or that are written down, by the number of the rule."""
    out: dict[int, PacketSet] = {}
    for sets in (walk.evaluated, walk.effects):
        for key, packets in sets.of(lambda key: key[2] in numbers and key[0] in ("memory", EffectKind.WRITE)):
            out[key[2]] = out.get(key[2], walk.none) | packets
    return out


def _guard(audit: Audit, rule: Rule, before: Seen, now: Seen, missed: PacketSet) -> tuple[Rule, PacketSet] | None:
    """The rule itself, or a jump to its chain, whose state test new connections pass and untracked ones do not."""
    chains, here = audit.ruleset.tables[rule.table].chains, (rule.table, rule.chain)
    callers = [
        r
        for r, _ in before.walk.matched.of(lambda r: bool(r.leads_to))
        if r.table == rule.table and r.leads_to in chains and here in chains_from(audit.ruleset, [chains[r.leads_to]])
    ]
    none = before.walk.none
    for guard in (rule, *callers):
        if places.state_test(guard) is None:
            continue
        kept = missed & ~now.walk.matched.get(guard, none)
        found = kept & audit.space.whatever_is_unknown(before.walk.matched.get(guard, none))
        if not is_empty(found):
            return guard, found
    return None


def _finding(audit: Audit, pair: Pair, kind: Kind, rule: Rule, guard: Rule, found: PacketSet) -> Iterator[Finding]:
    space, frame = pair.space, Frame("opening")
    chosen = sample(space, found, kind.there, frame, State.UNTRACKED)
    if not _passed_by(follow(pair, pair.new, chosen, State.NEW), guard):
        return  # an earlier rule decides: it is not the test that keeps the packet away
    walk = pair.roles(kind, pair.new).opening.walk
    notrack = next((r for r in audit.notracks if not is_empty(found & walk.matched.get(r, space.none))), None)
    tcp = space.taken(found, Field.PROTOCOL) == [(TCP, TCP)]
    syn = "tcp flags & (fin | syn | rst | ack) == syn" if audit.ruleset.is_nft else "--syn"
    cure = f"ask for {syn} in its place" if tcp else "take the test away, and let every packet count"
    acts = "" if guard is rule else f" of {rule.where}"
    yield Finding(
        CODE,
        NAME,
        SEVERITY,
        f"{class_words(space, found, kind.there, frame)} is untracked, never NEW: the limit or list{acts} never acts",
        places.state_test(guard) or guard.span,
        "untracked packets are never NEW",
        (Label(places.target(notrack, audit.source), "left untracked here"),) if notrack else (),
        (("help", cure),),
        Witness(chosen.text, f"accepted, and not seen by {rule.where}"),
    )


def _passed_by(trace: Trace, guard: Rule) -> bool:
    return any(step.rule is guard and not step.matched for step in trace.steps)
