"""A notrack rule without effect: conntrack, or another rule, was faster.

What it finds
    A notrack rule in table raw whose packets have all got a conntrack template before (`CT --helper`, `--zone`,
    `--timeout`), or have all left the table before (an ACCEPT or RETURN above it), and one for packets on lo that
    stands in PREROUTING alone. In nft also: a notrack in a chain that conntrack comes before (a priority of -200 or
    higher, or another hook than prerouting and output), and a `ct zone set` before or behind a notrack.

Why
    The first CT rule wins: behind `CT --helper ftp` a notrack rule is not obeyed. An ACCEPT in table raw ends the
    table for the packet. nft loads a notrack anywhere, but only before priority -200 it does something (behind it,
    only to packets that conntrack found invalid); at -200 the order of loading decides. nft's `ct zone set` has
    conntrack look at packets that notrack left alone. What this host sends to itself is tracked in OUTPUT, before it
    comes in on lo.
    Each time the traffic is still tracked, although the file says otherwise.

Example
    -A PREROUTING -j ACCEPT
    -A PREROUTING -p tcp --dport 80 -j CT --notrack

Instead
    -A PREROUTING -p tcp --dport 80 -j CT --notrack
    -A PREROUTING -j ACCEPT

Fix safety
    Not automatic: once the rule takes effect, state tests see the traffic as UNTRACKED. `ruleaudit verify`
    compares.

References
    iptables-extensions(8), CT
"""

from collections.abc import Iterator

from ruleaudit.analysis.connection import role_shape
from ruleaudit.analysis.space import Frame, View
from ruleaudit.analysis.walk import Walk, chains_from, early_chains
from ruleaudit.analysis.witness import sample
from ruleaudit.diagnostics import Finding, Label, Severity, Witness
from ruleaudit.model.condition import And, Condition, Direction, Interface, States, tests
from ruleaudit.model.fields import Field, Hook, State
from ruleaudit.model.ruleset import CONNTRACK_PRIORITY, Accept, Chain, EffectKind, Return, Rule
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example

CODE = "RA206"
NAME = "late-notrack"
SEVERITY = Severity.ERROR
SINCE = "0.1"

_FILTER = """*filter
:INPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
"""


def _nft(hook: str, priority: str, rules: str, kind: str = "filter") -> str:
    return f"""table ip untracked {{
    chain here {{
        type {kind} hook {hook} priority {priority};
        {rules}
    }}
}}
table ip filter {{
    chain input {{
        type filter hook input priority filter;
        ct state established,related accept
    }}
}}
"""


EXAMPLES = (
    Example(
        "an ACCEPT above it",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -i eth0 -p tcp -j ACCEPT
-A PREROUTING -i eth0 -p tcp -m tcp --dport 80 «-j CT --notrack»
COMMIT
{_FILTER}""",
    ),
    Example(
        "a RETURN above it, in a user chain",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:WEB - [0:0]
-A PREROUTING -p tcp -j WEB
-A WEB -j RETURN
-A WEB -p tcp -m tcp --dport 80 «-j CT --notrack»
COMMIT
{_FILTER}""",
    ),
    Example(
        "the first CT rule wins",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 21 -j CT --helper ftp
-A PREROUTING -p tcp -m tcp --dport 21 «-j CT --notrack»
COMMIT
{_FILTER}""",
    ),
    Example(
        "a zone for everything, given in the calling chain",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:WEB - [0:0]
-A PREROUTING -i eth0 -j CT --zone 5
-A PREROUTING -i eth0 -p tcp -j WEB
-A WEB -p tcp -m tcp --dport 80 «-j CT --notrack»
COMMIT
{_FILTER}""",
    ),
    Example(
        "packets on lo, tracked when they were sent",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -i lo «-j CT --notrack»
COMMIT
{_FILTER}""",
    ),
    Example("a priority behind conntrack", _nft("prerouting", "mangle", "udp dport 53 «notrack»")),
    Example("a hook behind conntrack", _nft("input", "raw", "udp dport 53 «notrack»")),
    Example("the hook of forwarded packets", _nft("forward", "-300", "udp dport 53 «notrack»")),
    Example("a nat chain", _nft("prerouting", "dstnat", "udp dport 53 «notrack»", "nat")),
    Example("exactly at conntrack's priority", _nft("prerouting", "-200", "udp dport 53 «notrack»")),
    Example("nft's zone, before", _nft("prerouting", "raw", "ct zone set 5; udp dport 53 «notrack»")),
    Example("nft's zone, behind", _nft("prerouting", "raw", "udp dport 53 notrack; «ct zone set 5»")),
    Example("one step before conntrack", _nft("prerouting", "-201", "udp dport 514 notrack")),
    Example(
        "both hooks of lo",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -i lo -j CT --notrack
-A OUTPUT -o lo -j CT --notrack
COMMIT
{_FILTER}""",
    ),
    Example(
        "some of its packets were taken on purpose",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -s 10.0.0.0/8 -j ACCEPT
-A PREROUTING -p udp -m udp --dport 53 -j CT --notrack
-A OUTPUT -d 10.0.0.0/8 -j ACCEPT
-A OUTPUT -p udp -m udp --sport 53 -j CT --notrack
COMMIT
{_FILTER}""",
    ),
    Example(
        "the helper comes second, and has no effect on what is untracked",
        f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -p udp -m udp --dport 69 -j CT --notrack
-A PREROUTING -p udp -m udp --dport 69 -j CT --helper tftp
-A OUTPUT -p udp -m udp --sport 69 -j CT --notrack
COMMIT
{_FILTER}""",
    ),
)

