"""The whole way with a real HAProxy: a full table before, and the suggestion loaded after."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import ruleaudit
from tests.kernel.http import page, requests
from tests.kernel.lab import BEHIND, BEHIND6, VARIANTS, Lab

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

HOST = Path(__file__).parent.parent / "fixtures" / "haproxy-host"
LARGE = 200_000
FRONTENDS = {BEHIND: ((BEHIND, 80), (BEHIND, 443)), BEHIND6: ((BEHIND6, 80), (BEHIND6, 443))}


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A client, a router with a link of MTU 1280 to it, the HAProxy host, and its two backends behind it."""
    if shutil.which("haproxy") is None:
        pytest.skip("kernel tests: not installed: haproxy")
    with Lab(router=True, narrow=1280) as made:
        made.link(("server", "s1", "10.9.2.1", "fd09:2::1"), ("backends", "b0", "10.9.2.2", "fd09:2::2"))
        large = made.file("large", "x" * LARGE)
        backends = (HOST / "backends.cfg").read_text().replace("LARGE", large)
        made.start("backends", "haproxy", "-db", "-f", made.file("backends.cfg", backends))
        made.start("server", "haproxy", "-db", "-f", str(HOST / "haproxy.cfg"))
        for six in (False, True):
            made.serve_tcp("server", 22, six=six)
            made.serve_tcp("server", 8081, six=six)
        deadline = time.monotonic() + 10
        while page(made, "client", BEHIND6, 443) != b"ok":
            assert time.monotonic() < deadline, "HAProxy does not answer"
            time.sleep(0.05)
        yield made


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("rules", "address"), [("rules.v4", BEHIND), ("rules.v6", BEHIND6)])
def test_haproxy_host(lab: Lab, rules: str, address: str, variant: str) -> None:
    six = ":" in address
    lab.load("server", (HOST / rules).read_text(), variant, six=six)
    assert requests(lab, "client", FRONTENDS[address], 500) == 1000
    assert len(_frontend(lab, address)) == 1000
    if not six:  # the backends are asked by IPv4; that family has no rules here when IPv6 is tested
        assert len(lab.entries("server")) == 2000
    _same_as_ever(lab, address)

    suggestion = ruleaudit.suggest(str(HOST / rules))
    assert suggestion.text is not None
    lab.load("server", suggestion.text, variant, six=six)
    assert requests(lab, "client", FRONTENDS[address], 500) == 1000
    assert _frontend(lab, address) == []
    _same_as_ever(lab, address)


@pytest.mark.parametrize("rules", ["rules.v4", "rules.v6"])
def test_measurement_can_fail(lab: Lab, rules: str) -> None:
    """Without the accepts of ICMP errors the large page is lost; with one NOTRACK of two the entries stay."""
    address, six = (BEHIND6, True) if rules == "rules.v6" else (BEHIND, False)
    text = ruleaudit.suggest(str(HOST / rules)).text
    assert text is not None
    lab.load("server", _without(text, "-A OUTPUT ! -o lo"), "nft", six=six)
    assert requests(lab, "client", FRONTENDS[address], 10) == 20
    reversed_entries = [line for port in (80, 443) for line in lab.entries("server", f"sport={port}")]
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


def _frontend(lab: Lab, address: str) -> list[str]:
    return [line for port in (80, 443) for line in lab.entries("server", f"dst={address}", f"dport={port}")]


def _same_as_ever(lab: Lab, address: str) -> None:
    """What holds before and after the rewrite."""
    # ssh is for its network only, and tracked
    assert lab.tcp("router", address, 22) == "ok"
    assert lab.tcp("client", address, 22) == "silence"
    assert len(lab.entries("server", f"dst={address}", "dport=22")) == 1
    # a service that no rule opens stays closed
    assert lab.tcp("client", address, 8081) == "silence"
    # a health check from the host itself
    assert page(lab, "server", address, 80) == b"ok"
    assert page(lab, "server", "::1" if ":" in address else "127.0.0.1", 443) == b"ok"
    # what does not fit through the narrow hop arrives all the same
    whole = page(lab, "client", address, 80, "/large")
    assert whole is not None
    assert len(whole) == LARGE
