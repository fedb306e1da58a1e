"""The whole way with a real HAProxy: a full table before, and the suggestion loaded after."""

from collections.abc import Iterator

import pytest

import ruleaudit
from ruleaudit.model.proxy import services
from tests.kernel.haproxy import FRONTENDS, HOST, LARGE, frontend, haproxy_host, same_as_ever
from tests.kernel.http import page, requests
from tests.kernel.lab import BEHIND, BEHIND6, VARIANTS, Lab

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with haproxy_host() as made:
        yield made


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("rules", "address"), [("rules.v4", BEHIND), ("rules.v6", BEHIND6)])
def test_haproxy_host(lab: Lab, rules: str, address: str, variant: str) -> None:
    six = ":" in address
    lab.load("server", (HOST / rules).read_text(), variant, six=six)
    assert requests(lab, "client", FRONTENDS[address], 500) == 1000
    # one entry each; the proxy closes first, so that a client soon takes a port once more: the same entry
    assert 900 <= len(frontend(lab, address)) <= 1000
    if not six:  # the backends are asked by IPv4; that family has no rules here when IPv6 is tested
        assert 1800 <= len(lab.entries("server")) <= 2000
    same_as_ever(lab, address)

    suggestion = ruleaudit.suggest(str(HOST / rules))
    assert suggestion.text is not None
    lab.load("server", suggestion.text, variant, six=six)
    assert requests(lab, "client", FRONTENDS[address], 500) == 1000
    assert frontend(lab, address) == []
    same_as_ever(lab, address)


@pytest.mark.parametrize("rules", ["rules.v4", "rules.v6"])
def test_measurement_can_fail(lab: Lab, rules: str) -> None:
    """Without the accepts of ICMP errors the large page is lost; with one NOTRACK of two the entries stay."""
    address, six = (BEHIND6, True) if rules == "rules.v6" else (BEHIND, False)
    text = ruleaudit.suggest(str(HOST / rules)).text
    assert text is not None
    lab.load("server", _without(text, "-A OUTPUT ! -o lo"), "nft", six=six)
    assert requests(lab, "client", FRONTENDS[address], 10) == 20
    # of this address only: the page that the other family lost is still being sent again
    reversed_entries = [x for port in (80, 443) for x in lab.entries("server", f"src={address}", f"sport={port}")]
    assert len(reversed_entries) == 20
    errors = "--icmpv6-type 2 " if six else "--icmp-type 3 "
    lab.load("server", _without(text, errors), "nft", six=six)
    assert page(lab, "client", address, 80) == b"ok"
    assert page(lab, "client", address, 80, "/large") != b"x" * LARGE


def _without(text: str, words: str) -> str:
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if words not in line]
    assert len(kept) == len(lines) - 1
    return "".join(kept)


@pytest.mark.parametrize("variant", VARIANTS)
def test_with_its_configuration_neither_half_of_a_request_is_tracked(lab: Lab, variant: str) -> None:
    proxy = ruleaudit.read_haproxy([str(HOST / "haproxy.cfg")])
    suggestion = ruleaudit.suggest(str(HOST / "rules.v4"), services=services(proxy))
    assert suggestion.text is not None
    lab.load("server", suggestion.text, variant)
    assert requests(lab, "client", FRONTENDS[BEHIND], 500) == 1000
    assert lab.entries("server") == []
    same_as_ever(lab, BEHIND)
