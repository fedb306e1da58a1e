"""ICMP errors and refusals about N: they were RELATED and are INVALID now (design section 5, point 4)."""

from collections.abc import Iterator

from ruleaudit.analysis.connection import KINDS, Kind, icmp_errors, resets
from ruleaudit.analysis.differing import differing
from ruleaudit.analysis.pair import Pair
from ruleaudit.analysis.space import Frame
from ruleaudit.analysis.verdicts import ACCEPT
from ruleaudit.model.fields import UDP, AddressType, Family, Field, State
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.results import Difference, DifferenceKind, Undecided

#: errors that arrive about a connection, by family: unreachable, (too big,) time exceeded, parameter problem
ARRIVING = {Family.IPV4: ((3, None), (11, None), (12, None)), Family.IPV6: ((1, None), (2, None), (3, None), (4, None))}
#: errors that a router sends about what it forwards: too big, time exceeded in transit
ROUTERS = {Family.IPV4: ((3, 4), (11, 0)), Family.IPV6: ((2, 0), (3, 0))}
#: the code of each ICMP refusal of REJECT (iptables-extensions(8)), by kind
REJECT_ICMP = {
    "icmp-net-unreachable": (3, 0),
    "icmp-host-unreachable": (3, 1),
    "icmp-proto-unreachable": (3, 2),
    "icmp-port-unreachable": (3, 3),
    "icmp-net-prohibited": (3, 9),
    "icmp-host-prohibited": (3, 10),
    "icmp-admin-prohibited": (3, 13),
    "icmp6-no-route": (1, 0),
    "icmp6-adm-prohibited": (1, 1),
    "icmp6-addr-unreachable": (1, 3),
    "icmp6-port-unreachable": (1, 4),
    "icmp6-policy-fail": (1, 5),
    "icmp6-reject-route": (1, 6),
}
PORT_UNREACHABLE = {Family.IPV4: (3, 3), Family.IPV6: (1, 4)}


def check(pair: Pair) -> Iterator[Difference | Undecided]:
    """Each error or refusal about a connection of N that passed and does not any more."""
    for kind in KINDS:
        if kind.name in ("local", "looped"):
            continue
        newly = pair.untracked_connections(kind)
        opened = pair.space.connection_part(pair.roles(kind, pair.old).opening.accepted)
        connections = newly & opened
        if kind.name == "out":
            # from a service's own port there are none
            connections = connections & ~pair.from_service_ports(kind)
        if not is_empty(connections):
            yield from _errors(pair, kind, connections)
        if kind.name != "out" and not is_empty(newly):
            yield from _refusals(pair, kind, newly, connections)


def _about(pair: Pair, connections: PacketSet, path: str, to: Field) -> PacketSet:
    """Packets on a path to one end of the connections (Field.DADDR: the responder), from anywhere; as seen from A
    to B.
    """
    space = pair.space
    types = (Field.SRC_TYPE, Field.DST_TYPE)
    end = space.forget_all_but(connections, (to, types[to is Field.DADDR]))
    return end & pair.domain(path, to is Field.SADDR)


def _errors(pair: Pair, kind: Kind, connections: PacketSet) -> Iterator[Difference | Undecided]:
    family = pair.space.family
    if kind.name == "out":
        yield from _passes(
            pair, kind.back, _about(pair, connections, kind.back, Field.SADDR), True, ARRIVING[family], "to"
        )
        return
    yield from _passes(
        pair, kind.there, _about(pair, connections, kind.there, Field.DADDR), False, ARRIVING[family], "to"
    )
    if kind.name == "forward":
        yield from _passes(
            pair, "forward", _about(pair, connections, "forward", Field.SADDR), True, ARRIVING[family], "to"
        )
        for to, reverse in ((Field.SADDR, True), (Field.DADDR, False)):
            yield from _passes(pair, "out", _about(pair, connections, "out", to), reverse, ROUTERS[family], "from")


