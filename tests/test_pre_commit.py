"""The pre-commit hooks: which files they take, and what they do in a real repository with the real pre-commit."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from identify import identify

from ruleaudit.discovery import RULESET

ROOT = Path(__file__).parent.parent
HOOKS: dict[str, dict[str, Any]] = {
    hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
}

TAKEN = (
    "rules.v4",
    "rules.v6",
    "etc/iptables/rules.v4",
    "iptables",
    "etc/sysconfig/iptables",
    "etc/sysconfig/ip6tables",
    "iptables.rules",
    "etc/iptables/ip6tables.rules",
    "etc/iptables.up.rules",
    "iptables-save",
    "hosts/web1/iptables-save.txt",
    "iptables.save",
    "iptables.conf",
    "ip6tables.v6",
    "etc/iptables/web.rules",
    "firewall/edge.rules",
    "etc/ufw/before.rules",
    "etc/ufw/after6.rules",
    "user.rules",
    "nftables.conf",
    "etc/sysconfig/nftables.conf",
    "etc/nftables.nft",
    "firewall.nft",
    "etc/nftables.d/10-web.conf",
    "nftables.conf.d/web.rules",
)
LEFT = (
    "snort.rules",
    "suricata/local.rules",
    "prometheus/alert.rules",
    "etc/udev/rules.d/70-net.rules",
    "iptables.sh",
    "iptables.py",
    "docs/iptables.md",
    "nftables.service",
    "templates/rules.v4.j2",
    "templates/nftables.conf.j2",
    "templates/iptables.j2",
    "rules.v5",
    "myrules.v4",
    "rules.yml",
    "etc/nftables.d/README",
    "haproxy.cfg",
)

GOOD = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
"""
BAD = GOOD.replace("--dport 22", "--dprot 22")


@pytest.mark.parametrize("hook", HOOKS)
def test_the_hooks_take_what_check_takes(hook: str) -> None:
    taken = re.compile(HOOKS[hook]["files"])
    assert [name for name in TAKEN if not taken.search(name)] == []
    assert [name for name in LEFT if taken.search(name)] == []
    for name in (*TAKEN, *LEFT):
        assert bool(taken.search(name)) == bool(RULESET.search(name)), name


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(
    ("name", "text", "executable", "is_taken"),
    [
        ("rules.v4", GOOD, False, True),
        ("nftables.conf", "#!/usr/sbin/nft -f\ntable inet filter {\n}\n", True, True),
        ("firewall.nft", "table inet filter {\n}\n", False, True),
        ("iptables", "#!/bin/sh\niptables -P INPUT DROP\n", True, False),
        ("rules.v4", "\0\1\2", False, False),
    ],
)
def test_the_hooks_take_texts_that_are_no_scripts(
    hook: str, name: str, text: str, executable: bool, is_taken: bool, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text)
    path.chmod(0o755 if executable else 0o644)
    tags = identify.tags_from_path(str(path))
    described = HOOKS[hook]
    assert (tags >= set(described["types"]) and not tags & set(described["exclude_types"])) == is_taken
    assert described.get("pass_filenames", True) is True


# -- the real thing -----------------------------------------------------------------------------------

Commit = Callable[..., subprocess.CompletedProcess[str]]


def _git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def hooks(checkout: Path) -> Path:
    """A repository with the hooks."""
    _git(checkout, "init", "-q")
    _git(checkout, "add", "-A")
    _git(checkout, "commit", "-q", "-m", "hooks")
    _git(checkout, "tag", "v0")
    return checkout


@pytest.fixture(scope="module")
def repository(hooks: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A repository that uses them, and the environment in which they are installed."""
    folder, home = tmp_path_factory.mktemp("repository"), tmp_path_factory.mktemp("home")
    config = {"repos": [{"repo": str(hooks), "rev": "v0", "hooks": [{"id": name} for name in HOOKS]}]}
    (folder / ".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    _git(folder, "init", "-q")
    environment = {**os.environ, "PRE_COMMIT_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "pre_commit", "install-hooks"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    if "No matching distribution" in done.stdout or "ConnectionError" in done.stdout:
        pytest.skip("no package index in reach")
    assert done.returncode == 0, done.stdout
    return folder, environment


@pytest.fixture
def run_hook(repository: tuple[Path, dict[str, str]]) -> Iterator[Commit]:
    """Stage some files, write what is not staged, and run one hook."""
    folder, environment = repository

    def run(hook: str, staged: dict[str, str], unstaged: dict[str, str] | None = None) -> Any:
        for name, text in staged.items():
            (folder / name).write_text(text)
        _git(folder, "add", "-A")
        for name, text in (unstaged or {}).items():
            (folder / name).write_text(text)
        command = [sys.executable, "-m", "pre_commit", "run", "--color", "never", hook]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)

    yield run
    _git(folder, "rm", "-q", "-f", "--ignore-unmatch", "rules.v4", "rules.v6", "notes.txt")


def test_a_good_ruleset_passes(run_hook: Commit) -> None:
    done = run_hook("ruleaudit", {"rules.v4": GOOD})
    assert (done.returncode, "Passed" in done.stdout) == (0, True), done.stdout


def test_a_bad_ruleset_fails_with_its_line(run_hook: Commit) -> None:
    done = run_hook("ruleaudit", {"rules.v4": BAD})
    assert done.returncode == 1
    assert "rules.v4:6:24" in done.stdout
    assert "RA001" in done.stdout


def test_other_files_are_not_looked_at(run_hook: Commit) -> None:
    done = run_hook("ruleaudit", {"notes.txt": BAD})
    assert (done.returncode, "no files to check" in done.stdout) == (0, True), done.stdout


def test_what_is_not_staged_is_not_looked_at(run_hook: Commit) -> None:
    assert run_hook("ruleaudit", {"rules.v4": GOOD}, unstaged={"rules.v4": BAD}).returncode == 0
    assert run_hook("ruleaudit", {"rules.v4": BAD}, unstaged={"rules.v4": GOOD}).returncode == 1


def test_the_two_files_of_a_host_are_seen_together(run_hook: Commit) -> None:
    raw = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING ! -i lo -p tcp -m tcp --dport 443 -j CT --notrack
-A OUTPUT ! -o lo -p tcp -m tcp --sport 443 -j CT --notrack
COMMIT
"""
    state = "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
    web = GOOD.replace("-i lo -j ACCEPT\n", f"-i lo -j ACCEPT\n{state}-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT\n")
    four, six = raw + web.replace("COMMIT", "-A INPUT -s 192.0.2.1 -j ACCEPT\nCOMMIT"), web
    assert "RA207" in run_hook("ruleaudit", {"rules.v4": four, "rules.v6": six}).stdout


def test_suggest_fails_when_something_can_leave(run_hook: Commit) -> None:
    example = (ROOT / "examples" / "haproxy-host" / "rules.v4").read_text()
    done = run_hook("ruleaudit-suggest", {"rules.v4": example})
    assert done.returncode == 1
    assert "YES: tcp/80,443 can leave connection tracking" in done.stdout
    assert run_hook("ruleaudit-suggest", {"rules.v4": GOOD}).returncode == 0
