"""What `explain --packet --connection` says of connections is what becomes of them: they work or not, are tracked or
not, and ICMP errors about them pass or not.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

import ruleaudit
from ruleaudit.results.packet import Exchange
from ruleaudit.source import SourceFile
from tests.analysis.half_tracked import HOSTS, ROUTERS, Host, in_nft
from tests.kernel import packets
from tests.kernel.lab import BEHIND, CLIENT, PATIENCE, SERVER, VARIANTS, Lab

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]


@dataclass(frozen=True)
class Seen:
    """What became of a connection: whether it works, leaves an entry, and is told that packets are too big."""

    works: bool | None
    entry: bool
    error: bool


#: connections, as packets and as questions: protocol, port, who asks
QUESTIONS = (("tcp", 80, "client"), ("udp", 53, "client"), ("tcp", 81, "client"), ("tcp", 8000, "server"))
#: the hosts are shared out, because most of the time is spent waiting for answers that never come
SHARES = 5
#: who has not heard what is said asks once more and waits so long: a busy machine may answer after PATIENCE
_LONG = 5.0


def _packet(protocol: str, port: int, by: str, routed: bool) -> str:
    if routed:
        return f"forward {protocol} {CLIENT}:4242 > {BEHIND}:{port} iif r0 oif r1"
    if by == "server":
        return f"out {protocol} {SERVER}:4242 > {CLIENT}:{port} oif s0"
    return f"in {protocol} {CLIENT}:4242 > {SERVER}:{port} iif s0"


def _said(found: Exchange) -> Seen:
    sent = [p for p in found.packets if p.role != "icmp-error"]
    made = any(p.tracked and p.state != "invalid" and p.verdict == "accept" for p in sent)
    errors = [p.verdict == "accept" for p in found.packets if p.role == "icmp-error"]
    return Seen(found.works, made, bool(errors) and all(errors))


def _observed(lab: Lab, protocol: str, port: int, by: str, routed: bool, patience: float = PATIENCE) -> Seen:
    to = BEHIND if routed else CLIENT if by == "server" else SERVER
    ask = lab.udp if protocol == "udp" else lab.tcp
    works = ask(by, to, port, patience=patience) == "ok"
    on = "router" if routed else "server"
    entries = lab.entries(on, f"dst={to}", f"dport={port}") + lab.entries(on, f"src={to}", f"sport={port}")
    return Seen(works, any(x.startswith(protocol) for x in entries), False)


def _as_said(said: Seen, seen: Seen) -> bool:
    return seen.works == said.works and (not said.works or seen.entry == said.entry)


def _error_passes(lab: Lab, patience: float = PATIENCE) -> bool:
    """A datagram is answered, and a hop says that the answer was too big: whether the server hears of it."""
    lab.udp("client", SERVER, 53, sport=4242, patience=patience)
    about = packets.udp(SERVER, 53, CLIENT, 4242)
    with lab.icmp_errors("server") as heard:
        lab.send("client", "c0", ("server", "s0"), packets.too_big(CLIENT, SERVER, about))
    return (3, 4) in heard


def _differences(lab: Lab, host: Host, text: str) -> Iterator[str]:
    routed = host in ROUTERS
    questions = [q for q in QUESTIONS if q[2] == "client"] if routed else list(QUESTIONS)
    asked = [_packet(*question, routed) for question in questions]
    said = dict(zip(questions, map(_said, ruleaudit.connections(SourceFile("rules", text), asked)), strict=True))
    with ThreadPoolExecutor() as pool:
        seen = dict(zip(questions, pool.map(lambda q: _observed(lab, *q, routed), questions), strict=True))
    for question, answer in said.items():
        if not _as_said(answer, seen[question]):
            seen[question] = _observed(lab, *question, routed, _LONG)
        if not _as_said(answer, seen[question]):
            yield f"{host.name}: {question}: said {answer}, seen {seen[question]}\n{text}"
    udp = said["udp", 53, "client"]
    if not routed and udp.works and _error_passes(lab) != udp.error and _error_passes(lab, _LONG) != udp.error:
        yield f"{host.name}: ICMP error: said {udp}\n{text}"


def _share(variant: str, hosts: tuple[Host, ...]) -> tuple[list[str], int]:
    """What is otherwise than said, and how many of the hosts were asked."""
    found: list[str] = []
    routed = hosts[0] in ROUTERS
    with Lab(router=routed) as lab:
        for host in lab.hosts:
            lab.serve_udp(host, 53)
            for port in (80, 81, 8000):
                lab.serve_tcp(host, port)
        on = "router" if routed else "server"
        for host in hosts:
            text = in_nft(host) if variant == "native" else host.iptables
            if variant == "native":
                lab.load_nft(on, text)
            else:
                lab.load(on, text, variant)
            found += _differences(lab, host, text)
    return found, len(hosts)


@pytest.mark.parametrize("variant", [*VARIANTS, "native"])
def test_connections_fare_as_said(variant: str) -> None:
    # legacy tables hold the same rules: some of them will do
    hosts = HOSTS[::4] if variant == "legacy" else HOSTS
    shares = [*(hosts[n::SHARES] for n in range(SHARES)), ROUTERS[::2], ROUTERS[1::2]]
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda hosts: _share(variant, hosts), shares))
    assert [difference for found, _ in answers for difference in found] == []
    assert sum(number for _, number in answers) == len(hosts) + len(ROUTERS)


def test_what_opens_a_connection_at_a_listening_socket() -> None:
    # a refusal is asked of SYN with URG too (analysis/expected.py); SYN with FIN opens nothing
    with Lab() as lab:
        lab.serve_tcp("server", 80)
        with lab.wire("client", "c0") as seen:
            for sport, flags in ((4001, "S"), (4002, "SU"), (4003, "SPU"), (4004, "SF"), (4005, "SR"), (4006, "SA")):
                lab.send("client", "c0", ("server", "s0"), packets.tcp(CLIENT, sport, SERVER, 80, flags))
        answers = {int.from_bytes(p[22:24], "big") for p in seen if p[9] == 6 and p[33] & 0x12 == 0x12}
    assert answers == {4001, 4002, 4003}
