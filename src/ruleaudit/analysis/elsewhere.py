"""Outside N: packets that both rulesets track, or both leave alone, must fare the same (design section 5, point 1).

Every header in every state that it can have is sent along each path; where NAT may change the header on the way, the
hooks behind it are compared once more with the header free.
"""

from collections.abc import Iterator

from ruleaudit.analysis.connection import icmp_errors, possible_states
from ruleaudit.analysis.differing import differing
from ruleaudit.analysis.pair import Pair, Side, has_nat
from ruleaudit.analysis.space import TRACKED_STATES, Frame
from ruleaudit.analysis.verdicts import ACCEPT
from ruleaudit.analysis.walk import PATHS, EffectKey, Walk, effect_changes, is_log
from ruleaudit.diagnostics import FixClass
from ruleaudit.model.fields import Field, Hook, State
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.results import Difference, DifferenceKind, Undecided


def check(pair: Pair) -> Iterator[Difference | Undecided]:
    """Every packet outside N that fares otherwise."""
    for path in PATHS:
        packets = pair.region & pair.domain(path, False)
        yield from _compare(pair, path, PATHS[path], packets, free_header=False)
    if has_nat(pair.old.ruleset) or has_nat(pair.new.ruleset):
        for path in ("in", "forward"):
            hooks = tuple(h for h in PATHS[path] if h is not Hook.PREROUTING)
            packets = pair.region & pair.space.domain & pair.space.is_(Field.FRAGMENT, 0)
            yield from _compare(pair, path, hooks, packets, free_header=True)


def _walk(pair: Pair, side: Side, hooks: tuple[Hook, ...], packets: PacketSet, free_header: bool) -> Walk:
    walk = pair.free_walk(side, within_region=True)
    if free_header:
        walk.skip_look_up()
    walk.run(hooks, packets)
    return walk


def _compare(
    pair: Pair, path: str, hooks: tuple[Hook, ...], packets: PacketSet, free_header: bool
) -> Iterator[Difference | Undecided]:
    space = pair.space
    if is_empty(packets):
        return
    packets = packets & possible_states(space, pair.helpers, path)
    before = _walk(pair, pair.old, hooks, packets, free_header)
    after = _walk(pair, pair.new, hooks, packets, free_header)
    same_tag = packets & ~(before.tag ^ after.tag)
    none = space.none
    done: set[DifferenceKind] = set()
    for found, kind, loosens, text in _changes(pair, before, after, same_tag):
        if is_empty(found) or (kind in done and loosens is not None):
            continue
        done.add(kind)
        for part in pair.by_change(found):
            state = next(
                (s for s in TRACKED_STATES if not is_empty(part & space.in_state(s) & ~before.tag)), State.UNTRACKED
            )
            narrowed = part & (space.in_state(state) & ~before.tag if state is not State.UNTRACKED else before.tag)
            yield differing(pair, narrowed, kind, loosens, path, Frame("any"), (state, state), text)
    told: set[FixClass | None] = set()
    # ICMP errors that are newly accepted as INVALID are the one exception, whatever they met before
    excepted = space.in_state(State.INVALID) & icmp_errors(space) & ~before.tag
    excepted = excepted & ~before.outcomes.get(ACCEPT, none) & after.outcomes.get(ACCEPT, none)
    same_tag = same_tag & ~excepted

    def loosening(key: EffectKey) -> FixClass | None:
        return FixClass.EXACT if is_log(key) else None

    for key, found in effect_changes(before, after, same_tag, lambda key: loosening(key) not in told):
        loosens = loosening(key)
        told.add(loosens)
        state = next((s for s in TRACKED_STATES if not is_empty(found & space.in_state(s))), State.NEW)
        yield differing(
            pair,
            found & space.in_state(state),
            DifferenceKind.EFFECT,
            loosens,
            path,
            Frame("any"),
            (state, state),
            f"tracked packets meet `{key[1]}` otherwise than before",
        )


def _changes(
    pair: Pair, before: Walk, after: Walk, same: PacketSet
) -> Iterator[tuple[PacketSet, DifferenceKind, FixClass | None, str]]:
    space = pair.space
    none = space.none
    ours, theirs = before.outcomes.get(ACCEPT, none), after.outcomes.get(ACCEPT, none)
    invalid = space.in_state(State.INVALID) & ~before.tag
    lost = same & ours & ~theirs
    gained = same & ~ours & theirs
    yield from (
        (lost & ~invalid, DifferenceKind.BREAKS, None, "accepted before and not any more"),
        (lost & invalid, DifferenceKind.STRAY, None, "packets of no connection were accepted and are not any more"),
        (gained & ~invalid, DifferenceKind.OPENS, FixClass.RELAXING, "refused before and accepted now"),
        (
            gained & invalid & ~icmp_errors(space),
            DifferenceKind.STRAY,
            FixClass.RELAXING,
            "packets of no connection were refused and are accepted now, although conntrack sees them",
        ),
        (
            gained & invalid & icmp_errors(space),
            DifferenceKind.STRAY,
            FixClass.SAME_CONNECTIONS,
            "ICMP errors about no tracked connection are accepted now",
        ),
    )
    for verdict, packets in before.outcomes.items():
        if verdict != ACCEPT:
            other = after.outcomes.get(verdict, none)
            yield same & packets & ~other & ~theirs, DifferenceKind.REFUSAL, None, "refused in another way"
    changed = none
    for a, b in zip(before.mark, after.mark, strict=True):
        if a != b:
            changed = changed | (same & ours & theirs & (a ^ b))
    yield changed, DifferenceKind.EFFECT, None, "accepted with another mark"
