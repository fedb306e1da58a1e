"""What a list of listening sockets is read as, against who really answers at the other end of a cable."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from ruleaudit.model.from_sockets import services_of
from ruleaudit.model.service import Service
from ruleaudit.source import SourceFile
from tests.kernel.lab import CLIENT, PATIENCE, SERVER, SERVER6, Lab

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

T, U = socket.SOCK_STREAM, socket.SOCK_DGRAM
FOUR, SIX = socket.AF_INET, socket.AF_INET6
#: family, kind, address, v6only, device
SOCKETS: list[tuple[Any, Any, str, int | None, bytes]] = [
    (family, kind, address, only, device)
    for kind in (T, U)
    for family, address, only in (
        (FOUR, "0.0.0.0", None),
        (FOUR, SERVER, None),
        (FOUR, "127.0.0.1", None),
        (SIX, "::", 0),
        (SIX, "::", 1),
        (SIX, SERVER6, None),
        (SIX, "::1", None),
        (SIX, f"::ffff:{SERVER}", 0),
    )
    for device in (b"", b"s0", b"lo")
    if (address, device) not in ((SERVER6, b"lo"), ("::1", b"s0"))  # the kernel refuses both
]
PORT = 2000


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab() as lab:
        yield lab


def bound(lab: Lab, held: ExitStack) -> dict[int, socket.socket]:
    """Every kind of socket, each on a port of its own."""
    made = {}
    with lab.hosts["server"].inside():
        for number, (family, kind, address, only, device) in enumerate(SOCKETS):
            one = held.enter_context(socket.socket(family, kind))
            if only is not None:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
            if device:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
            one.bind((address, PORT + number))
            one.settimeout(PATIENCE)
            if kind == T:
                one.listen()
            made[PORT + number] = one
    return made


def answered(lab: Lab, sockets: dict[int, socket.socket]) -> set[tuple[str, int, int]]:
    """(protocol, IP version, port) of what reaches a socket from the client."""
    found = set()
    for port, listening in sockets.items():
        for version, family, address in ((4, FOUR, SERVER), (6, SIX, SERVER6)):
            with lab.hosts["client"].inside(), socket.socket(family, listening.type) as one:
                one.settimeout(PATIENCE)
                try:
                    one.connect((address, port))
                    if listening.type == U:
                        one.send(b"?")
                        listening.recv(1)
                except OSError:
                    continue
                found.add(("tcp" if listening.type == T else "udp", version, port))
    return found


def reached(services: tuple[Service, ...]) -> set[tuple[str, int, int]]:
    """The same by what the list was read as; the client's packets come in by s0."""
    found = set()
    for service in services:
        for version, address in ((4, SERVER), (6, SERVER6)):
            network = socket.inet_pton(FOUR if version == 4 else SIX, address)
            inside = [n for n in service.addresses if n.version == version and int.from_bytes(network, "big") in range(
                int(n.network_address), int(n.broadcast_address) + 1)]  # fmt: skip
            if (not service.addresses or inside) and service.interface in ("", "s0"):
                found.add((service.protocol, version, service.ports[0][0]))
    return found


def test_services_are_what_answers(lab: Lab) -> None:
    commands = ("ss -lntup", "ss -Hlntuei", "ss -lntum", "ss -antup")
    with ExitStack() as held:
        sockets = bound(lab, held)
        lists = [services_of(SourceFile("ss.txt", lab.run("server", *command.split()))) for command in commands]
        answers = answered(lab, sockets)
    assert len(answers) == 28
    for command, (services, problems) in zip(commands, lists, strict=True):
        assert problems == (), command
        assert reached(services) == answers, command


@pytest.mark.parametrize("kind", [T, U], ids=["tcp", "udp"])
@pytest.mark.parametrize("address", ["0.0.0.0", "::", SERVER], ids=["any", "both families", "one address"])
def test_a_port_that_is_held(lab: Lab, kind: Any, address: str) -> None:
    """`listener-holds-port`: the kernel gives it to nobody; by name another address of it can be had."""
    port = 1900
    server = lab.hosts["server"]
    server.sysctl("net.ipv4.ip_local_port_range", f"{port} {port}")
    try:
        with server.inside(), socket.socket(FOUR, kind) as free:
            free.connect((CLIENT, 9)) if kind == U else free.bind(("", 0))
            assert free.getsockname()[1] == port, "the only one that there is"
        with server.inside(), socket.socket(SIX if ":" in address else FOUR, kind) as holding:
            holding.bind((address, port))
            if kind == T:
                holding.listen()
            with socket.socket(FOUR, kind) as other, pytest.raises(OSError, match=r"assign|unavailable"):
                other.connect((CLIENT, 9))
            for mine in ("0.0.0.0", SERVER, "127.0.0.1"):
                with socket.socket(FOUR, kind) as other:
                    if (address, mine) == (SERVER, "127.0.0.1"):
                        other.bind((mine, port))
                    else:
                        with pytest.raises(OSError, match="in use"):
                            other.bind((mine, port))
    finally:
        server.sysctl("net.ipv4.ip_local_port_range", "32768 60999")
