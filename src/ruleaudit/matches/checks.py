"""What extensions ask of their options beyond their forms: bounds, and which may or must stand together."""

from collections.abc import Callable
from typing import TypeVar

from ruleaudit.matches.extension import Context, Options
from ruleaudit.syntax.numbers import number, number_range
from ruleaudit.syntax.refusal import Refused

Read = TypeVar("Read")
#: raises Refused when something is wrong with the options
Check = Callable[[Options, Context], None]


def checked(read: Callable[[Options, Context], Read], *checks: Check) -> Callable[[Options, Context], Read]:
    """A reader that makes sure of its options first."""

    def reader(given: Options, context: Context) -> Read:
        for check in checks:
            check(given, context)
        return read(given, context)

    return reader


def within(option: str, low: int, high: int, *, ranges: bool = False) -> Check:
    """The option's number, or both ends of its range, lie between two bounds."""

    def check(given: Options, context: Context) -> None:
        for one in given:
            if one.name == option and ranges:
                number_range(one.value, low, high, f"value of {option}")
            elif one.name == option:
                number(one.value, low, high, f"value of {option}")

    return check


def at_most_one(*options: str) -> Check:
    """No two of the options stand together."""

    def check(given: Options, context: Context) -> None:
        found = [one.name for one in given if one.name in options]
        if len(found) > 1:
            raise Refused(f"{found[0]} and {found[1]} cannot stand together", found[1])

    return check


def exactly_one(*options: str) -> Check:
    """One of the options has to be there, and no other of them."""
    no_two = at_most_one(*options)

    def check(given: Options, context: Context) -> None:
        if not any(one.name in options for one in given):
            raise Refused(f"needs {' or '.join(options)}")
        no_two(given, context)

    return check


def with_protocol(option: str, number_of_protocol: int, name: str) -> Check:
    """The option makes sense for one protocol only."""

    def check(given: Options, context: Context) -> None:
        if any(one.name == option for one in given) and context.protocol != number_of_protocol:
            raise Refused(f"{option} needs -p {name}", option)

    return check
