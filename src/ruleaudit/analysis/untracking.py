"""Inside N: the connections that a rewrite no longer tracks, role by role (design section 5, point 2)."""

from collections.abc import Iterator

from ruleaudit.analysis.connection import KINDS, LOOSE_FLAGS, Kind, strays, tcp_flags
from ruleaudit.analysis.differing import Expected, differing
from ruleaudit.analysis.pair import Pair, Roles, Seen
from ruleaudit.analysis.space import TRACKED_STATES, Frame
from ruleaudit.analysis.trace import Trace
from ruleaudit.analysis.verdicts import ACCEPT
from ruleaudit.analysis.walk import effect_changes, is_log
from ruleaudit.diagnostics import FixClass
from ruleaudit.model.fields import State
from ruleaudit.model.ruleset import EffectKind
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.results import Difference, DifferenceKind, Undecided

#: effects that a packet carries along: no connection may lose or gain one
CARRIED = (EffectKind.MARK, EffectKind.CHANGE)

_ROLE_WORDS = {
    "opening": "the packets that open a connection",
    "later": "the later packets of a connection",
    "reply": "the replies",
}


def check(pair: Pair) -> Iterator[Difference | Undecided]:
    """Every way in which a connection of N fares otherwise."""
    for kind in KINDS:
        newly = pair.newly_untracked(kind)
        connections = pair.untracked_connections(kind) | pair.tracked_again(kind)
        yield from _tracked_again(pair, kind)
        if is_empty(connections):
            continue
        old, new = pair.roles(kind, pair.old), pair.roles(kind, pair.new)
        works = pair.space.connection_part(old.opening.accepted)
        opened = works | pair.space.connection_part(new.opening.accepted)
        yield from _untracked(pair, kind, {role: found & opened for role, found in newly.items()})
        yield from _half_tracked(pair, kind, old, new)
        for (role, before), (_, after) in zip(old.items(), new.items(), strict=True):
            alike = pair.space.connection_part(old.opening.accepted, keep_interfaces=role == "later")
            yield from _outcomes(pair, kind, role, before, after, connections, alike)
            yield from _effects(pair, kind, role, before, after, connections)
    yield from _strays(pair)


def _frame(role: str) -> Frame:
    return Frame(role, role == "reply")


def _path(kind: Kind, role: str) -> str:
    return kind.back if role == "reply" else kind.there


def _tracked_again(pair: Pair, kind: Kind) -> Iterator[Difference | Undecided]:
    """R' tracks what R did not: outside the proof, unless it was half-tracked in R."""
    old, new = pair.roles(kind, pair.old), pair.roles(kind, pair.new)
    if not pair.new.active:
        return
    half = _half(pair, old, _opened(pair, old, new))
    for (role, before), (_, after) in zip(old.items(), new.items(), strict=True):
        found = before.untracked & ~after.untracked & after.packets & ~half
        if not is_empty(found):
            part, states = in_one_state(before, after, found)
            yield differing(
                pair,
                found,
                DifferenceKind.TRACKED,
                None,
                _path(kind, role),
                _frame(role),
                states,
                "untracked before, tracked now",
                witness_in=part,
            )
            return


def _untracked(pair: Pair, kind: Kind, newly: dict[str, PacketSet]) -> Iterator[Difference | Undecided]:
    for role, found in newly.items():
        if not is_empty(found):
            state = State.NEW if role == "opening" else State.ESTABLISHED
            yield differing(
                pair,
                found,
                DifferenceKind.UNTRACKED,
                FixClass.EXACT,
                _path(kind, role),
                _frame(role),
                (state, state),
                "tracked before, untracked now",
            )
            return


def _half(pair: Pair, roles: Roles, opened: PacketSet) -> PacketSet:
    """Connections of which one role is untracked and another is not; `opened` keeps the interfaces of the openings.

    Only packets that come the way an accepted opening came count; replies may take any way ([a07]).
    """
    part = pair.space.connection_part
    tagged = pair.space.none
    tracked = pair.space.none
    for role, seen in roles.items():
        packets = seen.packets if role == "reply" else seen.packets & opened
        tagged = tagged | part(packets & seen.untracked)
        tracked = tracked | part(packets & ~seen.untracked)
    return tagged & tracked


def _opened(pair: Pair, old: Roles, new: Roles) -> PacketSet:
    return pair.space.connection_part(old.opening.accepted | new.opening.accepted, keep_interfaces=True)


def _half_tracked(pair: Pair, kind: Kind, old: Roles, new: Roles) -> Iterator[Difference | Undecided]:
    opened = _opened(pair, old, new)
    part = pair.space.connection_part
    found = _half(pair, new, opened) & ~_half(pair, old, opened) & part(opened) & pair.untracked_connections(kind)
    if is_empty(found):
        return
    own = pair.from_service_ports(kind)
    for narrowed, assumption in ((found & ~own, None), (found & own, "listener-holds-port")):
        for role, seen in new.items():
            tagged = narrowed & seen.untracked & ~dict(old.items())[role].untracked
            if is_empty(tagged):
                continue
            state = State.NEW if role == "opening" else State.ESTABLISHED
            yield differing(
                pair,
                tagged,
                DifferenceKind.HALF_TRACKED,
                FixClass.ASSUMING if assumption else None,
                _path(kind, role),
                _frame(role),
                (state, state),
                f"{_ROLE_WORDS[role]} are untracked, the other direction is not",
                assumption=assumption,
            )
            break