_ENTRIES = ((Hook.PREROUTING, "in"), (Hook.PREROUTING, "forward"), (Hook.OUTPUT, "out"), (Hook.OUTPUT, "local"))


def check(audit: Audit) -> Iterator[Finding]:
    """Each notrack rule that tags no packet, with what came before it."""
    yield from _behind_conntrack(audit)
    yield from _taken_back(audit)
    yield from _on_lo(audit)
    if not audit.notracks or not any(_interferes(rule) for _, rule in audit.early_rules()):
        return
    chains = {(chain.table, chain.name): chain for chain, _ in audit.early_rules()}
    walks = [(path, _walk(audit, hook, path)) for hook, path in _ENTRIES]
    for rule in audit.notracks:
        chain = chains.get((rule.table, rule.chain))
        if chain is None or any(not is_empty(w.matched.get(rule, w.none) & w.tag) for _, w in walks):
            continue
        for path, walk in walks:
            found = _overridden(audit, chain, rule, path, walk)
            if found is not None:
                yield found
                break


def _behind_conntrack(audit: Audit) -> Iterator[Finding]:
    """Notrack rules in chains that packets enter when conntrack has seen them."""
    early = early_chains(audit.ruleset)
    bases = [c for t in audit.ruleset.tables.values() for c in t.chains.values() if c.hook is not None]
    for rule in audit.notracks:
        here = (rule.table, rule.chain)
        callers = [] if here in early else [c for c in bases if here in chains_from(audit.ruleset, [c])]
        if not callers:
            continue
        chain = callers[0]
        related = (Label(chain.span, f"{_hook(chain)} priority {chain.priority}"),) if chain.span else ()
        if chain.hook not in (Hook.PREROUTING, Hook.OUTPUT):
            message = f"this rule leaves nothing untracked: conntrack comes before {_hook(chain)}"
        elif chain.priority == CONNTRACK_PRIORITY:
            message = "at priority -200 it depends on the order of loading whether this rule leaves anything untracked"
        else:
            message = f"this rule leaves nothing untracked: conntrack comes before priority {chain.priority}"
        notes = (("help", "put it into a chain of prerouting or output with priority raw (-300)"),)
        yield Finding(CODE, NAME, SEVERITY, message, places.target(rule, audit.source), "too late", related, notes)


def _hook(chain: Chain) -> str:
    return f"hook {chain.hook.value}" if chain.hook else chain.name


def _taken_back(audit: Audit) -> Iterator[Finding]:
    """Rules that set a zone for packets that a notrack rule left untracked."""
    rules = [r for _, r in audit.early_rules() if any(e.kind is EffectKind.ZONE for e in r.effects)]
    walks = [(path, _walk(audit, hook, path)) for hook, path in _ENTRIES] if rules and audit.notracks else []
    for rule in rules:
        number = audit.whole.old.identities.numbers[rule]
        for path, walk in walks:
            found = walk.retracked.get(number, walk.none)
            if is_empty(found):
                continue
            tagging = next((n for n in audit.notracks if not is_empty(found & walk.matched.get(n, walk.none))), None)
            related = (Label(places.target(tagging, audit.source), "leaves them untracked"),) if tagging else ()
            message = "setting a zone has these packets tracked again, in spite of notrack"
            packet = sample(audit.space, found, path, Frame("any")).text
            witness = Witness(packet, f"untracked before {rule.where}, tracked behind it")
            place = places.target(rule, audit.source)
            yield Finding(CODE, NAME, SEVERITY, message, place, "tracks them", related, (), witness)
            break


