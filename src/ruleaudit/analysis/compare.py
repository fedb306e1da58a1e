"""What a change does: two rulesets compared by packet sets, hook by hook and role by role (design section 5).

Each check below is one numbered point of that section and yields differences; every difference carries a witness that
the reference interpreter has followed through both rulesets.
"""

from collections.abc import Callable, Iterator, Sequence

from ruleaudit.analysis import answers, consumers, elsewhere, fragments, untracking
from ruleaudit.analysis.alignment import Alignment
from ruleaudit.analysis.pair import Pair, make_space
from ruleaudit.analysis.space import Space
from ruleaudit.analysis.stretch import steps
from ruleaudit.diagnostics import FixClass
from ruleaudit.model.ruleset import Ruleset
from ruleaudit.packets.diagram import with_room
from ruleaudit.results import Comparison, Difference, Undecided

CHECKS: tuple[Callable[[Pair], Iterator[Difference | Undecided]], ...] = (
    consumers.check,
    untracking.check,
    answers.check,
    elsewhere.check,
    fragments.check,
)

ASSUMPTIONS = {
    "no-other-owner": "no other owner of rules in this namespace (Docker, kube-proxy, the other iptables variant"
    " or family) and no other reader of conntrack",
    "masq-low-ports": "no client behind MASQUERADE or SNAT uses a TCP source port below 1024",
    "listener-holds-port": "the service holds its port: nothing else on its host connects out from that port",
    "static-sets": "the sets that the rules name do not change between the packets of one connection",
    "known-sets": "the sets that the rules name hold what the given file of ipset save says, and stay so",
}

_ORDER = {None: 0, FixClass.RELAXING: 1, FixClass.REVERSED: 2, FixClass.ASSUMING: 3, FixClass.SAME_CONNECTIONS: 4}


def compare(old: Ruleset, new: Ruleset) -> Comparison:
    """Compare two rulesets of one family. The answer is `undecided` where it does not fit into memory."""
    found = with_room(lambda room: compare_in(make_space((old, new), room), old, new), steps(old) + steps(new))
    if found is None:
        reason = "the sets of packets that differ do not fit into memory"
        return Comparison(old, new, (), undecided=(Undecided(None, reason),))
    return found


def in_all(comparisons: Sequence[Comparison]) -> Comparison:
    """What a change does in every address family that both texts speak of."""
    if len(comparisons) == 1:
        return comparisons[0]
    used = {key for c in comparisons for key, _ in c.assumptions}
    return Comparison(
        comparisons[0].old,
        comparisons[0].new,
        tuple(d for c in comparisons for d in c.differences),
        tuple((key, text) for key, text in ASSUMPTIONS.items() if key in used),
        tuple(u for c in comparisons for u in c.undecided),
    )


def compare_in(
    space: Space, old: Ruleset, new: Ruleset, alignment: Alignment | None = None, *, only_worst: bool = False
) -> Comparison:
    """`compare` in a given space; `only_worst` stops behind the first check that finds what no rewrite may have, and
    tells one class of packets of each kind, not one for each rule that changed.
    """
    pair = Pair(space, old, new, alignment, in_detail=not only_worst)
    differences: list[Difference] = []
    undecided: list[Undecided] = []
    for check in CHECKS:
        for found in check(pair):
            if isinstance(found, Undecided):
                undecided.append(found)
            else:
                differences.append(found)
        if only_worst and any(d.loosens is None for d in differences):
            break
    differences.sort(key=lambda d: _ORDER.get(d.loosens, 5))
    used = {d.assumption for d in differences if d.assumption}
    if any(d.kind.value == "untracked" for d in differences):
        used.add("no-other-owner")
    if any("set " in t.name and t.scope.value == "connection" for t in space.unknown_tests.values()):
        used.add("static-sets")
    if old.known_sets or new.known_sets:
        used.add("known-sets")
    return Comparison(
        old,
        new,
        tuple(differences),
        tuple((key, text) for key, text in ASSUMPTIONS.items() if key in used),
        tuple(undecided),
    )
