"""Consumers of conntrack that connections of N can reach, and NAT whose translated replies lie in N (section 5,
point 3).
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import partial

from ruleaudit.analysis.connection import KINDS, Kind, role_shape
from ruleaudit.analysis.differing import differing
from ruleaudit.analysis.pair import Pair, Roles, Side
from ruleaudit.analysis.space import Frame, Space
from ruleaudit.diagnostics import FixClass
from ruleaudit.model.fields import TCP, AddressType, Field, Hook, State
from ruleaudit.model.ruleset import Consumer, Effect, EffectKind, Rule, Use
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.results import Difference, DifferenceKind, Undecided

#: MASQUERADE stays in the class of the source port when it has to choose another (facts section 18, [a04])
PORT_CLASSES = ((0, 0), (1, 511), (512, 1023), (1024, 65535))


def check(pair: Pair) -> Iterator[Difference | Undecided]:
    """Each rule whose effect in conntrack a connection of N would lose."""
    for kind in KINDS:
        connections = pair.untracked_connections(kind)
        if not is_empty(connections):
            yield from _reached(pair, kind, connections)
    for image in images(pair):
        yield differing(
            pair,
            image.packets,
            DifferenceKind.BREAKS,
            FixClass.ASSUMING if image.assumption else None,
            image.path,
            IMAGE,
            (State.ESTABLISHED, State.ESTABLISHED),
            f"replies to connections that {image.rule.where} ({_word(image.effect)}) translates look the same"
            " and would no longer be translated back",
            forbidding=image.rule,
            assumption=image.assumption,
        )


def _reached(pair: Pair, kind: Kind, connections: PacketSet) -> Iterator[Difference | Undecided]:
    roles = pair.roles(kind, pair.old)
    own = pair.from_service_ports(kind)
    told: set[Rule] = set()
    for rule, what, role, packets in consumed(roles, told):
        for found, assumption in (
            (packets & connections & ~own, None),
            (packets & connections & own, "listener-holds-port"),
        ):
            if is_empty(found):
                continue
            told.add(rule)
            path = kind.back if role == "reply" else kind.there
            state = State.NEW if role == "opening" else State.ESTABLISHED
            yield differing(
                pair,
                found,
                DifferenceKind.BREAKS,
                FixClass.ASSUMING if assumption else None,
                path,
                Frame(role, role == "reply"),
                (state, state),
                f"{rule.where} ({what}) works through conntrack and no longer sees these connections",
                forbidding=rule,
                assumption=assumption,
            )


def consumed(roles: Roles, told: Container[Rule] = ()) -> Iterator[tuple[Rule, str, str, PacketSet]]:
    """(rule, what it is, role, packets): what creates or changes the entry by an opening, what reads it by any role.

    The rules that are `told` by the time when their turn comes are left out.
    """
    for role, seen in roles.items():
        for (rule, consumer), packets in seen.walk.consumed.of(partial(_concerns, role == "opening", told)):
            yield rule, consumer.what, role, packets & seen.packets


def _concerns(opening: bool, told: Container[Rule], key: tuple[Rule, Consumer]) -> bool:
    rule, consumer = key
    return rule not in told and (opening or consumer.use is Use.READS)


#: how the packets of an image are seen: as replies
IMAGE = Frame("reply", True)


@dataclass(frozen=True, slots=True)
class Image:
    """Packets of N on a path that look like translated replies to what a rule translates by an effect; `assumption` is
    what keeps them from being any.
    """

    rule: Rule
    effect: Effect
    packets: PacketSet
    path: str
    assumption: str | None


def images(pair: Pair) -> Iterator[Image]:
    """No translated reply may look like a packet of N: it would be left untranslated."""
    rules = [r for r in pair.old.ruleset.rules() if any(e.kind is EffectKind.NAT for e in r.effects)]
    if not rules or is_empty(pair.region):
        return
    space = pair.space
    tagged = {hook: _newly_tagged(pair, hook) for hook in (Hook.PREROUTING, Hook.OUTPUT)}
    if all(is_empty(found) for found in tagged.values()):
        return
    whole = Side(pair.old.ruleset, pair.old.identities, pair.old.active)
    told: set[Rule] = set()
    for kind in KINDS:
        packets = pair.domain(kind.there, False) & role_shape(space, "opening")
        walk = pair.send(whole, kind.there, packets, State.NEW, role="opening")
        for rule in rules:
            openings = walk.matched.get(rule)
            if openings is None or rule in told:
                continue
            openings = space.connection_part(openings)
            for effect in rule.effects:
                if effect.kind is not EffectKind.NAT:
                    continue
                for image, assumption in _image(space, effect, openings):
                    for hook, newly in tagged.items():
                        found = image & newly
                        if is_empty(found) or rule in told:
                            continue
                        told.add(rule)
                        path = "in" if hook is Hook.PREROUTING else "out"
                        yield Image(rule, effect, found, path, assumption)


def _word(effect: Effect) -> str:
    return effect.text.split()[0] if effect.text else "NAT"


def _newly_tagged(pair: Pair, hook: Hook) -> PacketSet:
    """Packets from side B to side A that only the new ruleset leaves untracked at a hook."""
    space = pair.space
    paths = ("in", "forward") if hook is Hook.PREROUTING else ("out",)
    tags = [space.none, space.none]
    for path in paths:
        packets = pair.region & pair.domain(path, True)
        for index, side in enumerate((pair.old, pair.new)):
            states = {State.ESTABLISHED: space.all}
            walk = pair.walk(side, Frame("reply", True), states, space.none, within_region=True)
            walk.run((hook,), packets)
            tags[index] = tags[index] | (walk.tag & packets)
    return tags[1] & ~tags[0]


def _image(space: Space, effect: Effect, openings: PacketSet) -> Iterator[tuple[PacketSet, str | None]]:
    """What the replies of translated connections look like on the wire, read from B to A."""
    word = _word(effect)
    forget = space.diagrams.cube
    if word in ("SNAT", "MASQUERADE"):
        side = [*space.bits[Field.SADDR], *space.bits[Field.SRC_TYPE]]
        for low, high in PORT_CLASSES:
            of_class = openings & space.values(Field.SPORT, ((low, high),))
            if is_empty(of_class):
                continue
            image = of_class.exists(forget([*side, *space.bits[Field.SPORT]]))
            image = image & space.values(Field.SPORT, effect.ports or ((low, high),))
            image = image & (
                space.values(Field.SADDR, effect.addresses)
                if effect.addresses
                else space.is_(Field.SRC_TYPE, AddressType.LOCAL)
            )
            tcp_low = space.is_(Field.PROTOCOL, TCP) & space.values(Field.SPORT, ((0, 1023),))
            yield image & ~tcp_low, None
            yield image & tcp_low, None if effect.ports else "masq-low-ports"
        return
    bits = [*space.bits[Field.DADDR], *space.bits[Field.DST_TYPE]]
    if effect.ports:
        bits += space.bits[Field.DPORT]
    image = openings.exists(forget(bits))
    if effect.ports:
        image = image & space.values(Field.DPORT, effect.ports)
    if effect.addresses:
        image = image & space.values(Field.DADDR, effect.addresses)
    elif word == "REDIRECT":
        image = image & space.is_(Field.DST_TYPE, AddressType.LOCAL)
    yield image, None
