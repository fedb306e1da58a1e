"""Whether a ruleset does what somebody expects of it: the expectations that it does not meet, with a packet that shows
it.

Traffic that can open connections means the connections that it opens: *accepted* is a connection whose opening packet,
replies and later packets pass, *refused* one whose opening packet does not. Other traffic (a state, TCP flags or ICMP
errors were asked for) means its packets, in every state that they can have.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ruleaudit.analysis.connection import KINDS, Kind, possible_states
from ruleaudit.analysis.follow import header
from ruleaudit.analysis.pair import Pair, Roles, Seen, spoken_of
from ruleaudit.analysis.space import TRACKED_STATES, Frame, Space
from ruleaudit.analysis.stretch import steps
from ruleaudit.analysis.translated import translated_by_rule, where_replies_look_otherwise
from ruleaudit.analysis.unmet import Part, Refuting
from ruleaudit.analysis.verdicts import ACCEPT
from ruleaudit.model.expectation import Expectation, Fate
from ruleaudit.model.fields import TCP, AddressType, Field, Fragment, PacketType, State, TcpFlag
from ruleaudit.model.ruleset import Ruleset
from ruleaudit.packets.diagram import PacketSet, is_empty, with_room
from ruleaudit.results.expectation import Stage, Unmet

_SYN, _ACK, _ECE, _CWR = (int(f) for f in (TcpFlag.SYN, TcpFlag.ACK, TcpFlag.ECE, TcpFlag.CWR))
_FIN, _PSH = int(TcpFlag.FIN), int(TcpFlag.PSH)
#: those that have a letter in a text; ECE and CWR are open
_LETTERS = 0x3F
#: the flags of segments without which no connection works: resets and urgent data may be refused
_OPENING = (_SYN, _SYN | _ECE | _CWR)
_LATER = (_ACK, _ACK | _PSH, _ACK | _FIN, _ACK | _PSH | _FIN)
_REPLY = (_SYN | _ACK, _SYN | _ACK | _ECE, *_LATER)


def unmet(ruleset: Ruleset, expectations: Iterable[Expectation]) -> tuple[Unmet, ...]:
    """The expectations about a ruleset that do not hold, or that cannot be decided."""
    expectations = tuple(expectations)
    if not expectations:
        return ()
    found = with_room(
        lambda room: tuple(_in_space(_space(ruleset, expectations, room), ruleset, expectations)), steps(ruleset)
    )
    if found is not None:
        return found
    reason = "it cannot be decided: the packets of this ruleset do not fit into memory"
    return tuple(Unmet(e, Stage.OPENING, reason, False) for e in expectations)


def _space(ruleset: Ruleset, expectations: Iterable[Expectation], room: int) -> Space:
    spoken = spoken_of((ruleset,))
    spoken.names |= {name for e in expectations for name in (e.traffic.iif, e.traffic.oif) if name}
    return spoken.space(ruleset.family, room)


def _in_space(space: Space, ruleset: Ruleset, expectations: Iterable[Expectation]) -> Iterator[Unmet]:
    # what comes from the wire carries no mark, so that none decides what is tracked
    unmarked = space.is_(Field.MARK, 0)
    pair = Pair.alone(space, ruleset, unmarked)
    for expectation in expectations:
        mark = expectation.traffic.mark
        asked = Pair.alone(space, ruleset, unmarked | space.is_(Field.MARK, mark)) if mark else pair
        found = next(_Expected(asked, expectation).failures(), None)
        if found is not None:
            yield found


class _Expected:
    """One expectation about one ruleset."""

    def __init__(self, pair: Pair, expectation: Expectation) -> None:
        self.pair, self.space, self.side = pair, pair.space, pair.old
        self.expectation, self.traffic = expectation, expectation.traffic
        self.refuting = Refuting(pair, expectation)

    def failures(self) -> Iterator[Unmet]:
        """What is wrong, the certain before the possible, and the earlier stage before the later."""
        doubtful: list[Unmet] = []
        for found in self._found():
            if found.proved:
                yield found
            else:
                doubtful.append(found)
        yield from doubtful

    def _found(self) -> Iterator[Unmet]:
        kind = self._kind()
        if not self.traffic.states:
            seen = self.pair.roles(kind, self.side).opening
            opening = self._start(seen.packets)
            if not is_empty(opening):
                flags = ~self.space.is_(Field.PROTOCOL, TCP) | self._flags(_OPENING)
                yield from self._connections(kind, seen, self._usual(opening, kind, flags))
                return
        yield from self._packets(kind)

    @property
    def _refusing(self) -> bool:
        return self.expectation.verdict in (Fate.DROP, Fate.REJECT, Fate.REFUSE)

    def _kind(self) -> Kind:
        kinds = {kind.name: kind for kind in KINDS}
        return kinds["local" if "lo" in (self.traffic.iif, self.traffic.oif) else self.traffic.path]

    # -- which packets ---------------------------------------------------------------------------------

    def _start(self, packets: PacketSet) -> PacketSet:
        """Those that the traffic speaks of; whatever comes from the wire carries no mark."""
        space = self.space
        found = packets & header(space, self.traffic, _LETTERS) & space.is_(Field.MARK, self.traffic.mark or 0)
        return found & space.is_(Field.FRAGMENT, self.traffic.fragment or Fragment.WHOLE)

    def _usual(self, packets: PacketSet, kind: Kind, flags: PacketSet) -> PacketSet:
        """Refusals are asked of every packet; to accept means the usual ones: from one host to another."""
        if self._refusing:
            return packets
        space = self.space
        local, remote = AddressType.LOCAL, AddressType.UNICAST
        for wish in (
            space.is_(Field.DST_TYPE, local if kind.there in ("in", "local") else remote),
            space.is_(Field.SRC_TYPE, local if kind.there in ("out", "local") else remote),
            space.is_(Field.PKTTYPE, PacketType.UNICAST),
            flags,
        ):
            if not is_empty(packets & wish):
                packets = packets & wish
        return packets

    def _flags(self, combinations: tuple[int, ...]) -> PacketSet:
        found = self.space.none
        for value in combinations:
            found = found | self.space.flags(0xFF, value)
        return found

    def _connections(self, kind: Kind, seen: Seen, opening: PacketSet) -> Iterator[Unmet]:
        """The stages of the connections that some packets open."""
        start = self._part(Stage.OPENING, opening, seen, kind.there, Frame("opening"))
        translated = translated_by_rule(start.walk, opening, source=False)
        elsewhere = self.space.none
        for packets in translated.values():
            elsewhere = elsewhere | packets
        yield from self.refuting.judged(self._without(start, elsewhere))
        for rule, packets in translated.items():
            yield self.refuting.not_followed(start, rule, packets)
        if self.expectation.verdict in (Fate.ACCEPT, None):
            yield from self._exchange(kind, self.pair.roles(kind, self.side), self._without(start, elsewhere))

    def _exchange(self, kind: Kind, roles: Roles, start: Part) -> Iterator[Unmet]:
        """Replies and later packets of the connections whose opening packet passes."""
        space, traffic = self.space, self.traffic
        tcp, unmarked = space.is_(Field.PROTOCOL, TCP), space.is_(Field.MARK, 0)
        several = (AddressType.BROADCAST, AddressType.MULTICAST)
        one_host = ~space.values(Field.DST_TYPE, tuple((int(t), int(t)) for t in several))
        opened = space.connection_part(start.packets & start.accepted)
        usual = unmarked & space.is_(Field.PKTTYPE, PacketType.UNICAST)
        there, back = space.all, space.all
        for name, mirrored, interface in (
            (Field.IIF, Field.OIF, traffic.iif),
            (Field.OIF, Field.IIF, traffic.oif),
        ):
            if interface is not None and kind.name != "local":
                # what was said of the first packet's way holds for the connection: replies leave as it came
                there = there & space.interface(name, interface)
                back = back & space.interface(mirrored, interface)
        replies = roles.reply.packets & opened & one_host & usual & back & (~tcp | self._flags(_REPLY))
        hidden = where_replies_look_otherwise(self.side.ruleset)
        translated = translated_by_rule(start.walk, start.packets, source=True) if hidden is not None else {}
        for rule, packets in translated.items():
            connections = space.connection_part(packets)
            yield self.refuting.not_followed(start, rule, packets, hidden)
            replies = replies & ~connections
        yield from self.refuting.judged(self._part(Stage.REPLY, replies, roles.reply, kind.back, Frame("reply", True)))
        later = roles.later.packets & opened & usual & there & (~tcp | self._flags(_LATER))
        yield from self.refuting.judged(self._part(Stage.LATER, later, roles.later, kind.there, Frame("later")))

    def _packets(self, kind: Kind) -> Iterator[Unmet]:
        """Packets that open nothing, or of which a state was asked for, in each state that they can have."""
        space, pair = self.space, self.pair
        asked = self._start(pair.domain(kind.there, False))
        if is_empty(asked):
            asked = self._start(space.domain)
        asked = self._usual(asked, kind, space.all)
        if is_empty(asked):
            yield Unmet(self.expectation, Stage.PACKETS, "there are no such packets", False)
            return
        states = self.traffic.states or (State.UNTRACKED, *TRACKED_STATES)
        possible = possible_states(space, pair.helpers, kind.there)
        nobody = True
        for state in states:
            sent = state if state in TRACKED_STATES else State.INVALID
            here = asked if state is State.UNTRACKED else asked & possible & space.in_state(state)
            if is_empty(here) or (not self.side.active and state is not State.UNTRACKED and not self.traffic.states):
                continue
            walk = pair.send(self.side, kind.there, here, sent, role="packet")
            untracked = here & walk.tag if self.side.active else here
            # what a rule leaves untracked is in no other state
            here = untracked if state is State.UNTRACKED else here & ~untracked
            nobody = nobody and is_empty(here)
            seen = Seen(here, here & walk.outcomes.get(ACCEPT, space.none), untracked, walk)
            yield from self.refuting.judged(self._part(Stage.PACKETS, here, seen, kind.there, Frame("packet")))
        if nobody:
            names = " or ".join(state.value for state in states)
            yield Unmet(self.expectation, Stage.PACKETS, f"no such packet can be {names} here", False)

    def _part(self, stage: Stage, packets: PacketSet, seen: Seen, path: str, frame: Frame) -> Part:
        untracked = seen.untracked if self.side.active else self.space.all
        return Part(stage, packets, seen.accepted, untracked, seen.walk, path, frame)

    def _without(self, part: Part, packets: PacketSet) -> Part:
        return replace(part, packets=part.packets & ~packets)
