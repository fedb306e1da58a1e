"""From haproxy.cfg to sockets and services: what each line means, and that no text is too odd."""

from ipaddress import IPv4Network, IPv6Network
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ruleaudit.model.from_haproxy import proxy_of
from ruleaudit.model.proxy import Proxy, services
from ruleaudit.model.service import Service
from ruleaudit.source import SourceFile
from tests.syntax import corpus

ANY4, ANY6 = IPv4Network("0.0.0.0/0"), IPv6Network("::/0")


def of(*texts: str, host: str = "here", **environment: str) -> Proxy:
    return proxy_of([SourceFile(f"{n}.cfg", text) for n, text in enumerate(texts)], environment, host)


def listening(proxy: Proxy) -> list[tuple[str, int, str]]:
    return [(str(one.address or one.name), one.port, one.protocol) for one in proxy.listeners]


def connecting(proxy: Proxy) -> list[tuple[str, int | None, str]]:
    return [(str(one.address or one.name), one.port, one.protocol) for one in proxy.targets]


def remarks(proxy: Proxy, *kinds: str) -> list[tuple[str, str, int]]:
    return [(r.kind, r.place.path, r.place.line) for r in proxy.remarks if not kinds or r.kind in kinds]


def test_quic_is_udp() -> None:
    # no HAProxy with QUIC at hand: by its manual
    proxy = of("frontend f\n bind quic4@:443 ssl crt x\n bind quic6@:443 ssl\n bind quic4@10.0.0.1:8443-8444\n")
    assert listening(proxy) == [
        ("0.0.0.0", 443, "udp"),
        ("::", 443, "udp"),
        ("10.0.0.1", 8443, "udp"),
        ("10.0.0.1", 8444, "udp"),
    ]
    assert proxy.remarks == ()


def test_a_listener_is_a_service_with_its_addresses_and_interface() -> None:
    text = "frontend f\n bind :80\n bind :::81 v6only\n bind :::82\n bind 10.0.0.1:83-84,10.0.0.2:90 interface eth0\n"
    assert services(of(text)) == (
        Service("in", "tcp", ((80, 80),), (ANY4,), "", "0.cfg:2 bind :80"),
        Service("in", "tcp", ((81, 81),), (ANY6,), "", "0.cfg:3 bind :::81"),
        Service("in", "tcp", ((82, 82),), (), "", "0.cfg:4 bind :::82"),
        Service(
            *("in", "tcp", ((83, 84),), (IPv4Network("10.0.0.1/32"),)),
            *("eth0", "0.cfg:5 bind 10.0.0.1:83-84,10.0.0.2:90"),
        ),
        Service(
            *("in", "tcp", ((90, 90),), (IPv4Network("10.0.0.2/32"),)),
            *("eth0", "0.cfg:5 bind 10.0.0.1:83-84,10.0.0.2:90"),
        ),
    )


def test_servers_with_the_same_port_are_one_service() -> None:
    text = "backend b\n server a 10.0.0.1:80\n server b 10.0.0.2:80\n server c 10.0.0.1:81 check\n server d web:80\n"
    one, two = IPv4Network("10.0.0.1/32"), IPv4Network("10.0.0.2/32")
    assert services(of(text)) == (
        Service("out", "tcp", ((80, 80),), (one, two), "", "0.cfg:2 server a 10.0.0.1:80 and 1 more"),
        Service("out", "tcp", ((81, 81),), (one,), "", "0.cfg:4 server c 10.0.0.1:81"),
    )


