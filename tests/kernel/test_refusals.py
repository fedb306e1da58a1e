"""Rulesets in which something works through conntrack: its ports are refused by name, and it goes on working."""

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import ruleaudit
from ruleaudit.diagnostics import FixClass
from ruleaudit.source import SourceFile
from tests.kernel.ask import Ask
from tests.kernel.lab import BEHIND, CLIENT, PATIENCE, ROUTER, SERVER, VARIANTS, Lab

RULES = Path(__file__).parent.parent / "fixtures" / "refusals"


@dataclass(frozen=True)
class Refusal:
    """A ruleset, the port that must stay tracked, and words of the one rule that is the reason.

    asks     questions whose answers never change; the port's own stays in the table
    feature  what works through conntrack, shown before and after
    """

    rules: str
    port: str
    because: str
    asks: tuple[Ask, ...]
    feature: Callable[[Lab], object] = str
    on: str = "server"

    @property
    def path(self) -> Path:
        return RULES / self.rules


def _lab(on: str) -> Lab:
    return Lab(router=on == "router")


def limited(lab: Lab) -> list[str]:
    """Four connections that stay open at the same time."""
    seen = []
    with contextlib.ExitStack() as held:
        for _ in range(4):
            asking = held.enter_context(lab.open_socket("client", socket.SOCK_STREAM))
            try:
                asking.connect((SERVER, 80))
                seen.append("ok")
            except ConnectionRefusedError:
                seen.append("refused")
    return seen


def _marked(lab: Lab) -> bool:
    """Do the answers carry the mark of their connection?"""
    assert lab.tcp("client", SERVER, 80) == "ok"
    return lab.hits("server", "marked") > 0


def passive(lab: Lab) -> str:
    """An FTP session whose data port no rule names."""
    with (
        lab.open_socket("server", socket.SOCK_STREAM) as control,
        lab.open_socket("server", socket.SOCK_STREAM) as data,
    ):
        control.bind(("", 21))
        control.listen()
        data.bind(("", 50000))
        data.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                peer, _ = control.accept()
                with peer:
                    peer.sendall(b"220 ready\r\n")
                    peer.recv(100)
                    high, low = divmod(50000, 256)
                    peer.sendall(f"227 Entering Passive Mode (10,9,0,2,{high},{low})\r\n".encode())
                    peer.recv(100)

        thread = threading.Thread(target=serve)
        thread.start()
        with lab.open_socket("client", socket.SOCK_STREAM) as asking:
            asking.connect((SERVER, 21))
            asking.recv(100)
            asking.sendall(b"PASV\r\n")
            asking.recv(100)
            with lab.open_socket("client", socket.SOCK_STREAM) as second:
                second.settimeout(PATIENCE)
                try:
                    second.connect((SERVER, 50000))
                    seen = "ok"
                except TimeoutError:
                    seen = "silence"
        thread.join(5)
    return seen


_HTTPS = Ask(SERVER, 443, freed=True)
_OWN_HTTPS = Ask(ROUTER, 443, freed=True)

CASES = (
    Refusal("dnat.v4", "80", "-j DNAT", (_OWN_HTTPS, Ask(ROUTER, 80), Ask(ROUTER, 81, seen="silence")), on="router"),
    Refusal("redirect.v4", "8080", "-j REDIRECT", (_HTTPS, Ask(SERVER, 80), Ask(SERVER, 8080))),
    Refusal("connlimit.v4", "80", "-m connlimit", (_HTTPS,), limited),
    Refusal("connmark.v4", "80", "--set-mark 5", (_HTTPS, Ask(SERVER, 80)), _marked),
    Refusal("ftp.v4", "21", "--helper ftp", (_HTTPS,), passive),
)
#: what the features show, before and after
SHOWN = {"connlimit.v4": ["ok", "ok", "ok", "refused"], "connmark.v4": True, "ftp.v4": "ok"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rules)
def test_refused(case: Refusal) -> None:
    """The rule is named by its line, with a packet; and nothing else is held back."""
    suggestion = ruleaudit.suggest(str(case.path), everything=True)
    expected = [n for n, line in enumerate(case.path.read_text().splitlines(), 1) if case.because in line]
    refused = [r for r in suggestion.refused if case.port in r.flow.ports]
    assert [r.rule.line for r in refused if r.rule is not None and r.witness is not None] == expected
    assert suggestion.outcome == "rewrite"
    assert case.port not in [port for flow in suggestion.flows for port in flow.ports]


@pytest.mark.kernel
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rules)
def test_works_on(case: Refusal, variant: str) -> None:
    suggestion = ruleaudit.suggest(str(case.path), everything=True)
    assert suggestion.text is not None
    with _lab(case.on) as lab:
        services(lab)
        for text in (case.path.read_text(), suggestion.text):
            lab.load(case.on, text, variant)
            assert [ask.answer(lab) for ask in case.asks] == [ask.seen for ask in case.asks]
            if case.rules in SHOWN:
                assert case.feature(lab) == SHOWN[case.rules]
        assert [a for a in case.asks if a.seen == "ok" and bool(a.entries(lab, case.on)) is a.freed] == []


def services(lab: Lab) -> None:
    for host in lab.hosts:
        for port in (22, 80, 443, 8000, 8080):
            lab.serve_tcp(host, port)


# -- the host's own services beside NAT for others ------------------------------------------------

