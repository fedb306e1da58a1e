"""Synthetic rulesets of a given size, the same on every run: ordinary filters, made long."""

from collections.abc import Callable, Iterator

_HEAD = """\
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
"""
_FIRST = """\
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT
"""
_LAST = """\
-A INPUT -s 10.9.1.0/24 -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -p tcp -m multiport --dports 80,443 -m conntrack --ctstate NEW -j ACCEPT
COMMIT
"""


def blocklist(rules: int) -> Iterator[str]:
    """A web server behind a list of blocked sources."""
    yield _HEAD + _FIRST
    for n in range(rules - 6):
        # 7919 is prime: the addresses lie scattered, and none comes twice
        address = 0x0B000000 + n * 7919 % 0x70000000
        yield f"-A INPUT -s {'.'.join(str(address >> shift & 255) for shift in (24, 16, 8, 0))}/32 -j DROP\n"
    yield _LAST


def services(rules: int) -> Iterator[str]:
    """A host with many services, each with its own port, some from one network only."""
    yield _HEAD + _FIRST
    for n in range(rules - 6):
        source = f"-s 10.{n % 200}.0.0/16 " if n % 3 == 0 else ""
        yield f"-A INPUT {source}-p tcp -m tcp --dport {1024 + n} -m conntrack --ctstate NEW -j ACCEPT\n"
    yield _LAST


def chains(rules: int) -> Iterator[str]:
    """The same filter spread over user chains of ten rules, each called by the one before."""
    depth = max(1, (rules - 6) // 10)
    yield _HEAD
    yield from (f":part{n} - [0:0]\n" for n in range(depth))
    yield _FIRST + "-A INPUT -p tcp -j part0\n"
    for n in range(depth):
        for m in range(9):
            yield f"-A part{n} -s 10.{n % 256}.{m}.0/24 -p tcp -m tcp --dport {1024 + 9 * n + m} -j ACCEPT\n"
        if n + 1 < depth:
            yield f"-A part{n} -j part{n + 1}\n"
    yield _LAST


KINDS: dict[str, tuple[Callable[[int], Iterator[str]], tuple[int, ...]]] = {
    "blocklist": (blocklist, (20, 1000, 10000)),
    "services": (services, (20, 200)),
    "chains": (chains, (100, 150)),
}
