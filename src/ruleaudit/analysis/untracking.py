"""Inside N: the connections that a rewrite no longer tracks, role by role (design section 5, point 2)."""

from collections.abc import Iterator

from ruleaudit.analysis.connection import KINDS, Kind, strays
from ruleaudit.analysis.differing import differing
from ruleaudit.analysis.pair import Pair, Roles, Seen
from ruleaudit.analysis.space import Frame, TRACKED_STATES
from ruleaudit.analysis.walk import ACCEPT, EffectKey
from ruleaudit.diagnostics import FixClass
from ruleaudit.model.fields import State
from ruleaudit.model.ruleset import EffectKind
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.results import Difference, DifferenceKind, Undecided

_ROLE_WORDS = {
    "opening": "the packets that open a connection",
    "later": "the later packets of a connection",
    "reply": "the replies",
}


def check(pair: Pair) -> Iterator[Difference | Undecided]:
    """Every way in which a connection of N fares otherwise."""
    for kind in KINDS:
        newly = pair.newly_untracked(kind)
        connections = pair.untracked_connections(kind)
        yield from _tracked_again(pair, kind)
        if is_empty(connections):
            continue
        old, new = pair.roles(kind, pair.old), pair.roles(kind, pair.new)
        works = pair.space.connection_part(old.opening.accepted)
        opened = works | pair.space.connection_part(new.opening.accepted)
        yield from _untracked(pair, kind, {role: found & opened for role, found in newly.items()})
        yield from _half_tracked(pair, kind, old, new)
        for (role, before), (_, after) in zip(old.items(), new.items(), strict=True):
            yield from _outcomes(pair, kind, role, before, after, connections, works)
            yield from _effects(pair, kind, role, before, after, connections)
    yield from _strays(pair)


def reversed_service(pair: Pair, kind: Kind) -> PacketSet:
    """Connections that this host opens from the port of a service of its own that both rulesets let in.

    While a listener holds the port there are none: the assumption `listener-holds-port`.
    """
    if kind.name != "out":
        return pair.space.none
    services = pair.roles(KINDS[0], pair.new)
    inbound = pair.newly_untracked(KINDS[0])
    space = pair.space
    replies = space.connection_part(inbound["reply"]) & space.connection_part(services.opening.accepted)
    return pair.swap(replies)


def _frame(role: str) -> Frame:
    return Frame(role, role == "reply")


def _path(kind: Kind, role: str) -> str:
    return kind.back if role == "reply" else kind.there


def role_state(seen: Seen, packets: PacketSet) -> State:
    """A state in which some of the packets are under a ruleset (before it leaves them untracked)."""
    return next(
        (s for s in TRACKED_STATES if not is_empty(packets & seen.walk.states.get(s, seen.walk.none))), State.NEW
    )


