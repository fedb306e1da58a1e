"""Configuration files, ignore comments and baselines: what is told, and what is said about the choices themselves."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ruleaudit import cli
from ruleaudit.source import SourceFile
from ruleaudit.suppress import suppressions

RULES = """\
*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -p icmp -j ACCEPT
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -p tcp -m tcp --dport 25 -j MAIL
COMMIT
"""
#: what is found in them: needless tracking, and an undefined chain
FOUND = [("RA101", 7), ("RA301", 8)]

Check = Callable[..., tuple[int, list[tuple[str, int]], str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "rules.v4").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def check(capfd: pytest.CaptureFixture[str]) -> Check:
    """Exit code, (code, line) of each finding that is no mere note of RA100, and standard error."""

    def ran(*arguments: str) -> tuple[int, list[tuple[str, int]], str]:
        code = cli.run(["check", *arguments, "--format", "jsonl"])
        out, err = capfd.readouterr()
        found = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        return code, [(f["code"], f["place"]["line"]) for f in found if f["code"] != "RA100"], err

    return ran


def test_the_command_line_selects(folder: Path, check: Check) -> None:
    assert check("rules.v4")[:2] == (1, FOUND)
    assert check("rules.v4", "--select", "RA3")[1] == FOUND[1:]
    assert check("rules.v4", "--select", "needless-tracking", "--extend-select", "RA301")[1] == FOUND
    assert check("rules.v4", "--ignore", "RA101,RA301")[:2] == (0, [])
    code, _, err = check("rules.v4", "--select", "needles-tracking")
    assert (code, "did you mean needless-tracking?" in err) == (2, True)


def test_the_nearest_file_counts_and_the_command_line_wins(folder: Path, check: Check) -> None:
    below = folder / "db" / "rules.v4"
    below.parent.mkdir()
    below.write_text(RULES)
    (folder / "ruleaudit.toml").write_text('ignore = ["RA101"]\nfail-on = "error"\n')
    (below.parent / "pyproject.toml").write_text(
        '[tool.ruleaudit]\nselect = ["RA1"]\n[tool.ruleaudit.severity]\nRA101 = "note"\n'
    )
    assert check("rules.v4")[:2] == (1, FOUND[1:])
    assert check("db/rules.v4")[:2] == (0, FOUND[:1])
    assert check("db/rules.v4", "--fail-on", "note")[0] == 1
    assert check("db/rules.v4", "--no-config")[1] == FOUND
    assert check("db/rules.v4", "--config", "ruleaudit.toml")[1] == FOUND[1:]
    assert check("rules.v4", "--select", "RA301")[1] == FOUND[1:]


def test_files_are_ignored_by_their_path_from_the_configuration(
    folder: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "old").mkdir()
    (folder / "old" / "rules.v4").write_text(RULES)
    (folder / "ruleaudit.toml").write_text('[per-file-ignores]\n"old/*" = ["RA1", "undefined-chain"]\n')
    assert check("rules.v4", "old/rules.v4")[1] == FOUND
    monkeypatch.chdir(folder / "old")
    assert check("rules.v4")[1] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("selct = []\n", 'unknown key "selct"; did you mean select?'),
        ('ignore = "RA101"\n', "ignore is a list of texts"),
        ('ignore = ["RA1o1"]\n', 'no rule is called "RA1o1"'),
        ('fail-on = "bad"\n', 'fail-on is "error", "warning" or "note", not \'bad\''),
        ("severity = 3\n", "severity is a table"),
        ("x = [\n", "ruleaudit.toml: "),
    ],
)
def test_a_mistake_in_the_configuration_stops_the_run(folder: Path, check: Check, text: str, message: str) -> None:
    (folder / "ruleaudit.toml").write_text(text)
    code, found, err = check("rules.v4")
    assert (code, found) == (2, [])
    assert message in err


def test_comments_ignore_the_next_rule_or_their_own(folder: Path, check: Check) -> None:
    above = RULES.replace(
        "-A INPUT -p tcp -m tcp --dport 443", "# ruleaudit: ignore[RA101] few\n\n-A INPUT -p tcp -m tcp --dport 443"
    )
    own = above.replace("-j MAIL", '-m comment --comment "ruleaudit: ignore[undefined-chain] at boot" -j MAIL')
    (folder / "rules.v4").write_text(own)
    code, found, err = check("rules.v4")
    assert (code, found) == (0, [])
    assert "2 ignored" in err
    assert check("rules.v4", "--no-ignores")[1] == [("RA101", 9), ("RA301", 10)]


def test_comments_that_are_not_needed_or_not_explained_are_found(folder: Path, check: Check) -> None:
    text = "# ruleaudit: ignore-file[RA301]\n" + RULES.replace(
        ":OUTPUT", "# ruleaudit: ignore[RA201] was there\n:OUTPUT"
    )
    (folder / "rules.v4").write_text(text)
    assert check("rules.v4")[1] == [("RA004", 1), ("RA003", 4), ("RA101", 9)]


def test_what_a_comment_says() -> None:
    source = SourceFile("x", "# ruleaudit: ignore[RA101, RA2] because: of it  \n-A INPUT\n")
    (found,) = suppressions(source)
    assert (found.codes, found.reason, found.line, found.own_line) == (("RA101", "RA2"), "because: of it", 2, True)


def test_a_baseline_knows_texts_and_not_lines(folder: Path, check: Check) -> None:
    assert check("rules.v4", "--write-baseline")[0] == 0
    name = ".ruleaudit-baseline.json"
    (folder / "rules.v4").write_text("# one line more\n" + RULES)
    code, found, err = check("rules.v4", "--baseline", name)
    assert (code, found) == (0, [])
    assert "2 baselined" in err
    twice = RULES.replace("COMMIT", "-A INPUT -p tcp -m tcp --dport 25 -j MAIL\nCOMMIT")
    (folder / "rules.v4").write_text(twice)
    assert check("rules.v4", "--baseline", name)[:2] == (1, [("RA301", 9)])


def test_what_is_gone_is_taken_out_of_the_baseline(folder: Path, check: Check) -> None:
    check("rules.v4", "--write-baseline")
    (folder / "ruleaudit.toml").write_text('baseline = ".ruleaudit-baseline.json"\n')
    (folder / "rules.v4").write_text(RULES.replace("-j MAIL", "-j ACCEPT"))
    assert "1 of its findings are no longer there" in check("rules.v4")[2]
    check("rules.v4", "--prune-baseline")
    (folder / "rules.v4").write_text(RULES)
    assert check("rules.v4")[1] == FOUND[1:]


def test_a_baseline_that_is_none(folder: Path, check: Check) -> None:
    (folder / "x.json").write_text("[]")
    code, _, err = check("rules.v4", "--baseline", "x.json")
    assert (code, "no baseline" in err) == (2, True)
