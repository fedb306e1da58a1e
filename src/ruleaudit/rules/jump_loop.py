"""Jumps that lead back to where they came from, or that nest too deep.

What it finds
    A chain that a packet can enter again while it is still in it, by `-j` or `-g`, through any number of other chains;
    and jumps from a base chain through more than 15 user chains. In nft rulesets both are errors of the syntax (RA001),
    as nft itself says them.

Why
    The kernel refuses the whole table ("Too many links"). `iptables-restore --test` accepts it: the first one to
    notice is the boot that ends without a firewall. A loop that no base chain leads to loads, until one does.
    iptables-legacy has no limit for the depth.

Example
    -A INPUT -j LOGGED
    -A LOGGED -j CHECKED
    -A CHECKED -j LOGGED

Instead
    End one of the chains with -j RETURN, or with a verdict.

Fix safety
    No automatic fix: only the author knows which of the jumps is one too many.

References
    iptables(8), TARGETS; nft_chain_validate() in net/netfilter/nf_tables_api.c
"""

from collections.abc import Iterator

from ruleaudit.diagnostics import Finding, Label, Severity
from ruleaudit.model.ruleset import Goto, Jump, Rule, Table
from ruleaudit.rules import places
from ruleaudit.rules.audit import Audit
from ruleaudit.rules.examples import Example

CODE = "RA305"
NAME = "jump-loop"
SEVERITY = Severity.ERROR
SINCE = "0.1"

#: how many user chains a packet may be in at the same time (NFT_JUMP_STACK_SIZE, the base chain counted)
DEEPEST = 15

EXAMPLES = (
    Example(
        "two chains that call each other",
        """*filter
:INPUT ACCEPT [0:0]
:CHECKED - [0:0]
:LOGGED - [0:0]
-A INPUT -j LOGGED
-A LOGGED -j CHECKED
-A CHECKED -j «LOGGED»
COMMIT
""",
    ),
    Example(
        "a chain that goes to itself",
        """*filter
:INPUT ACCEPT [0:0]
:WEB - [0:0]
-A WEB -p tcp -m tcp --dport 80 -g WEB
-A INPUT -j «WEB»
COMMIT
""",
    ),
    Example(
        "a loop that no packet gets to",
        """*filter
:INPUT ACCEPT [0:0]
:A - [0:0]
:B - [0:0]
-A A -j B
-A B -j A
COMMIT
""",
    ),
    Example(
        "a chain that is called twice",
        """*filter
:INPUT ACCEPT [0:0]
:A - [0:0]
:B - [0:0]
-A INPUT -j A
-A INPUT -j B
-A A -j B
COMMIT
""",
    ),
)


def check(audit: Audit) -> Iterator[Finding]:
    """One finding for each loop that packets can reach, and for each table whose jumps nest too deep; the reader of nft
    says it itself.
    """
    for table in () if audit.ruleset.is_nft else audit.ruleset.tables.values():
        yield from _loops(audit, table)


def _calls(table: Table) -> dict[str, dict[str, Rule]]:
    """For each chain the chains that it calls, with the first rule that does."""
    calls: dict[str, dict[str, Rule]] = {}
    for chain in table.chains.values():
        found = calls.setdefault(chain.name, {})
        for rule in chain.rules:
            match rule.verdict:
                case Jump(name) | Goto(name) if name in table.chains:
                    found.setdefault(name, rule)
                case _:
                    pass
    return calls


def _loops(audit: Audit, table: Table) -> Iterator[Finding]:
    calls = _calls(table)
    finished: set[str] = set()
    depth: dict[str, int] = {}
    looping = False
    bases = [c.name for c in table.chains.values() if c.hook is not None]
    for base in bases:
        # depth first, without recursion: a ruleset may be as deep as it likes
        path: list[tuple[str, Iterator[tuple[str, Rule]], Rule | None]] = [(base, iter(calls[base].items()), None)]
        on_path = {base}
        while path:
            name, rest, _ = path[-1]
            step = next(rest, None)
            if step is None:
                path.pop()
                on_path.discard(name)
                finished.add(name)
                depth[name] = max((1 + depth.get(callee, 0) for callee in calls[name]), default=0)
                continue
            callee, rule = step
            if callee in on_path:
                edges = [r for _, _, r in path if r is not None] + [rule]
                names = [n for n, _, _ in path]
                looping = True
                yield _loop(audit, edges, [*names[names.index(callee) :], callee])
            elif callee not in finished:
                path.append((callee, iter(calls[callee].items()), rule))
                on_path.add(callee)
    for base in bases:
        if depth[base] > DEEPEST and not looping:
            yield _deep(audit, calls, base, depth)


def _loop(audit: Audit, edges: list[Rule], names: list[str]) -> Finding:
    last = max(edges, key=lambda r: r.span.start)
    others = (
        Label(places.target_name(r, audit.source), "a jump of the loop, or to it") for r in edges if r is not last
    )
    way = " -> ".join(names) if len(names) < 12 else " -> ".join([*names[:5], "...", *names[-5:]])
    message = f"jumps go in a circle: {way}; the kernel refuses the whole table, iptables-restore --test does not"
    return Finding(CODE, NAME, SEVERITY, message, places.target_name(last, audit.source), "closes it", tuple(others))


def _deep(audit: Audit, calls: dict[str, dict[str, Rule]], base: str, depth: dict[str, int]) -> Finding:
    edges: list[Rule] = []
    name = base
    while calls[name]:
        name, rule = max(calls[name].items(), key=lambda item: depth[item[0]])
        edges.append(rule)
    last = max(edges, key=lambda r: r.span.start)
    message = (
        f"jumps from {base} nest {len(edges)} chains deep, the kernel takes {DEEPEST} at most and refuses the whole"
        " table (iptables-legacy has no limit)"
    )
    return Finding(CODE, NAME, SEVERITY, message, places.target_name(last, audit.source))
