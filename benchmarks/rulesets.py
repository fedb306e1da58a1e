"""Synthetic iptables rulesets of a given size, the same on every run."""

import random
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
_RAW = "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"


def dotted(address: int) -> str:
    """An IPv4 address as it is written."""
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))


def scattered(number: int) -> int:
    """The address of a number: 7919 is prime, so they lie scattered, and none comes twice."""
    return 0x0B000000 + number * 7919 % 0x70000000


def blocklist(rules: int) -> Iterator[str]:
    """A web server behind a list of blocked sources."""
    yield _HEAD + _FIRST
    for n in range(rules - 6):
        yield f"-A INPUT -s {dotted(scattered(n))}/32 -j DROP\n"
    yield _LAST


def services(rules: int) -> Iterator[str]:
    """A host with many services, each with its own port, some from one network only."""
    yield _HEAD + _FIRST
    for n in range(rules - 6):
        source = f"-s 10.{n % 200}.{n // 60000}.0/24 " if n % 3 == 0 or n >= 60000 else ""
        yield f"-A INPUT {source}-p tcp -m tcp --dport {1024 + n % 60000} -m conntrack --ctstate NEW -j ACCEPT\n"
    yield _LAST


def acl(rules: int) -> Iterator[str]:
    """A router between networks: each rule has a source, a destination, and a port."""
    luck = random.Random(1)
    yield _HEAD + _FIRST
    for _ in range(rules - 6):
        source = f"10.{luck.randrange(256)}.{luck.randrange(256)}.0/{luck.choice((20, 24, 24, 24))}"
        target = f"172.{16 + luck.randrange(16)}.{luck.randrange(256)}.{luck.randrange(256)}/32"
        protocol, port = luck.choice(("tcp", "udp")), luck.choice((22, 53, 443, 5432, luck.randrange(1024, 65536)))
        verdict = luck.choice(("ACCEPT", "ACCEPT", "DROP"))
        yield f"-A FORWARD -s {source} -d {target} -p {protocol} -m {protocol} --dport {port} -j {verdict}\n"
    yield _LAST


def hosting(rules: int) -> Iterator[str]:
    """A hostile mix: sources, negated sources, lists of ports, marks and flags, all of them overlapping."""
    luck = random.Random(1)
    yield _HEAD + _FIRST
    for n in range(rules - 6):
        far, customer = dotted(luck.randrange(0x0B000000, 0x7F000000)), dotted(0x0A000000 + luck.randrange(1 << 24))
        yield (
            "-A INPUT "
            + (
                f"-s {far}/32 -j DROP",
                f"-d {customer}/32 -p tcp -m multiport --dports 80,443,{1024 + n % 60000} -j ACCEPT",
                f"! -s {far}/32 -d {customer}/32 -p tcp -m tcp --dport 22 -j DROP",
                f"-d {customer}/32 -m mark --mark 0x{1 + n % 15:x}/0xf -j ACCEPT",
                f"-s {far}/32 -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP",
                f'-d {customer}/32 -p udp -m udp --dport 53 -m comment --comment "customer {n}" -j ACCEPT',
            )[luck.randrange(6)]
            + "\n"
        )
    yield _LAST