def _passes(
    pair: Pair,
    path: str,
    packets: PacketSet,
    reverse: bool,
    types: tuple[tuple[int, int | None], ...],
    way: str,
    immune: bool = False,
) -> Iterator[Difference | Undecided]:
    """ICMP of these types along a path: RELATED in the old ruleset, INVALID in the new one."""
    space = pair.space
    role = "error"
    original = not reverse
    for number, code in types:
        wanted = space.diagrams.within(space.bits[Field.ICMP_TYPE], ((number, number),))
        if code is not None:
            wanted = wanted & space.is_(Field.ICMP_CODE, code)
        errors = packets & icmp_errors(space) & wanted
        if is_empty(errors):
            continue
        before = pair.send(pair.old, path, errors, State.RELATED, role=role, reverse=reverse, original=original)
        after = pair.send(
            pair.new, path, errors, State.INVALID, role=role, reverse=reverse, original=original, immune=immune
        )
        found = before.outcomes.get(ACCEPT, space.none) & ~after.outcomes.get(ACCEPT, space.none)
        if is_empty(found):
            continue
        words = "errors that this host sends about them" if way == "from" else "errors about them (path MTU!)"
        yield differing(
            pair,
            found,
            DifferenceKind.ICMP_ERRORS,
            None,
            path,
            Frame(role, reverse),
            (State.RELATED, State.INVALID),
            f"{words} passed as RELATED; about untracked connections they are INVALID, and refused",
            expected=lambda a, b: a.verdict == ACCEPT and b.verdict != ACCEPT,
            immune=immune,
        )


def _refusals(pair: Pair, kind: Kind, newly: PacketSet, accepted: PacketSet) -> Iterator[Difference | Undecided]:
    """What this host sends to refuse: port unreachable of a closed UDP port, and the answer of each REJECT reached."""
    space, family = pair.space, pair.space.family
    out = pair.domain("out", True)
    udp = accepted & space.is_(Field.PROTOCOL, UDP)
    if kind.name == "in" and not is_empty(udp):
        answer = PORT_UNREACHABLE[family]
        yield from _passes(pair, "out", _ends(pair, udp) & out, True, (answer,), "from")
    immune = not pair.new.ruleset.language.startswith("nft")
    opening = pair.roles(kind, pair.old).opening
    for (word, what), packets in opening.walk.outcomes.items():
        reached = newly & packets
        if word != "reject" or is_empty(reached):
            continue
        if what == "tcp-reset":
            yield from _resets(pair, space.connection_part(reached) & out, immune)
        elif what in REJECT_ICMP:
            ends = _ends(pair, space.connection_part(reached)) & out
            yield from _passes(pair, "out", ends, True, (REJECT_ICMP[what],), "from", immune=immune)


def _ends(pair: Pair, connections: PacketSet) -> PacketSet:
    """Packets between the same two addresses, whatever their protocol."""
    names = (Field.SADDR, Field.DADDR, Field.SRC_TYPE, Field.DST_TYPE)
    ends = pair.space.forget_all_but(connections, names)
    unicast = pair.space.is_(Field.DST_TYPE, AddressType.LOCAL) | pair.space.is_(Field.DST_TYPE, AddressType.UNICAST)
    return ends & unicast


def _resets(pair: Pair, connections: PacketSet, immune: bool) -> Iterator[Difference | Undecided]:
    """The RST of iptables' REJECT inherits a tag that its NOTRACK does not touch: INVALID even with both rules ([a06]).

    nft's notrack acts on it ([a19]): `immune` is false.
    """
    space = pair.space
    packets = connections & resets(space)
    if is_empty(packets):
        return
    before = pair.send(pair.old, "out", packets, State.RELATED, role="refusal", reverse=True, original=False)
    after = pair.send(
        pair.new, "out", packets, State.INVALID, role="refusal", reverse=True, original=False, immune=immune
    )
    none = space.none
    found = before.outcomes.get(ACCEPT, none) & ~after.outcomes.get(ACCEPT, none)
    if not is_empty(found):
        yield differing(
            pair,
            found,
            DifferenceKind.REFUSAL,
            None,
            "out",
            Frame("refusal", True),
            (State.RELATED, State.INVALID),
            "the RST of a REJECT left as RELATED; about untracked connections it is INVALID, and refused",
            immune=immune,
        )