def test_an_ipv4_address_in_ipv6_is_an_ipv4_one() -> None:
    assert listening(of("frontend f\n bind ::ffff:10.0.0.1:80\n")) == [("10.0.0.1", 80, "tcp")]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("server s 10.0.0.1", [("10.0.0.1", 80, "tcp"), ("10.0.0.1", 81, "tcp")]),
        ("server s 10.0.0.1:", [("10.0.0.1", 80, "tcp"), ("10.0.0.1", 81, "tcp")]),
        ("server s 10.0.0.1:+1000", [("10.0.0.1", 1080, "tcp"), ("10.0.0.1", 1081, "tcp")]),
        ("server s 10.0.0.1:-80", [("10.0.0.1", 1, "tcp")]),
        ("server s ipv6@[2001:db8::1]:443", [("2001:db8::1", 443, "tcp")]),
        ("server s :443", [("", 443, "tcp")]),
        ("server s unix@/run/x", []),
        ("server-template s 5 web.example:443", [("web.example", 443, "tcp")]),
        ("server s web.example:443 namespace blue", []),
        ("dispatch 10.0.0.1:90", [("10.0.0.1", 90, "tcp")]),
        ("log 10.0.0.1 local0", [("10.0.0.1", 514, "udp")]),
        ("log 10.0.0.1:515 len 4096 local0", [("10.0.0.1", 515, "udp")]),
        ("log tcp@10.0.0.1:516 local0", [("10.0.0.1", 516, "tcp")]),
        ("log ring@x local0", []),
        ("log stdout local0", []),
        ("no log", []),
    ],
)
def test_what_a_line_connects_to(line: str, found: list[tuple[str, int | None, str]]) -> None:
    proxy = of(f"frontend f\n bind :80-81\n default_backend b\nbackend b\n {line}\n")
    assert [(a.replace("None", ""), p, n) for a, p, n in connecting(proxy)] == found


def test_the_port_of_a_server_without_one_is_known_from_the_frontends_that_reach_it() -> None:
    text = "frontend f\n bind :80\n use_backend b if x\nfrontend g\n bind :81\n default_backend c\n"
    text += "backend b\n server s x\n"
    assert connecting(of(text + "backend c\n server t 10.0.0.1\n")) == [("x", 80, "tcp"), ("10.0.0.1", 81, "tcp")]
    alone = of("backend b\n server s 10.0.0.1\n")
    assert connecting(alone) == [("10.0.0.1", None, "tcp")]
    assert services(alone) == ()
    assert remarks(alone, "unknown") == [("unknown", "0.cfg", 2)]


def test_a_backend_that_nobody_reaches_is_noted_and_a_dynamic_rule_reaches_all() -> None:
    backends = "backend b\n server s 10.0.0.1:80\nbackend c\n server s 10.0.0.2:80\n"
    assert remarks(of("frontend f\n bind :80\n default_backend b\n" + backends)) == [("note", "0.cfg", 6)]
    assert remarks(of("frontend f\n bind :80\n use_backend %[path]\n" + backends)) == [("note", "0.cfg", 3)]
    assert remarks(of("frontend f\n bind :80\n default_backend d\n" + backends), "refused") == [("refused", "0.cfg", 1)]


def test_what_has_another_hosts_address_is_a_conflict_and_no_service() -> None:
    text = (
        "listen a\n bind :80 transparent\n server s 10.0.0.1:80 source 0.0.0.0 usesrc clientip\n"
        "backend b\n source 0.0.0.0 usesrc client\n server s 10.0.0.2:80\n server t 10.0.0.3:80 source 10.0.0.9\n"
        "backend c\n server s 10.0.0.4:80\n"
    )
    proxy = of(text)
    assert remarks(proxy, "conflict") == [("conflict", "0.cfg", line) for line in (2, 3, 5)]
    found = [(s.direction, s.addresses) for s in services(proxy)]
    assert found == [("out", (IPv4Network("10.0.0.3/32"), IPv4Network("10.0.0.4/32")))]
    assert len(proxy.listeners) == 1
    assert len(proxy.targets) == 4


def test_what_is_disabled_is_left_out_but_keeps_its_errors() -> None:
    text = "listen a\n disabled\n bind :80\n bind :x\n server s name:80\n log 10.0.0.1 local0\n"
    proxy = of(text)
    assert (proxy.listeners, proxy.targets) == ((), ())
    assert remarks(proxy) == [("refused", "0.cfg", 4)]


