"""Tables as classes: whose addresses are the host's, which way connections go, and how many classes there are."""

import random
from collections import Counter
from ipaddress import IPv4Network

from benchmarks.connection_table import lines
from ruleaudit.model.connection_table import ConnectionTable
from ruleaudit.model.fields import Family
from ruleaudit.model.from_conntrack import Regions, table_of


def entry(
    source: str, target: str, port: int = 443, *, back: str = "", to: str = "", sport: int = 40000, more: str = ""
) -> str:
    return (
        f"tcp      6 60 TIME_WAIT src={source} dst={target} sport={sport} dport={port}"
        f" src={back or target} dst={to or source} sport={port} dport={sport} [ASSURED] mark=0 {more}use=1\n"
    )


def table(*entries: str, own: tuple[str, ...] = (), regions: Regions | None = None) -> ConnectionTable:
    return table_of(["".join(entries).encode()], own, regions)


def directions(found: ConnectionTable) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for some in found.classes:
        counts[some.direction] += some.entries
    return dict(counts)


def own(found: ConnectionTable) -> list[str]:
    return [str(address) for address in found.own]


CLIENTS = [f"198.51.100.{n}" for n in range(1, 30)]


def test_a_server_has_the_address_that_everybody_comes_to() -> None:
    found = table(*(entry(client, "203.0.113.10") for client in CLIENTS))
    assert own(found) == ["203.0.113.10"]
    assert directions(found) == {"in": 29}


def test_a_proxy_has_the_address_that_it_speaks_to_its_backends_from_too() -> None:
    found = table(
        *(entry(client, "203.0.113.10") for client in CLIENTS),
        *(entry("10.0.0.5", f"10.0.1.{n % 3}", 8080, sport=n) for n in range(1, 40)),
    )
    assert own(found) == ["10.0.0.5", "203.0.113.10"]
    assert directions(found) == {"in": 29, "out": 39}


def test_a_backend_behind_one_proxy_is_known_by_its_other_connections() -> None:
    found = table(
        *(entry("10.0.0.5", "10.0.1.1", 8080, sport=n) for n in range(1, 40)),
        entry("192.0.2.7", "10.0.1.1", 22),
        entry("10.0.1.1", "10.0.0.53", 53),
    )
    assert own(found) == ["10.0.1.1"]
    assert directions(found) == {"in": 40, "out": 1}


def test_two_addresses_that_meet_each_other_alone_tell_nothing() -> None:
    found = table(*(entry("10.0.0.5", "10.0.1.1", 8080, sport=n) for n in range(1, 40)))
    assert own(found) == []
    assert directions(found) == {"unknown": 39}


def test_a_pair_that_meets_nobody_else_does_not_hide_the_rest() -> None:
    found = table(
        *(entry(client, "203.0.113.10") for client in CLIENTS),
        *(entry("10.0.0.5", "10.0.1.1", 8080, sport=n) for n in range(1, 40)),
    )
    assert own(found) == ["203.0.113.10"]
    assert directions(found) == {"in": 29, "unknown": 39}


def test_what_somebody_knows_is_not_learned() -> None:
    found = table(entry("10.0.0.5", "10.0.1.1"), entry("fd00::2", "fd00::1"), own=("10.0.1.1", "fd00:0:0::1"))
    assert directions(found) == {"in": 2}
    assert not found.learned
    long = entry("fd00:0000:0000:0000:0000:0000:0000:0002", "fd00:0000:0000:0000:0000:0000:0000:0001")
    assert directions(table(long, own=("fd00::1",))) == {"in": 1}


def test_a_router_that_translates_has_the_address_that_answers_come_to() -> None:
    inside = [f"192.168.1.{n}" for n in range(2, 20)]
    found = table(
        *(entry(host, far, to="203.0.113.7") for host in inside for far in CLIENTS),
        entry("203.0.113.7", "9.9.9.9", 53),
        entry("198.51.100.99", "203.0.113.7", 22),
        entry("198.51.100.99", "203.0.113.7", 80, back="192.168.1.2"),
        entry("192.168.1.5", "192.168.1.1", 53),
    )
    assert own(found) == ["203.0.113.7"]
    assert directions(found) == {"forward": 18 * 29 + 1, "out": 1, "in": 1, "unknown": 1}


