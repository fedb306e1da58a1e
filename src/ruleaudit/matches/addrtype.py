"""addrtype: what routing says of the addresses (iptables-extensions(8), addrtype)."""

from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec, normalised
from ruleaudit.model.condition import Condition, Not, Opaque, Scope, Values, all_of, any_of, merged, negate
from ruleaudit.model.fields import AddressType, Field
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


def _type_test(value: str, field: Field, address: Field) -> Condition:
    exact: list[tuple[int, int]] = []
    other: list[str] = []
    for word in value.split(","):
        fits = [n for n in (*EXACT, *OTHER) if word and n.startswith(word.upper())]
        if not fits:
            raise Refused(f'unknown address type "{word}"', word or value, did_you_mean(word, (*EXACT, *OTHER)))
        name = fits[0]
        if name in EXACT:
            exact.append((int(EXACT[name]),) * 2)
        else:
            other.append(name)
    rest = (int(AddressType.OTHER),) * 2
    opaque = [all_of([Values(field, (rest,)), Opaque(f"addrtype {n}", Scope.CONNECTION, (address,))]) for n in other]
    return any_of([*([Values(field, merged(exact))] if exact else []), *opaque])


def read(given: Options, context: Context) -> Meaning:
    """Exact for the four usual types; limited to an interface it is opaque."""
    if not any(o.name.endswith("-type") for o in given):
        raise Refused("addrtype needs --src-type or --dst-type")
    if {"--limit-iface-in", "--limit-iface-out"} <= {o.name for o in given}:
        raise Refused("addrtype takes one of --limit-iface-in and --limit-iface-out", "--limit-iface-out")
    items = []
    for option in given:
        if option.name == "--src-type":
            items.append(negate(_type_test(option.value, Field.SRC_TYPE, Field.SADDR), option.negated))
        elif option.name == "--dst-type":
            items.append(negate(_type_test(option.value, Field.DST_TYPE, Field.DADDR), option.negated))
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
    Example("-m addrtype --dst-type LOCALE", refused='unknown address type "LOCALE"'),
    Example("-m addrtype", refused="needs --src-type or --dst-type"),
)

EXTENSION = MatchExtension("addrtype", OPTIONS, read, EXAMPLES)