def test_defaults() -> None:
    text = (
        "defaults\n disabled\nlisten a\n bind :80\ndefaults two\n default-server port 90 check\n default_backend b\n"
        "frontend c\n bind :81\nbackend b\n server s 10.0.0.1:82\ndefaults three from two\n"
        "backend d from three\n server s 10.0.0.2:83\nbackend e from nobody\n server s 10.0.0.3:84\n"
    )
    proxy = of(text)
    assert listening(proxy) == [("0.0.0.0", 81, "tcp")]
    assert [port for _, port, _ in sorted(connecting(proxy))] == [82, 90, 83, 90, 84, 90]
    assert remarks(proxy, "refused") == [("refused", "0.cfg", 15)]


def test_files_are_read_in_order_with_one_space_of_names() -> None:
    first = "global\n setenv PORT 81\ndefaults base\n disabled\n"
    second = 'frontend f\n bind ":$PORT"\n default_backend b\nfrontend g from base\n enabled\n bind :82\n'
    third = "bind :83\ndefaults\nbackend b\n server s 10.0.0.1\n"
    proxy = of(first, second.replace("frontend f\n", "frontend f\n enabled\n"), third)
    assert listening(proxy) == [("0.0.0.0", 81, "tcp"), ("0.0.0.0", 82, "tcp")]
    assert connecting(proxy) == [("10.0.0.1", 81, "tcp")]
    # a section ends with its file
    assert remarks(proxy) == [("refused", "2.cfg", 1)]


def test_a_variable_that_is_not_set_leaves_its_line_not_understood() -> None:
    text = 'listen f\n bind ":$PORT"\n bind $HOST:80\n bind ":${X-82}"\n server s "$HOST:80"\n server t 10.0.0.1:80\n'
    proxy = of(text)
    assert listening(proxy) == [("0.0.0.0", 82, "tcp")]
    assert connecting(proxy) == [("10.0.0.1", 80, "tcp")]
    assert remarks(proxy) == [("unknown", "0.cfg", line) for line in (2, 3, 5)]
    assert "PORT is not set" in proxy.remarks[0].message
    assert [p for _, p, _ in listening(of(text, PORT="80", HOST="10.0.0.2"))] == [80, 80, 82]


def test_which_peer_is_this_host() -> None:
    text = "peers p\n peer a 10.0.0.1:1024\n peer b 10.0.0.2:1024\n"
    assert listening(of(text, host="a")) == [("10.0.0.1", 1024, "tcp")]
    assert connecting(of(text, host="a")) == [("10.0.0.2", 1024, "tcp")]
    assert listening(of(text, host="a", HAPROXY_LOCALPEER="b")) == [("10.0.0.2", 1024, "tcp")]
    assert listening(of("global\n localpeer b\n" + text, host="a")) == [("10.0.0.2", 1024, "tcp")]
    stranger = of(text)
    assert (stranger.listeners, stranger.targets) == ((), ())
    assert remarks(stranger) == [("unknown", "0.cfg", 1)]


def test_an_address_behind_the_name_is_read_as_it_was_once() -> None:
    proxy = of("listen stats 10.0.0.1:8080\n mode http\n")
    assert listening(proxy) == [("10.0.0.1", 8080, "tcp")]
    assert remarks(proxy) == [("refused", "0.cfg", 1)]


def test_a_name_has_no_address() -> None:
    proxy = of("frontend f\n bind web.example:80\n")
    assert listening(proxy) == [("web.example", 80, "tcp")]
    assert remarks(proxy) == [("unknown", "0.cfg", 2)]
    assert services(proxy) == (Service("in", "tcp", ((80, 80),), (), "", "0.cfg:2 bind web.example:80"),)


