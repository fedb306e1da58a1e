"""Rulesets in the styles that people write: the same connections succeed before and after, and the table is empty."""

from pathlib import Path

import pytest

from tests.kernel.ask import Ask
from tests.kernel.lab import CLIENT, SERVER, VARIANTS, Lab
from tests.kernel.services import DNS, OUT, ROUTED, SIX, SOURCE_RESTRICTED, Host, keeps_its_services, web

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

HOSTS = Path(__file__).parent.parent / "fixtures" / "hosts"

CASES = (
    Host("output-drop.v4", web(OUT, Ask(CLIENT, 81, seen="silence", by="server"))),
    Host("invalid-first.v4", web(OUT, refusal="refused")),
    Host("invalid-last.v4", web(OUT)),
    Host("user-chains.v4", web(OUT, refusal="refused")),
    Host("state-module.v4", web(OUT, refusal="No route to host")),
    Host("multiport.v4", web(OUT, Ask(SERVER, 8005, freed=True), Ask(SERVER, 8011, seen="silence"))),
    Host("single-rules.v4", web(OUT)),
    Host("not-established.v4", web(OUT)),
    Host("new-not-syn.v4", web(OUT)),
    Host("ufw.v4", web(OUT)),
    Host("firewalld.v4", web(OUT, refusal="No route to host")),
    Host("web.v6", SIX),
    Host("source-restricted.v4", SOURCE_RESTRICTED, ports=("9000",)),
    Host("dns.v4", DNS, ports=("53",)),
    Host("router.v4", ROUTED, on="router", lab=lambda: Lab(router=True)),
)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("host", CASES, ids=lambda host: host.rules)
def test_services(host: Host, variant: str) -> None:
    path = HOSTS / host.rules
    six = path.suffix == ".v6"
    keeps_its_services(path, host, lambda lab, text: lab.load(host.on, text, variant, six=six))
