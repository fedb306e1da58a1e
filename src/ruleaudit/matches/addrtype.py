"""addrtype: what routing says of the addresses (iptables-extensions(8), addrtype)."""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec, normalised
from ruleaudit.model.condition import Condition, Not, Opaque, Scope, Values, all_of, any_of, merged, negate
from ruleaudit.model.fields import AddressType, Family, Field
from ruleaudit.syntax.refusal import Refused, did_you_mean

OPTIONS = (
    OptionSpec("--src-type", negatable=True),
    OptionSpec("--dst-type", negatable=True),
    OptionSpec("--limit-iface-in", arguments=0),
    OptionSpec("--limit-iface-out", arguments=0),
)

EXACT = {
    "UNICAST": AddressType.UNICAST,
    "LOCAL": AddressType.LOCAL,
    "BROADCAST": AddressType.BROADCAST,
    "MULTICAST": AddressType.MULTICAST,
}
OTHER = ("UNSPEC", "ANYCAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT", "THROW", "NAT", "XRESOLVE")


#: the addresses of IPv6 that are no unicast addresses for ipv6_addr_type(): ::, ::ffff:0:0/96 and ff00::/8
_NOT_UNICAST = ((0, 0), (0xFFFF << 32, (0xFFFF << 32) + 0xFFFFFFFF), (0xFF << 120, (1 << 128) - 1))
_NOT_IN_IPV6 = ("BROADCAST", "BLACKHOLE", "PROHIBIT", "THROW", "NAT", "XRESOLVE")


def _names(value: str) -> list[str]:
    names = []
    for word in value.split(","):
        fits = [n for n in (*EXACT, *OTHER) if word and n.startswith(word.upper())]
        if not fits:
            raise Refused(f'unknown address type "{word}"', word or value, did_you_mean(word, (*EXACT, *OTHER)))
        names.append(fits[0])
    return names


def _type_test(names: list[str], field: Field, address: Field) -> Condition:
    exact = [(int(EXACT[name]),) * 2 for name in names if name in EXACT]
    other = [name for name in names if name not in EXACT]
    rest = (int(AddressType.OTHER),) * 2
    opaque = [all_of([Values(field, (rest,)), Opaque(f"addrtype {n}", Scope.CONNECTION, (address,))]) for n in other]
    return any_of([*([Values(field, merged(exact))] if exact else []), *opaque])


def _type_test_of_ipv6(names: list[str], field: Field, address: Field, word: str) -> Condition:
    """xt_addrtype's match_type6(): UNICAST and MULTICAST are asked of the address alone, a local one is unicast, too;
    and a list asks for all of its kinds at once, but for any of LOCAL, ANYCAST and UNREACHABLE.
    """
    wrong = next((name for name in names if name in _NOT_IN_IPV6), None)
    if wrong:
        raise Refused(f"address type {wrong} is for IPv4 only", word)
    items: list[Condition] = []
    if "MULTICAST" in names:
        items.append(Values(address, ((0xFF << 120, (1 << 128) - 1),)))
    if "UNICAST" in names:
        items.append(Not(Values(address, _NOT_UNICAST)))
    if "UNSPEC" in names:
        items.append(Values(address, ((0, 0),)))
    routed = [name for name in names if name in ("LOCAL", "ANYCAST", "UNREACHABLE")]
    return all_of([*items, *([_type_test(routed, field, address)] if routed else [])])


def read(given: Options, context: Context) -> Meaning:
    """Exact for the four usual types; limited to an interface it is opaque."""
    if not any(o.name.endswith("-type") for o in given):
        raise Refused("addrtype needs --src-type or --dst-type")
    if {"--limit-iface-in", "--limit-iface-out"} <= {o.name for o in given}:
        raise Refused("addrtype takes one of --limit-iface-in and --limit-iface-out", "--limit-iface-out")
    items = []
    for option in given:
        if not option.name.endswith("-type"):
            continue
        source = option.name == "--src-type"
        sides = (Field.SRC_TYPE, Field.SADDR) if source else (Field.DST_TYPE, Field.DADDR)
        names = _names(option.value)
        six = context.family is Family.IPV6
        test = _type_test_of_ipv6(names, *sides, option.value) if six else _type_test(names, *sides)
        items.append(negate(test, option.negated))
    if any(o.name.startswith("--limit") for o in given):
        return Meaning(Opaque(normalised("addrtype", given), Scope.PACKET))
    return Meaning(all_of(items))


EXAMPLES = (
    Example("-m addrtype --dst-type LOCAL", Values(Field.DST_TYPE, ((1, 1),))),
    Example("-m addrtype ! --src-type LOCAL,BROADCAST", Not(Values(Field.SRC_TYPE, ((1, 2),)))),
    Example(
        "-m addrtype --dst-type ANYCAST",
        all_of([Values(Field.DST_TYPE, ((4, 4),)), Opaque("addrtype ANYCAST", Scope.CONNECTION, (Field.DADDR,))]),
    ),
    Example(
        "-m addrtype --dst-type LOCAL --limit-iface-in",
        Opaque("addrtype --dst-type LOCAL --limit-iface-in", Scope.PACKET),
    ),
    Example("-m addrtype --dst-type LOCAL", Values(Field.DST_TYPE, ((1, 1),)), family=Family.IPV6),
    Example("-m addrtype --dst-type UNICAST", Not(Values(Field.DADDR, _NOT_UNICAST)), family=Family.IPV6),
    Example("-m addrtype --dst-type BROADCAST", refused="BROADCAST is for IPv4 only", family=Family.IPV6),
    Example("-m addrtype --dst-type LOCALE", refused='unknown address type "LOCALE"'),
    Example("-m addrtype", refused="needs --src-type or --dst-type"),
)

EXTENSION = MatchExtension("addrtype", OPTIONS, read, EXAMPLES)
