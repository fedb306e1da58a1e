"""A set of packets that somebody speaks of in words: `in tcp dport 443 from 192.0.2.0/24`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ruleaudit.model.fields import Family, Fragment, State

if TYPE_CHECKING:
    from ruleaudit.model.packet import AskedPacket

Interval = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Every packet that fits what was said; `text` is how. What was not said is open: None, or no interval.

    source, target   addresses, as closed intervals of integers, in the order in which they were written
    flags            the six classic TCP flags, as bits
    icmp             type, and code if it was said
    states           the states of conntrack; empty: those that the packets can have
    """

    text: str
    path: str
    protocol: int | None = None
    family: Family | None = None
    source: tuple[Interval, ...] = ()
    sports: tuple[Interval, ...] = ()
    target: tuple[Interval, ...] = ()
    dports: tuple[Interval, ...] = ()
    iif: str | None = None
    oif: str | None = None
    flags: int | None = None
    icmp: tuple[int, int | None] | None = None
    mark: int | None = None
    fragment: Fragment | None = None
    states: tuple[State, ...] = ()

    @staticmethod
    def of(asked: "AskedPacket") -> "Traffic":
        """The packets that a text in the packet language stands for."""

        def one(value: int | None) -> tuple[Interval, ...]:
            return () if value is None else ((value, value),)

        return Traffic(
            asked.text,
            asked.path,
            asked.protocol,
            asked.family,
            one(asked.source),
            one(asked.sport),
            one(asked.target),
            one(asked.dport),
            asked.iif,
            asked.oif,
            asked.flags,
            asked.icmp,
            asked.mark,
            asked.fragment,
            asked.states,
        )
