"""Which files are rulesets, and which two belong to one host."""

import os
import subprocess
from pathlib import Path

import pytest

from ruleaudit.discovery import RULESET, companions, nearest_config, rulesets, twin
from ruleaudit.source import SourceFile

_V4 = "*filter\n:INPUT DROP [0:0]\n-A INPUT -s 192.0.2.1 -j ACCEPT\nCOMMIT\n"
_V6 = _V4.replace("192.0.2.1", "2001:db8::1")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("etc/rules.v4", "etc/rules.v6"),
        ("iptables", "ip6tables"),
        ("before.rules", "before6.rules"),
        ("iptables.up.rules", "ip6tables.up.rules"),
        ("web-v4.txt", "web-v6.txt"),
        ("ipv4/web.rules", "ipv6/web.rules"),
    ],
)
def test_twins_have_the_same_name_but_for_the_family(one: str, other: str) -> None:
    four, six = SourceFile(one, _V4), SourceFile(other, _V6)
    files = [four, six, SourceFile("db/rules.v4", _V4), SourceFile("db/rules.v6", _V6)]
    assert twin(four, files) is six
    assert twin(six, files) is four


def test_two_files_are_twins_whatever_their_names() -> None:
    four, six = SourceFile("a", _V4), SourceFile("b", _V6)
    assert twin(four, [four, six]) is six
    assert twin(four, [four, six, SourceFile("c", _V6)]) is None
    assert twin(four, [four, SourceFile("b", _V4)]) is None
    assert twin(four, [four, SourceFile("b.nft", "table inet filter {\n}\n")]) is None


def test_names_of_rulesets() -> None:
    assert all(map(RULESET.search, ("etc/iptables/rules.v4", "before6.rules", "nftables.conf", "x/site.nft")))
    assert not any(map(RULESET.search, ("udev.rules", "rules.v4.j2", "prometheus/alerts.rules")))


# -- below a folder ------------------------------------------------------------------------------------


def _tree(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(_V4)


IGNORES = {
    ".gitignore": "build/\n*.save.nft\n/only-here.nft\n!wanted/kept.save.nft\n",
    "hosts/.gitignore": "*.v6\n!web/rules.v6\n",
    "hosts/web/.gitignore": "# nothing\n",
}
NAMES = (
    "rules.v4",
    "only-here.nft",
    "a.save.nft",
    "build/rules.v4",
    "hosts/build/rules.v4",
    "hosts/db/rules.v4",
    "hosts/db/rules.v6",
    "hosts/web/rules.v6",
    "wanted/kept.save.nft",
    "wanted/only-here.nft",
    ".hidden/rules.v4",
    "node_modules/x/rules.v4",
    "notes/alert.rules",
)


def test_what_gitignore_names_is_left_out_as_git_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _tree(tmp_path, *NAMES)
    for name, text in IGNORES.items():
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True, timeout=30)
    monkeypatch.chdir(tmp_path)
    listed = ["git", "-c", "core.excludesFile=", "ls-files", "--others", "--exclude-standard"]
    known = subprocess.run(listed, capture_output=True, text=True, check=True, timeout=30).stdout.splitlines()
    wanted = {name for name in NAMES if not name.startswith((".hidden", "node_modules", "notes"))}
    assert set(rulesets()) == set(known) & wanted
    assert set(rulesets()) == {
        "rules.v4",
        "hosts/db/rules.v4",
        "hosts/web/rules.v6",
        "wanted/kept.save.nft",
        "wanted/only-here.nft",
    }
    # seen from below, the files above count too
    assert list(rulesets("hosts")) == ["hosts/db/rules.v4", "hosts/web/rules.v6"]
    assert list(rulesets(str(tmp_path / "wanted"))) == [
        f"{tmp_path}/wanted/kept.save.nft",
        f"{tmp_path}/wanted/only-here.nft",
    ]
    # who asks for an ignored folder gets it
    assert list(rulesets("build")) == ["build/rules.v4"]


def test_a_name_that_is_no_file_is_not_taken(tmp_path: Path) -> None:
    _tree(tmp_path, "rules.v4")
    os.mkfifo(tmp_path / "waits.nft")
    (tmp_path / "broken.nft").symlink_to("gone")
    assert list(rulesets(str(tmp_path))) == [f"{tmp_path}/rules.v4"]


def test_twins_are_looked_for_among_few() -> None:
    hosts = [f"hosts/{number}/rules.{family}" for number in range(500) for family in ("v4", "v6")]
    beside = companions([*hosts, "alone.v4"])
    assert beside["hosts/7/rules.v4"] == ["hosts/7/rules.v6"]
    assert beside["alone.v4"] == []
    assert sum(map(len, beside.values())) == len(hosts)
    assert companions(["a", "b"]) == {"a": ["b"], "b": ["a"]}


def test_the_configuration_of_a_file_is_that_of_its_own_repository(tmp_path: Path) -> None:
    (tmp_path / "ruleaudit.toml").write_text("")
    inner = tmp_path / "inner"
    _tree(inner, "etc/rules.v4")
    assert nearest_config(str(inner / "etc" / "rules.v4")) == str(tmp_path / "ruleaudit.toml")
    (inner / ".git").mkdir()
    assert nearest_config(str(inner / "etc" / "rules.v4")) is None