SHARED = (
    ("docker.v4", (Ask(ROUTER, 8080), Ask(ROUTER, 80), Ask(ROUTER, 22), Ask(CLIENT, 8000, by="server"))),
    ("kube-proxy.v4", (Ask("10.96.0.80", 80), Ask(ROUTER, 30080), Ask(ROUTER, 443), Ask(ROUTER, 22))),
)
OWN = {"docker.v4": {"22", "80"}, "kube-proxy.v4": {"22", "443"}}


@pytest.mark.parametrize("rules", sorted(OWN))
def test_shared_host(rules: str) -> None:
    """Of a host that translates for containers only its own services may leave, narrowed to its own addresses."""
    path = RULES / rules
    suggestion = ruleaudit.suggest(str(path), everything=True)
    left = {port for flow in suggestion.flows for port in flow.ports}
    assert left <= OWN[rules]
    # whatever stays is refused by a rule of this file, with a packet
    assert {port for r in suggestion.refused for port in r.flow.ports if r.rule and r.witness} == OWN[rules] - left
    added = [x for x in (suggestion.text or "").splitlines() if "--notrack" in x]
    assert [x for x in added if "--dst-type LOCAL" not in x and "--src-type LOCAL" not in x] == []
    for port in ("8080", "30080", "8000"):
        assert not ruleaudit.suggest(str(path), ports=(port,)).flows


@pytest.mark.kernel
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("rules", "asks"), SHARED, ids=[rules for rules, _ in SHARED])
def test_shared_host_works_on(rules: str, asks: tuple[Ask, ...], variant: str) -> None:
    path = RULES / rules
    suggestion = ruleaudit.suggest(str(path), everything=True)
    with _lab("router") as lab:
        services(lab)
        for text in (path.read_text(), suggestion.text or path.read_text()):
            lab.load("router", text, variant)
            assert [ask.answer(lab) for ask in asks] == [ask.seen for ask in asks]


# -- SYNPROXY ---------------------------------------------------------------------------------------


def test_synproxy_is_left_alone() -> None:
    """Its one-sided NOTRACK is neither reported nor widened, and a ruleset that widens it is refused."""
    path = RULES / "synproxy.v4"
    (report,) = ruleaudit.check([str(path)])
    assert [f.name for f in report.findings if f.name in ("one-way-notrack", "state-test-on-untracked")] == []
    suggestion = ruleaudit.suggest(str(path), everything=True)
    assert [flow.ports for flow in suggestion.flows] == [("443",)]
    asked = ruleaudit.suggest(str(path), ports=("80",))
    assert asked.text is None
    assert [r.rule.line for r in asked.refused if r.rule is not None and r.witness is not None] == [11]
    text = path.read_text()
    own = "-A PREROUTING -p tcp -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -j CT --notrack\n"
    widened = text.replace(own, "-A PREROUTING -p tcp -m tcp --dport 80 -j CT --notrack\n")
    removed = text.replace(own, "")
    assert text not in (widened, removed)
    found = ruleaudit.verify(SourceFile("rules.v4", text), SourceFile("rules.v4", widened))
    assert [d for d in found.differences if d.loosens is None and d.witness.packet] != []
    # without it the proxy never sees an opening: they are NEW, and go straight to the service
    found = ruleaudit.verify(SourceFile("rules.v4", text), SourceFile("rules.v4", removed))
    assert found.result == "different"


@pytest.mark.kernel
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("variant", VARIANTS)
def test_synproxy_works_on(variant: str) -> None:
    """A large page arrives through the proxy; a wider NOTRACK takes the client's later packets away from it."""
    path = RULES / "synproxy.v4"
    suggestion = ruleaudit.suggest(str(path), everything=True)
    assert suggestion.text is not None
    size = 50_000
    with Lab() as lab:
        lab.serve_tcp("server", 80, size=size)
        lab.serve_tcp("server", 443)
        for text in (path.read_text(), suggestion.text):
            lab.load("server", text, variant)
            # the proxy needs to know which ACK belongs to which SYN
            lab.hosts["server"].sysctl("net.netfilter.nf_conntrack_tcp_loose", 0)
            assert lab.download("client", SERVER, patience=3) == size
            assert lab.tcp("client", SERVER, 443) == "ok"
        assert lab.entries("server", "dport=443") == []
        assert lab.entries("server", "dport=80") != []
        widened = path.read_text().replace(" --tcp-flags FIN,SYN,RST,ACK SYN", "")
        lab.load("server", widened, variant)
        assert lab.download("client", SERVER, patience=3) < size


# -- MASQUERADE on the way out ----------------------------------------------------------------------


@pytest.mark.kernel
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("variant", VARIANTS)
def test_masquerade_on_the_way_out(variant: str) -> None:
    """The router's own port 80 leaves; who browses through the router stays tracked, and translated."""
    path = RULES / "masquerade-out.v4"
    suggestion = ruleaudit.suggest(str(path))
    assert [(f.direction, f.protocol, f.ports) for f in suggestion.flows] == [("in", "tcp", ("80",))]
    assert suggestion.kind is FixClass.ASSUMING
    assert "masq-low-ports" in dict(suggestion.assumptions)
    assert suggestion.text is not None
    with _lab("router") as lab:
        services(lab)
        for text in (path.read_text(), suggestion.text):
            lab.load("router", text, variant)
            assert lab.tcp("client", ROUTER, 80) == "ok"
            assert lab.tcp("server", CLIENT, 80) == "ok"
            assert lab.tcp("client", BEHIND, 80) == "silence"
            browsing = lab.entries("router", f"src={BEHIND}", f"dst={CLIENT}", "dport=80", f"dst={ROUTER}")
            assert len(browsing) == 1
        assert lab.entries("router", f"src={CLIENT}", f"dst={ROUTER}", f"src={ROUTER}") == []
