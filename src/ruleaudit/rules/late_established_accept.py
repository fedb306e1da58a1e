"""The packets of open connections are compared with many rules before they are accepted.

What it finds
    A rule that accepts what is ESTABLISHED, behind 20 or more rules that such a packet is compared with first, those
    of the chains included that it is sent through. The packet that is shown was followed rule by rule.

Why
    Nearly all packets belong to a connection that is open. Accepted by the first rule, each costs one comparison;
    behind a list of ports or addresses each costs all of them, for as long as the download takes.

Example
    -A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
    ... and 30 more ports ...
    -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT

Instead
    The same rule, first in its chain.

Fix safety
    Exact, if the finding says so: with the rule in front every packet in every state has the same verdict and meets
    the same effects, logs apart. Otherwise it names the rules that packets of open connections must not miss: a
    blocklist that also cuts what is open, a limit, a mark.

References
    iptables-extensions(8), conntrack; nft(8), CT EXPRESSIONS
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from ruleaudit.analysis.alignment import Alignment
from ruleaudit.analysis.connection import role_shape
from ruleaudit.analysis.pair import Pair, may_match
from ruleaudit.analysis.space import Frame
from ruleaudit.analysis.stretch import Block, blocks
from ruleaudit.analysis.variant import beside, same_packets
from ruleaudit.analysis.walk import PATHS, chains_from
from ruleaudit.analysis.witness import follow, sample
from ruleaudit.diagnostics import Finding, Fix, FixClass, Label, Severity, Witness
from ruleaudit.model.condition import States, tests
from ruleaudit.model.fields import State
from ruleaudit.model.lines import lines
from ruleaudit.model.ruleset import Accept, Chain, Continue, EffectKind, Goto, Jump, Rule
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.rules import edits, places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example
from ruleaudit.source import Edit

CODE = "RA404"
NAME = "late-established-accept"
SEVERITY = Severity.NOTE
SINCE = "0.1"

#: so many rules before it are worth a word
MANY = 20
#: so many rules that stand in the way are looked for in a list
SHOWN = 8

_PORTS = "".join(f"-A INPUT -p tcp -m tcp --dport {port} -j ACCEPT\n" for port in range(8000, 8010))
_HEAD = "*filter\n:INPUT DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n"
_KNOWN = "-m conntrack --ctstate RELATED,ESTABLISHED"
_NFT_PORTS = "".join(f"\t\ttcp dport {port} accept\n" for port in range(8000, 8021))

EXAMPLES = (
    Example(
        "behind 20 ports",
        f"{_HEAD}{_PORTS}{_PORTS.replace('tcp', 'udp')}-A INPUT «{_KNOWN}» -j ACCEPT\nCOMMIT\n",
    ),
    Example(
        "behind a chain of 20 rules",
        f"{_HEAD}:PORTS - [0:0]\n{(_PORTS + _PORTS.replace('80', '90')).replace('INPUT', 'PORTS')}"
        f"-A INPUT -j PORTS\n-A INPUT «{_KNOWN}» -j ACCEPT\nCOMMIT\n",
    ),
    Example(
        "nft",
        "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n"
        f"{_NFT_PORTS}\t\t«ct state established,related» accept\n\t}}\n}}\n",
    ),
    Example(
        "a blocklist before it cuts open connections too",
        f"{_HEAD}-A INPUT -s 192.0.2.0/24 -j DROP\n{_PORTS}{_PORTS.replace('tcp', 'udp')}"
        f"-A INPUT «{_KNOWN}» -j ACCEPT\nCOMMIT\n",
    ),
    Example(
        "the chain of 20 rules is for NEW packets",
        f"{_HEAD}:PORTS - [0:0]\n{(_PORTS + _PORTS.replace('80', '90')).replace('INPUT', 'PORTS')}"
        f"-A INPUT -m conntrack --ctstate NEW -j PORTS\n-A INPUT {_KNOWN} -j ACCEPT\nCOMMIT\n",
    ),
    Example("first", f"{_HEAD}-A INPUT {_KNOWN} -j ACCEPT\n{_PORTS}{_PORTS.replace('tcp', 'udp')}COMMIT\n"),
)


def check(audit: Audit) -> Iterator[Finding]:
    """Each late accept, once."""
    if not audit.loads:
        return
    late = [rule for rule in audit.ruleset.rules() if _accepts_established(rule)]
    late = [
        rule for rule in late if (rule.table, rule.chain) in audit.called and len(list(_earlier(audit, rule))) >= MANY
    ]
    if not late:
        return
    told: set[Rule] = set()
    for path in ("in", "forward", "out"):
        walk = audit.free(path)
        for by, found in walk.decided.accepts(audit.space.in_state(State.ESTABLISHED), late.__contains__):
            if by not in told:
                told.add(by)
                yield from _finding(audit, by, path, found)


def _accepts_established(rule: Rule) -> bool:
    """An accept of what is ESTABLISHED, in a rule that asks for the state first of all, or for nothing else."""
    asked = [m.condition for m in rule.matches]
    known = [c for c in asked if isinstance(c, States) and State.ESTABLISHED in c.states]
    return isinstance(rule.verdict, Accept) and len(known) == 1 and len(list(tests(rule.condition))) <= 2


def _earlier(audit: Audit, rule: Rule) -> Iterator[Rule]:
    """The rules that a packet may meet before it, in its chain and those that this one calls."""
    table = audit.ruleset.tables[rule.table]
    chain = table.chains[rule.chain]
    earlier = chain.rules[: chain.rules.index(rule)]
    yield from earlier
    called = (v.chain for v in (r.verdict for r in earlier) if isinstance(v, Jump | Goto) and v.chain in table.chains)
    below = chains_from(audit.ruleset, (table.chains[name] for name in dict.fromkeys(called)))
    for _, name in sorted(below):
        yield from table.chains[name].rules


def _finding(audit: Audit, rule: Rule, path: str, packets: PacketSet) -> Iterator[Finding]:
    later = packets & role_shape(audit.space, "later")
    chosen = sample(audit.space, packets if is_empty(later) else later, path, Frame("any"), State.ESTABLISHED)
    way = follow(audit.whole, audit.whole.old, chosen, State.ESTABLISHED)
    met = [step.rule for step in way.steps if step.rule.table == rule.table]
    if rule not in met:
        return
    walked = {r.span for r in met[: met.index(rule)]} - {rule.span}
    if len(walked) < MANY:
        return
    first = audit.ruleset.tables[rule.table].chains[rule.chain].rules[0]
    misses = _misses(audit, rule)
    in_front = not misses and same_packets(beside(_in_front(audit, rule)))
    change = edits.moved(rule, first, audit.source) if in_front else None
    yield Finding(
        CODE,
        NAME,
        SEVERITY,
        f"packets of open connections are compared with {len(walked)} rules before this one accepts them",
        places.state_test(rule) or rule.span,
        f"rule {len(walked) + 1} of their way through table {rule.table}",
        () if in_front or not misses else (Label(misses[0].span, "open connections meet this rule first"),),
        (("proved", "with this rule in front every packet in every state fares the same"),) if in_front else (),
        Witness(chosen.text, f"accepted by {rule.where} behind {len(walked)} rules"),
        _fix(audit, rule, first, misses, in_front, change),
    )


def _fix(
    audit: Audit, rule: Rule, first: Rule, misses: list[Rule], in_front: bool, change: tuple[Edit, ...] | None
) -> Fix:
    if in_front:
        where = f"move it before {first.where}, to the front of chain {rule.chain}"
        return Fix(FixClass.EXACT if change else FixClass.MANUAL, where, change or ())
    if misses:
        return Fix(
            FixClass.MANUAL, f"move it to the front, but behind what open connections must meet: {lines(misses, SHOWN)}"
        )
    return Fix(FixClass.MANUAL, "move it to the front, if what stands there may miss open connections")


def _misses(audit: Audit, rule: Rule) -> list[Rule]:
    """The rules before it that do something with packets of open connections which it would accept in front."""
    space = audit.space
    before = set(_earlier(audit, rule))
    chains = audit.ruleset.tables[rule.table].chains.values()
    refusing = (step for chain in chains for step in blocks(chain) if isinstance(step, Block))
    alone = before.difference(*(block.rules for block in refusing))
    remembering = {r for r in alone if r.is_seen}
    acting = [r for r in alone if r not in remembering and not _passes(r)]
    found: set[Rule] = set()
    for walk in map(audit.free, PATHS):
        mine = walk.looked_up & space.condition(rule.condition, walk.frame, walk.view())
        for by, _, _ in walk.decided.about(mine, lambda by, _: isinstance(by, Block) and by.rules[0] in before):
            if isinstance(by, Block):
                met_by = (r for r in by.rules if not is_empty(mine & may_match(space, r, walk.frame)))
                found |= set(islice(met_by, SHOWN))
        found.update(r for r in remembering if not is_empty(mine & may_match(space, r, walk.frame)))
        found.update(r for r in acting if r in walk.matched and not is_empty(mine & walk.matched[r]))
    return sorted(found, key=lambda r: r.span)


def _passes(rule: Rule) -> bool:
    """Packets that it matches are accepted, or go on, and nothing is done with them, logs apart."""
    if rule.consumers or any(e.kind is not EffectKind.LOG for e in rule.effects):
        return False
    return isinstance(rule.verdict, Accept | Continue | Jump | Goto)


def _in_front(audit: Audit, rule: Rule) -> Pair:
    """The ruleset beside itself with the rule in front of its chain."""
    ruleset = audit.ruleset
    table = ruleset.tables[rule.table]
    chain: Chain = table.chains[rule.chain]
    rules = (rule, *(r for r in chain.rules if r is not rule))
    chains = {**table.chains, chain.name: replace(chain, rules=rules)}
    new = replace(ruleset, tables={**ruleset.tables, table.name: replace(table, chains=chains)})
    own = audit.whole.old.identities
    return Pair(audit.space, ruleset, new, Alignment(own, own, (), (), True))
