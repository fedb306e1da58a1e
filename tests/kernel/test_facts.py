"""Facts about the kernel that the analysis builds on and that no rewrite by itself shows."""

import socket
import time
from pathlib import Path

import pytest

import ruleaudit
from tests.kernel import packets
from tests.kernel.lab import BEHIND, CLIENT, SERVER, VARIANTS, Lab
from tests.kernel.rewrite import ESTABLISHED, errors, filtered, notrack

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel"), pytest.mark.parametrize("variant", VARIANTS)]

_STATES = ("NEW", "ESTABLISHED", "INVALID", "UNTRACKED")


def _counted(match: str) -> str:
    return "".join(
        f"-A INPUT {match} -m conntrack --ctstate {state} -m comment --comment {state}-seen\n" for state in _STATES
    )


def _states(lab: Lab, packets_sent: int) -> dict[str, int]:
    """The states of some packets, when the last of them has arrived."""
    deadline = time.monotonic() + 10
    while True:
        counts = {state: lab.hits("server", f"{state}-seen") for state in _STATES}
        if sum(counts.values()) >= packets_sent or time.monotonic() > deadline:
            return {state: count for state, count in counts.items() if count}


def test_repeated_opening_packets(variant: str) -> None:
    """a14: a repeated SYN is ESTABLISHED once it was answered; unanswered datagrams are all NEW."""
    nobody = "10.9.0.77"
    with Lab() as lab:
        lab.serve_tcp("server", 80)
        # somebody who never resets the half-open connection
        neighbour = ("lladdr", "02:00:00:00:00:77", "dev", "s0", "nud", "permanent")
        lab.run("server", "ip", "neigh", "add", nobody, *neighbour)
        lab.load("server", filtered(_counted("-p tcp --dport 80 --syn"), coming="ACCEPT"), variant)
        for _ in range(3):
            lab.send("client", "c0", ("server", "s0"), packets.tcp(nobody, 6000, SERVER, 80, "S"))
        assert _states(lab, 3) == {"NEW": 1, "ESTABLISHED": 2}
        lab.load("server", filtered(_counted("-p udp --dport 53"), coming="ACCEPT"), variant)
        with lab.open_socket("server", socket.SOCK_DGRAM) as deaf:
            deaf.bind(("", 53))
            for _ in range(3):
                lab.send("client", "c0", ("server", "s0"), packets.udp(nobody, 6000, SERVER, 53))
            assert _states(lab, 3) == {"NEW": 3}


def test_raw_of_another_owner_is_emptied(variant: str, tmp_path: Path) -> None:
    """a16: restoring a file with a new `*raw` empties what others put there; the suggestion says what it assumes."""
    others = "*raw\n-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -m comment --comment theirs -j DROP\nCOMMIT\n"
    ours = filtered(ESTABLISHED, "-A INPUT -p tcp --dport 80 -j ACCEPT\n")
    path = tmp_path / "rules.v4"
    path.write_text(ours)
    suggestion = ruleaudit.suggest(str(path))
    assert suggestion.text is not None
    assert "no-other-owner" in dict(suggestion.assumptions)
    with Lab() as lab:
        lab.load("server", others, variant)
        lab.restore("server", ours, variant)
        assert "--comment theirs" in lab.save("server", variant)
        lab.restore("server", suggestion.text, variant)
        assert "--comment theirs" not in lab.save("server", variant)


def test_masquerade_keeps_ports_in_their_class(variant: str) -> None:
    """a18: of two clients with one source port one keeps it; the other gets one below 512, below 1024 or above."""
    with Lab(router=True) as lab:
        lab.run("client", "ip", "address", "add", "10.9.0.2/24", "dev", "c0")
        lab.load("router", "*nat\n-A POSTROUTING -o r1 -j MASQUERADE\nCOMMIT\n", variant)
        ports = (80, 443, 600, 1023, 1024, 40000)
        for port in ports:
            clash = [packets.udp(source, port, BEHIND, 9) for source in (CLIENT, "10.9.0.2")]
            lab.send("client", "c0", ("router", "r0"), *clash)
        for port in ports:
            lines = [
                line for line in lab.entries("router", f"sport={port}", "dport=9") if f" sport={port} dport=9 " in line
            ]
            translated = sorted(int(line.split("dport=")[2].split()[0]) for line in lines)
            assert len(translated) == 2
            assert port in translated
            assert [_class(p) for p in translated] == [_class(port)] * 2


def _class(port: int) -> int:
    return 0 if port < 512 else 1 if port < 1024 else 2


@pytest.mark.parametrize(
    "accept",
    [
        "-A INPUT -p tcp --dport 80 -m conntrack --ctstate NEW,UNTRACKED -j ACCEPT\n",
        "-A INPUT -p tcp --dport 80 --syn -j ACCEPT\n-A INPUT -p tcp --dport 80 ! --syn -j ACCEPT\n",
    ],
    ids=["state", "flags"],
)
def test_open_connections_survive_the_change(accept: str, variant: str) -> None:
    """a20: and their entries stay until they time out."""
    old = filtered(ESTABLISHED, "-A INPUT -p tcp --dport 80 -m conntrack --ctstate NEW -j ACCEPT\n")
    new = notrack(80) + filtered(errors("INPUT"), ESTABLISHED, accept)
    with Lab() as lab:
        lab.serve_tcp("server", 80, size=0)
        lab.load("server", old, variant)
        with lab.open_socket("client", socket.SOCK_STREAM) as asking:
            asking.connect((SERVER, 80))
            for ruleset in (old, new):
                lab.restore("server", ruleset, variant)
                asking.sendall(b"still there?")
                assert asking.recv(100) == b"still there?"
        assert len(lab.entries("server", "dport=80")) == 1
