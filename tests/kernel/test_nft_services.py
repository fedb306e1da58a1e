"""nft rulesets in the styles that people write: the same connections succeed, and the table is empty."""

from pathlib import Path

import pytest

from tests.kernel.ask import Ask
from tests.kernel.lab import CLIENT, SERVER, SERVER6, Lab
from tests.kernel.services import DNS, OUT, ROUTED, SIX, SOURCE_RESTRICTED, Host, keeps_its_services, web

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

HOSTS = Path(__file__).parent.parent / "fixtures" / "nft" / "hosts"

CASES = (
    Host(
        "output-drop.nft",
        web(OUT, Ask(CLIENT, 53, protocol="udp", by="server"), Ask(CLIENT, 81, seen="silence", by="server")),
    ),
    Host("invalid-first.nft", web(OUT, refusal="refused")),
    Host("invalid-last.nft", web(OUT)),
    Host("user-chains.nft", web(OUT, refusal="refused")),
    Host("sets.nft", web(OUT, Ask(SERVER, 8005, freed=True), Ask(SERVER, 8011, seen="silence"))),
    Host("not-established.nft", web(OUT)),
    Host("limited.nft", web(OUT, *(Ask(SERVER6, port, freed=True) for port in (80, 443)))),
    Host("counted.nft", web(OUT, refusal="No route to host")),
    Host("web6.nft", SIX),
    Host("source-restricted.nft", SOURCE_RESTRICTED, ports=("9000",)),
    Host("dns.nft", (*DNS, Ask(SERVER6, 53, protocol="udp", freed=True), Ask(SERVER6, 22)), ports=("53",)),
    Host("router.nft", ROUTED, on="router", lab=lambda: Lab(router=True)),
)


@pytest.mark.parametrize("host", CASES, ids=lambda host: host.rules)
def test_services(host: Host) -> None:
    keeps_its_services(HOSTS / host.rules, host, lambda lab, text: lab.load_nft(host.on, text))
