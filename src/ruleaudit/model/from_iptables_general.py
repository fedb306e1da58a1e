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
        case "-s":
            return _addresses(Field.SADDR, word, negated, family)
        case "-d":
            return _addresses(Field.DADDR, word, negated, family)
        case "-p":
            number = protocol(word)
            if number == 0:
                if negated:
                    raise Refused("! -p all would match nothing", word)
                return ALWAYS
            return negate(Values(Field.PROTOCOL, ((number, number),)), negated)
        case "-i" | "-o":
            return _interface(Field.IIF if option == "-i" else Field.OIF, word, negated)
        case _:
            return negate(Values(Field.FRAGMENT, ((int(Fragment.LATER),) * 2,)), negated)


def _addresses(field: Field, word: str, negated: bool, family: Family) -> Condition:
    """A list of networks; a list is one condition here, where iptables makes one rule for each address."""
    full = (1 << family.address_bits) - 1
    if "," in word:
        if negated:
            raise Refused("! is not allowed with several addresses", word)
        found = [_network(field, part, full) for part in word.split(",")]
        ranges = merged(i for one in found if isinstance(one, Values) for i in one.intervals)
        if ranges == ((0, full),):
            return ALWAYS
        rest = [one for one in found if not isinstance(one, Values)]
        condition = any_of([Values(field, ranges), *rest] if ranges else rest)
    else:
        condition = _network(field, word, full)
    if isinstance(condition, Values) and condition.intervals == ((0, full),):
        if negated:
            raise Refused("not any address at all: that matches nothing, and iptables-nft refuses it", word)
        return ALWAYS
    return negate(condition, negated)


def _network(field: Field, word: str, full: int) -> Condition:
    try:
        value, mask = network(word, full.bit_length())
    except HostName:
        return Opaque(f"address {word}", Scope.CONNECTION, (field,))
    gap = full ^ mask
    if gap & (gap + 1):
        return Masked(field, mask, value)
    return Values(field, ((value, value | gap if gap else value),))


def _interface(field: Field, word: str, negated: bool) -> Condition:
    if not word:
        raise Refused("an interface has a name")
    if len(word.encode("utf-8", "surrogateescape")) > 15:
        raise Refused(f'interface name "{word}" is too long: at most 15 bytes', word)
    if word == "+":
        return NEVER if negated else ALWAYS
    return negate(Interface(field, word), negated)
