"""An ipset with known contents, and what membership in it means for a packet (ipset(8); net/netfilter/ipset/).

A set has parts (`hash:ip,port,net`: address, port, network); `-m set --match-set NAME src,dst,dst` says from which
side of the packet each part is taken. The most specific element that holds the packet decides; `nomatch` on it means
no.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from ruleaudit.model.condition import (
    NEVER,
    Condition,
    Interface,
    Interval,
    Masked,
    Not,
    Values,
    all_of,
    any_of,
    merged,
)
from ruleaudit.model.fields import ICMP, ICMPV6, SCTP, TCP, UDP, UDPLITE, Family, Field, Fragment


class Part(Enum):
    """What one part of an element is compared with."""

    ADDRESS = "address"
    PORT = "port"
    INTERFACE = "interface"
    MARK = "mark"
    OTHER = "other"  #: a MAC address, or an interface of a bridge: known to the kernel alone


#: addresses; (protocol, ports, or for ICMP type * 256 + code); (name, prefix of a name); (mark, 0)
Value = Interval | tuple[int, Interval] | tuple[str, bool]


@dataclass(frozen=True, slots=True)
class Element:
    """One element: a value for each part, how specific it is, and whether it says no."""

    values: tuple[Value, ...]
    level: tuple[int, ...]
    nomatch: bool = False


@dataclass(frozen=True)
class IpSet:
    """A set; `members` are the sets of a list:set.

    family      None: for both families
    masks       what is compared of an address and of a mark (netmask, bitmask, markmask)
    fixed       False: elements come and go by themselves (timeouts), so the contents are not known
    """

    name: str
    kind: str
    parts: tuple[Part, ...]
    family: Family | None = None
    elements: tuple[Element, ...] = ()
    members: tuple[str, ...] = ()
    address_mask: int | None = None
    mark_mask: int = 0xFFFFFFFF
    fixed: bool = True


NOT_LATER = Not(Values(Field.FRAGMENT, ((int(Fragment.LATER),) * 2,)))


def membership(
    name: str, sides: tuple[str, ...], family: Family, sets: Mapping[str, IpSet], *, refused: bool = False
) -> Condition | None:
    """The packets that are in a set; None when the contents are not known exactly.

    With `refused` those that a `nomatch` element holds (`--return-nomatch`), in a set that has such elements.
    """
    found = sets.get(name)
    if found is None or not found.fixed:
        return None
    if found.kind == "list:set":
        parts = [membership(m, sides, family, sets, refused=refused) for m in found.members]
        return None if any(p is None for p in parts) else any_of(p for p in parts if p is not None)
    if len(sides) < len(found.parts) or found.family not in (None, family):
        return NEVER
    if Part.OTHER in found.parts:
        return None
    levels: dict[tuple[int, ...], tuple[list[Element], list[Element]]] = {}
    for element in found.elements:
        levels.setdefault(element.level, ([], []))[element.nomatch].append(element)
    out: Condition = NEVER
    for level in sorted(levels):
        yes, no = (_any(found, some, sides) for some in levels[level])
        if refused and "net" in found.kind:
            yes, no = no, yes
        # this level is asked before those that are less specific
        out = any_of([yes, all_of([_not(no), out])])
    return out


def _not(condition: Condition) -> Condition:
    return all_of([]) if condition == NEVER else Not(condition)


def _any(found: IpSet, elements: list[Element], sides: tuple[str, ...]) -> Condition:
    """Some of the elements; those that differ in their first address only become one test."""
    if not found.parts or not elements:
        return NEVER
    if found.parts[0] is not Part.ADDRESS:
        return any_of(_element(found, e.values, sides) for e in elements)
    alike: dict[tuple[Value, ...], list[Interval]] = {}
    for element in elements:
        first = element.values[0]
        assert isinstance(first[0], int) and isinstance(first[1], int)
        alike.setdefault(element.values[1:], []).append((first[0], first[1]))
    field = Field.SADDR if sides[0] == "src" else Field.DADDR
    out = []
    for rest, addresses in alike.items():
        tests = [_addresses(found, field, tuple(addresses))]
        tests += [_test(found, p, v, s) for p, v, s in zip(found.parts[1:], rest, sides[1:], strict=False)]
        out.append(all_of(tests))
    return any_of(out)


def _element(found: IpSet, values: tuple[Value, ...], sides: tuple[str, ...]) -> Condition:
    return all_of(_test(found, p, v, s) for p, v, s in zip(found.parts, values, sides, strict=False))


def _addresses(found: IpSet, field: Field, addresses: tuple[Interval, ...]) -> Condition:
    mask = found.address_mask
    bits = (found.family or Family.IPV4).address_bits
    full = (1 << bits) - 1
    if mask is None or mask == full:
        return Values(field, merged(addresses))
    gap = full ^ mask
    if gap & (gap + 1) == 0:
        return Values(field, merged((low & mask, high | gap) for low, high in addresses))
    return any_of(Masked(field, mask, value & mask) for low, high in addresses for value in range(low, high + 1))


def _test(found: IpSet, part: Part, value: Value, side: str) -> Condition:
    source = side == "src"
    match part, value:
        case Part.ADDRESS, (int(low), int(high)):
            return _addresses(found, Field.SADDR if source else Field.DADDR, ((low, high),))
        case Part.PORT, (int(protocol), (int(low), int(high))):
            return _port(protocol, low, high, source)
        case Part.INTERFACE, (str(name), bool(prefix)):
            return Interface(Field.IIF if source else Field.OIF, name + "+" * prefix)
        case Part.MARK, (int(mark), _):
            return Masked(Field.MARK, found.mark_mask, mark & found.mark_mask)
        case _:
            raise AssertionError((part, value))


def _port(protocol: int, low: int, high: int, source: bool) -> Condition:
    if protocol in (ICMP, ICMPV6):
        pairs = [
            all_of([Values(Field.ICMP_TYPE, ((number >> 8,) * 2,)), Values(Field.ICMP_CODE, ((number & 255,) * 2,))])
            for number in range(low, high + 1)
        ]
        return all_of([NOT_LATER, Values(Field.PROTOCOL, ((protocol, protocol),)), any_of(pairs)])
    test = Values(Field.PROTOCOL, ((protocol, protocol),))
    if protocol in (TCP, UDP, UDPLITE, SCTP):
        return all_of([NOT_LATER, test, Values(Field.SPORT if source else Field.DPORT, ((low, high),))])
    return test if (low, high) == (0, 0) else NEVER
