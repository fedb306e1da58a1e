"""The script of `suggest --script` on a host of its own: try, confirm, rollback, and whatever may go wrong between.

The host has an ssh port and a website behind the rules; a client asks from outside. The last word is the kernel's:
what `iptables-save` and `nft list ruleset` say, and whether a connection to the ssh port is made.
"""

import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

import ruleaudit
from ruleaudit.report import script
from ruleaudit.source import SourceFile
from tests.kernel.lab import SERVER, SERVER6, VARIANTS, Lab

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

V4 = """\
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:WEB - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -s 10.9.0.0/24 -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW -j WEB
-A WEB -j ACCEPT
COMMIT
"""
V6 = V4.replace("-p icmp -j", "-p ipv6-icmp -j").replace("10.9.0.0/24", "fd09::/64")
NFT = """\
table inet filter {
	set banned {
		type ipv4_addr
		flags dynamic,timeout
		timeout 1h
	}

	chain input {
		type filter hook input priority filter; policy drop;
		iif "lo" accept
		ip saddr @banned drop
		ct state invalid drop
		ct state established,related accept
		ip protocol icmp accept
		meta l4proto ipv6-icmp accept
		tcp dport 22 ct state new counter packets 0 bytes 0 accept
		tcp dport 443 ct state new accept
	}
}
"""
KINDS = ("iptables-nft", "iptables-legacy", "nft")
#: the script is ended at each n-th step; 1: at each, which takes five minutes
EVERY = int(os.environ.get("RULEAUDIT_EVERY", "5"))
SHELLS = [("dash",), ("bash",), ("bash", "--posix"), ("mksh",), ("busybox", "ash")]
#: a sleep of so long, the timer's, lasts until the test rings; when all is over it takes its shell with it
SLEEPING = """
case $1 in [3-9]?)
    until [ -e {folder}/ring.$1 ]; do
        [ ! -e {folder}/over ] || {{ kill -KILL $PPID; exit 1; }}
        "$real" 0.02
    done
    exit ;;
esac
"""


@cache
def made(*texts: tuple[str, str]) -> str:
    """The script for (name, text) of rulesets."""
    suggestions = [ruleaudit.suggest(SourceFile(name, text)) for name, text in texts]
    assert script.refused(suggestions) is None
    return script.render(suggestions)


