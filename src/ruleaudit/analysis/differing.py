"""From a set of packets that fare otherwise to a Difference: words for the class, a witness, and who decides."""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address, summarize_address_range
from itertools import islice

from ruleaudit.analysis.connection import PROTOCOL_NAMES
from ruleaudit.analysis.pair import Pair, Side
from ruleaudit.analysis.space import Frame, Space
from ruleaudit.analysis.trace import Trace
from ruleaudit.analysis.witness import Sample, follow, sample
from ruleaudit.diagnostics import FixClass, Witness
from ruleaudit.model.condition import interval_text
from ruleaudit.model.fields import PORT_PROTOCOLS, Family, Field, State
from ruleaudit.model.ruleset import Rule
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.results import Difference, DifferenceKind, Outcome, Ports, Undecided

Expected = Callable[[Trace, Trace], bool]


def differing(
    pair: Pair,
    found: PacketSet,
    kind: DifferenceKind,
    loosens: FixClass | None,
    path: str,
    frame: Frame,
    states: tuple[State, State],
    description: str,
    *,
    witness_in: PacketSet | None = None,
    expected: Expected | None = None,
    forbidding: Rule | None = None,
    assumption: str | None = None,
    immune: bool = False,
    reassembled: bool = False,
) -> Difference | Undecided:
    """Make a Difference of a non-empty set; `states` are the packet's states under the old and the new ruleset.

    They hold for the packets of `witness_in` where the whole set is in several states.
    `reassembled`: the old ruleset sees a fragment as part of its whole datagram.
    `expected` says what the two traces of a witness have to show; where the interpreter disagrees with the packet sets
    nothing is claimed.
    """
    doubtful = not_understood(pair, found)
    if doubtful is not None:
        return doubtful
    chosen = sample(pair.space, found if witness_in is None else witness_in, path, frame, states[0])
    old = follow(pair, pair.old, chosen.whole() if reassembled else chosen, states[0], immune=immune)
    new = follow(pair, pair.new, chosen, states[1], immune=immune)
    if expected is not None and not expected(old, new):
        return Undecided(
            old.decided_by if isinstance(old.decided_by, Rule) else None,
            f"two ways of evaluating {chosen.text!r} disagree ({old.verdict[0]} -> {new.verdict[0]});"
            " please report this",
        )
    text = f"{class_words(pair.space, found, path, frame)}: {description}"
    return Difference(
        kind,
        text,
        Witness(chosen.text, _fate(old, new)),
        _outcome(old, new),
        _outcome(new, old),
        loosens,
        path,
        frame.role,
        tuple(ports(pair.space, found, frame)),
        forbidding,
        assumption,
    )


def ports(space: Space, found: PacketSet, frame: Frame) -> Iterator[Ports]:
    """The ports of some packets, by protocol."""
    for protocol in PORT_PROTOCOLS:
        here = found & space.is_(Field.PROTOCOL, protocol)
        if not is_empty(here):
            source, target = (space.taken(here, side, frame.reverse) for side in (Field.SPORT, Field.DPORT))
            yield Ports(PROTOCOL_NAMES[protocol], tuple(source), tuple(target))


def _outcome(trace: Trace, other: Trace) -> Outcome:
    """A trace as the outcome of a report; an accept is that of the base chain in which the other ruleset refused."""
    word, detail = trace.verdict
    by = trace.decided_by
    if word == "accept" and other.verdict[0] != "accept" and other.decisions:
        by = next((who for chain, who in trace.decisions if chain == other.decisions[-1][0]), by)
    verdict = f"reject {detail}" if word == "reject" else "undecided" if word == "unknown" else word
    return Outcome(
        verdict,
        by if isinstance(by, Rule) else None,
        by if by is not None and not isinstance(by, Rule) else None,
        not trace.untracked,
    )


def _fate(old: Trace, new: Trace) -> str:
    def one(trace: Trace) -> str:
        by = trace.decided_by
        where = f" by {by.where}" if isinstance(by, Rule) else f" by the policy of {by.name}" if by else ""
        word, detail = trace.verdict
        return f"{word} {detail}".strip() + where + (", untracked" if trace.untracked else "")

    return f"before: {one(old)}; after: {one(new)}"