def _tracked_again(pair: Pair, kind: Kind) -> Iterator[Difference | Undecided]:
    """R' tracks what R did not: outside the proof, unless it was half-tracked in R."""
    old, new = pair.roles(kind, pair.old), pair.roles(kind, pair.new)
    if not pair.new.active:
        return
    half = _half(pair, old)
    for (role, before), (_, after) in zip(old.items(), new.items(), strict=True):
        found = before.untracked & ~after.untracked & after.packets & ~half
        if not is_empty(found):
            state = role_state(after, found)
            yield differing(
                pair,
                found,
                DifferenceKind.TRACKED,
                None,
                _path(kind, role),
                _frame(role),
                (state, state),
                "untracked before, tracked now",
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


def _half(pair: Pair, roles: Roles) -> PacketSet:
    """Connections of which one role is untracked and another is not."""
    part = pair.space.connection_part
    tagged = pair.space.none
    tracked = pair.space.none
    for _, seen in roles.items():
        tagged = tagged | part(seen.untracked)
        tracked = tracked | part(seen.packets & ~seen.untracked)
    return tagged & tracked


def _half_tracked(pair: Pair, kind: Kind, old: Roles, new: Roles) -> Iterator[Difference | Undecided]:
    part = pair.space.connection_part
    opened = part(old.opening.accepted) | part(new.opening.accepted)
    found = _half(pair, new) & ~_half(pair, old) & opened & pair.untracked_connections(kind)
    if is_empty(found):
        return
    own = reversed_service(pair, kind)
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
    path, frame = _path(kind, role), _frame(role)
    own = reversed_service(pair, kind)

    def state(found: PacketSet) -> tuple[State, State]:
        return role_state(before, found), role_state(after, found)

    lost = works & connections & before.accepted & ~after.accepted
    for found, assumption in ((lost & ~own, None), (lost & own, "listener-holds-port")):
        if not is_empty(found):
            yield differing(
                pair,
                found,
                DifferenceKind.BREAKS,
                FixClass.ASSUMING if assumption else None,
                path,
                frame,
                state(found),
                f"{_ROLE_WORDS[role]} were accepted and are not any more",
                expected=lambda a, b: a.verdict == ACCEPT and b.verdict != ACCEPT,
                assumption=assumption,
            )
    kept = works & connections & before.accepted & after.accepted
    changed = pair.space.none
    for a, b in zip(before.walk.mark, after.walk.mark, strict=True):
        if a is not b:
            changed = changed | (kept & (a ^ b))
    if not is_empty(changed):
        yield differing(
            pair,
            changed,
            DifferenceKind.BREAKS,
            None,
            path,
            frame,
            state(changed),
            f"{_ROLE_WORDS[role]} carry another mark",
        )
    gained = connections & after.accepted & before.packets & ~before.accepted
    for found, assumption in ((gained & ~own, None), (gained & own, "listener-holds-port")):
        if not is_empty(found):
            kind_of = DifferenceKind.REVERSED if assumption else DifferenceKind.OPENS
            verb = "open" if role == "opening" else "let through"
            yield differing(
                pair,
                found,
                kind_of,
                FixClass.REVERSED if assumption else FixClass.RELAXING,
                path,
                frame,
                state(found),
                f"{_ROLE_WORDS[role]} were refused and are accepted now ({verb})",
                expected=lambda a, b: a.verdict != ACCEPT and b.verdict == ACCEPT,
                assumption=assumption,
            )
    real = connections if role == "opening" else connections & works
    for verdict, packets in before.walk.outcomes.items():
        if verdict == ACCEPT:
            continue
        same = after.walk.outcomes.get(verdict, pair.space.none)
        found = real & packets & ~same & ~after.accepted
        if not is_empty(found):
            yield differing(
                pair,
                found,
                DifferenceKind.REFUSAL,
                None,
                path,
                frame,
                state(found),
                f"{_ROLE_WORDS[role]} are refused in another way",
                expected=lambda a, b: a.verdict != b.verdict,
            )


def _effects(
    pair: Pair, kind: Kind, role: str, before: Seen, after: Seen, connections: PacketSet
) -> Iterator[Difference | Undecided]:
    """Marks, packet changes, list writes, limits and logs that are met by other packets than before."""
    path, frame = _path(kind, role), _frame(role)
    done: set[object] = set()
    for key, found in changed_effects(before, after, connections):
        group, text, _ = key
        if is_empty(found) or group in done:
            continue
        done.add(group)
        state = role_state(before, found)
        loosens: FixClass | None = FixClass.RELAXING
        if group in ("log", EffectKind.LOG):
            loosens = FixClass.EXACT
        elif group is EffectKind.CHANGE:
            loosens = None
        yield differing(
            pair,
            found,
            DifferenceKind.BREAKS if loosens is None else DifferenceKind.EFFECT,
            loosens,
            path,
            frame,
            (state, state),
            f"{_ROLE_WORDS[role]} meet `{text}` otherwise than before",
        )


def changed_effects(before: Seen, after: Seen, within: PacketSet) -> Iterator[tuple[EffectKey, PacketSet]]:
    """Effects that other packets meet than before; what hangs on the entry is the consumers' affair."""
    none = before.walk.none
    for ours, theirs in ((before.walk.effects, after.walk.effects), (before.walk.evaluated, after.walk.evaluated)):
        for key in dict.fromkeys([*ours, *theirs]):
            if key[0] in (EffectKind.NAT, EffectKind.ENTRY, EffectKind.TRACK):
                continue
            packets = before.packets & within
            yield key, packets & (ours.get(key, none) ^ theirs.get(key, none))


def _strays(pair: Pair) -> Iterator[Difference | Undecided]:
    """Packets of N that belong to no connection: refused before, accepted now."""
    space = pair.space
    for path in ("in", "out", "forward", "local"):
        packets = pair.region & pair.domain(path, False)
        found = space.none
        first: State | None = None
        for state, shape in strays(space):
            before = pair.send(pair.old, path, packets & shape, state, role="stray")
            after = pair.send(pair.new, path, packets & shape, state, role="stray")
            newly = after.tag & ~before.tag & packets & shape
            accepted = after.outcomes.get(ACCEPT, space.none)
            refused = ~before.outcomes.get(ACCEPT, space.none)
            here = newly & accepted & refused
            if not is_empty(here) and first is None:
                first, found = state, here
        if first is not None:
            yield differing(
                pair,
                found,
                DifferenceKind.STRAY,
                FixClass.SAME_CONNECTIONS,
                path,
                Frame("stray"),
                (first, first),
                "packets of no connection were refused and are accepted now",
                expected=lambda a, b: a.verdict != ACCEPT and b.verdict == ACCEPT,
            )
