"""Addresses as iptables writes them: with prefix length or mask, shortened, as lists and ranges; IPv4 and IPv6."""

import re
import socket
from functools import cache

from ruleaudit.syntax.refusal import Refused

_HOST_NAME = re.compile(
    r"(?=.*[A-Za-z])[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?"
)
_FAMILIES = {32: socket.AF_INET, 128: socket.AF_INET6}


class HostName(Exception):
    """The word is a name that only the machine which loads the file can resolve."""


def address(word: str, bits: int) -> int:
    """One numeric address; HostName for a name, Refused for anything else.

    >>> address("10.0.0.1", 32)
    167772161
    """
    value = numeric(word, bits)
    if value is not None:
        return value
    family = "IPv4" if bits == 32 else "IPv6"
    other = numeric(word, 160 - bits)
    if other is not None and ("." in word or ":" in word):
        raise Refused(f'"{word}" is not an {family} address', word)
    if _HOST_NAME.fullmatch(word) and not re.fullmatch(r"[0-9.]+", word):
        raise HostName(word)
    raise Refused(f'"{word}" is not an {family} address', word)


def numeric(word: str, bits: int) -> int | None:
    """The address as a number, or None; a short IPv4 address is filled up with zeros (`10.1` is 10.1.0.0)."""
    try:
        return int.from_bytes(socket.inet_pton(_FAMILIES[bits], word), "big")
    except (OSError, ValueError):
        return _short(word) if bits == 32 else None


def _short(word: str) -> int | None:
    """An IPv4 address with few parts, zeros in front, or as one number."""
    parts = word.split(".")
    if len(parts) > 4:
        return None
    if len(parts) == 1 and word.isascii() and word.isdigit() and 255 < int(word[:11]) < 1 << 32 and word[0] != "0":
        return int(word)
    value = 0
    for part in parts:
        if not (part.isascii() and part.isdigit()) or len(part) > 3:
            return None
        octal = len(part) > 1 and part[0] == "0"
        if octal and part.strip("01234567"):
            return None
        octet = int(part, 8 if octal else 10)
        if octet > 255:
            return None
        value = value << 8 | octet
    return value << 8 * (4 - len(parts))


def network(word: str, bits: int) -> tuple[int, int]:
    """`address[/prefix or /mask]` as (address & mask, mask).

    >>> network("10.1/16", 32) == (0x0A010000, 0xFFFF0000)
    True
    """
    host, slash, mask_word = word.partition("/")
    if slash and not mask_word:
        raise Refused('bad mask ""', word)
    mask = _mask(mask_word, bits) if slash else (1 << bits) - 1
    value = numeric(host, bits)
    return (address(host, bits) if value is None else value) & mask, mask


@cache
def _mask(mask_word: str, bits: int) -> int:
    full = (1 << bits) - 1
    if mask_word.isascii() and mask_word.isdigit() and len(mask_word) < 4:
        prefix = int(mask_word)
        if prefix > bits:
            raise Refused(f'bad prefix length "{mask_word}": at most {bits}', mask_word)
        return full ^ (full >> prefix)
    mask = numeric(mask_word, bits) if bits == 128 or mask_word.count(".") == 3 else None
    if mask is None:
        raise Refused(f'bad mask "{mask_word}"', mask_word)
    return mask


def address_range(word: str, bits: int) -> tuple[int, int]:
    """`first[-last]`, numeric only."""
    first, dash, last = word.partition("-")
    low = numeric(first, bits)
    high = numeric(last, bits) if dash else low
    for part, value in ((first, low), (last, high)):
        if value is None:
            raise Refused(f'"{part}" is not an IPv{4 if bits == 32 else 6} address', part or word)
    assert low is not None and high is not None
    if low > high:
        raise Refused(f'bad address range "{word}": it ends before it begins', word)
    return low, high
