"""HAProxy with its backends under nft rulesets: both halves of its connections leave the table."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import ruleaudit
from ruleaudit.source import SourceFile
from tests.kernel.haproxy import FRONTENDS, SERVICES, haproxy_host, proxy_entries
from tests.kernel.http import requests
from tests.kernel.lab import BEHIND, Lab

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

NFT = Path(__file__).parent.parent / "fixtures" / "nft" / "haproxy-host"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with haproxy_host() as made:
        yield made


@pytest.mark.parametrize(
    ("rules", "separate"), [*((path.name, False) for path in sorted(NFT.glob("*.nft"))), ("sets.nft", True)]
)
def test_haproxy_host_in_nft(lab: Lab, rules: str, separate: bool) -> None:
    lab.load_nft("server", (NFT / rules).read_text())
    assert requests(lab, "client", FRONTENDS[BEHIND], 25) == 50
    assert len(proxy_entries(lab)) >= 80

    suggestion = ruleaudit.suggest(str(NFT / rules), services=SERVICES, separate=separate)
    assert suggestion.text is not None
    assert {(f.direction, p) for f in suggestion.flows for p in f.ports} >= {("out", "8080-8081")}
    lab.load_nft("server", suggestion.text)
    assert requests(lab, "client", FRONTENDS[BEHIND], 50) == 100
    assert proxy_entries(lab) == []
    assert lab.run("server", "conntrack", "-C").strip() == "0"


def test_haproxy_host_in_nft_json(lab: Lab) -> None:
    lab.load_nft("server", (NFT / "sets.nft").read_text())
    listed = lab.run("server", "nft", "-j", "list", "ruleset")
    suggestion = ruleaudit.suggest(SourceFile("rules.json", listed), services=SERVICES)
    assert suggestion.text is not None
    lab.run("server", "nft", "flush", "ruleset")
    lab.run("server", "nft", "-j", "-f", "-", text=suggestion.text)
    lab.forget("server")
    assert requests(lab, "client", FRONTENDS[BEHIND], 50) == 100
    assert proxy_entries(lab) == []
