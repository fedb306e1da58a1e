"""A whole connection on its way through a ruleset: what `explain --packet --connection` answers.

The opening packet, the first reply, further packets of both directions, and ICMP errors about them. Each is followed by
the reference interpreter in the state that conntrack gives it after what came before (facts sections 4 and 5).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ruleaudit.analysis.connection import KINDS, role_shape
from ruleaudit.analysis.follow import Asked, answered
from ruleaudit.analysis.follow import ways as ways_of
from ruleaudit.analysis.space import ICMP_ANSWERS, Frame
from ruleaudit.analysis.trace import Packet, Trace
from ruleaudit.analysis.translated import changes_destination, translates, where_replies_look_otherwise
from ruleaudit.analysis.witness import describe, sample
from ruleaudit.diagnostics import UsageError
from ruleaudit.model.fields import MIRROR, TCP, AddressType, Family, Field, State, TcpFlag
from ruleaudit.model.packet import AskedPacket
from ruleaudit.model.ruleset import Chain, Rule, Ruleset
from ruleaudit.packets.diagram import is_empty
from ruleaudit.results.packet import Exchange, Followed

_SYN, _ACK = int(TcpFlag.SYN), int(TcpFlag.ACK)
#: a router on the way, whose ICMP errors are looked at, and this host as a router
_ON_THE_WAY = {Family.IPV4: 0xCB007109, Family.IPV6: (0x20010DB8 << 96) + (9 << 80) + 9}
_MYSELF = {Family.IPV4: 0x0A0900FE, Family.IPV6: (0xFD09 << 112) + 0xFE}
#: fragmentation needed, packet too big
_TOO_BIG = {Family.IPV4: (3, 4), Family.IPV6: (2, 0)}

_ROLES = {"opening": "opening packet", "reply": "replies", "later": "later packets", "later-reply": "later replies"}
#: the same, as the beginning of a sentence about what becomes of them
_PASS = {role: f"{word} {'passes' if role == 'opening' else 'pass'}" for role, word in _ROLES.items()}
_REFUSES = {"drop": "drops", "reject": "rejects", "queue": "queues"}


def exchange(ruleset: Ruleset, asked: AskedPacket) -> Exchange:
    """The connection that a packet opens. Raises UsageError for a packet that cannot be, or opens none."""
    return answered(ruleset, asked, lambda room: _Connection(ruleset, asked, room).followed())


@dataclass
class _Entry:
    """What the connection table holds of the connection: who made the entry, and whether it was answered."""

    by: str = ""  #: originator or responder; empty: there is none
    answered: bool = False

    def state(self, packet: Packet, by: str) -> State:
        """What conntrack says of a packet of one side."""
        protocol, flags = packet.values[Field.PROTOCOL], packet.values[Field.TCP_FLAGS]
        if not self.by:
            return State.NEW if _may_open(packet) else State.INVALID
        if by != self.by or self.answered:
            return State.ESTABLISHED
        # unanswered so far: an acknowledgement of nothing is invalid, unless the connection was picked up in mid-stream
        if protocol == TCP and self.by == "originator" and flags & _ACK:
            return State.INVALID
        return State.NEW

    def passed(self, by: str) -> None:
        """A tracked packet of one side has passed every rule."""
        if not self.by:
            self.by = by
        elif by != self.by:
            self.answered = True


def _may_open(packet: Packet) -> bool:
    """A packet without an entry that conntrack takes for the first of a connection (tcp_loose is 1)."""
    values = packet.values
    if values[Field.PROTOCOL] == TCP:
        return values[Field.TCP_FLAGS] & (_SYN | _ACK) != _SYN | _ACK
    if values[Field.PROTOCOL] == packet.family.icmp:
        return values[Field.ICMP_TYPE] in ICMP_ANSWERS[packet.family]
    return True


@dataclass
class _Connection:
    ruleset: Ruleset
    text: AskedPacket
    room: int
    entry: _Entry = field(default_factory=_Entry)
    doubtful: str = ""  #: the first packet of which nobody can say whether it is tracked

    def followed(self) -> Exchange:
        """The connection, with every packet of it that is sent."""
        if self.text.states not in ((), (State.NEW,)):
            raise UsageError(f"{self.text.text}: a connection opens with a packet in state new; leave the state out")
        lo = "lo" in (self.text.iif, self.text.oif)
        self.kind = next(k for k in KINDS if k.name == ("local" if lo else self.text.path))
        self.asked = Asked(self.ruleset, self.text, self.kind.there, self.room)
        space = self.asked.space
        region = self.asked.region() & role_shape(space, "opening")
        if is_empty(region):
            raise UsageError(f"{self.text.text}: this opens no connection; tcp flags S, an ICMP request or udp do")
        if self.text.mark is None:
            region = region & space.is_(Field.MARK, 0)
        opening = sample(space, region, self.kind.there, Frame("any")).packet
        fields = self.asked.open_fields(region, State.NEW)
        packets: list[Followed] = []
        self.runs: list[list[Trace]] = []
        translated: Rule | None = None
        for role, packet, path, by in self._packets(opening):
            found = self._sent(role, packet, path, by, fields if role == "opening" else [])
            packets.append(found)
            if role == "opening":
                translated = self._sent_elsewhere()
            if translated is not None or (role in ("opening", "reply") and not _may_pass(found)):
                break
        else:
            packets += self._errors(opening)
        return self._conclusion(packets, translated)

    def _packets(self, opening: Packet) -> Iterator[tuple[str, Packet, str, str]]:
        """Role, packet, path and sender of what the two sides say to each other."""
        yield "opening", opening, self.kind.there, "originator"
        if opening.values[Field.DST_TYPE] in (AddressType.BROADCAST, AddressType.MULTICAST):
            return  # the answers are connections of their own
        answer = _mirrored(opening)
        yield "reply", _with_flags(answer, _SYN | _ACK), self.kind.back, "responder"
        yield "later", _with_flags(opening, _ACK), self.kind.there, "originator"
        yield "later-reply", _with_flags(answer, _ACK), self.kind.back, "responder"

    def _sent(self, role: str, packet: Packet, path: str, by: str, fields: list[str]) -> Followed:
        state = self.entry.state(packet, by)
        found = self._way(role, packet, path, state, fields)
        if found.tracked and found.state != State.INVALID.value and _may_pass(found):
            self.entry.passed(by)
        if self.asked.active and len({run.untracked for run in self.runs[-1]}) > 1:
            self.doubtful = self.doubtful or role
        return found

    def _way(self, role: str, packet: Packet, path: str, state: State, fields: list[str]) -> Followed:
        runs = ways_of(self.ruleset, path, packet, state, self.asked.active)
        self.runs.append(runs)
        seen = State.UNTRACKED if runs[0].untracked or not self.asked.active else state
        return self.asked.followed(runs, describe(packet, path), seen, fields, role)

    # -- ICMP errors -----------------------------------------------------------------------------------

    def _errors(self, opening: Packet) -> Iterator[Followed]:
        """Packets too big for a hop: what a router on the way says to the side that sent them."""
        several = (AddressType.BROADCAST, AddressType.MULTICAST)
        if opening.values[Field.DST_TYPE] in several:
            return
        state = State.RELATED if self.entry.by else State.INVALID
        for packet, path in self._complaints(opening):
            yield self._way("icmp-error", packet, path, state, [])

    def _complaints(self, opening: Packet) -> Iterator[tuple[Packet, str]]:
        answer = _mirrored(opening)
        match self.kind.name:
            case "in":
                yield self._too_big(opening), "in"
            case "out":
                yield self._too_big(answer), "in"
            case "forward":
                yield self._too_big(opening), "forward"
                yield self._too_big(answer), "forward"
                for side in (answer, opening):
                    own = self._too_big(side)
                    values = {**own.values, Field.SADDR: _MYSELF[own.family], Field.SRC_TYPE: int(AddressType.LOCAL)}
                    yield replace(own, values=values, iif="", original=True), "out"

    def _too_big(self, towards: Packet) -> Packet:
        """An error that travels as `towards` does."""
        kind, code = _TOO_BIG[towards.family]
        values = {
            **towards.values,
            Field.PROTOCOL: towards.family.icmp,
            Field.SADDR: _ON_THE_WAY[towards.family],
            Field.SRC_TYPE: int(AddressType.UNICAST),
            Field.SPORT: 0,
            Field.DPORT: 0,
            Field.TCP_FLAGS: 0,
            Field.ICMP_TYPE: kind,
            Field.ICMP_CODE: code,
            Field.MARK: 0,
        }
        return replace(towards, values=values)

    # -- what to make of it ----------------------------------------------------------------------------

    def _sent_elsewhere(self) -> Rule | None:
        """The rule that gives the opening packet another destination."""
        steps = (step for run in self.runs[0] for step in run.steps if step.matched)
        return next((step.rule for step in steps if changes_destination(step.rule)), None)

    def _conclusion(self, packets: list[Followed], translated: Rule | None) -> Exchange:
        def answer(works: bool | None, reason: str, by: Rule | Chain | None = None) -> Exchange:
            return Exchange(self.text.text, works, reason, by, tuple(packets), tuple(self._remarks(packets, works)))

        if translated is not None:
            word = translates(translated)
            return answer(None, f"{translated.where} ({word}) sends it elsewhere, where it is not followed", translated)
        for found in packets:
            if found.role == "icmp-error":
                continue
            who = _ROLES[found.role]
            by = found.decided_by
            if isinstance(by, Rule) and any(c.what.upper() == "SYNPROXY" for c in by.consumers):
                return answer(None, f"{by.where} (SYNPROXY) answers in the host's stead; that is not followed", by)
            if found.verdict == "undecided":
                return answer(None, f"whether its {_PASS[found.role]} depends on {', '.join(found.open)}")
            if found.verdict == "queue":
                return answer(None, f"{_by(by)} gives its {who} to a program, which decides", by)
            if found.verdict != "accept":
                state = f" ({found.state})" if found.role != "opening" else ""
                return answer(False, f"{_by(by)} {_REFUSES[found.verdict]} its {who}{state}", by)
        if self.doubtful:
            who = _ROLES[self.doubtful] + (" is" if self.doubtful == "opening" else " are")
            return answer(None, f"whether its {who} left untracked depends on what is not known here")
        leaving = (s.rule for run in self.runs[0] for s in run.steps if s.matched and translates(s.rule))
        source, hidden = next(leaving, None), where_replies_look_otherwise(self.ruleset)
        if source is not None and hidden is not None:
            seen = f"{source.where} ({translates(source)}) translates it, and {hidden.where} sees its replies so"
            return answer(None, f"{seen}; that is not followed", source)
        return answer(True, f"every packet of it passes; {self._tracking(packets)}")

    def _tracking(self, packets: list[Followed]) -> str:
        flags = {found.tracked for found in packets if found.role != "icmp-error"}
        if flags == {True}:
            return "it is tracked"
        if flags == {False}:
            return "it is not tracked: neither direction makes an entry"
        kept = "it still makes an entry" if self.entry.by else "it makes no entry"
        return f"it is half tracked: one direction alone is left untracked, and {kept}"

    def _remarks(self, packets: list[Followed], works: bool | None) -> Iterator[str]:
        for found in packets:
            if found.role != "icmp-error" or works is False or found.verdict == "accept":
                continue
            if found.verdict == "undecided":
                yield f"whether ICMP errors about it pass ({found.state}) depends on {', '.join(found.open)}"
            else:
                how = f"{_by(found.decided_by)} {_REFUSES[found.verdict]}"
                yield f"{how} ICMP errors about it ({found.state}): large packets may vanish (path MTU)"


def _may_pass(found: Followed) -> bool:
    return found.verdict in ("accept", "undecided", "queue")


def _by(by: Rule | Chain | None) -> str:
    match by:
        case Rule():
            return f"{by.where}"
        case Chain():
            return f"the policy of {by.name}"
        case None:
            return "a rule"


def _mirrored(packet: Packet) -> Packet:
    """What the other side answers: addresses, ports and interfaces change places."""
    values = {name: packet.values[MIRROR.get(name, name)] for name in packet.values}
    values[Field.MARK] = 0
    if values[Field.PROTOCOL] == packet.family.icmp:
        answers = ICMP_ANSWERS[packet.family]
        values[Field.ICMP_TYPE] = answers.get(values[Field.ICMP_TYPE], values[Field.ICMP_TYPE])
    return Packet(packet.family, values, packet.oif, packet.iif, not packet.original)


def _with_flags(packet: Packet, flags: int) -> Packet:
    if packet.values[Field.PROTOCOL] != TCP:
        return packet
    return replace(packet, values={**packet.values, Field.TCP_FLAGS: flags})