class Host:
    """A server with rules, its script and a folder for the script's files; and a client."""

    def __init__(self, lab: Lab, folder: Path, kind: str, shell: tuple[str, ...] = ("sh",)) -> None:
        self.lab, self.folder, self.kind, self.shell = lab, folder, kind, shell
        self.state, self.bin = folder / "state", folder / "bin"
        self._ends: list[int] = []
        self._few = ""
        self.bin.mkdir(parents=True)
        if shell[0] == "busybox":
            # its other programs, too, as on a host that has nothing else
            applets = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
            for name in {*applets} & {*_OF_ALL.split(), "diff", "head", "wc", "cut", "dirname", "sh", "tr"}:
                (self.bin / name).symlink_to(str(shutil.which("busybox")))
        elif shell[0] != "sh":
            (self.bin / "sh").symlink_to(str(shutil.which(shell[0])))
        self.stub("sleep", 'exec "$real" "$@"')
        for port in (22, 443):
            for six in (False, True):
                lab.serve_tcp("server", port, six=six)
        if kind == "nft":
            self.run("nft -f -", NFT)
            self.give(made(("rules.nft", NFT)))
        else:
            for six, text in ((False, V4), (True, V6)):
                lab.restore("server", text, kind.removeprefix("iptables-"), six=six)
            self.give(made(("rules.v4", V4), ("rules.v6", V6)))
        self.old = self.rules()

    def without(self, *programs: str) -> None:
        """Of the programs in /usr/bin, the host has those that any host has; but not these."""
        few = self.folder / "few"
        few.mkdir()
        for name in {*f"{_OF_ALL} {_BESIDES}".split()} - {*programs}:
            (few / name).symlink_to(str(shutil.which(name)))
        self._few = f"{few}:/usr/sbin"

    def give(self, text: str) -> None:
        (self.folder / "apply.sh").write_text(text)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{self.bin}:{self._few or os.environ['PATH']}",
            "RULEAUDIT_STATE": str(self.state),
            "XTABLES_LOCKFILE": str(self.folder / "xtables.lock"),
        }

    def run(self, command: str, text: str | None = None) -> str:
        return self.lab.run("server", "sh", "-c", command, text=text)

    def start(self, *arguments: str, before: str = "") -> "subprocess.Popen[str]":
        """The script; `before`: commands of the shell that becomes it."""
        words = ["sh", "-c", f'{before} exec "$@"', "sh", *self.shell, str(self.folder / "apply.sh"), *arguments]
        return self.launch(words, subprocess.DEVNULL, subprocess.PIPE)

    def launch(self, words: list[str], stdin: int, stdout: int) -> "subprocess.Popen[str]":
        """A program on the server. What it starts holds the end of a pipe, too: `quiet` sees when all have ended."""
        mine, theirs = os.pipe()
        high = fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, 20)  # not one that the script uses
        os.close(theirs)
        self._ends.append(mine)
        try:
            with self.lab.hosts["server"].inside():
                return subprocess.Popen(
                    words,
                    stdin=stdin,
                    stdout=stdout,
                    stderr=subprocess.STDOUT,
                    text=True,
                    env=self.environment,
                    pass_fds=(high,),
                )
        finally:
            os.close(high)

    def quiet(self, seconds: float = 20) -> bool:
        """Whether everything that was started has ended, in so many seconds."""
        end = time.monotonic() + seconds
        while self._ends:
            if not select.select([self._ends[0]], [], [], max(0, end - time.monotonic()))[0]:
                return False
            os.close(self._ends.pop(0))
        return True

    def ring(self, seconds: int = 60) -> None:
        """The timer of a try of so many seconds has slept enough."""
        (self.folder / f"ring.{seconds}").touch()

    def timer(self) -> Path:
        """The folder that is there as long as the process of the latest timer."""
        return Path("/proc") / (self.state / "timer").read_text().strip()

    def over(self) -> None:
        """No timer outlives its test."""
        (self.folder / "over").touch()
        assert self.quiet()

    def apply(self, *arguments: str, code: int = 0) -> str:
        """What the script says; it ends with `code`."""
        process = self.start(*arguments)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == code, said
        return said

    def stub(self, program: str, text: str) -> None:
        """A program that is found before the real one, which is `$real`."""
        path = self.bin / program
        path.unlink(missing_ok=True)
        if program == "sleep":
            text = SLEEPING.format(folder=self.folder) + text
        path.write_text(f"#!/bin/sh\nreal={shutil.which(program)}\n{text}")
        path.chmod(0o755)

    def rules(self) -> tuple[str, ...]:
        """What is loaded, as its program lists it; without counters, comments and empty tables."""
        if self.kind == "nft":
            return (re.sub(r"packets \d+ bytes \d+", "", self.run("nft list ruleset")),)
        texts = (self.lab.save("server", self.kind.removeprefix("iptables-"), six=six) for six in (False, True))
        return tuple(re.sub(r"\[\d+:\d+\]|^#.*\n|^\*raw\n(:.* ACCEPT .*\n)*COMMIT\n", "", t, flags=re.M) for t in texts)

    def tracked(self) -> bool:
        """Whether a connection to the website makes an entry, in both families alike; and it works."""
        for _ in range(3):
            four, six = self._entries()
            if four == six:
                return four
            time.sleep(1)  # the script still drops entries, after the rules are back
        raise AssertionError("one family is tracked, the other is not")

    def _entries(self) -> tuple[bool, bool]:
        self.lab.forget("server")
        assert self.lab.tcp("client", SERVER, 443) == self.lab.tcp("client", SERVER6, 443) == "ok"
        four = any(f" dst={SERVER} " in e for e in self.lab.entries("server", "dport=443"))
        six = any(" dst=fd09:" in e for e in self.lab.entries("server", "dport=443"))
        return four, six

    def reachable(self) -> bool:
        return self.lab.tcp("client", SERVER, 22) == "ok" and self.lab.tcp("client", SERVER6, 22) == "ok"

    def wait(self, condition: Callable[[], bool], seconds: float = 10) -> bool:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return True

    def pending(self) -> bool:
        return any(self.state.glob("pending.*"))


