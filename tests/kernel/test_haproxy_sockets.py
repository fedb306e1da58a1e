"""Where haproxy.cfg is said to listen, there HAProxy listens, and nowhere else."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ruleaudit.discovery import haproxy_files
from ruleaudit.model.from_haproxy import proxy_of
from ruleaudit.model.proxy import Proxy
from ruleaudit.source import SourceFile, read
from tests.kernel.haproxy_sockets import PEER, HaproxyHost, Socket, checked, missing
from tests.syntax import corpus

FIXTURES = sorted((Path(__file__).parent.parent / "fixtures" / "haproxy").glob("*.cfg"))
ENVIRONMENT = {"WEB": "8443", "ADMIN_ADDRESS": "127.0.0.7", "ROLE": "primary", "MANY": "127.0.0.1:7001 127.0.0.1:7002"}
#: a section: its first line, what stands behind that, and its addresses with their options
Block = tuple[str, str, list[str]]
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


def test_folders_and_several_files_are_read_as_haproxy_loads_them(host: HaproxyHost, tmp_path: Path) -> None:
    folder = tmp_path / "conf.d"
    folder.mkdir()
    timeouts = " timeout client 1s\n timeout server 1s\n timeout connect 1s\n"
    texts = {
        "conf.d/b.cfg": "frontend b\n bind :8002\n",
        "conf.d/a.cfg": f"global\n setenv PORT 8001\ndefaults own\n{timeouts} disabled\ndefaults\n{timeouts}",
        "conf.d/B.cfg": 'frontend B\n bind ":$PORT"\n',
        "conf.d/_.cfg": f"defaults\n{timeouts}",
        "conf.d/.c.cfg": "frontend c\n bind :8003\n",
        "conf.d/d.cfg.bak": "frontend d\n bind :8004\n",
        "last.cfg": "frontend last from own\n bind :8005\nfrontend l\n bind :8006\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    files = [folder, tmp_path / "last.cfg"]
    proxy = proxy_of([read(name) for path in files for name in haproxy_files(str(path))], {}, PEER)
    # B.cfg comes before a.cfg, and has no PORT yet
    assert {one.port for one in proxy.listeners} == {8002, 8006}
    assert [(r.kind, Path(r.place.path).name) for r in proxy.remarks] == [("unknown", "B.cfg")]
    assert not checked(files, {})[0]
    (folder / "B.cfg").unlink()
    assert host.sockets(files, said(proxy), {}) == said(proxy)


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


ADDRESSES = st.sampled_from(
    ["", "*", "0.0.0.0", "::", "[::]", "ipv4@", "ipv6@", "ipv6@*", "tcp4@", "tcp6@", "ip@", "127.0.0.1", "::1", "[::1]",
     "10.1.2.3", "2001:db8::1", '"$ADMIN_ADDRESS"', "$ADMIN_ADDRESS", "${ADMIN_ADDRESS}", '"${ABSENT-127.0.0.5}"',
     "stream+ipv4@127.0.0.6", "'127.0.0.8'"]
)  # fmt: skip
TAILS = st.sampled_from(
    ["", "", " v6only", " v4v6", " interface eth0", " name v6only", " v6only interface eth1", " nice 3 mss 1300 v6only",
     " # v6only", " transparent", ' "v6only"', " backlog 5 v4v6 v6only", " shards 2"]
)  # fmt: skip
SPAN = st.sampled_from(["{n}", "{n}", "{n}", "{n}-{n2}", "0{n}"])
BINDS = st.builds(lambda address, span, tail: f"{address}:{span}{tail}", ADDRESSES, SPAN, TAILS)
LISTS = st.builds(lambda one, other, span: f"{one}:{span},{other}:{{n4}}", ADDRESSES, ADDRESSES, SPAN)
HEADS = st.sampled_from(
    ["frontend f{n}", "frontend f{n}", "listen l{n}", "frontend f{n} from on", "frontend f{n} from off", "peers p{n}",
     "log-forward d{n}"]
)  # fmt: skip
EXTRAS = st.sampled_from(
    ["", "", " disabled\n", " enabled\n", " disabled\n enabled\n", ".if defined(ABSENT)\n",
     ".if streq($ROLE,primary)\n", '.if streq("$ROLE",primary)\n', ".if 0\n.else\n", ".if 1\n.elif 1\n"]
)  # fmt: skip
BLOCKS = st.tuples(HEADS, EXTRAS, st.lists(st.one_of(BINDS, BINDS, LISTS), min_size=1, max_size=3))


@settings(max_examples=25, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate))
@given(st.lists(BLOCKS, min_size=1, max_size=6), st.booleans())
def test_random_configurations_open_what_is_said(host: HaproxyHost, blocks: list[Block], off: bool) -> None:
    text = _configuration(blocks, off)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "haproxy.cfg"
        path.write_text(text)
        proxy = proxy_of([read(str(path))], ENVIRONMENT, PEER)
        opened = host.sockets([path], said(proxy), ENVIRONMENT)
        refused = [remark.text for remark in proxy.remarks if remark.kind == "refused"]
    if isinstance(opened, str):
        # nothing else than what is told keeps it from starting, but sections without a socket
        assert refused or not said(proxy) or "Cannot" in opened, f"{text}\n{opened}"
    else:
        assert opened == said(proxy), text
        assert refused == [], text


def _configuration(blocks: list[Block], off: bool) -> str:
    timeouts = " timeout client 1s\n timeout server 1s\n timeout connect 1s\n"
    text = f"global\n stats socket :2000\ndefaults on\n{timeouts}defaults off from on\n disabled\ndefaults from on\n"
    text += f" {'disabled' if off else 'enabled'}\n"
    port = 2000
    for head, extra, binds in blocks:
        port += 10
        text += head.format(n=port) + "\n"
        peers = head.startswith("peers")
        extra = "" if head.startswith("log") or (peers and "abled" in extra) else extra
        text += extra
        keyword = "dgram-bind" if head.startswith("log") else "bind"
        for bind in binds[: 1 if peers else None]:
            port += 10
            numbered = bind.replace("{n}", f"{port}").replace("{n2}", f"{port + 2}").replace("{n4}", f"{port + 4}")
            text += f" {keyword} {numbered}\n"
        text += ".endif\n" if ".if" in extra else ""
        text += f" server {PEER}\n" if peers else ""
    return text
