"""`--live`: who rules in a namespace, whether it has drifted from a file, and what is left as it was by looking."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ruleaudit import cli
from ruleaudit.kernel import running
from tests.kernel.lab import CLIENT, SERVER, SERVER6, Lab

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

ROOT = Path(__file__).parent.parent.parent
SCHEMA = json.loads((ROOT / "src" / "ruleaudit" / "ruleaudit-1.schema.json").read_text())
WEB = (ROOT / "tests" / "fixtures" / "hosts" / "web.v6").read_text()
WEB4 = WEB.replace("ipv6-icmp", "icmp").replace("icmp6-adm-prohibited", "icmp-host-prohibited")
FW = """\
table inet fw {
	set known { type ipv4_addr; flags timeout; timeout 1h; elements = { 192.0.2.9 } }
	chain in {
		type filter hook input priority 10; policy drop;
		iif "lo" accept
		ct state established,related accept
		meta l4proto ipv6-icmp accept
		tcp dport { 22, 80 } counter accept
		ip saddr @known accept
	}
}
"""
PLAIN = "table ip6 plain {\n\tchain in {\n\t\ttype filter hook input priority 5;\n\t\ttcp dport 23 drop\n\t}\n}\n"
DOCKER = """\
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -d 203.0.113.7/32 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80
COMMIT
"""
STATELESS = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -m tcp --dport 23 -j DROP\nCOMMIT\n"


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Lab]:
    monkeypatch.setenv("XTABLES_LOCKFILE", str(tmp_path / "lock"))
    with Lab() as lab:
        yield lab


class Host:
    """The command, run on the server."""

    def __init__(self, lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
        self.lab, self._capsys = lab, capsys

    def __call__(self, *arguments: str | Path) -> tuple[int, str, str]:
        self._capsys.readouterr()
        with self.lab.hosts["server"].inside():
            code = cli.run([str(a) for a in arguments])
        said = self._capsys.readouterr()
        return code, said.out, said.err

    def json(self, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
        code, out, _ = self(*arguments, "--format", "json")
        document = json.loads(out)
        jsonschema.validate(document, SCHEMA)
        return code, document

    def owners(self, path: Path) -> dict[str, tuple[list[str], list[str], list[str]]]:
        """Tables, programs and families tracked of each."""
        _, document = self.json("verify", path, "--live")
        assert document["live"]["unread"] == []
        return {o["name"]: (o["tables"], o["programs"], o["tracks"]) for o in document["live"]["owners"]}

    def restore(self, text: str, variant: str, *, six: bool = False, noflush: bool = False) -> None:
        name = f"{'ip6' if six else 'ip'}tables-{variant}-restore"
        self.lab.run("server", name, *(["-n"] if noflush else []), text=text)

    def legacy_tables(self) -> str:
        return "".join(
            self.lab.run("server", "cat", f"/proc/net/{ip}_tables_names", check=False) for ip in ("ip", "ip6")
        )


@pytest.fixture
def host(lab: Lab, capsys: pytest.CaptureFixture[str]) -> Host:
    return Host(lab, capsys)


def written(tmp_path: Path, text: str, name: str = "rules.v4") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


# -- who rules ----------------------------------------------------------------------------------------


def test_owners_side_by_side(host: Host, tmp_path: Path) -> None:
    host.restore(WEB4, "nft")
    host.restore(DOCKER, "nft", noflush=True)
    host.restore(WEB, "legacy", six=True)
    host.restore(STATELESS, "legacy")
    host.lab.run("server", "nft", "-f", "-", text=FW + PLAIN)
    assert host.owners(written(tmp_path, WEB4)) == {
        "iptables-nft": (["filter", "nat"], ["Docker"], ["IPv4"]),
        "nft inet fw": (["inet fw"], [], ["IPv4", "IPv6"]),
        "nft ip6 plain": (["ip6 plain"], [], []),
        "iptables-legacy": (["filter"], [], []),
        "ip6tables-legacy": (["filter"], [], ["IPv6"]),
    }


@pytest.mark.parametrize(
    ("variant", "six", "text"),
    [
        ("nft", False, WEB4),
        ("nft", True, WEB),
        ("legacy", False, WEB4),
        ("legacy", True, WEB),
        ("nft", False, STATELESS),
        ("legacy", False, STATELESS),
        ("nft", False, DOCKER),
        ("", False, FW),
        ("", False, FW.replace("ct state", "# ct state")),
        ("", False, FW.replace("table inet", "table ip")),
        ("", False, 'table inet idle { ct helper ftp { type "ftp" protocol tcp; }; }'),
    ],
)
def test_who_is_said_to_track_does(host: Host, tmp_path: Path, variant: str, six: bool, text: str) -> None:
    """The connection table of the kernel fills, family by family, where an owner is said to keep tracking on."""
    if variant:
        host.restore(text, variant, six=six)
    else:
        host.lab.run("server", "nft", "-f", "-", text=text)
    said = {family for _, _, tracks in host.owners(written(tmp_path, STATELESS)).values() for family in tracks}
    for to in (SERVER, SERVER6):
        host.lab.serve_tcp("server", 80, six=to == SERVER6)
        assert host.lab.tcp("client", to, 80) == "ok"
    entries = {
        "IPv4": host.lab.entries("server", f"src={CLIENT}"),
        "IPv6": host.lab.entries("server", f"dst={SERVER6}"),
    }
    assert said == {family for family, found in entries.items() if found}


def test_tables_as_the_kernel_makes_them_have_no_owner(host: Host, tmp_path: Path) -> None:
    host.lab.run("server", "iptables-legacy", "-t", "nat", "-S")
    host.restore("*mangle\nCOMMIT\n", "nft")
    assert host.legacy_tables() == "nat\n"
    assert host.owners(written(tmp_path, STATELESS)) == {}


def test_to_look_makes_nothing(host: Host, tmp_path: Path) -> None:
    rules = written(tmp_path, WEB4)
    assert host("verify", rules, "--live")[0] == 1
    assert host("suggest", rules, "--live")[0] == 0
    assert host.legacy_tables() == ""
    assert host.lab.run("server", "nft", "list", "ruleset") == ""


# -- drift --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["nft", "legacy"])
@pytest.mark.parametrize("six", [False, True])
def test_a_rule_added_by_hand_is_drift(host: Host, tmp_path: Path, variant: str, six: bool) -> None:
    name = "ip6tables" if six else "iptables"
    host.restore(WEB if six else WEB4, variant, six=six)
    if variant == "nft" and not six:
        host.restore(DOCKER, "nft", noflush=True)
    saved = written(tmp_path, host.lab.run("server", f"{name}-{variant}-save"), "rules.v6" if six else "rules.v4")
    assert host("verify", saved, "--live")[0] == 0
    host.lab.udp("client", SERVER6 if six else SERVER, 53)  # counters are no drift
    code, document = host.json("verify", saved, "--live")
    assert (code, document["result"]) == (0, "equivalent")

    rule = ("-p", "tcp", "--dport", "25", "-j", "ACCEPT")
    host.lab.run("server", f"{name}-{variant}", "-I", "INPUT", "3", *rule)
    code, document = host.json("verify", saved, "--live")
    assert (code, {d["kind"] for d in document["differences"]}) == (1, {"opens", "stray"})
    place = document["differences"][0]["new"]["place"]
    now = host.lab.run("server", f"{name}-{variant}-save").splitlines()
    where = next(n for n, text in enumerate(now, 1) if "--dport 25" in text)
    assert (place["path"], place["line"], place["text"]) == (f"live:{name}-{variant}", where, now[where - 1])

    host.lab.run("server", f"{name}-{variant}", "-D", "INPUT", *rule)
    assert host("verify", saved, "--live")[0] == 0


def test_a_rule_added_to_nft(host: Host, tmp_path: Path) -> None:
    host.lab.run("server", "nft", "-f", "-", text=FW)
    host.restore(WEB4, "nft")  # not nft's: no drift of a file of nft
    saved = written(tmp_path, FW, "nftables.conf")
    assert host("verify", saved, "--live")[0] == 0
    whole = written(tmp_path, host.lab.run("server", "nft", "list", "ruleset"), "all.nft")
    assert host("verify", whole, "--live")[0] == 0, "a listing that shows what iptables-nft keeps, too"
    rewritten = host.json("suggest", whole, "--live")[1]
    assert (rewritten["live"]["owners"], checked(rewritten)) == ([], {"no-other-owner": True})
    host.lab.run("server", "nft", "add", "rule", "inet", "fw", "in", "tcp", "dport", "25", "accept")
    code, document = host.json("verify", saved, "--live")
    assert (code, {d["kind"] for d in document["differences"]}) == (1, {"opens", "stray"})


def test_a_table_that_the_file_does_not_have_is_drift(host: Host, tmp_path: Path) -> None:
    host.restore(WEB4, "legacy")
    host.restore(DOCKER, "legacy", noflush=True)
    assert host("verify", written(tmp_path, WEB4), "--live")[0] == 1


def test_the_variant_is_the_one_that_saved_the_file(host: Host, tmp_path: Path) -> None:
    host.restore(WEB4, "nft")
    host.restore(STATELESS, "legacy")
    for variant in ("nft", "legacy"):
        saved = written(tmp_path, host.lab.run("server", f"iptables-{variant}-save"), variant)
        assert host("verify", saved, "--live")[0] == 0
    plain = "legacy" if "legacy" in host.lab.run("server", "iptables", "-V") else "nft"
    wanted = {"nft": WEB4, "legacy": STATELESS}[plain]
    assert host("verify", written(tmp_path, wanted), "--live")[0] == 0


def test_nothing_is_loaded(host: Host, tmp_path: Path) -> None:
    for text, name in ((WEB4, "rules.v4"), (WEB, "rules.v6"), (FW, "fw.nft")):
        code, out, _ = host("verify", written(tmp_path, text, name), "--live")
        assert code == 1, name
        assert out.endswith("  nobody\n")


# -- the assumption of suggest ------------------------------------------------------------------------


def checked(document: dict[str, Any]) -> dict[str, bool | None]:
    return {c["assumption"]: c["holds"] for c in document["checked"]}


@pytest.mark.parametrize("variant", ["nft", "legacy"])
def test_no_other_owner_is_confirmed(host: Host, tmp_path: Path, variant: str) -> None:
    host.restore(WEB4, variant)
    host.restore(WEB, variant, six=True)  # of the other family
    code, document = host.json("suggest", written(tmp_path, WEB4), "--live")
    assert (code, document["outcome"], checked(document)) == (0, "rewrite", {"no-other-owner": True})
    assert [o["name"] for o in document["live"]["owners"]] == [f"ip6tables-{variant}"]


@pytest.mark.parametrize(
    ("load", "name", "tables"),
    [
        (("nft", DOCKER), "iptables-nft", ["nat"]),
        (("legacy", DOCKER), "iptables-legacy", ["nat"]),
        (("legacy", STATELESS.replace("-p tcp", "-p tcp -m conntrack --ctstate NEW")), "iptables-legacy", ["filter"]),
        (("", FW), "nft inet fw", ["inet fw"]),
        (
            ("nft", "*filter\n:DOCKER - [0:0]\n-A DOCKER -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT\n"),
            "iptables-nft",
            ["filter (chain DOCKER)"],
        ),
    ],
)
def test_no_other_owner_is_contradicted(
    host: Host, tmp_path: Path, load: tuple[str, str], name: str, tables: list[str]
) -> None:
    host.restore(WEB4, "nft")
    if load[0]:
        host.restore(load[1], load[0], noflush=True)
    else:
        host.lab.run("server", "nft", "-f", "-", text=load[1])
    rules = written(tmp_path, f"# Generated by iptables-save v1.8.9 (nf_tables)\n{WEB4}")
    _, document = host.json("suggest", rules, "--live")
    assert checked(document) == {"no-other-owner": False}
    assert [(o["name"], o["tables"]) for o in document["live"]["owners"]] == [(name, tables)]
    for way in ([], ["--format", "html"]):
        _, out, _ = host("suggest", rules, "--live", *way)
        assert "contradicted: " in out


def test_no_script_where_another_owner_tracks(host: Host, tmp_path: Path) -> None:
    """What it loads would be untracked for the other's rules, which nobody has proved anything about."""
    host.restore(WEB4, "nft")
    host.lab.run("server", "nft", "-f", "-", text=PLAIN)
    rules = written(tmp_path, host.lab.run("server", "iptables-nft-save"))
    script = tmp_path / "apply.sh"
    assert host("suggest", rules, "--live", "--script", "-o", script)[0] == 0, "who asks nothing of conntrack"
    assert "# Assumed, and not confirmed" not in script.read_text()
    script.unlink()

    host.lab.run("server", "nft", "-f", "-", text=FW)
    code, out, errors = host("suggest", "-q", rules, "--live", "--script", "-o", script)
    assert (code, out, script.exists()) == (2, "", False)
    assert errors.startswith(f"ruleaudit: {rules}: no script, as the assumption no-other-owner is contradicted")
    assert "contradicted on this host: nft inet fw: " in errors and "connection tracking" in errors
    assert host("suggest", rules, "--script", "-o", script)[0] == 0, "nobody has asked"