@contextlib.contextmanager
def a_host(folder: Path, kind: str, shell: tuple[str, ...] = ("sh",)) -> Iterator[Host]:
    with Lab() as lab:
        host = Host(lab, folder, kind, shell)
        try:
            yield host
        finally:
            host.over()


@pytest.fixture(params=KINDS)
def host(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Host]:
    with a_host(tmp_path, request.param) as one:
        yield one


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Host]:
    with a_host(tmp_path, "iptables-nft") as one:
        yield one


# -- what it is for


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize("kind", KINDS)
def test_try_confirm_and_rollback(kind: str, shell: tuple[str, ...], tmp_path: Path) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"not installed: {shell[0]}")
    with a_host(tmp_path, kind, shell) as host:
        assert host.tracked()
        assert host.apply("status").startswith("The new rules are not loaded.")
        assert "sh " in host.apply("try", "60")
        assert not host.tracked()
        new = host.rules()
        assert "nobody has confirmed" in host.apply("status")
        assert host.apply("confirm").startswith("Confirmed")
        host.ring()
        assert host.quiet()
        assert host.rules() == new
        assert not host.tracked()
        assert host.reachable()
        assert "loaded and confirmed" in host.apply("status")
        assert "loaded already" in host.apply("try", code=1)
        assert host.apply("rollback") == "The old rules are back.\n"
        assert host.rules() == host.old
        assert host.tracked()
        added = "nft add rule inet filter input tcp dport 25 accept"
        host.run(added if kind == "nft" else f"{kind} -A INPUT -p tcp --dport 25 -j ACCEPT")
        assert len(re.findall("^[-+].*dport 25 ", host.apply("try", code=1), re.M)) == 1


def test_the_old_rules_come_back_by_themselves(host: Host) -> None:
    host.apply("try", "1")
    assert host.rules() != host.old
    assert host.wait(lambda: not host.pending())
    assert host.rules() == host.old
    assert host.tracked()
    assert "nothing to confirm" in host.apply("confirm", code=1)
    # and it can be tried again
    host.apply("try", "30")
    host.apply("confirm")
    assert not host.tracked()


def a_website_that_echoes(host: Host) -> None:
    """On port 8443, in place of the one on 443."""
    host.lab.serve_tcp("server", 8443, size=0)
    ports = ("-A INPUT -p tcp -m tcp --dport 443 ", "-A INPUT -p tcp -m tcp --dport 8443 ")
    words = ("tcp dport 443 ", "tcp dport 8443 ")
    if host.kind == "nft":
        text = NFT.replace(*words)
        host.run("nft flush ruleset; nft -f -", text)
        texts = [("rules.nft", text)]
    else:
        texts = [("rules.v4", V4.replace(*ports)), ("rules.v6", V6.replace(*ports))]
        for six, (_, text) in enumerate(texts):
            host.lab.restore("server", text, host.kind.removeprefix("iptables-"), six=bool(six))
    host.give(made(*texts))


