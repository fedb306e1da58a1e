"""What connections look like on the wire: kinds, roles, and which (header, state) pairs exist at all.

Source: design section 2; facts sections 4, 10 and 19 ([k07], [k08], [k32]).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar, cast

from ruleaudit.analysis.space import ICMP_ANSWERS, ICMP_ERRORS, UNTRACKED_ICMPV6, Space
from ruleaudit.model.fields import ICMP, ICMPV6, TCP, AddressType, Family, Field, Fragment, PacketType, State, TcpFlag
from ruleaudit.packets.diagram import PacketSet

Asked = ParamSpec("Asked")
Answer = TypeVar("Answer")

_F, _S, _R, _A, _U = (int(f) for f in (TcpFlag.FIN, TcpFlag.SYN, TcpFlag.RST, TcpFlag.ACK, TcpFlag.URG))
_DECISIVE = _F | _S | _R | _A | _U

OPENING_FLAGS = (_S, _S | _U)
#: URG is free where ACK is set. A repeated SYN is the opening packet once more: untracked, it fares as that one did
LATER_FLAGS = (_A, _A | _U, _F | _A, _F | _A | _U, _R, _R | _A, _R | _A | _U)
FIRST_REPLY_FLAGS = (_S | _A, _S | _A | _U, _R, _R | _A, _R | _A | _U)
REPLY_FLAGS = (*FIRST_REPLY_FLAGS, _A, _A | _U, _F | _A, _F | _A | _U)
RESET_FLAGS = (_R, _R | _A)
#: picked up in mid-stream as NEW while tcp_loose is 1 (fact section 10)
LOOSE_FLAGS = (_A, _A | _U)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of connection: the path of the originator's packets, and of the replies."""

    name: str
    there: str
    back: str


KINDS = (
    Kind("in", "in", "out"),
    Kind("out", "out", "in"),
    Kind("forward", "forward", "forward"),
    Kind("local", "local", "local"),
    Kind("looped", "looped", "looped"),
)


def _of_space(make: Callable[Concatenate[Space, Asked], Answer]) -> Callable[Concatenate[Space, Asked], Answer]:
    """A function whose answers are kept with the space: they are the same for every walk in it."""

    @wraps(make)
    def known(space: Space, /, *args: Asked.args, **named: Asked.kwargs) -> Answer:
        key = (make.__name__, args, tuple(named.items()))
        if key not in space.remembered:
            space.remembered[key] = make(space, *args, **named)
        return cast(Answer, space.remembered[key])

    return known


@_of_space
def tcp_flags(space: Space, combinations: tuple[int, ...]) -> PacketSet:
    """TCP packets with one of the flag combinations; PSH, ECE and CWR are free."""
    out = space.none
    for value in combinations:
        out = out | space.flags(_DECISIVE, value)
    return out


def _requests(space: Space) -> PacketSet:
    return space.diagrams.within(space.bits[Field.ICMP_TYPE], [(t, t) for t in sorted(ICMP_ANSWERS[space.family])])


def _shaped(space: Space, flags: tuple[int, ...]) -> PacketSet:
    """Packets of a role: TCP with these flags, ICMP requests (their answers read the same bits), all of the rest."""
    tcp, icmp = space.is_(Field.PROTOCOL, TCP), space.is_(Field.PROTOCOL, space.family.icmp)
    return (~tcp | tcp_flags(space, flags)) & (~icmp | _requests(space))


@_of_space
def role_shape(space: Space, role: str) -> PacketSet:
    """What packets of a role look like; addresses and ports are the connection's."""
    return _shaped(space, {"opening": OPENING_FLAGS, "later": LATER_FLAGS, "reply": REPLY_FLAGS}[role])


@_of_space
def reply_shape(space: Space) -> PacketSet:
    """What replies look like, read as packets of their own: ICMP answers instead of requests."""
    tcp, icmp = space.is_(Field.PROTOCOL, TCP), space.is_(Field.PROTOCOL, space.family.icmp)
    types = [(t, t) for t in sorted(ICMP_ANSWERS[space.family].values())]
    answers = space.diagrams.within(space.bits[Field.ICMP_TYPE], types)
    return (~tcp | tcp_flags(space, REPLY_FLAGS)) & (~icmp | answers)


@_of_space
def icmp_errors(space: Space, types: tuple[int, ...] | None = None) -> PacketSet:
    """ICMP errors (as packets, not mirrored)."""
    wanted = [(t, t) for t in (types or ICMP_ERRORS[space.family])]
    return space.is_(Field.PROTOCOL, space.family.icmp) & space.diagrams.within(space.bits[Field.ICMP_TYPE], wanted)