def test_a_router_that_does_not_translate_has_no_address_that_can_be_learned() -> None:
    chance = random.Random(1)
    inside = [f"10.1.{a}.{b}" for a in range(20) for b in range(20)]
    found = table(*(entry(chance.choice(inside), chance.choice(CLIENTS * 9)) for _ in range(20)))
    many = table(
        *(entry(chance.choice(inside), f"198.18.{chance.randint(0, 99)}.{n % 250}", sport=n) for n in range(5000))
    )
    assert set(directions(many)) == {"unknown"}
    assert found.entries == 20


def test_loopback_broadcast_and_multicast() -> None:
    found = table(
        *(entry(client, "203.0.113.10") for client in CLIENTS),
        entry("127.0.0.1", "127.0.0.1", 3306),
        "udp      17 20 src=0.0.0.0 dst=255.255.255.255 sport=68 dport=67 [UNREPLIED]"
        " src=255.255.255.255 dst=0.0.0.0 sport=67 dport=68 mark=0 use=1\n",
        "udp      17 20 src=198.51.100.3 dst=224.0.0.251 sport=5353 dport=5353 [UNREPLIED]"
        " src=224.0.0.251 dst=198.51.100.3 sport=5353 dport=5353 mark=0 use=1\n",
    )
    assert directions(found) == {"in": 31, "local": 1}


def test_addresses_that_are_none_are_counted_all_the_same() -> None:
    found = table(entry("x.x.x.x", "VPN.PROVIDER"), entry("192.0.2.1", "x.x.x.x"))
    assert found.entries == 2
    assert {some.source and str(some.source) for some in found.classes} == {None, "192.0.2.1"}


def test_many_clients_make_few_classes_and_rules_still_see_who_is_who() -> None:
    text = [entry(f"{a}.{b}.{c}.9", "203.0.113.10") for a in (10, 100, 200) for b in range(40) for c in range(40)]
    text += [entry("10.9.1.7", "203.0.113.10")]
    random.Random(3).shuffle(text)
    every = table(*text)
    assert (every.entries, len(every.classes)) == (4801, 1)
    inside = IPv4Network("10.9.0.0/16")
    borders = [int(inside.network_address), int(inside.broadcast_address) + 1]
    apart = table(*text, regions=Regions.of((Family.IPV4, border) for border in borders))
    assert len(apart.classes) == 3
    assert sum(some.entries for some in apart.classes if some.source in inside) == 41


def test_a_table_of_everything_has_a_bounded_number_of_classes() -> None:
    chance = random.Random(4)

    def address() -> str:
        return f"{chance.randint(1, 223)}.{chance.randint(0, 255)}.{chance.randint(0, 255)}.1"

    text = (
        entry(address(), address(), chance.randint(1, 65535), sport=chance.randint(1, 65535)).encode()
        for _ in range(90_000)
    )
    found = table_of(text)
    assert found.entries == 90_000
    assert len(found.classes) <= 1 << 16


def test_what_the_host_opens_to_few_others_is_named_with_them() -> None:
    found = table_of(f"{line}\n".encode() for line in lines(20_000))
    services = {(s.direction, s.protocol, s.ports[0][0]): s for s in found.services("table")}
    assert set(services) == {("in", "tcp", 443), ("in", "tcp", 80), ("out", "tcp", 8080), ("out", "udp", 53)}
    backends = services["out", "tcp", 8080]
    assert [str(n) for n in backends.addresses] == [f"10.0.1.{n}/32" for n in range(1, 13)]
    assert services["in", "tcp", 443].addresses == ()
    assert found.entries == 20_000
    assert backends.entries == sum(some.entries for some in found.held if (some.direction, some.port) == ("out", 8080))


def test_what_the_host_opens_to_anybody_is_not_named() -> None:
    found = table(
        *(entry(client, "203.0.113.10") for client in CLIENTS),
        *(entry("203.0.113.10", f"9.9.{n // 250}.{n % 250}") for n in range(2000)),
    )
    assert directions(found) == {"in": 29, "out": 2000}
    assert list(found.services("table")) == []
