"""docs/full-table.md, done step by step on a host whose table is full."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.lab import SERVER, Lab

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel", "full_table")]

ROOT = Path(__file__).parent.parent.parent
STEPS = [
    text.splitlines()
    for text in re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs/full-table.md").read_text(), re.M | re.S)
]
#: writing it belongs to the machine, not to a namespace
LIMIT = "sysctl -w net.netfilter.nf_conntrack_max="
#: of the limit; above this the kernel takes closed entries by itself, once it has dropped a packet (gc_worker)
FULL = 0.95


class Host:
    """A web server behind the rules of the example, with a shell on it."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self.limit = int(self.shell("sysctl -n net.netfilter.nf_conntrack_max"))

    def shell(self, command: str) -> str:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with self.lab.hosts["server"].inside():
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=self.folder,
                env={
                    **os.environ,
                    "PATH": path,
                    "XTABLES_LOCKFILE": str(self.folder / "lock"),
                },
                capture_output=True,
                text=True,
                timeout=60,
            )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def fill(self, state: str, port: int) -> None:
        """Entries of clients that nobody will ever hear of again, up to the limit."""
        entries = self.folder / "entries"
        with entries.open("w") as lines:
            for i in range(self.limit):
                source = f"198.{18 + (i >> 16 & 1)}.{i >> 8 & 255}.{i & 255}"
                lines.write(
                    f"-I -s {source} -d {SERVER} -p tcp --sport {1024 + (i >> 17)} --dport {port}"
                    f" --state {state} -u ASSURED,SEEN_REPLY -t 3600\n"
                )
        self.shell("conntrack -F 2>/dev/null")
        self.shell(f"conntrack -R {entries}")

    def count(self) -> int:
        return int(self.shell("conntrack -C"))

    def dropped(self) -> int:
        return sum(map(int, re.findall(r" drop=(\d+)", self.shell("conntrack -S"))))

    def works(self) -> bool:
        return self.lab.tcp("client", SERVER, 443) == "ok"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with Lab() as lab:
        lab.serve_tcp("server", 443)
        one = Host(lab, tmp_path)
        if one.limit > 600_000:
            pytest.skip(f"a table of {one.limit} entries takes too long to fill")
        one.shell(f"iptables-restore < {ROOT}/examples/haproxy-host/rules.v4")
        assert one.works()
        yield one


def test_first_aid(host: Host) -> None:
    is_it_this, room, what = STEPS[:3]
    host.fill("TIME_WAIT", 443)
    before = host.dropped()
    assert not host.works()
    assert host.dropped() > before
    told = "".join(host.shell(command) for command in is_it_this)
    count = re.search(rf"nf_conntrack_count = (\d+)\nnet.netfilter.nf_conntrack_max = {host.limit}\n", told)
    assert count and int(count[1]) > FULL * host.limit
    assert re.search(r"^ drop=\d+$", told, re.M)
    states, ports = (host.shell(command).split() for command in what)
    assert states[1] == "TIME_WAIT"
    assert ports == ["20000", "443"]
    deletion, timeout, limit = room
    host.shell(timeout)
    left = host.shell(
        "conntrack -L -p tcp --state TIME_WAIT 2>/dev/null | awk '{all++; kept += $3 > 3000} END {print all, kept}'"
    )
    entries, kept = map(int, left.split())
    assert kept == entries > FULL * host.limit
    assert limit.startswith(LIMIT)
    host.shell(deletion)
    assert host.count() < 100
    assert host.works()


def test_the_change_lets_the_site_answer_while_the_table_is_full(host: Host) -> None:
    the_command, did_it_work = STEPS[3:]
    host.fill("ESTABLISHED", 443)
    assert not host.works()
    save, suggest = the_command
    host.shell(save)
    assert host.shell(suggest).startswith("YES: tcp/80,443 can leave connection tracking")
    host.shell("iptables-restore < rules.v4.new")
    before = host.dropped()
    assert host.works()
    assert (host.count(), host.dropped()) == (host.limit, before)
    count, deletion, left, drops = did_it_work
    assert int(host.shell(count)) == host.limit
    host.shell(deletion)
    assert host.works()
    assert int(host.shell(left)) == 0
    assert re.search(r"^ drop=\d+$", host.shell(drops), re.M)


def test_one_direction_alone_does_not(host: Host) -> None:
    host.fill("ESTABLISHED", 443)
    host.shell("iptables -t raw -A PREROUTING -p tcp --dport 443 -j CT --notrack")
    host.shell("iptables -I INPUT -p tcp --dport 443 -j ACCEPT")
    assert not host.works()