def not_understood(pair: Pair, found: PacketSet) -> Undecided | None:
    """The difference exists only for some answers of a test that is not understood: undecided, and which test."""
    space = pair.space
    numbers = space.not_understood
    if not numbers or not is_empty(found.forall(space.diagrams.cube(numbers))):
        return None
    for number in numbers:
        test = space.unknown_tests[number]
        if is_empty(found & space.diagrams.bit(number)) or is_empty(found & ~space.diagrams.bit(number)):
            rule = rule_of(pair.old, test.identity) or rule_of(pair.new, test.identity)
            return Undecided(rule, f"{test.name} is not understood; packets that reach it could not be compared")
    return Undecided(None, "several tests that are not understood decide about these packets")


def rule_of(side: Side, number: int | None) -> Rule | None:
    """The rule with a number, if the side has it."""
    return next((r for r, n in side.identities.numbers.items() if n == number), None)


def class_words(space: Space, found: PacketSet, path: str, frame: Frame) -> str:
    """A class of packets in the user's words: protocols, the fewer of the two sides' ports, and addresses if few."""
    parts: list[str] = []
    # once for all that is asked below: it takes the longer the more unknown tests there are
    found = space.whatever_is_unknown(found)
    protocols = space.taken(found, Field.PROTOCOL)
    if sum(high - low + 1 for low, high in protocols) > 6:
        return ALL[path] + _addresses(space, found, frame)
    for protocol in (p for low, high in protocols for p in range(low, high + 1)):
        name = PROTOCOL_NAMES.get(protocol, f"protocol {protocol}")
        if protocol not in PORT_PROTOCOLS:
            parts.append(name)
            continue
        here = found & space.is_(Field.PROTOCOL, protocol)
        to, of = (space.taken(here, port, frame.reverse) for port in (Field.DPORT, Field.SPORT))
        if _size(to) <= _size(of) and _size(to) < 60000:
            parts.append(f"{name} to {ports_text(to)}")
        elif _size(of) < 60000:
            parts.append(f"{name} from {ports_text(of)}")
        else:
            parts.append(name)
    return ", ".join(parts) + _addresses(space, found, frame)


#: all packets of a path
ALL = {
    "in": "packets to this host",
    "out": "packets from this host",
    "forward": "packets through this host",
    "local": "packets of this host to itself",
    "looped": "this host's own multicasts and broadcasts",
}


def _addresses(space: Space, found: PacketSet, frame: Frame) -> str:
    """The networks that a class comes from and goes to, where one or two name them."""
    words = ""
    for word, name in ((" from ", Field.SADDR), (" to ", Field.DADDR)):
        intervals = space.few_taken(found, name, _NETWORKS, frame.reverse)
        networks = _networks(space, intervals) if intervals else ()
        if networks:
            words += word + " and ".join(networks)
    return words


#: how many networks are named
_NETWORKS = 2


def _networks(space: Space, intervals: list[tuple[int, int]]) -> tuple[str, ...]:
    """Intervals as networks; none where it takes more than two of them, or they hold a quarter of all addresses."""
    if _size(intervals) >> (space.family.address_bits - 2):
        return ()
    address = IPv4Address if space.family is Family.IPV4 else IPv6Address
    found: list[str] = []
    for low, high in intervals:
        networks = summarize_address_range(address(low), address(high))
        found += [str(n).removesuffix(f"/{space.family.address_bits}") for n in islice(networks, _NETWORKS + 1)]
    return tuple(found) if len(found) <= _NETWORKS else ()


def _size(intervals: list[tuple[int, int]]) -> int:
    return sum(high - low + 1 for low, high in intervals)


def ports_text(intervals: list[tuple[int, int]]) -> str:
    """Intervals as people write ports; a long list is cut, and the cut is said."""
    words = list(map(interval_text, intervals))
    return ",".join(words) if len(words) <= 8 else ",".join(words[:8]) + f" and {len(words) - 8} more ranges"


__all__ = ["ALL", "Sample", "class_words", "differing", "ports_text", "rule_of"]
