"""Where haproxy.cfg is said to listen, there HAProxy listens, and nowhere else."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ruleaudit.model.from_haproxy import proxy_of
from ruleaudit.model.proxy import Proxy
from ruleaudit.source import SourceFile, read
from tests.kernel.haproxy_sockets import PEER, HaproxyHost, Socket, checked, missing
from tests.syntax import corpus

FIXTURES = sorted((Path(__file__).parent.parent / "fixtures" / "haproxy").glob("*.cfg"))
ENVIRONMENT = {"WEB": "8443", "ADMIN_ADDRESS": "127.0.0.7", "ROLE": "primary", "MANY": "127.0.0.1:7001 127.0.0.1:7002"}
ACCEPTED = [entry for entry in corpus.entries("haproxy") if entry.verdict == "accepted"]

pytestmark = pytest.mark.usefixtures("kernel")


@pytest.fixture(scope="module")
def host() -> Iterator[HaproxyHost]:
    reason = missing()
    if reason is not None:
        pytest.skip(f"kernel tests: {reason}")
    with HaproxyHost() as made:
        yield made


def said(proxy: Proxy) -> set[Socket]:
    return {Socket(str(one.address), one.port, one.protocol, one.interface, one.both) for one in proxy.listeners}


@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.stem)
def test_a_fixture_opens_what_is_said(host: HaproxyHost, path: Path) -> None:
    proxy = proxy_of([read(str(path))], ENVIRONMENT, PEER)
    assert said(proxy)
    assert host.sockets([path], said(proxy), ENVIRONMENT) == said(proxy)
    assert [remark.text for remark in proxy.remarks if remark.kind == "refused"] == []


def test_it_connects_to_what_is_said(host: HaproxyHost) -> None:
    path = next(path for path in FIXTURES if path.stem == "targets")
    proxy = proxy_of([read(str(path))], {}, PEER)
    told = {Socket(str(t.address), t.port or 0, t.protocol) for t in proxy.targets if t.address is not None}
    # servers that are checked elsewhere are down, and get nothing
    alive = {one for one in told if not one.address.startswith("127.0.1.") and one.port != 81}
    assert host.contacted([path], said(proxy), alive) == alive
    assert {t.name for t in proxy.targets if t.address is None} == {"name.example"}


@pytest.mark.skipif(corpus.MISSING, reason=corpus.REASON)
@pytest.mark.parametrize("entry", ACCEPTED, ids=lambda entry: entry.path)
def test_a_real_configuration_opens_what_is_said(host: HaproxyHost, entry: corpus.Entry, tmp_path: Path) -> None:
    text = entry.source.text.replace("/tmp/", f"{tmp_path}/").replace("/var/empty", str(tmp_path))
    path = tmp_path / "haproxy.cfg"
    path.write_text(text)
    proxy = proxy_of([SourceFile(str(path), text)], {}, PEER)
    assert [remark.text for remark in proxy.remarks if remark.kind == "refused"] == []
    opened = host.sockets([path], said(proxy), {})
    if isinstance(opened, str):
        assert checked([path], {})[0], opened
        pytest.skip(f"HAProxy does not start here: {opened.strip().splitlines()[-1]}")
    assert opened == said(proxy)