@pytest.mark.parametrize("back", ["rollback", "the timer", "the timer, the shell killed before it dropped entries"])
def test_a_busy_connection_survives_the_way_back(back: str, host: Host) -> None:
    """Its packets were out of the window of an entry that has not seen those in between."""
    a_website_that_echoes(host)
    with host.lab.open_socket("client", socket.SOCK_STREAM) as busy:
        busy.settimeout(3)
        busy.connect((SERVER, 8443))

        def echoes(times: int) -> bool:
            for _ in range(times):
                busy.sendall(b"x" * 50_000)
                left = 50_000
                while left:
                    left -= len(busy.recv(left))
            return True

        assert echoes(3)
        if "killed" in back:
            host.stub("conntrack", 'kill -KILL "$(cat ../pid)" 2> /dev/null && exit 1; exec "$real" "$@"')
            host.start("try", "60", before=f"echo $$ > {host.folder}/pid;").communicate(timeout=20)
        else:
            host.apply("try", "60")
        assert echoes(100)
        if back == "rollback":
            host.apply("rollback")
        host.ring()
        assert host.quiet()
        assert not host.pending()
        assert echoes(20)
        assert len(host.lab.entries("server", "dport=8443")) == 1


def test_open_connections_survive_and_their_entries_go(host: Host) -> None:
    a_website_that_echoes(host)
    with host.lab.open_socket("client", socket.SOCK_STREAM) as open_one:
        open_one.settimeout(3)
        open_one.connect((SERVER, 8443))

        def says(word: bytes) -> bool:
            open_one.sendall(word)
            return open_one.recv(100) == word

        assert says(b"before")
        with host.lab.open_socket("server", socket.SOCK_STREAM) as own:
            # one that this host opened itself, to the same port elsewhere, stays
            host.lab.serve_tcp("client", 8443, size=0)
            own.connect(("10.9.0.1", 8443))
            assert len(host.lab.entries("server", "dport=8443")) == 2
            host.apply("try", "30")
            assert says(b"while it is tried")
            assert len(host.lab.entries("server", "dport=8443")) == 1
            assert "entries now: 1\n" in host.apply("confirm")
            assert says(b"confirmed")
            (left,) = host.lab.entries("server", "dport=8443")
            assert "dst=10.9.0.1 " in left
        assert "The old rules are back" in host.apply("rollback")
        assert says(b"gone back")


@pytest.mark.usefixtures("full_table")
def test_a_full_table_has_room_for_a_new_session_while_it_is_tried(plain: Host) -> None:
    limit = int(plain.run("sysctl -n net.netfilter.nf_conntrack_max"))
    if limit > 600_000:
        pytest.skip(f"a table of {limit} entries takes too long to fill")
    with (plain.folder / "entries").open("w") as lines:
        for i in range(limit):
            there = f"-s 198.{18 + (i >> 16 & 1)}.{i >> 8 & 255}.{i & 255} -d {SERVER} -p tcp"
            state = "--state ESTABLISHED -u ASSURED,SEEN_REPLY -t 3600"
            lines.write(f"-I {there} --sport {1024 + (i >> 17)} --dport 443 {state}\n")
    plain.run(f"conntrack -R {plain.folder}/entries")
    assert not plain.reachable()
    assert "entries now: 0\n" in plain.apply("try", "60")
    assert plain.reachable()
    plain.apply("rollback")
    assert plain.reachable()


# -- what it refuses


def test_rules_that_have_changed_since_are_left_alone(host: Host) -> None:
    if host.kind == "nft":
        host.run("nft add rule inet filter input tcp dport 25 accept")
        line = "+\t\ttcp dport 25 accept\n"
    else:
        host.run(f"{host.kind} -A INPUT -p tcp --dport 25 -j ACCEPT")
        line = "+filter -A INPUT -p tcp -m tcp --dport 25 -j ACCEPT\n"
    before = host.rules()
    said = host.apply("try", code=1)
    assert line in said
    assert len(re.findall("^[-+]", said, re.M)) == 1
    assert host.rules() == before
    assert not host.pending()


def test_counters_and_what_sets_have_learned_are_no_change(host: Host) -> None:
    assert host.lab.tcp("client", SERVER, 22) == "ok"
    if host.kind == "nft":
        host.run("nft add element inet filter banned { 198.51.100.1, 198.51.100.2 timeout 30s }")
    host.apply("try", "30")
    host.apply("rollback")