def _on_lo(audit: Audit) -> Iterator[Finding]:
    """Notrack rules that match nothing but packets of this host to itself, when conntrack has seen them."""
    rules = [r for r in audit.notracks if any(_asks_for_lo(m.condition) for m in r.matches)]
    if not rules:
        return
    pair, frame = audit.whole, Frame("any")
    sent = pair.domain("local", False) & role_shape(audit.space, "opening") & audit.space.is_(Field.MARK, 0)
    local = pair.send(pair.old, "local", sent, State.NEW, role="any")
    for rule in rules:
        found = local.matched.get(rule, local.none)
        if is_empty(found) or not is_empty(found & local.tag):
            continue
        packet = sample(audit.space, found, "local", frame).text
        yield Finding(
            CODE,
            NAME,
            SEVERITY,
            "this rule leaves nothing untracked: what comes in on lo was tracked in output, when this host sent it",
            places.target(rule, audit.source),
            "too late",
            notes=(("help", "leave the packets untracked in output, by the interface lo; the tag stays with them"),),
            witness=Witness(packet, f"tracked in output, before {rule.where}"),
        )


def _asks_for_lo(condition: Condition) -> bool:
    match condition:
        case And(items):
            return any(_asks_for_lo(item) for item in items)
        case Interface(Field.IIF, "lo"):
            return True
        case _:
            return False


def _interferes(rule: Rule) -> bool:
    return isinstance(rule.verdict, Accept | Return) or _gives_a_template(rule)


def _gives_a_template(rule: Rule) -> bool:
    return any(e.kind in (EffectKind.TRACK, EffectKind.ZONE) for e in rule.effects)


def _walk(audit: Audit, hook: Hook, path: str) -> Walk:
    pair = audit.whole
    walk = pair.walk(pair.old, Frame("any"), {State.NEW: pair.space.all}, pair.space.all)
    walk.run((hook,), pair.domain(path, False))
    return walk


def _overridden(audit: Audit, chain: Chain, rule: Rule, path: str, walk: Walk) -> Finding | None:
    """The first earlier rule that kept this rule from tagging packets that it names."""
    wanted = _entered(audit, chain, path, walk) & _header(audit, rule, walk) & ~walk.tag
    if is_empty(wanted):
        return None
    for _, other in audit.early_rules():
        back = walk.retracked.get(audit.whole.old.identities.numbers[other], walk.none)
        matched = wanted & walk.matched.get(other, walk.none) & ~back
        if _gives_a_template(other) and not is_empty(matched & walk.matched.get(rule, walk.none)):
            how = next(e.text for e in other.effects if e.kind in (EffectKind.TRACK, EffectKind.ZONE))
            return _finding(audit, rule, other, matched, path, f"({how}) gives the packets to conntrack before")
    for earlier in chain.rules[: chain.rules.index(rule)]:
        matched = wanted & walk.matched.get(earlier, walk.none)
        if not is_empty(matched) and isinstance(earlier.verdict, Accept | Return):
            return _finding(audit, rule, earlier, matched, path, "takes the packets out of this chain before")
    for by, found in walk.decided.accepts(wanted, lambda by: by.table == rule.table):
        return _finding(audit, rule, by, found, path, "takes the packets out of this table before")
    return None


def _entered(audit: Audit, chain: Chain, path: str, walk: Walk) -> PacketSet:
    """The packets that come into a chain."""
    if chain.hook is not None:
        return audit.whole.domain(path, False)
    out = walk.none
    for _, packets in walk.matched.of(lambda r: (r.table, r.leads_to) == (chain.table, chain.name)):
        out = out | packets
    return out


def _header(audit: Audit, rule: Rule, walk: Walk) -> PacketSet:
    """The packets that the rule names, whoever gets there; a mark or state is not known before the rule is reached."""
    for test in tests(rule.condition):
        if isinstance(test, States | Direction) or getattr(test, "field", None) is Field.MARK:
            return walk.none
    number = audit.whole.old.identities.numbers[rule]
    view = View({}, [], audit.space.all)
    return audit.space.condition(rule.condition, Frame("any"), view, number, rule.understood)


def _finding(audit: Audit, rule: Rule, earlier: Rule, found: PacketSet, path: str, how: str) -> Finding:
    packet = sample(audit.space, found, path, Frame("any")).text
    return Finding(
        CODE,
        NAME,
        SEVERITY,
        f"this rule leaves nothing untracked: {earlier.where} {how}",
        places.target(rule, audit.source),
        "no packet is left untracked here",
        (Label(places.target(earlier, audit.source), how),),
        (("help", f"move it above {earlier.where}"),),
        Witness(packet, f"tracked: {earlier.where} comes first"),
    )
