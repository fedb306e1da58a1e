"""One concrete packet out of a packet set, in the packet language of the command line.

Values that people recognise are preferred (documentation addresses, a client port, eth0); the reference interpreter
then has to find the same verdicts as the packet sets did, or the witness is not given out.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from typing import cast

from ruleaudit.analysis.connection import PROTOCOL_NAMES
from ruleaudit.analysis.pair import Pair, Side
from ruleaudit.analysis.space import ANY_OTHER, ICMP_ANSWERS, Frame, Space
from ruleaudit.analysis.trace import Packet, Trace, trace
from ruleaudit.model.condition import Opaque
from ruleaudit.model.fields import MIRROR, PORT_PROTOCOLS, TCP, AddressType, Family, Field, Fragment, State, TcpFlag
from ruleaudit.model.ruleset import Rule
from ruleaudit.packets.diagram import PacketSet, is_empty

_REMOTE = {Family.IPV4: ("198.51.100.7", "203.0.113.9", "10.9.0.7"), Family.IPV6: ("2001:db8::7", "2001:db8:9::9")}
_LOCAL = {Family.IPV4: ("10.9.0.2", "192.0.2.2"), Family.IPV6: ("fd09::2", "2001:db8:1::2")}


@dataclass(frozen=True)
class Sample:
    """A packet, how it is written, and the answers of the opaque tests under which it was found."""

    packet: Packet
    path: str
    text: str
    bits: dict[int, bool]
    frame: Frame
    space: Space

    def whole(self) -> "Sample":
        """The datagram that a fragment is a piece of."""
        values = {**self.packet.values, Field.FRAGMENT: Fragment.WHOLE}
        return replace(self, packet=replace(self.packet, values=values))

    def answers(self, side: Side) -> "_Answers":
        return _Answers(self, side)


@dataclass(frozen=True)
class _Answers:
    sample: Sample
    side: Side

    def __call__(self, test: Opaque, rule: Rule) -> bool:
        space, frame = self.sample.space, self.sample.frame
        number = space.unknowns.get(space.unknown_key(test, frame, self.side.identities.numbers[rule]))
        return number is not None and self.sample.bits.get(number, False)


def sample(space: Space, found: PacketSet, path: str, frame: Frame, state: State | None = None) -> Sample:
    """One packet of a non-empty set."""
    found = _wishes(space, path, frame.reverse).granted(found)
    bits = space.diagrams.support(found, space.unknown_tests if space.is_certain(found) else ())

    values: dict[Field, int] = {}
    for name in Field:
        if name not in (Field.IIF, Field.OIF):
            values[name] = space.number(bits, MIRROR.get(name, name) if frame.reverse else name)
    if frame.reverse and values[Field.PROTOCOL] == space.family.icmp:
        answers = ICMP_ANSWERS[space.family]
        values[Field.ICMP_TYPE] = answers.get(values[Field.ICMP_TYPE], values[Field.ICMP_TYPE])
    packet = Packet(
        space.family,
        values,
        _interface(space, space.number(bits, Field.IIF)) if path != "out" else "",
        _interface(space, space.number(bits, Field.OIF)) if path != "in" else "",
        not frame.reverse,
    )
    return Sample(packet, path, describe(packet, path, state), bits, frame, space)


def follow(pair: Pair, side: Side, sample: Sample, state: State, *, immune: bool = False) -> Trace:
    """The way of a sample through one side, by the reference interpreter."""
    return trace(
        side.ruleset, sample.path, sample.packet, state, sample.answers(side), active=side.active, immune=immune
    )


def describe(packet: Packet, path: str, state: State | None = None) -> str:
    """A packet in the packet language."""
    values = packet.values
    protocol = values[Field.PROTOCOL]
    word = PROTOCOL_NAMES.get(protocol, str(protocol))
    if (protocol == 1) != (packet.family is Family.IPV4) and protocol in (1, 58):
        word = str(protocol)
    ports = protocol in PORT_PROTOCOLS

    def end(address: Field, port: Field) -> str:
        value = values[address]
        text = str(IPv4Address(value) if packet.family is Family.IPV4 else IPv6Address(value))
        if not ports:
            return text
        return f"{text}:{values[port]}" if packet.family is Family.IPV4 else f"[{text}]:{values[port]}"

    path_word = "out" if path in ("local", "looped") else path
    words = [path_word, word, end(Field.SADDR, Field.SPORT), ">", end(Field.DADDR, Field.DPORT)]
    if protocol == TCP:
        flags = "".join(
            letter
            for letter, flag in zip("FSRPAU", (1, 2, 4, 8, 16, 32), strict=True)
            if values[Field.TCP_FLAGS] & flag
        )
        words += ["flags", flags or "none"]
    elif protocol == packet.family.icmp:
        words += ["type", f"{values[Field.ICMP_TYPE]}/{values[Field.ICMP_CODE]}"]
    if packet.iif and path_word != "out":
        words += ["iif", packet.iif]
    if packet.oif:
        words += ["oif", packet.oif]
    if values[Field.FRAGMENT]:
        words += ["fragment", Fragment(values[Field.FRAGMENT]).name.lower()]
    if values[Field.MARK]:
        words += ["mark", hex(values[Field.MARK])]
    if state is not None:
        words += ["state", state.value]
    return " ".join(words)


def _interface(space: Space, index: int) -> str:
    symbol = space.alphabet[min(index, len(space.alphabet) - 1)]
    if symbol != ANY_OTHER and not symbol.endswith("+"):
        return symbol
    prefix = "" if symbol == ANY_OTHER else symbol[:-1]
    taken = space.alphabet
    for name in (f"{prefix}0", *(f"{prefix}{n}" for n in range(1, 100))) if prefix else _spare_names():
        if name not in taken and not any(
            p.endswith("+") and len(p) > len(symbol) - (not prefix) and name.startswith(p[:-1])
            for p in taken
            if p != symbol
        ):
            return name
    return f"{prefix}x"


def _spare_names() -> Iterator[str]:
    yield from ("eth0", "eth1", "ens3", "wan0", "net0")
    yield from (f"if{n}" for n in range(100))


class _Wishes:
    """Preferences, the strongest first: each a row of alternatives, of which a packet can meet one at most."""

    def __init__(self, space: Space, rows: Iterable[Iterable[PacketSet]]) -> None:
        self._all, self._rows = space.all, [tuple(row) for row in rows]
        self._firsts: dict[tuple[int, int], PacketSet] = {}

    def granted(self, found: PacketSet) -> PacketSet:
        """The packets of a set that meet one wish after the other, as far as some do."""
        return self._granted(found, 0, len(self._rows))

    def _granted(self, found: PacketSet, low: int, high: int) -> PacketSet:
        # where all first alternatives can be had together, each of them is had
        best = found & self._first(low, high)
        if not is_empty(best):
            return best
        if high - low > 1:
            middle = (low + high) // 2
            return self._granted(self._granted(found, low, middle), middle, high)
        others = (found & wish for wish in self._rows[low][1:])
        return next((some for some in others if not is_empty(some)), found)

    def _first(self, low: int, high: int) -> PacketSet:
        out = self._firsts.get((low, high))
        if out is None:
            out = self._all
            for row in self._rows[low:high]:
                out = out & row[0]
            self._firsts[low, high] = out
        return out


def _wishes(space: Space, path: str, reverse: bool) -> _Wishes:
    """Preferences; the same for every packet of a path."""
    key = ("wishes", path, reverse)
    found = space.remembered.get(key)
    if found is None:
        found = space.remembered[key] = _Wishes(space, _wished(space, path, reverse))
    return cast(_Wishes, found)


def _wished(space: Space, path: str, reverse: bool) -> Iterator[Iterable[PacketSet]]:
    local_source = path in ("out", "local", "looped")
    local_target = path in ("in", "local")

    def spelled(name: Field, texts: tuple[str, ...]) -> list[PacketSet]:
        cls = IPv4Address if space.family is Family.IPV4 else IPv6Address
        return [space.is_(name, int(cls(text)), reverse) for text in texts]

    yield [space.is_(Field.MARK, 0)]
    unicast = AddressType.LOCAL if local_target else AddressType.UNICAST
    yield [space.is_(Field.DST_TYPE, unicast, reverse)]
    yield [space.is_(Field.SRC_TYPE, AddressType.LOCAL if local_source else AddressType.UNICAST, reverse)]
    yield [space.is_(Field.PROTOCOL, protocol) for protocol in (TCP, 17)]
    yield [space.is_(Field.PKTTYPE, 0)]
    yield [space.is_(Field.ICMP_CODE, 0)]
    yield [space.flags(0xFF, int(flags)) for flags in (TcpFlag.SYN, TcpFlag.ACK, TcpFlag.SYN | TcpFlag.ACK)]
    for flag in (TcpFlag.ECE, TcpFlag.CWR, TcpFlag.URG, TcpFlag.PSH, TcpFlag.FIN, TcpFlag.RST):
        yield [space.flags(int(flag), 0)]
    yield spelled(Field.SADDR, _LOCAL[space.family] if local_source else _REMOTE[space.family])
    remote = _REMOTE[space.family][::-1] if path == "forward" else _REMOTE[space.family]
    yield spelled(Field.DADDR, _LOCAL[space.family] if local_target else remote)
    for port in (Field.DPORT, Field.SPORT):
        serving = (443, 80, 53) if port is (Field.SPORT if reverse else Field.DPORT) else ()
        yield [space.is_(port, value, reverse) for value in (*serving, 4242)]
    for bits in (space.bits[Field.IIF], space.bits[Field.OIF]):
        yield [
            space.diagrams.equal(bits, index)
            for index, symbol in enumerate(space.alphabet)
            if symbol != "lo" and index <= _NAMES
        ]


#: so many names of interfaces are tried
_NAMES = 9
