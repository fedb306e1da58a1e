"""A packet that somebody asks about; what was left open is None."""

from dataclasses import dataclass

from ruleaudit.model.fields import Family, Fragment, State


@dataclass(frozen=True, slots=True)
class AskedPacket:
    """What was said of a packet in the packet language (interface.md); `text` is how.

    flags       all six classic TCP flags, as bits
    icmp        type, and code if it was said
    states      the states to follow it in; empty: those that it can have
    """

    text: str
    path: str
    protocol: int | None = None
    family: Family | None = None
    source: int | None = None
    sport: int | None = None
    target: int | None = None
    dport: int | None = None
    iif: str | None = None
    oif: str | None = None
    flags: int | None = None
    icmp: tuple[int, int | None] | None = None
    mark: int | None = None
    fragment: Fragment | None = None
    states: tuple[State, ...] = ()
