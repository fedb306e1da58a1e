"""A ruleset and questions to its host: the same connections succeed under the suggestion, and the table is empty."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import ruleaudit
from tests.kernel.ask import Ask
from tests.kernel.lab import BEHIND, CLIENT, ROUTER, SERVER, SERVER6, Lab

NEIGHBOUR = "10.9.0.7"


@dataclass(frozen=True)
class Host:
    """A ruleset, what is asked of `suggest`, and the questions."""

    rules: str
    asks: tuple[Ask, ...]
    ports: tuple[str, ...] = ()
    on: str = "server"
    lab: Callable[[], Lab] = Lab


def web(*more: Ask, refusal: str = "silence", to: str = SERVER) -> tuple[Ask, ...]:
    """Web ports freed, ssh kept, another port refused, the host's own clients served and free to ask others."""
    return (
        Ask(to, 80, freed=True), Ask(to, 443, freed=True), Ask(to, 22), Ask(to, 81, seen=refusal),
        Ask(to, 80, by="server"), *more,
    )  # fmt: skip


#: the host asks somebody else
OUT = Ask(CLIENT, 8000, by="server")
SIX = web(
    Ask(SERVER6, 53, protocol="udp", freed=True),
    Ask(SERVER6, 54, protocol="udp", seen="Permission denied"),
    refusal="Permission denied",
    to=SERVER6,
)
SOURCE_RESTRICTED = (
    Ask(SERVER, 9000, freed=True),
    Ask(SERVER, 9000, seen="silence", source=NEIGHBOUR),
    Ask(SERVER, 22),
    Ask(SERVER, 22, seen="silence", source=NEIGHBOUR),
    OUT,
)
DNS = (
    Ask(SERVER, 53, protocol="udp", freed=True),
    Ask(SERVER, 53, freed=True),
    Ask(SERVER, 22),
    Ask(SERVER, 54, protocol="udp", seen="refused"),
    Ask(SERVER, 54, seen="silence"),
    Ask(CLIENT, 53, protocol="udp", by="server"),
    OUT,
)
#: a web server behind a router
ROUTED = (
    Ask(BEHIND, 80, freed=True),
    Ask(BEHIND, 443, freed=True),
    Ask(BEHIND, 22, seen="silence"),
    Ask(BEHIND, 53, protocol="udp"),
    Ask(ROUTER, 22),
    Ask(ROUTER, 80, seen="silence"),
    Ask(CLIENT, 8000, seen="silence", by="server"),
    Ask(BEHIND, 81, by="router"),
)


def keeps_its_services(path: Path, host: Host, load: Callable[[Lab, str], None]) -> None:
    """Ask before and after what `suggest` prints is loaded."""
    suggestion = ruleaudit.suggest(str(path), ports=host.ports)
    with host.lab() as lab:
        _services(lab)
        load(lab, path.read_text())
        assert _answers(lab, host) == [ask.seen for ask in host.asks]
        assert [ask for ask in host.asks if ask.seen == "ok" and not ask.entries(lab, host.on)] == []

        assert suggestion.text is not None, suggestion.refused
        load(lab, suggestion.text)
        assert _answers(lab, host) == [ask.seen for ask in host.asks]
        # a client of the host itself asks the same address and port, and stays tracked
        lab.forget(host.on)
        remote = [ask for ask in host.asks if ask.seen == "ok" and ask.by != host.on]
        for ask in remote:
            ask.answer(lab)
        assert [ask for ask in remote if bool(ask.entries(lab, host.on)) is ask.freed] == []


def _services(lab: Lab) -> None:
    for six in (False, True):
        for host in lab.hosts:
            lab.serve_udp(host, 53, six=six)
            for port in (22, 53, 80, 81, 443, 8000, 8005, 8011, 9000):
                lab.serve_tcp(host, port, six=six)
    lab.run("client", "ip", "address", "add", f"{NEIGHBOUR}/24", "dev", "c0")


def _answers(lab: Lab, host: Host) -> list[str]:
    """All at once: waiting for silence is most of it."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda ask: ask.answer(lab), host.asks))
