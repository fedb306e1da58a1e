"""What the kernel tells of a packet on its way: which base chains it passed, and which rule or policy decided in each.

Sources: linux/netfilter/nf_tables.h (enum nft_trace_attributes), net/netfilter/nf_tables_trace.c.
"""

import struct
from dataclasses import dataclass

from ruleaudit.kernel.netlink import Attributes, attributes, number, text

_TABLE, _CHAIN, _HANDLE, _TYPE, _VERDICT, _ID, _HEADER, _POLICY = 1, 2, 3, 4, 5, 6, 8, 16
_POLICY_DECIDES, _RULE_DECIDES = 1, 3  #: nft_trace_types: a policy, the return of a chain, a rule
_VERDICT_CODE = 1
#: nf_tables' own verdicts are negative, they go on; those of netfilter end the way through a base chain
_VERDICTS = {0: "drop", 1: "accept", 2: "stolen", 3: "queue", 4: "accept"}
FAMILIES = {1: "inet", 2: "ip", 5: "netdev", 10: "ip6"}


@dataclass(frozen=True, slots=True)
class Event:
    """One message: a rule that matched, or a policy (`handle` 0); `verdict` is empty where the packet goes on.

    header      the packet's network header, in the first message of each base chain; else empty
    """

    packet: int
    family: str
    table: str
    chain: str
    handle: int
    verdict: str
    header: bytes


def event(family: int, found: Attributes) -> Event | None:
    """A message about a traced packet; None for what decides nothing."""
    kind = number(found.get(_TYPE, b""))
    if kind == _POLICY_DECIDES:
        verdict = _VERDICTS.get(number(found.get(_POLICY, b"")), "")
    elif kind == _RULE_DECIDES:
        code = attributes(found.get(_VERDICT, b"")).get(_VERDICT_CODE, b"\xff\xff\xff\xff")
        value = struct.unpack("!i", code)[0]
        verdict = _VERDICTS.get(value & 0xFF, "other") if value >= 0 else ""
    else:
        verdict = ""
    handle = number(found.get(_HANDLE, b"")) if kind == _RULE_DECIDES else 0
    names = text(found.get(_TABLE, b"")), text(found.get(_CHAIN, b""))
    return Event(number(found[_ID]), FAMILIES.get(family, "?"), *names, handle, verdict, found.get(_HEADER, b""))


@dataclass(frozen=True, slots=True)
class Passage:
    """A base chain that a packet went through; `handle` is 0 where its policy decided.

    `decider` is the chain in which the rule stands that decided.
    """

    family: str
    table: str
    chain: str
    decider: str
    handle: int
    verdict: str


def passages(events: list[Event]) -> list[Passage]:
    """The base chains that one packet passed, in order."""
    out: list[Passage] = []
    base: Event | None = None
    for one in events:
        if one.header:
            base = one
        if base is not None and one.verdict:
            out.append(Passage(one.family, one.table, base.chain, one.chain, one.handle, one.verdict))
            base = None
    return out