def test_the_script_says_at_its_head_what_was_not_found_out(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = "the tables of iptables-legacy\nrm -rf / #"
    nothing_read = running.Listed((), (reason,))
    monkeypatch.setattr("ruleaudit.live.listed", lambda: nothing_read)
    rules = written(tmp_path, FW, "fw.nft")
    assert checked(host.json("suggest", rules, "--live")[1]) == {"no-other-owner": None}
    code, out, errors = host("suggest", rules, "--live", "--script")
    assert code == 0
    assert "the assumption no-other-owner was not found out: not looked at: the tables of iptables-legacy" in errors
    (line,) = [line for line in out.splitlines() if "no-other-owner" in line]
    assert line.startswith("# Assumed, and not confirmed: no-other-owner: not looked at: ")


# -- without --------------------------------------------------------------------------------------------


def test_the_library_and_the_program_say_the_same(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("nftables") is None:
        pytest.skip("the module nftables is not installed (pip install 'ruleaudit[live]')")
    host.restore(WEB4, "nft")
    host.lab.run("server", "nft", "-f", "-", text=FW)
    with host.lab.hosts["server"].inside():
        by_library = running.listed()
        monkeypatch.setitem(sys.modules, "nftables", None)
        assert running.listed() == by_library
        assert [one.name for one in by_library.listings] == ["iptables-nft", "nft"]
        monkeypatch.setattr(running, "program", lambda name: None)
        code, _, errors = host("verify", written(tmp_path, WEB4), "--live")
    assert code == 2
    assert "pip install 'ruleaudit[live]'" in errors


def test_legacy_rules_that_no_program_lists(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("iptc") is None:
        pytest.skip("the module iptc is not installed (pip install 'ruleaudit[live]')")
    host.restore(WEB4, "legacy")
    host.restore(WEB, "nft", six=True)
    number = sum(line.startswith("-A") for line in WEB4.splitlines())
    monkeypatch.setattr(running, "_legacy_saver", lambda name: None)
    said = f"the tables of iptables-legacy (filter with {number} rules): iptables-legacy-save is not installed"
    with host.lab.hosts["server"].inside():
        assert running.listed().unread == (said,)
    code, _, errors = host("verify", written(tmp_path, WEB4), "--live")
    assert (code, errors) == (2, f"ruleaudit: --live: not looked at: {said}\n")
    assert host.json("verify", written(tmp_path, WEB, "rules.v6"), "--live")[1]["live"]["unread"] == [said]
    assert host.legacy_tables() == "filter\n", "python-iptables makes the tables that it is asked of"


def as_nobody(host: Host, rules: str, then: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as nobody, with rules on standard input.

    The modules are read before, as nobody may be unable to read Python's own library.
    """
    code = (
        "import ctypes, getpass, importlib, os, pkgutil, sys, ruleaudit\n"
        "names = [m.name for m in pkgutil.walk_packages(ruleaudit.__path__, 'ruleaudit.')]\n"
        "[importlib.import_module(name) for name in names if not name.endswith('__main__')]\n"
        "from ruleaudit import cli\n"
        "from ruleaudit.kernel.namespace import leave\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "ctypes.CDLL(None).prctl(4, 1)  # PR_SET_DUMPABLE: /proc/self is its own again\n"
        f"{then}\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    with host.lab.hosts["server"].inside():
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            input=rules,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.mark.parametrize("command", ["verify", "suggest"])
def test_an_ordinary_user_is_told_what_to_do(host: Host, command: str) -> None:
    done = as_nobody(host, WEB4, "", command, "-", "--live")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        "ruleaudit: --live: only root (CAP_NET_ADMIN) may read the rules of the kernel; run it"
    )


def test_root_of_a_user_namespace_does_not_see_the_legacy_tables(host: Host) -> None:
    said = "not looked at: the tables of iptables-legacy, if there are any: only root of the whole system may see them"
    done = as_nobody(host, FW, "leave()", "verify", "-", "--live", "-q")
    if "unshare" in done.stderr:
        pytest.skip(f"user namespaces are forbidden here: {done.stderr}")
    assert (done.returncode, done.stderr) == (1, "")
    assert said in " ".join(done.stdout.split())
    done = as_nobody(host, WEB4, "leave()", "verify", "-", "--live")
    assert (done.returncode, done.stderr) == (2, f"ruleaudit: --live: {said}\n")


def test_another_system(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    code, out, errors = host("verify", written(tmp_path, WEB4), "--live")
    assert (code, out) == (2, "")
    assert errors.startswith("ruleaudit: --live reads the rules of a Linux kernel")


def test_new_and_live_exclude_each_other(host: Host, tmp_path: Path) -> None:
    rules = written(tmp_path, WEB4)
    for arguments in ((rules, rules, "--live"), (rules,)):
        code, _, errors = host("verify", *arguments)
        assert (code, errors) == (2, "ruleaudit: verify takes OLD and NEW, or OLD and --live\n")
