"""The services that rules let in by their ports, and whether their connections can work."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

from ruleaudit.analysis.connection import Kind, tcp_flags
from ruleaudit.analysis.pair import Pair, Seen
from ruleaudit.analysis.space import Frame, Space, View
from ruleaudit.analysis.trace import decider
from ruleaudit.analysis.translated import any_translated, changes_destination, where_replies_look_otherwise
from ruleaudit.analysis.walk import chains_from
from ruleaudit.analysis.witness import Sample, follow, sample
from ruleaudit.model.fields import TCP, UDP, AddressType, Family, Field, Hook, State, TcpFlag
from ruleaudit.model.ruleset import Accept, Chain, Rule, Ruleset
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.rules.served import CLIENT_PORTS, UNANSWERED, names_the_serving_side

#: the hook whose chains decide about the openings of a kind of connection
HOOKS = {"in": Hook.INPUT, "out": Hook.OUTPUT, "forward": Hook.FORWARD}
#: more ports than these are no service: a range for replies, or for whatever a program chooses
_MOST_PORTS = 1024
#: 0.0.0.0/8 and 127.0.0.0/8: no connection has them on a wire
_ON_NO_WIRE = ((0, (1 << 24) - 1), (127 << 24, (128 << 24) - 1))
_REFUSALS = ("drop", "reject")
_SYN, _ACK = int(TcpFlag.SYN), int(TcpFlag.ACK)
#: so many rules are looked at first
_AT_ONCE = 32


def filtering(ruleset: Ruleset, hook: Hook) -> frozenset[tuple[str, str]]:
    """(table, chain) of the chains that filter at a hook, and of those that they lead to."""
    return chains_from(ruleset, (c for c in ruleset.base_chains(hook) if not c.nat))


def has_accepts(ruleset: Ruleset, hook: Hook) -> bool:
    """Some rule at a hook accepts packets."""
    return any(True for _ in _accepting(ruleset, hook))


def _accepting(ruleset: Ruleset, hook: Hook) -> Iterator[Rule]:
    """The rules that accept packets at a hook, in the order of the text."""
    chains = filtering(ruleset, hook)
    rules = (rule for rule in ruleset.rules() if (rule.table, rule.chain) in chains)
    return (rule for rule in rules if isinstance(rule.verdict, Accept))


def refused(seen: Seen) -> PacketSet:
    """The packets that are dropped or rejected, whatever else may happen to them for other answers to open tests."""
    out = seen.walk.none
    for verdict, packets in seen.walk.outcomes.items():
        if verdict[0] in _REFUSALS:
            out = out | packets
    return out


def opening(pair: Pair, rule: Rule) -> PacketSet:
    """The packets that open connections, as far as one rule matches them, wherever others send them."""
    space = pair.space
    number = pair.old.identities.numbers[rule]
    mark = space.diagrams.vector(space.bits[Field.MARK])
    found = space.none
    for state in (State.NEW, State.UNTRACKED):
        states = {s: space.all if s is state else space.none for s in State}
        view = View(states, mark, space.all)
        found = found | space.cached(rule.key, rule.condition, Frame("opening"), view, number, rule.understood)
    return found


@dataclass(frozen=True)
class Refusal:
    """Packets that connections need and that nobody gets through: `role` is opening, reply or later; a packet of
    them, and the rule or policy that refuses it.
    """

    role: str
    sample: Sample
    by: Rule | Chain

    @property
    def where(self) -> str:
        return self.by.where if isinstance(self.by, Rule) else f"the policy of {self.by.name}"


class Services:
    """The connections of one kind, and who refuses a part of them that they cannot do without."""

    def __init__(self, pair: Pair, kind: Kind) -> None:
        self.pair, self.space, self.kind = pair, pair.space, kind
        self.roles = pair.roles(kind, pair.old)

    def accepted(self) -> Iterator[tuple[Rule, PacketSet]]:
        """The rules that let connections in, and the openings that they accept: from one host to another, tracked."""
        return self._accepts(self._openings)

    def in_vain(self) -> Iterator[tuple[Rule, PacketSet]]:
        """The rules of which no connection works that wants an answer, and the openings that they accept."""
        accepting, met = self._perhaps_in_vain(), set[Rule]()
        # more of them each time: whoever asks needs few, and each time all decisions are gone through
        number = _AT_ONCE
        while some := dict.fromkeys(islice((by for by in accepting if by not in met), number), self.space.none):
            met.update(some)
            for rule, openings in self.roles.opening.walk.decided.accepts(self._openings, some.__contains__):
                some[rule] = some[rule] | openings
            for rule, openings in some.items():
                wanted = self.answered(openings)
                if not is_empty(wanted) and is_empty(self.working(wanted)):
                    yield rule, openings
            number *= 2

    def _perhaps_in_vain(self) -> Iterator[Rule]:
        """The first rules that may let connections in; of the others those with a connection that does not work, which
        is asked only if the first do not suffice.
        """
        yield from islice(_accepting(self.pair.old.ruleset, HOOKS[self.kind.name]), _AT_ONCE)
        failing = self.answered(self._openings) & ~(self._replied & self._continued)
        yield from (by for by, _ in self._accepts(failing))

    def _accepts(self, packets: PacketSet) -> Iterator[tuple[Rule, PacketSet]]:
        chains = filtering(self.pair.old.ruleset, HOOKS[self.kind.name])
        return self.roles.opening.walk.decided.accepts(packets, lambda by: (by.table, by.chain) in chains)

    @cached_property
    def _openings(self) -> PacketSet:
        """Those that are accepted, and of which every packet is seen as it is."""
        space, seen = self.space, self.roles.opening
        several = (AddressType.BROADCAST, AddressType.MULTICAST)
        found = seen.accepted & ~space.values(Field.DST_TYPE, tuple((int(t), int(t)) for t in several))
        found = found & on_a_wire(space)
        for role in (self.roles.opening, self.roles.later, self.roles.reply):
            if not is_empty(role.untracked):
                found = found & ~space.connection_part(role.untracked)
        found = found & ~any_translated(seen.walk, source=False)
        if where_replies_look_otherwise(self.pair.old.ruleset) is not None:
            found = found & ~any_translated(seen.walk, source=True)
        return found

    def by_port(self, openings: PacketSet) -> bool:
        """Some openings are those of a service: told apart by few ports of the side that serves."""
        space = self.space
        ports = space.few_taken(openings, Field.DPORT, 32)
        if ports is None or sum(high - low + 1 for low, high in ports) > _MOST_PORTS:
            return False
        return names_the_serving_side(space, openings)

    def answered(self, openings: PacketSet) -> PacketSet:
        """Those of some openings that want an answer: TCP, and UDP of which not only one side speaks."""
        space = self.space
        ports = space.values(Field.DPORT, UNANSWERED) | space.values(Field.SPORT, UNANSWERED)
        udp = space.is_(Field.PROTOCOL, UDP) & ~ports
        return openings & (space.is_(Field.PROTOCOL, TCP) | udp)

    def alike(self, rule: Rule, openings: PacketSet) -> PacketSet:
        """The openings to the same ports that a rule would accept and that some rule does, an earlier one perhaps."""
        space = self.space
        ports = space.forget_all_but(openings, (Field.PROTOCOL, Field.DPORT))
        named = space.whatever_is_unknown(opening(self.pair, rule))
        return self._openings & ports & named

    # -- what they cannot do without -------------------------------------------------------------------

    def working(self, openings: PacketSet) -> PacketSet:
        """The connections (with the interfaces of their originator's packets) of which every part may pass."""
        return self._usual(openings) & self._replied & self._continued

    def refusal(self, openings: PacketSet) -> Refusal | None:
        """Who refuses what some connections need, all of them; None where the reference interpreter does not agree."""
        connections = self._usual(openings)
        if is_empty(connections & self._replied):
            return self._refused("reply", connections)
        return self._refused("later", connections & self._replied)

    def _connections(self, openings: PacketSet) -> PacketSet:
        return self.space.connection_part(openings, keep_interfaces=True)

    def _usual(self, openings: PacketSet) -> PacketSet:
        """The connections of some openings; of TCP those from the ports that clients take, unless there are none."""
        space = self.space
        tcp = openings & space.is_(Field.PROTOCOL, TCP)
        usual = tcp & space.values(Field.SPORT, (CLIENT_PORTS,))
        return self._connections((openings & ~tcp) | (tcp if is_empty(usual) else usual))

    @cached_property
    def _replied(self) -> PacketSet:
        """The connections whose replies may leave by the interface that the opening came from."""
        seen = self.roles.reply
        passing = seen.packets & ~refused(seen)
        first, more = (self._connections(passing & self._flags(flags)) for flags in (_SYN | _ACK, _ACK))
        return self._turned(first & more)

    @cached_property
    def _continued(self) -> PacketSet:
        """The connections whose later packets may pass; of UDP none is needed."""
        seen = self.roles.later
        passing = seen.packets & ~refused(seen) & self._flags(_ACK)
        return self._connections(passing) | ~self.space.is_(Field.PROTOCOL, TCP)

    def _flags(self, flags: int) -> PacketSet:
        return ~self.space.is_(Field.PROTOCOL, TCP) | tcp_flags(self.space, (flags,))

    def _turned(self, connections: PacketSet) -> PacketSet:
        """The same with the interfaces exchanged: what came by one leaves by it."""
        return self.space.diagrams.exchange(connections, self.space.pairs((Field.IIF, Field.OIF)))

    def _refused(self, role: str, connections: PacketSet) -> Refusal | None:
        reverse = role == "reply"
        seen = self.roles.reply if reverse else self.roles.later
        mine = self._turned(connections) if reverse else connections
        for flags in (_SYN | _ACK, _ACK) if reverse else (_ACK,):
            found = seen.packets & mine & self._flags(flags) & refused(seen)
            if not is_empty(found):
                path = self.kind.back if reverse else self.kind.there
                return shown(self.pair, seen, role, found, path)
        return None


def shown(pair: Pair, seen: Seen, role: str, packets: PacketSet, path: str) -> Refusal | None:
    """A refused packet out of a set, unless the reference interpreter lets it pass."""
    for state, of in seen.walk.states.items():
        found = packets & of
        if is_empty(found):
            continue
        chosen = sample(pair.space, found, path, Frame(role, role == "reply"), state if pair.old.active else None)
        way = follow(pair, pair.old, chosen, state)
        by = decider(pair.old.ruleset, way)
        return Refusal(role, chosen, by) if way.verdict[0] in _REFUSALS and by is not None else None
    return None


def sends_elsewhere(rules: Iterable[Rule]) -> bool:
    """Some rule changes where packets go, so that what is refused before it says nothing of what comes behind it."""
    return any(changes_destination(rule) for rule in rules)


def on_a_wire(space: Space) -> PacketSet:
    """The packets whose addresses both belong to somebody; those of loopback go from the host to itself."""
    out = space.all
    for side in (Field.SADDR, Field.DADDR) if space.family is Family.IPV4 else ():
        out = out & ~space.values(side, _ON_NO_WIRE)
    return out


def tcp_to(space: Space, ports: tuple[tuple[int, int], ...]) -> PacketSet:
    """TCP packets to some ports."""
    return space.is_(Field.PROTOCOL, TCP) & space.values(Field.DPORT, ports)
