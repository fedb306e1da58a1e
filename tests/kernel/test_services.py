"""Rulesets in the styles that people write: the same connections succeed before and after, and the table is empty."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import ruleaudit
from tests.kernel.ask import Ask
from tests.kernel.lab import BEHIND, CLIENT, ROUTER, SERVER, SERVER6, VARIANTS, Lab

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

HOSTS = Path(__file__).parent.parent / "fixtures" / "hosts"
NEIGHBOUR = "10.9.0.7"


@dataclass(frozen=True)
class Host:
    """A ruleset, what is asked of `suggest`, and the questions."""

    rules: str
    asks: tuple[Ask, ...]
    ports: tuple[str, ...] = ()
    on: str = "server"
    lab: Callable[[], Lab] = Lab


def _web(*more: Ask, refusal: str = "silence", to: str = SERVER) -> tuple[Ask, ...]:
    """Web ports freed, ssh kept, another port refused, the host's own clients served and free to ask others."""
    return (
        Ask(to, 80, freed=True), Ask(to, 443, freed=True), Ask(to, 22), Ask(to, 81, seen=refusal),
        Ask(to, 80, by="server"), *more,
    )  # fmt: skip


_OUT = Ask(CLIENT, 8000, by="server")

CASES = (
    Host("output-drop.v4", _web(_OUT, Ask(CLIENT, 81, seen="silence", by="server"))),
    Host("invalid-first.v4", _web(_OUT, refusal="refused")),
    Host("invalid-last.v4", _web(_OUT)),
    Host("user-chains.v4", _web(_OUT, refusal="refused")),
    Host("state-module.v4", _web(_OUT, refusal="No route to host")),
    Host("multiport.v4", _web(_OUT, Ask(SERVER, 8005, freed=True), Ask(SERVER, 8011, seen="silence"))),
    Host("single-rules.v4", _web(_OUT)),
    Host("not-established.v4", _web(_OUT)),
    Host("new-not-syn.v4", _web(_OUT)),
    Host("ufw.v4", _web(_OUT)),
    Host("firewalld.v4", _web(_OUT, refusal="No route to host")),
    Host("web.v6", _web(Ask(SERVER6, 53, protocol="udp", freed=True),
            Ask(SERVER6, 54, protocol="udp", seen="Permission denied"), to=SERVER6)),
    Host(
        "source-restricted.v4",
        (
            Ask(SERVER, 9000, freed=True),
            Ask(SERVER, 9000, seen="silence", source=NEIGHBOUR),
            Ask(SERVER, 22),
            Ask(SERVER, 22, seen="silence", source=NEIGHBOUR),
            _OUT,
        ),
        ports=("9000",),
    ),
    Host(
        "dns.v4",
        (
            Ask(SERVER, 53, protocol="udp", freed=True),
            Ask(SERVER, 53, freed=True),
            Ask(SERVER, 22),
            Ask(SERVER, 54, protocol="udp", seen="refused"),
            Ask(SERVER, 54, seen="silence"),
            Ask(CLIENT, 53, protocol="udp", by="server"),
            _OUT,
        ),
        ports=("53",),
    ),
    Host(
        "router.v4",
        (
            Ask(BEHIND, 80, freed=True),
            Ask(BEHIND, 443, freed=True),
            Ask(BEHIND, 22, seen="silence"),
            Ask(BEHIND, 53, protocol="udp"),
            Ask(ROUTER, 22),
            Ask(ROUTER, 80, seen="silence"),
            Ask(CLIENT, 8000, seen="silence", by="server"),
            Ask(BEHIND, 81, by="router"),
        ),
        on="router",
        lab=lambda: Lab(router=True),
    ),
)  # fmt: skip


def _services(lab: Lab) -> None:
    for six in (False, True):
        for host in lab.hosts:
            lab.serve_udp(host, 53, six=six)
            for port in (22, 53, 80, 81, 443, 8000, 8005, 8011, 9000):
                lab.serve_tcp(host, port, six=six)
    lab.run("client", "ip", "address", "add", f"{NEIGHBOUR}/24", "dev", "c0")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("host", CASES, ids=lambda host: host.rules)
def test_services(host: Host, variant: str) -> None:
    path = HOSTS / host.rules
    six = path.suffix == ".v6"
    suggestion = ruleaudit.suggest(str(path), ports=host.ports)
    with host.lab() as lab:
        _services(lab)
        lab.load(host.on, path.read_text(), variant, six=six)
        assert _answers(lab, host) == [ask.seen for ask in host.asks]
        assert [ask for ask in host.asks if ask.seen == "ok" and not ask.entries(lab, host.on)] == []

        assert suggestion.text is not None, suggestion.refused
        lab.load(host.on, suggestion.text, variant, six=six)
        assert _answers(lab, host) == [ask.seen for ask in host.asks]
        # a client of the host itself asks the same address and port, and stays tracked
        lab.forget(host.on)
        remote = [ask for ask in host.asks if ask.seen == "ok" and ask.by != host.on]
        for ask in remote:
            ask.answer(lab)
        assert [ask for ask in remote if bool(ask.entries(lab, host.on)) is ask.freed] == []


def _answers(lab: Lab, host: Host) -> list[str]:
    return [ask.answer(lab) for ask in host.asks]