@pytest.mark.skipif(corpus.MISSING, reason=corpus.REASON)
@pytest.mark.parametrize("entry", corpus.entries("haproxy"), ids=lambda entry: entry.path)
def test_no_configuration_of_the_corpus_is_too_odd(entry: corpus.Entry) -> None:
    proxy = proxy_of([entry.source], {}, "here")
    _sound(proxy, entry.source.text)
    if entry.verdict == "accepted":
        assert [r.text for r in proxy.remarks if r.kind == "refused"] == []


WORDS = st.sampled_from([
    "global", "defaults", "listen", "frontend", "backend", "peers", "resolvers", "mailers", "ring", "log-forward",
    "program", "cache", ".if", ".elif", ".else", ".endif", ".alert", ".what", "bind", "dgram-bind", "server",
    "server-template", "default-server", "peer", "nameserver", "mailer", "log", "stats", "socket", "dispatch",
    "use_backend", "default_backend", "source", "usesrc", "transparent", "interface", "v6only", "v4v6", "namespace",
    "check", "port", "addr", "agent-check", "agent-port", "agent-addr", "socks4", "check-via-socks4", "disabled",
    "enabled", "from", "setenv", "unsetenv", "resetenv", "localpeer", "tcp-check", "connect", "option",
    "email-alert", "no", "here", "a", "b", "1-3", "0", "1", "defined(A)", "!feature(X)", "&&", ":80", "*:1-9",
    ":::81", "[::1]:82", "1:2:3", "10.0.0.1", "10.0.0.1:90", ":+5", ":-5", "unix@/x", "fd@3", "quic4@:443",
    "udp@:1", "ip@", "ring@a", "web:80", '"$A"', "'$A'", "${A}", '"${A-:85}"', '"$"', '\\', "#", '"', "'", "%[src]",
    'é', '�', "tcp@1.1.1.1:53", "::ffff:1.2.3.4:5", ",:1,:2,",
])  # fmt: skip
LINES = st.one_of(st.lists(WORDS, max_size=7).map(" ".join), st.text(max_size=12))


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=300)
@given(st.lists(LINES, max_size=25), st.sampled_from(["\n", "\n  ", "\r\n"]), st.booleans())
def test_no_text_is_too_odd(lines: list[str], between: str, ended: bool) -> None:
    text = between.join(lines) + ("\n" if ended else "")
    _sound(of(text, A="x y:80"), text)


@pytest.mark.skipif(corpus.MISSING, reason=corpus.REASON)
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=200)
@given(st.data())
def test_no_damaged_configuration_is_too_odd(data: st.DataObject) -> None:
    entry = data.draw(st.sampled_from([e for e in corpus.entries("haproxy") if len(e.source.text) < 20_000]))
    text = entry.source.text
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=8)))
    pieces = [text[a:b] for a, b in pairwise([0, *cuts, len(text)])]
    damaged = data.draw(st.sampled_from(["", '"', "\\", " ", "\n", "$", "{"])).join(data.draw(st.permutations(pieces)))
    _sound(of(damaged), damaged)


def _sound(proxy: Proxy, text: str) -> None:
    lines = text.count("\n") + 1
    assert all(1 <= r.place.line <= lines and r.message for r in proxy.remarks)
    assert all(1 <= one.port <= 65535 and one.protocol in ("tcp", "udp") for one in proxy.listeners)
    assert all(one.port is None or 1 <= one.port <= 65535 for one in proxy.targets)
    found = services(proxy)
    told = {(one.protocol, one.port) for one in proxy.listeners if not one.foreign}
    assert told == {(s.protocol, p) for s in found if s.direction == "in" for a, b in s.ports for p in range(a, b + 1)}


def test_a_long_line_takes_no_long_time() -> None:
    of(f'frontend f\n bind {",:80" * 20000}\n bind {"a" * 200000}\n bind "{"$A" * 50000}"\n .if {"(" * 5000}1\n')
