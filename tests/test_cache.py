"""What is kept of an earlier run is told again only where nothing has changed that it was found from."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import ruleaudit
from ruleaudit import cache, cli, kept

RULES = """\
*filter
:INPUT DROP [0:0]
-A INPUT -p tcp -m tcp --dport 25 -j MAIL
COMMIT
"""

Looked = Callable[..., tuple[int, str]]


@pytest.fixture
def looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Looked:
    """How many files a run really looks at, and what it prints."""
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    Path("rules.v4").write_text(RULES)
    seen: list[str] = []
    real = ruleaudit.check

    def check(sources, **named):  # type: ignore[no-untyped-def]
        seen.extend(source.path for source in sources)
        return real(sources, **named)

    monkeypatch.setattr(ruleaudit, "check", check)

    def ran(*arguments: str) -> tuple[int, str]:
        seen.clear()
        assert cli.run(["check", "--format", "json", *arguments]) in (0, 1)
        return len(seen), capfd.readouterr().out

    return ran


def test_the_same_file_is_looked_at_once(looked: Looked) -> None:
    number, first = looked("rules.v4")
    assert (number, looked("rules.v4")) == (1, (0, first))
    assert "RA301" in first
    assert looked("--no-cache", "rules.v4") == (1, first)


def test_whatever_changes_is_looked_at_again(looked: Looked, monkeypatch: pytest.MonkeyPatch) -> None:
    looked("rules.v4")
    Path("ruleaudit.toml").write_text('ignore = ["RA302"]\n')
    assert looked("rules.v4")[0] == 1
    Path("ruleaudit.toml").write_text('ignore = ["RA301"]\n')
    assert looked("rules.v4")[0] == 1
    assert "RA301" not in looked("rules.v4")[1]
    assert looked("--no-ignores", "rules.v4")[0] == 1
    assert looked("--from", "ip6tables-save", "rules.v4")[0] == 1
    Path("rules.v4").write_text(RULES.replace("25", "26"))
    assert looked("rules.v4")[0] == 1
    assert looked("rules.v4")[0] == 0
    Path("rules.v6").write_text(RULES)
    assert looked("rules.v4", "rules.v6")[0] == 2
    assert looked("rules.v4", "rules.v6")[0] == 0
    Path("rules.v6").write_text(RULES.replace("MAIL", "ACCEPT"))
    assert looked("rules.v4", "rules.v6")[0] == 2
    monkeypatch.setattr(cache, "program", lambda: "another one")
    assert looked("rules.v4", "rules.v6")[0] == 2


def test_what_is_included_counts_too(looked: Looked) -> None:
    Path("main.nft").write_text('table ip t {\n}\n# as we used to include it\ninclude "part.inc"\n')
    Path("part.inc").write_text('include "more/*.nft"\n')
    Path("more").mkdir()

    def numbers() -> list[int]:
        return [looked("main.nft")[0] for _ in range(2)]

    assert numbers() == [1, 1], "an include without a name, in a comment"
    Path("main.nft").write_text('table ip t {\n}\ninclude "part.inc"\n')
    assert numbers() == [1, 0]
    Path("more/one.nft").write_text("table ip u {\n}\n")
    assert numbers() == [1, 0]
    Path("more/one.nft").write_text("table ip v {\n}\n")
    assert numbers() == [1, 0]
    Path("part.inc").unlink()
    assert numbers() == [1, 0]
    assert "part.inc" in looked("main.nft")[1]


def test_what_depends_on_ipsets_is_not_kept(looked: Looked) -> None:
    Path("sets").write_text("create s hash:ip family inet\n")
    for arguments in (["--ipset", "sets", "rules.v4"], ["--no-cache", "rules.v4"]):
        assert [looked(*arguments)[0] for _ in range(2)] == [1, 1]
    assert not list(kept.folder().glob("??/*"))


@pytest.mark.parametrize("text", [b"", b"no pickle", b"\x80\x04K\x01."])
def test_a_damaged_entry_is_none(looked: Looked, text: bytes) -> None:
    _, first = looked("rules.v4")
    (entry,) = kept.folder().glob("??/*")
    entry.write_bytes(text)
    assert looked("rules.v4") == (1, first)
    assert looked("rules.v4") == (0, first)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_an_entry_of_somebody_else_is_none(looked: Looked) -> None:
    _, first = looked("rules.v4")
    (entry,) = kept.folder().glob("??/*")
    os.chown(entry, 65534, 65534)
    assert looked("rules.v4") == (1, first)


def test_a_folder_that_cannot_be_written_to_is_none(looked: Looked) -> None:
    _, first = looked("--no-cache", "rules.v4")
    kept.folder().parent.parent.mkdir(parents=True, exist_ok=True)
    kept.folder().parent.write_text("a file")
    assert [looked("rules.v4") for _ in range(2)] == [(1, first)] * 2


def test_entries_are_for_their_owner_and_go_when_nobody_asks(looked: Looked) -> None:
    looked("rules.v4")
    (entry,) = kept.folder().glob("??/*")
    assert entry.parent.stat().st_mode & 0o077 == 0
    assert not entry.with_name(f"{entry.name}.{os.getpid()}").exists()
    now = entry.stat().st_mtime
    kept.tidy(now + 40 * 86_400)
    assert not entry.exists()
    looked("rules.v4")
    kept.tidy(now + 5 * 86_400)
    assert entry.exists()
