"""Numbers as iptables writes them: decimal, 0x hexadecimal or 0 octal, alone, as ranges and with masks."""

import re

from ruleaudit.syntax.refusal import Refused

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|[0-9]+")
ALL_ONES = 0xFFFFFFFF
#: of a longer number the first digits are read: it is too great for everything, and Python refuses it at 4300
_DIGITS = 4000


def decimal(word: str) -> int | None:
    """A word of decimal digits; None for any other.

    >>> decimal("080"), decimal("0x50"), decimal("²")
    (80, None, None)
    """
    if not (word.isascii() and word.isdigit()):
        return None
    return int(word if len(word) <= _DIGITS else word.lstrip("0")[:_DIGITS] or "0")


def number(word: str, low: int, high: int, what: str = "number", point_at: str | None = None) -> int:
    """One number between low and high, else Refused.

    >>> number("0x10", 0, 255)
    16
    """
    if _NUMBER.fullmatch(word):
        try:
            value = int(word, 8) if len(word) > 1 and word[0] == "0" and word[1] not in "xX" else int(word, 0)
        except ValueError:
            value = -1
        if low <= value <= high:
            return value
    raise Refused(
        f'bad {what} "{word}": a number from {low} to {high} is needed', word if point_at is None else point_at
    )


def number_range(word: str, low: int, high: int, what: str = "range", separator: str = ":") -> tuple[int, int]:
    """`n`, `n:m`, `:m` or `n:`.

    >>> number_range("1024:", 0, 65535)
    (1024, 65535)
    """
    first, colon, last = word.partition(separator)
    if not colon:
        return (number(first, low, high, what),) * 2
    begin = number(first, low, high, what) if first else low
    end = number(last, low, high, what) if last else high
    if begin > end:
        raise Refused(f'bad {what} "{word}": {begin} is greater than {end}', word)
    return begin, end


def value_and_mask(word: str, what: str = "mark") -> tuple[int, int]:
    """`value[/mask]`; without a mask it is all ones.

    >>> value_and_mask("0x1/0xff")
    (1, 255)
    """
    value, slash, mask = word.partition("/")
    return number(value, 0, ALL_ONES, what), number(mask, 0, ALL_ONES, f"{what} mask") if slash else ALL_ONES
