"""The options that iptables knows without an extension: -p, -s, -d, -i, -o and -f (iptables(8), PARAMETERS)."""

from ruleaudit.model.condition import (
    ALWAYS,
    NEVER,
    Condition,
    Interface,
    Masked,
    Opaque,
    Scope,
    Values,
    any_of,
    merged,
    negate,
)
from ruleaudit.model.fields import Family, Field, Fragment
from ruleaudit.syntax.addresses import HostName, network
from ruleaudit.syntax.refusal import Refused
from ruleaudit.syntax.services import protocol


def general_test(option: str, word: str, negated: bool, family: Family) -> Condition:
    """The condition of one option; raises Refused."""
    match option:
        case "-p":
            number = protocol(word)
            if number == 0:
                if negated:
                    raise Refused("! -p all would match nothing", word)
                return ALWAYS
            return negate(Values(Field.PROTOCOL, ((number, number),)), negated)
        case "-s" | "-d":
            return _addresses(Field.SADDR if option == "-s" else Field.DADDR, word, negated, family)
        case "-i" | "-o":
            return _interface(Field.IIF if option == "-i" else Field.OIF, word, negated)
        case _:
            return negate(Values(Field.FRAGMENT, ((int(Fragment.LATER),) * 2,)), negated)


def _addresses(field: Field, word: str, negated: bool, family: Family) -> Condition:
    """A list of networks; a list is one condition here, where iptables makes one rule for each address."""
    if "," in word and negated:
        raise Refused("! is not allowed with several addresses", word)
    bits = family.address_bits
    full = (1 << bits) - 1
    ranges: list[tuple[int, int]] = []
    rest: list[Condition] = []
    for part in word.split(","):
        try:
            value, mask = network(part, bits)
        except HostName:
            rest.append(Opaque(f"address {part}", Scope.CONNECTION, (field,)))
            continue
        gap = full ^ mask
        if gap & (gap + 1) == 0:
            ranges.append((value, value | gap))
        else:
            rest.append(Masked(field, mask, value))
    if ranges:
        joined = merged(ranges) if len(ranges) > 1 else tuple(ranges)
        if joined == ((0, full),):
            if negated:
                raise Refused("not any address at all: that matches nothing, and iptables-nft refuses it", word)
            return ALWAYS
        rest.insert(0, Values(field, joined))
    return negate(any_of(rest) if len(rest) > 1 else rest[0], negated)


def _interface(field: Field, word: str, negated: bool) -> Condition:
    if not word:
        raise Refused("an interface has a name")
    if len(word.encode("utf-8", "surrogateescape")) > 15:
        raise Refused(f'interface name "{word}" is too long: at most 15 bytes', word)
    if word == "+":
        return NEVER if negated else ALWAYS
    return negate(Interface(field, word), negated)
