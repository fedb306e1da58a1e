"""The whole way with a real HAProxy, with nft rulesets as people and programs write them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import ruleaudit
from tests.kernel.haproxy import FRONTENDS, LARGE, frontend, haproxy_host, same_as_ever
from tests.kernel.http import page, requests
from tests.kernel.lab import BEHIND, BEHIND6, Lab

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

RULES = Path(__file__).parent.parent / "fixtures" / "nft" / "haproxy-host"
EVERYWHERE = FRONTENDS[BEHIND] + FRONTENDS[BEHIND6]
#: with these there are 1,000 requests to the rewrite
MANY = ("sets.nft", "fw4.nft")
#: what a client sees of a closed port
REFUSALS = {
    ("fw4.nft", BEHIND): "refused",
    ("fw4.nft", BEHIND6): "refused",
    ("firewalld.nft", BEHIND): "No route to host",
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with haproxy_host() as made:
        yield made


@pytest.mark.parametrize(
    ("rules", "separate"),
    [
        *((path.name, False) for path in sorted(RULES.glob("*.nft"))),
        ("sets.nft", True),
        ("two-tables.nft", True),
        ("raw-chains.nft", True),
    ],
)
def test_haproxy_host(lab: Lab, rules: str, separate: bool) -> None:
    lab.load_nft("server", (RULES / rules).read_text())
    assert requests(lab, "client", EVERYWHERE, 25) == 100
    # one entry each; the proxy closes first, so that a client soon takes a port once more: the same entry
    assert 180 <= len(lab.entries("server")) <= 200
    assert all(45 <= len(frontend(lab, address)) <= 50 for address in FRONTENDS)
    _same_as_ever(lab, rules)

    suggestion = ruleaudit.suggest(str(RULES / rules), separate=separate)
    assert suggestion.text is not None
    lab.load_nft("server", suggestion.text)
    count = 250 if rules in MANY else 25
    assert requests(lab, "client", EVERYWHERE, count) == 4 * count
    assert [line for address in FRONTENDS for line in frontend(lab, address)] == []
    _same_as_ever(lab, rules)


def _same_as_ever(lab: Lab, rules: str) -> None:
    """In both families at the same time: waiting for silence is most of it."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda address: same_as_ever(lab, address, REFUSALS.get((rules, address), "silence")), FRONTENDS))


@pytest.mark.parametrize("address", [BEHIND, BEHIND6])
def test_measurement_can_fail(lab: Lab, address: str) -> None:
    """Without the accepts of ICMP errors the large page is lost; with one notrack of two the entries stay."""
    text = ruleaudit.suggest(str(RULES / "sets.nft")).text
    assert text is not None
    lab.load_nft("server", _without(text, 'oif != "lo"'))
    assert requests(lab, "client", FRONTENDS[address], 10) == 20
    # of this address only: the page that the other family lost is still being sent again
    reversed_entries = [x for port in (80, 443) for x in lab.entries("server", f"src={address}", f"sport={port}")]
    assert len(reversed_entries) == 20
    lab.load_nft("server", _without(text, f"{'icmpv6' if ':' in address else 'icmp'} type {{ destination-unreachable"))
    assert page(lab, "client", address, 80) == b"ok"
    assert page(lab, "client", address, 80, "/large") != b"x" * LARGE


def _without(text: str, words: str) -> str:
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if words not in line]
    assert len(kept) == len(lines) - 1
    return "".join(kept)