@_of_space
def path_domain(space: Space, path: str, reverse: bool, transparent: bool) -> PacketSet:
    """The packets that can be on a path at all, `reverse`: seen as packets from B to A.

    `transparent`: TPROXY or the like takes packets to other hosts' addresses in, and sends from them.
    """
    kind = AddressType
    whole, tcp = space.is_(Field.FRAGMENT, Fragment.WHOLE), space.is_(Field.PROTOCOL, TCP)
    lo_in, lo_out = space.interface(Field.IIF, "lo"), space.interface(Field.OIF, "lo")

    def sides(source: tuple[int, ...], target: tuple[int, ...]) -> PacketSet:
        of = space.values
        return of(Field.SRC_TYPE, tuple((v, v) for v in sorted(source)), reverse) & of(
            Field.DST_TYPE, tuple((v, v) for v in sorted(target)), reverse
        )

    others = (kind.UNICAST, kind.OTHER)
    many = (kind.BROADCAST, kind.MULTICAST)
    proxied = (kind.UNICAST,) if transparent else ()
    match path:
        case "in":
            return whole & ~lo_in & (sides(others, (kind.LOCAL, *proxied)) | (~tcp & sides(others, many)))
        case "out":
            unicast = space.is_(Field.PKTTYPE, PacketType.UNICAST)
            # a host without an address asks for one from 0.0.0.0, which is of no type
            nobody = sides((kind.OTHER,), (*others, *many)) & space.is_(Field.SADDR, 0, reverse) & ~tcp
            return whole & unicast & ~lo_out & (sides((kind.LOCAL, *proxied), (*others, *many)) | nobody)
        case "forward":
            return whole & ~lo_in & ~lo_out & sides(others, (*others, kind.MULTICAST))
        case "looped":
            # copies of the host's own multicast and broadcast; the answers are connections of their own ([k30], [k32])
            own = whole & ~tcp & ~icmp_errors(space) & ~lo_in & ~lo_out & sides((kind.LOCAL,), many)
            return space.none if reverse else own
        case _:
            return whole & lo_in & lo_out & sides((kind.LOCAL,), (kind.LOCAL,))


def tracked_as(space: Space, role: str, other_side_untracked: PacketSet) -> Mapping[State, PacketSet]:
    """How conntrack classifies a tracked packet of a role, where the other direction may be untracked (fact
    section 4).
    """
    if role == "opening":
        return {State.NEW: space.all}
    tcp, icmp = space.is_(Field.PROTOCOL, TCP), space.is_(Field.PROTOCOL, space.family.icmp)
    alone = other_side_untracked
    answer = (tcp & tcp_flags(space, FIRST_REPLY_FLAGS)) | icmp
    invalid = alone & (answer if role == "reply" else tcp)
    return {State.ESTABLISHED: ~alone, State.INVALID: invalid, State.NEW: alone & ~invalid}


@_of_space
def resets(space: Space) -> PacketSet:
    """What REJECT answers to TCP: RELATED to what it refuses (nf_ct_attach)."""
    return space.is_(Field.PROTOCOL, TCP) & tcp_flags(space, RESET_FLAGS)


@_of_space
def possible_states(space: Space, helpers: bool, path: str) -> PacketSet:
    """The (header, state) pairs that a tracked packet of a path can have, in the free state variable.

    Without a helper RELATED means ICMP errors, and what this host's REJECT answers.
    """
    tcp, icmp = space.is_(Field.PROTOCOL, TCP), space.is_(Field.PROTOCOL, space.family.icmp)
    answers = ICMP_ANSWERS[space.family]
    types = space.bits[Field.ICMP_TYPE]
    exchange = space.diagrams.within(types, [(t, t) for t in sorted({*answers, *answers.values()})])
    # of ICMPv6, conntrack takes every type below 128 for an error
    errors = icmp_errors(space, tuple(range(128)) if space.family is Family.IPV6 else None)
    opening = of_no_entry(space)[State.NEW]
    # what the originator sends is NEW until somebody answers: its RST, and the end of what was picked up in mid-stream
    new = opening | (tcp & tcp_flags(space, LATER_FLAGS))
    established = (~tcp | tcp_flags(space, OPENING_FLAGS + LATER_FLAGS + REPLY_FLAGS)) & (~icmp | exchange)
    answered = resets(space) if path in ("out", "local") else space.none
    related = errors | answered | (opening if helpers else space.none)
    pairs = (
        (space.in_state(State.NEW) & new)
        | (space.in_state(State.ESTABLISHED) & established)
        | (space.in_state(State.RELATED) & related)
        | space.in_state(State.INVALID)
    )
    if space.family is Family.IPV6:
        # these are never looked up, so that one state stands for all
        natural = space.is_(Field.PROTOCOL, ICMPV6) & space.diagrams.within(types, UNTRACKED_ICMPV6)
        pairs = (pairs & ~natural) | (natural & space.in_state(State.INVALID))
    return pairs


@_of_space
def of_no_entry(space: Space) -> Mapping[State, PacketSet]:
    """How conntrack classifies a packet that comes alone, when its table is empty and tcp_loose is 1: a partition."""
    tcp, icmp = space.is_(Field.PROTOCOL, TCP), space.is_(Field.PROTOCOL, space.family.icmp)
    new = (~tcp | tcp_flags(space, OPENING_FLAGS + LOOSE_FLAGS)) & (~icmp | _requests(space))
    return {State.NEW: new, State.INVALID: ~new}


def strays(space: Space) -> tuple[tuple[State, PacketSet], ...]:
    """The packets of no connection, by the state that conntrack would give them: INVALID, or NEW without opening
    anything.
    """
    tcp = space.is_(Field.PROTOCOL, TCP)
    return ((State.INVALID, space.all), (State.NEW, tcp & tcp_flags(space, LOOSE_FLAGS)))


PROTOCOL_NAMES = {TCP: "tcp", 17: "udp", 136: "udplite", 132: "sctp", 33: "dccp", ICMP: "icmp", ICMPV6: "icmpv6"}
