"""Fragments: with the last conntrack user gone nobody puts them together again (design section 5, point 6; facts, 6).

IPv4 reassembles before INPUT by itself; IPv6 to this host, and whatever is forwarded, meets the rules in pieces, and
only the first piece has ports.
"""

from collections.abc import Iterator

from ruleaudit.analysis.connection import KINDS, Kind
from ruleaudit.analysis.differing import differing
from ruleaudit.analysis.pair import Pair
from ruleaudit.analysis.space import Frame
from ruleaudit.analysis.verdicts import ACCEPT
from ruleaudit.model.fields import Family, Field, Fragment, State
from ruleaudit.packets.diagram import is_empty
from ruleaudit.results import Difference, DifferenceKind, Undecided


def check(pair: Pair) -> Iterator[Difference | Undecided]:
    """Each path on which later fragments of a working connection are refused once nothing is tracked."""
    if not pair.old.active or pair.new.active:
        return
    for kind in KINDS:
        for role in ("opening", "reply"):
            path = kind.back if role == "reply" else kind.there
            if path == "forward" or (path == "in" and pair.space.family is Family.IPV6):
                yield from _later(pair, kind, role, path)


def _later(pair: Pair, kind: Kind, role: str, path: str) -> Iterator[Difference | Undecided]:
    space = pair.space
    roles = pair.roles(kind, pair.old)
    seen = roles.reply if role == "reply" else roles.opening
    reverse = role == "reply"
    whole = seen.accepted & space.connection_part(roles.opening.accepted)
    pieces = whole.exists(space.diagrams.cube(space.bits[Field.FRAGMENT])) & space.is_(Field.FRAGMENT, Fragment.LATER)
    if is_empty(pieces):
        return
    state = State.ESTABLISHED if reverse else State.NEW
    walk = pair.send(pair.new, path, pieces, state, role=role, reverse=reverse, original=not reverse)
    lost = pieces & ~walk.outcomes.get(ACCEPT, space.none)
    if not is_empty(lost):
        yield differing(
            pair,
            lost,
            DifferenceKind.BREAKS,
            None,
            path,
            Frame(role, reverse),
            (state, state),
            "nothing is tracked any more, so that fragments are no longer put together: later ones have no ports",
            expected=lambda a, b: a.verdict == ACCEPT and b.verdict != ACCEPT,
            reassembled=True,
        )