def chains(rules: int) -> Iterator[str]:
    """The sources of a port in a chain of fifty, which ends in one chain for all of them."""
    number = max(1, (rules - 8) // 51)
    longer = rules - 8 - number * 51
    yield _HEAD + ":others - [0:0]\n" + "".join(f":part{n} - [0:0]\n" for n in range(number))
    yield _FIRST
    for n in range(number):
        yield f"-A INPUT -p tcp -m tcp --dport {1024 + n} -j part{n}\n"
    for n in range(number):
        for m in range(49 + (longer if n == number - 1 else 0)):
            yield f"-A part{n} -s {dotted(scattered(n * 49 + m))}/32 -j ACCEPT\n"
        yield f"-A part{n} -j others\n"
    yield "-A others -s 10.0.0.0/8 -j RETURN\n-A others -j DROP\n"
    yield _LAST


def kube(rules: int) -> Iterator[str]:
    """What kube-proxy writes: about eight rules for each service, two endpoints behind a coin."""
    number = max(1, (rules - 10) // 8)
    services = [(f"SVC{n:06}", dotted(0x0A600001 + n)) for n in range(number)]
    ends = {n: [dotted(0x0AF40001 + (2 * n + m) * 13 % 65000) for m in range(2)] for n in range(number)}
    yield "*nat\n" + "".join(f":{name} ACCEPT [0:0]\n" for name in ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"))
    yield ":KUBE-SERVICES - [0:0]\n:KUBE-POSTROUTING - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n"
    for name, _ in services:
        yield f":KUBE-{name} - [0:0]\n:KUBE-SEP-{name}-0 - [0:0]\n:KUBE-SEP-{name}-1 - [0:0]\n"
    yield "-A PREROUTING -j KUBE-SERVICES\n-A OUTPUT -j KUBE-SERVICES\n-A POSTROUTING -j KUBE-POSTROUTING\n"
    yield "-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n"
    yield "-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n-A KUBE-POSTROUTING -j MASQUERADE\n"
    for name, address in services:
        yield (
            f'-A KUBE-SERVICES -d {address}/32 -p tcp -m comment --comment "{name} cluster IP"'
            f" -m tcp --dport 80 -j KUBE-{name}\n"
        )
    for n, (name, address) in enumerate(services):
        yield f"-A KUBE-{name} ! -s 10.244.0.0/16 -d {address}/32 -p tcp -m tcp --dport 80 -j KUBE-MARK-MASQ\n"
        yield f"-A KUBE-{name} -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-{name}-0\n"
        yield f"-A KUBE-{name} -j KUBE-SEP-{name}-1\n"
        for m, end in enumerate(ends[n]):
            yield f"-A KUBE-SEP-{name}-{m} -s {end}/32 -j KUBE-MARK-MASQ\n"
            yield f"-A KUBE-SEP-{name}-{m} -p tcp -m tcp -j DNAT --to-destination {end}:8080\n"
    yield "COMMIT\n" + _HEAD
    yield "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -s 10.0.0.0/8 -j ACCEPT\n"
    yield "-A FORWARD -m conntrack --ctstate INVALID -j DROP\n"
    yield "-A FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT\nCOMMIT\n"


def edge(rules: int) -> Iterator[str]:
    """A proxy with many frontends: half of them leave tracking in the table raw, some are redirected or counted."""
    number = max(2, (rules - 2) * 2 // 5)
    ports = [1024 + n * 7919 % 60000 for n in range(number)]
    yield _RAW
    for port in ports[: number // 2]:
        yield f"-A PREROUTING -i eth0 -p tcp -m tcp --dport {port} -j CT --notrack\n"
        yield f"-A OUTPUT -o eth0 -p tcp -m tcp --sport {port} -j CT --notrack\n"
    yield "COMMIT\n*nat\n" + "".join(
        f":{name} ACCEPT [0:0]\n" for name in ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")
    )
    for port in ports[::2]:
        yield f"-A PREROUTING -i eth1 -p tcp -m tcp --dport {port} -j REDIRECT --to-ports 8080\n"
    yield "COMMIT\n" + _HEAD
    yield "-A INPUT -i lo -j ACCEPT\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
    for n, port in enumerate(ports):
        limit = " -m connlimit --connlimit-above 100 --connlimit-mask 32 --connlimit-saddr" if n % 5 == 0 else ""
        verdict = "REJECT --reject-with tcp-reset" if limit else "ACCEPT"
        yield f"-A INPUT -i eth0 -p tcp -m tcp --dport {port}{limit} -j {verdict}\n"
    yield "COMMIT\n"


#: each shape, and the largest size that it can have
KINDS: dict[str, tuple[Callable[[int], Iterator[str]], int]] = {
    "services": (services, 1_000_000),
    "blocklist": (blocklist, 1_000_000),
    "acl": (acl, 1_000_000),
    "hosting": (hosting, 1_000_000),
    "kube": (kube, 1_000_000),
    "chains": (chains, 1_000_000),
    "edge": (edge, 100_000),
}