def _outcomes(
    pair: Pair, kind: Kind, role: str, before: Seen, after: Seen, connections: PacketSet, works: PacketSet
) -> Iterator[Difference | Undecided]:
    """Breaks, opens, lets through, and refusals of another kind."""
    own = pair.from_service_ports(kind)
    who = _ROLE_WORDS[role]

    def tell(
        found: PacketSet,
        difference: DifferenceKind,
        loosens: FixClass | None,
        text: str,
        expected: Expected | None = None,
        assumption: str | None = None,
    ) -> Iterator[Difference | Undecided]:
        if is_empty(found):
            return
        part, states = in_one_state(before, after, found)
        frame, path = _frame(role), _path(kind, role)
        yield differing(
            pair, found, difference, loosens, path, frame, states, text, witness_in=part, expected=expected,
            assumption=assumption,
        )  # fmt: skip

    lost = works & connections & before.accepted & ~after.accepted
    text = f"{who} were accepted and are not any more"
    yield from tell(lost & ~own, DifferenceKind.BREAKS, None, text, _loses)
    yield from tell(lost & own, DifferenceKind.BREAKS, FixClass.ASSUMING, text, _loses, "listener-holds-port")
    kept = works & connections & before.accepted & after.accepted
    changed = pair.space.none
    for a, b in zip(before.walk.mark, after.walk.mark, strict=True):
        if a != b:
            changed = changed | (kept & (a ^ b))
    yield from tell(changed, DifferenceKind.BREAKS, None, f"{who} carry another mark")
    gained = connections & after.accepted & before.packets & ~before.accepted
    text = f"{who} were refused and are accepted now ({'open' if role == 'opening' else 'let through'})"
    yield from tell(gained & ~own, DifferenceKind.OPENS, FixClass.RELAXING, text, _gains)
    yield from tell(gained & own, DifferenceKind.REVERSED, FixClass.REVERSED, text, _gains, "listener-holds-port")
    real = connections if role == "opening" else connections & works
    for verdict, packets in before.walk.outcomes.items():
        if verdict != ACCEPT:
            same = after.walk.outcomes.get(verdict, pair.space.none)
            found = real & packets & ~same & ~after.accepted
            text = f"{who} are refused in another way"
            yield from tell(found, DifferenceKind.REFUSAL, None, text, lambda a, b: a.verdict != b.verdict)


def _loses(old: Trace, new: Trace) -> bool:
    return old.verdict == ACCEPT and new.verdict != ACCEPT


def _gains(old: Trace, new: Trace) -> bool:
    return old.verdict != ACCEPT and new.verdict == ACCEPT


def in_one_state(before: Seen, after: Seen, found: PacketSet) -> tuple[PacketSet, tuple[State, State]]:
    """Some of the packets that are in one state under the old ruleset and in one under the new (before it
    untracks them).
    """
    none = before.walk.none
    for old in TRACKED_STATES:
        for new in TRACKED_STATES:
            part = found & before.walk.states.get(old, none) & after.walk.states.get(new, none)
            if not is_empty(part):
                return part, (old, new)
    return found, (State.NEW, State.NEW)


def _effects(
    pair: Pair, kind: Kind, role: str, before: Seen, after: Seen, connections: PacketSet
) -> Iterator[Difference | Undecided]:
    """Marks, packet changes, list writes, limits and logs that are met by other packets than before."""
    # what hangs on the entry is the consumers' affair
    done: set[object] = {EffectKind.NAT, EffectKind.ENTRY, EffectKind.TRACK}
    packets = before.packets & connections
    for key, found in effect_changes(before.walk, after.walk, packets, lambda key: key[0] not in done):
        group, text, _ = key
        if group in CARRIED:
            found = found & before.accepted & after.accepted
        if is_empty(found):
            continue
        done.add(group)
        part, states = in_one_state(before, after, found)
        loosens: FixClass | None = FixClass.RELAXING
        if is_log(key):
            loosens = FixClass.EXACT
        elif group in CARRIED:
            loosens = None
        yield differing(
            pair,
            found,
            DifferenceKind.BREAKS if loosens is None else DifferenceKind.EFFECT,
            loosens,
            _path(kind, role),
            _frame(role),
            states,
            f"{_ROLE_WORDS[role]} meet `{text}` otherwise than before",
            witness_in=part,
        )


def _strays(pair: Pair) -> Iterator[Difference | Undecided]:
    """Packets of N that belong to no connection: refused before, accepted now."""
    space = pair.space
    for path in ("in", "out", "forward", "local"):
        packets = pair.region & pair.domain(path, False)
        found = space.none
        first: State | None = None
        for state, shape in strays(space):
            before = pair.send(pair.old, path, packets & shape, state, role="stray", within_region=True)
            after = pair.send(pair.new, path, packets & shape, state, role="stray", within_region=True)
            newly = after.tag & ~before.tag & packets & shape
            accepted = after.outcomes.get(ACCEPT, space.none)
            refused = ~before.outcomes.get(ACCEPT, space.none)
            here = newly & accepted & refused
            if not is_empty(here) and first is None:
                first, found = state, here
        if first is None:
            continue
        for part in _of_servers(pair, path, found):
            lone = part & tcp_flags(space, LOOSE_FLAGS)
            yield differing(
                pair,
                part,
                DifferenceKind.STRAY,
                FixClass.SAME_CONNECTIONS,
                path,
                Frame("stray"),
                (first, first),
                "packets of no connection were refused and are accepted now",
                witness_in=part if is_empty(lone) else lone,
                expected=_gains,
            )


def _of_servers(pair: Pair, path: str, found: PacketSet) -> Iterator[PacketSet]:
    """Packets as two classes: those that come from the servers of this host, or go to them, and all others."""
    servers = pair.from_service_ports(KINDS[0]) if path in ("in", "out") else pair.space.none
    if path == "out":
        servers = pair.swap(servers)
    yield from (part for part in (found & ~servers, found & servers) if not is_empty(part))