@pytest.mark.parametrize("shell", [("sh",), ("busybox", "ash")], ids=" ".join)
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_somebody_wrote_means_the_same_rules(kind: str, shell: tuple[str, ...], tmp_path: Path) -> None:
    """The kernel's own spelling is asked for in a namespace: other words, the same rules."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f"not installed: {shell[0]}")
    with a_host(tmp_path, kind, shell) as host:
        if host.kind == "nft":
            text = "#!/usr/sbin/nft -f\nflush ruleset\ndefine web = 443\n" + NFT.replace(
                "tcp dport 443", "tcp dport $web"
            )
            host.give(made(("nftables.conf", text)))
        else:
            words = ("-p tcp -m tcp --dport 22", "-p tcp --dport ssh")
            host.give(made(("rules.v4", V4.replace(*words)), ("rules.v6", V6.replace(*words))))
        host.apply("try", "30")
        assert not host.tracked()
        host.apply("rollback")
        assert host.rules() == host.old


def test_one_family_leaves_the_other_alone(plain: Host) -> None:
    plain.give(made(("rules.v4", V4)))
    plain.run("ip6tables-nft -A INPUT -p tcp --dport 25 -j ACCEPT")
    before = plain.rules()
    plain.apply("try", "30")
    four, six = plain.rules()
    assert four != before[0] and six == before[1]
    assert "--dport 25" in (plain.state / "before" / "v6").read_text()
    plain.apply("rollback")
    assert plain.rules() == before


def test_raw_rules_of_another_program_are_not_emptied(plain: Host) -> None:
    plain.run("iptables-nft -t raw -A PREROUTING -p udp --dport 53 -j CT --notrack")
    before = plain.rules()
    assert "+raw -A PREROUTING -p udp -m udp --dport 53 -j CT --notrack\n" in plain.apply("try", code=1)
    assert plain.rules() == before


def test_rules_of_both_variants(plain: Host) -> None:
    plain.run("iptables-legacy -A INPUT -p tcp --dport 25 -j ACCEPT")
    assert "rules of iptables-nft and of iptables-legacy" in plain.apply("try", code=1)
    assert plain.rules() == plain.old


def test_legacy_rules_beside_those_of_nft(tmp_path: Path) -> None:
    with a_host(tmp_path, "nft") as host:
        host.run("iptables-legacy -A INPUT -p tcp --dport 25 -j ACCEPT")
        assert "rules of iptables-legacy, too" in host.apply("try", code=1)
        assert host.rules() == host.old


def test_a_second_run_and_a_second_try(plain: Host) -> None:
    plain.stub("iptables-nft-restore", 'touch at-work; until [ -e go-on ]; do sleep 0.02; done; exec "$real" "$@"')
    first = plain.start("try", "30")
    assert plain.wait((plain.state / "at-work").exists)
    assert "another run" in plain.apply("try", code=1)
    (plain.state / "go-on").touch()
    first.communicate(timeout=20)
    assert first.returncode == 0
    assert "another try waits" in plain.apply("try", code=1)
    plain.apply("rollback")
    assert plain.rules() == plain.old


@pytest.mark.parametrize(
    "words", [["try", "soon"], ["try", "0"], ["try", "-1"], ["confirm"], ["rollback"], ["load"], []]
)
def test_what_cannot_be_done(words: list[str], plain: Host) -> None:
    assert plain.apply(*words, code=1).startswith("apply: ")
    assert plain.rules() == plain.old


def test_a_host_without_flock(host: Host) -> None:
    host.without("flock")
    for command in ("try", "status", "rollback"):
        assert host.apply(command, code=1) == "apply: flock is not installed here\n"
    assert host.rules() == host.old


def test_a_host_without_setsid_and_unshare(host: Host) -> None:
    """Rules that are spelled as in the file need no namespace; and the timer needs no session."""
    host.without("setsid", "unshare")
    host.apply("try", "60")
    assert not host.tracked()
    host.ring()
    assert host.quiet()
    assert host.rules() == host.old


# -- what may go wrong


@pytest.mark.parametrize("family", ["ip", "ip6"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_the_kernel_refuses_brings_the_old_rules_back(variant: str, family: str, tmp_path: Path) -> None:
    """A chain that is not there passes `--test`, and fails when it is loaded: the second family, or a second table."""
    with a_host(tmp_path, f"iptables-{variant}") as host:
        text = (host.folder / "apply.sh").read_text()
        at = text.index("new_v6() {" if family == "ip6" else "new_v4() {")
        broken = text[at:].replace("-j CT --notrack", "-j NOWHERE", 1)
        host.give(text[:at] + broken)
        said = host.apply("try", "30", code=1)
        assert "the old rules are back" in said or "nothing was changed" in said
        assert host.rules() == host.old
        assert not host.pending()
        assert host.tracked() and host.reachable()


def test_nft_text_that_is_refused(tmp_path: Path) -> None:
    with a_host(tmp_path, "nft") as host:
        text = (host.folder / "apply.sh").read_text()
        at = text.index("new_nft() {")
        host.give(text[:at] + text[at:].replace("policy drop;", "policy drop;\njump nowhere", 1))
        assert "nothing was changed" in host.apply("try", code=1)
        assert host.rules() == host.old


@pytest.mark.parametrize("blocks", range(0, 40, 4))
def test_a_full_disk(blocks: int, tmp_path: Path) -> None:
    """Either there is room for everything, or nothing is changed."""
    with a_host(tmp_path, "iptables-nft") as host:
        host.state.mkdir()
        mount = f"mount -t tmpfs -o size={blocks // 4 + 1}k,nr_inodes={blocks + 3} none {host.state}"
        inside = f'{mount}; "$@"; code=$?; ls {host.state} >&2; exit $code'
        words = ["unshare", "-m", "sh", "-c", inside, "sh", "sh", str(host.folder / "apply.sh"), "try", "60"]
        process = host.launch(words, subprocess.DEVNULL, subprocess.PIPE)
        said, _ = process.communicate(timeout=30)
        if process.returncode:
            assert host.rules() == host.old, said
        assert host.reachable()
        host.ring()
        assert host.quiet()
        assert host.rules() == host.old, said
        assert host.tracked()


@pytest.mark.parametrize("detached_by", ["setsid", "systemd", "neither"])
def test_a_lost_terminal(detached_by: str, host: Host) -> None:
    """The shell runs on a terminal that is closed while the rules are loading, and everything on it hangs up."""
    program = {"iptables-nft": "ip6tables-nft-restore", "iptables-legacy": "ip6tables-legacy-restore", "nft": "nft"}
    waits = "{ touch loading-now; until [ -e ../hung-up ]; do sleep 0.02; done; }"
    slow = f'[ "$1" = --test ] || [ "$1" = -c ] || [ "$1" = list ] || {waits}\nexec "$real" "$@"'
    host.stub(program[host.kind], slow)
    before = ""
    if detached_by == "neither":
        host.without("setsid", "nohup")
    if detached_by == "systemd":
        # systemd's part is played by a process of another session, on a host where it seems to run
        plays = f'echo "$@" > {host.folder}/asked; while [ $# -gt 4 ]; do shift; done\n'
        later = f"""setsid sh -c 'sleep 60; exec "$@"' sh "$@" < /dev/null > {host.folder}/said 2>&1 9>&- &\n"""
        host.stub("systemd-run", plays + later)
        before = "mount -t tmpfs none /run; mkdir -p /run/systemd/system;"
    master, slave = pty.openpty()
    on_it = [
        str(shutil.which("setsid")),
        "--ctty",
        "unshare",
        "-m",
        "sh",
        "-c",
        f"{before} exec sh {host.folder}/apply.sh try 60",
    ]
    process = host.launch(on_it, slave, slave)
    os.close(slave)
    assert host.wait((host.state / "loading-now").exists)
    os.close(master)
    (host.folder / "hung-up").touch()
    process.wait(20)
    assert host.pending()
    host.ring()
    assert host.quiet()
    assert not host.pending()
    assert host.rules() == host.old
    assert host.tracked()
    assert host.reachable()
    if detached_by == "systemd":
        assert "--on-active 60 " in (host.folder / "asked").read_text()


#: counts the programs that the script starts, and at the one with the number ends the script itself
COUNTING = """
if [ -s {folder}/pid ]; then
    read -r pid < {folder}/pid
    printf x >> {folder}/count
    read -r count < {folder}/count
    if [ ${{#count}} -eq {number} ]; then
        kill -{signal} "$pid"
        {then}
    fi
fi
exec "$real" "$@"
"""
_OF_IPTABLES = [f"ip{six}tables-{v}-{part}" for six in ("", "6") for v in VARIANTS for part in ("save", "restore")]
_OF_ALL = "awk cat date flock grep mkdir mv rm sed sort tail touch setsid sleep unshare ip conntrack id nft"
_BESIDES = "diff dirname ls mount sh tr"
PROGRAMS = [*_OF_ALL.split(" "), *_OF_IPTABLES]
SIGNALS = {
    "killed, what it had started goes on": ("KILL", ""),
    "killed, with what it had started": ("KILL", "exit 1"),
    "hung up": ("HUP", ""),
}


def ended_at(number: int, signal: str, then: str, kind: str, command: str, folder: Path) -> tuple[bool, str]:
    """Whether the script has been ended at its n-th program, and what was wrong in the end."""
    with a_host(folder, kind) as host:
        if command != "try":
            host.apply("try", "60")
            new = host.rules()
        if command == "rollback":
            host.apply("confirm")
        for program in PROGRAMS:
            host.stub(program, COUNTING.format(folder=folder, number=number, signal=signal, then=then))
        process = host.start(command, *(["60"] if command == "try" else []), before=f"echo $$ > {folder}/pid;")
        process.communicate(timeout=60)
        ended = process.returncode < 0
        (folder / "pid").unlink()
        host.ring()
        if not host.quiet(60):
            return ended, f"{command} {signal} {number}: something goes on"
        rules = host.rules()
        allowed = [host.old] if command == "try" else [host.old, new]
        if rules not in allowed:
            return ended, f"{command} {signal} {number}: {rules}"
        if command == "confirm" and (rules == new) != bool(list(host.state.glob("confirmed"))):
            return ended, f"{command} {signal} {number}: confirmed, and yet the old rules; or the other way"
        if not host.reachable():
            return ended, f"{command} {signal} {number}: not reachable"
        return ended, ""


@pytest.mark.parametrize("ending", SIGNALS)
@pytest.mark.parametrize(
    ("kind", "command"), [(kind, "try") for kind in KINDS] + [("iptables-nft", "confirm"), ("iptables-nft", "rollback")]
)
def test_ended_at_any_step(kind: str, command: str, ending: str, tmp_path: Path) -> None:
    signal, then = SIGNALS[ending]
    ended, wrong, number = 0, [], 1 + list(SIGNALS).index(ending)
    with ThreadPoolExecutor(4) as pool:
        while True:
            some = [number + EVERY * i for i in range(4)]
            number = some[-1] + EVERY
            found = list(pool.map(lambda n: ended_at(n, signal, then, kind, command, tmp_path / str(n)), some))
            ended += sum(was for was, _ in found)
            wrong += [said for _, said in found if said]
            if not any(was for was, _ in found):
                break
    assert wrong == []
    assert ended >= (40 if command == "try" else 10) // EVERY, ended


# -- after a reboot


def test_persist_where_netfilter_persistent_is(plain: Host) -> None:
    plain.stub("netfilter-persistent", f'echo "$@" > {plain.folder}/asked')
    plain.apply("try", "30")
    assert "--persist" in plain.apply("confirm")
    assert not (plain.folder / "asked").exists()
    plain.apply("confirm", "--persist")
    assert (plain.folder / "asked").read_text() == "save\n"
    assert "next boot" in plain.apply("rollback")


FILES = {"iptables-nft": ("sysconfig/iptables", "sysconfig/ip6tables"), "nft": ("nftables.conf",)}


@pytest.mark.parametrize("kind", FILES)
def test_persist_in_the_files_of_the_distribution(kind: str, tmp_path: Path) -> None:
    with a_host(tmp_path, kind) as host:
        shutil.copytree(
            "/etc", tmp_path / "etc", symlinks=True, ignore=shutil.ignore_patterns("nftables.conf", "iptables")
        )
        for name in FILES[kind]:
            (tmp_path / "etc" / name).parent.mkdir(exist_ok=True)
            (tmp_path / "etc" / name).write_text("# what was loaded at boot\n")
        host.apply("try", "30")
        mounted = f'mount --bind {tmp_path}/etc /etc; exec sh {tmp_path}/apply.sh "$@"'
        words = ["unshare", "-m", "sh", "-c", mounted, "sh", "confirm", "--persist"]
        with host.lab.hosts["server"].inside():
            done = subprocess.run(words, env=host.environment, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr
        new = host.rules()
        if kind == "nft":
            assert (tmp_path / "etc/nftables.conf.old").read_text() == "# what was loaded at boot\n"
            host.run("nft flush ruleset")
            host.run(f"nft -f {tmp_path}/etc/nftables.conf")
        else:
            for six, name in zip(("", "6"), FILES[kind], strict=True):
                host.run(f"ip{six}tables-nft -F; ip{six}tables-nft -t raw -F")
                host.run(f"ip{six}tables-nft-restore < {tmp_path}/etc/{name}")
        assert host.rules() == new


def test_the_timer_of_an_earlier_try_does_not_end_a_later_one(plain: Host) -> None:
    plain.apply("try", "60")
    first = plain.timer()
    plain.apply("confirm")
    plain.apply("rollback")
    plain.apply("try", "90")
    new = plain.rules()
    plain.ring(60)
    assert plain.wait(lambda: not first.exists())
    assert plain.pending() and plain.rules() == new
    assert plain.timer().exists()


def test_a_timer_that_ends_while_the_rules_load(host: Host) -> None:
    """It waits until the script is done, and then brings the old rules back."""
    program = {"iptables-nft": "ip6tables-nft-restore", "iptables-legacy": "ip6tables-legacy-restore", "nft": "nft"}
    late = 'case ${1-} in --test | -c | list) ;; *) touch ../ring.60 ;; esac\n"$real" "$@"; code=$?\n'
    host.stub(program[host.kind], late + "sleep 0.3; exit $code")
    said = host.apply("try", "60")
    assert "The new rules are loaded" in said
    assert host.quiet()
    assert host.rules() == host.old
    assert not host.pending()
    assert host.tracked()


def test_a_reboot_in_between(plain: Host) -> None:
    plain.apply("try", "60")
    (plain.state / "boot_id").write_text("another one\n")
    assert "nothing to confirm" in plain.apply("confirm", code=1)
    assert not plain.pending()


def test_loose_is_told(plain: Host) -> None:
    plain.lab.hosts["server"].sysctl("net.netfilter.nf_conntrack_tcp_loose", 0)
    assert "nf_conntrack_tcp_loose is 0" in plain.apply("try", "30")
    assert "nf_conntrack_tcp_loose is 0" in plain.apply("rollback")


@pytest.mark.parametrize(
    "texts", [(("rules.v4", V4), ("rules.v6", V6)), (("rules.nft", NFT),)], ids=["iptables", "nft"]
)
def test_shellcheck_finds_nothing(texts: tuple[tuple[str, str], ...]) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("not installed: shellcheck")
    done = subprocess.run(["shellcheck", "-s", "sh", "-"], input=made(*texts), capture_output=True, text=True)
    assert done.stdout == ""
