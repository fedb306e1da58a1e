"""Configuration files, ignore comments and baselines: what is told, and what is said about the choices themselves."""

import json
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest

from ruleaudit import cli, config, expectations, rules
from ruleaudit.diagnostics import Finding, Severity, UsageError
from ruleaudit.model.expectation import Fate
from ruleaudit.rules.audit import Audit
from ruleaudit.source import SourceFile, Span
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
    """Exit code, (code, line) of each finding that is no mere note (RA100, RA106), and standard error."""

    def ran(*arguments: str) -> tuple[int, list[tuple[str, int]], str]:
        code = cli.run(["check", *arguments, "--format", "jsonl"])
        out, err = capfd.readouterr()
        found = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        return code, [(f["code"], f["place"]["line"]) for f in found if f["code"] not in ("RA100", "RA106")], err

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


def test_a_comment_about_what_is_not_looked_for_is_not_unused(folder: Path, check: Check) -> None:
    text = "# ruleaudit: ignore-file[RA207] the other file is elsewhere\n# ruleaudit: ignore-file[RA501] likewise\n"
    text += RULES.replace("-A INPUT -p tcp -m tcp --dport 25", "# ruleaudit: ignore[RA301] at boot\n-A INPUT -p tcp")
    (folder / "rules.v4").write_text(text)
    assert check("rules.v4")[1] == [("RA101", 9)]
    assert check("rules.v4", "--select", "RA0")[1] == []
    assert check("rules.v4", "--ignore", "RA301,RA101")[:2] == (0, [])
    # with the other file it is looked for
    (folder / "rules.v6").write_text("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n")
    assert ("RA003", 1) in check("rules.v4", "rules.v6")[1]


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


# -- from wherever it is started -----------------------------------------------------------------------


def test_a_baseline_is_about_files_as_seen_from_its_folder(
    folder: Path, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "ruleaudit.toml").write_text('baseline = "known.json"\n')
    (folder / "db").mkdir()
    (folder / "db" / "rules.v4").write_text(RULES)
    assert check(".", "--write-baseline", "known.json")[0] == 0
    assert [e["file"] for e in json.loads((folder / "known.json").read_text())["findings"]] == [
        "db/rules.v4",
        "db/rules.v4",
        "rules.v4",
        "rules.v4",
    ]
    monkeypatch.chdir(folder / "db")
    assert check("rules.v4")[:2] == (0, [])
    assert check(str(folder / "rules.v4"))[:2] == (0, [])
    monkeypatch.chdir("/")
    assert check(str(folder))[:2] == (0, [])


def test_each_file_has_the_baseline_of_its_configuration(folder: Path, check: Check) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        (folder / name / "rules.v4").write_text(RULES)
    (folder / "one" / "ruleaudit.toml").write_text('baseline = "known.json"\n')
    check("one", "--write-baseline", "one/known.json")
    code, found, err = check("one", "two")
    assert (code, found, "2 baselined" in err) == (1, FOUND, True)


def test_the_settings_and_the_files_are_shown_and_nothing_is_done(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "ruleaudit.toml").write_text('select = ["RA2"]\n[severity]\nRA101 = "note"\n')
    assert cli.run(["check", "rules.v4", "--show-settings", "--ignore", "RA207"]) == 0
    out, _ = capfd.readouterr()
    assert out == (
        "# rules.v4: ruleaudit.toml\n"
        'select = ["RA2"]\nignore = ["RA207"]\nipset = []\nfail-on = "warning"\npreview = false\n'
        '\n[severity]\n"RA101" = "note"\n'
    )
    assert cli.run(["check", "--show-settings", "--no-config", "rules.v4"]) == 0
    assert capfd.readouterr().out.startswith('# rules.v4: no configuration file\nselect = ["ALL"]\n')
    assert cli.run(["check", "--show-files"]) == 0
    assert tuple(capfd.readouterr()) == ("rules.v4\n", "")


# -- the life of a rule --------------------------------------------------------------------------------


def _made_up(preview: bool) -> SimpleNamespace:
    """A rule that finds something in every file."""

    def check(audit: Audit) -> Iterator[Finding]:
        yield Finding("RA998", "made-up", Severity.WARNING, "made up", Span(0, 0))

    more = {"PREVIEW": True} if preview else {}
    return SimpleNamespace(
        CODE="RA998", NAME="made-up", SEVERITY=Severity.WARNING, SINCE="0.2", check=check, __doc__="Made up.", **more
    )


def test_a_rule_in_preview_runs_where_it_is_asked_for(
    folder: Path, check: Check, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "rules.v4").write_text("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n")
    monkeypatch.setattr(rules, "RULES", (*rules.RULES, _made_up(preview=True)))
    assert check("rules.v4")[:2] == (0, [])
    assert check("rules.v4", "--preview")[:2] == (1, [("RA998", 1)])
    assert check("rules.v4", "--preview", "--ignore", "made-up")[:2] == (0, [])
    code, found, err = check("rules.v4", "--select", "RA998")
    assert (code, found) == (0, [])
    assert "RA998 is in preview: it is looked for only with --preview\n" in err
    (folder / "ruleaudit.toml").write_text("preview = true\n")
    assert check("rules.v4")[:2] == (1, [("RA998", 1)])
    assert (cli.run(["rules"]), cli.run(["rule", "RA998"])) == (0, 0)
    out, _ = capfd.readouterr()
    assert "Made up. (preview)\n" in out
    assert "since 0.2 · in preview: check --preview\n" in out
    monkeypatch.setattr(rules, "RULES", (*rules.RULES[:-1], _made_up(preview=False)))
    (folder / "ruleaudit.toml").write_text("")
    assert check("rules.v4")[:2] == (1, [("RA998", 1)])


def test_retired_codes_and_names_are_accepted_everywhere(
    folder: Path, check: Check, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(rules.REDIRECTS, "RA390", "RA301")
    monkeypatch.setitem(rules.REDIRECTS, "missing-chain", "RA301")
    for word in ("RA390", "missing-chain"):
        assert check("rules.v4", "--select", word)[1] == FOUND[1:]
        assert check("rules.v4", "--ignore", word)[1] == FOUND[:1]
        (folder / "ruleaudit.toml").write_text(f'[per-file-ignores]\n"*.v4" = ["{word}"]\n')
        assert check("rules.v4")[1] == FOUND[:1]
        (folder / "ruleaudit.toml").write_text(f'ignore = ["RA101"]\n[severity]\n{word} = "note"\n')
        assert check("rules.v4")[:2] == (0, FOUND[1:])
        (folder / "ruleaudit.toml").unlink()
        (folder / "rules.v4").write_text(f"# ruleaudit: ignore-file[{word}] at boot\n" + RULES)
        assert check("rules.v4")[1] == [("RA101", 8)]
        (folder / "rules.v4").write_text(RULES)
        assert cli.run(["rule", word]) == 0
        assert capfd.readouterr().out.startswith("RA301 undefined-chain ")
    check("rules.v4", "--write-baseline", "known.json")
    (folder / "known.json").write_text((folder / "known.json").read_text().replace("RA301", "RA390"))
    assert check("rules.v4", "--baseline", "known.json")[:2] == (0, [])


def test_no_code_is_retired_and_in_use() -> None:
    used = {word for rule in rules.RULES for word in (rule.CODE, rule.NAME)}
    assert not used & set(rules.REDIRECTS)
    assert set(rules.REDIRECTS.values()) <= used


# -- the schema ----------------------------------------------------------------------------------------

SCHEMA = json.loads((files("ruleaudit") / "ruleaudit.schema.json").read_text())
ROOT = Path(__file__).parent.parent


def test_the_schema_has_every_key_and_no_other() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["properties"]) == set(config.KEYS)
    assert set(SCHEMA["$defs"]["expectation"]["properties"]) == set(expectations.KEYS)
    assert SCHEMA["$defs"]["expectation"]["properties"]["verdict"]["enum"] == [fate.value for fate in Fate]
    assert SCHEMA["$defs"]["severity"]["enum"] == [severity.value for severity in Severity]
    for rule in rules.RULES:
        for word in (rule.CODE, rule.NAME, rule.CODE[:3]):
            jsonschema.validate({"select": [word]}, SCHEMA)


def _documented() -> Iterator[tuple[str, str]]:
    """Every piece of TOML in the documentation: fenced, or indented."""
    pages = {path.name: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
    pages["config.py"], pages["expectations.py"] = config.__doc__ or "", expectations.__doc__ or ""
    for name, text in pages.items():
        blocks = re.findall(r"^```toml.*?\n(.*?)^```", text, re.M | re.S)
        blocks += [textwrap.dedent(b) for b in re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.M)]
        for block in blocks:
            if re.search(r"^\[\[expect|^\[tool\.ruleaudit|^(?:select|ignore|fail-on|preview) = ", block, re.M):
                yield name, block


def test_every_documented_configuration_is_one() -> None:
    # an explanation behind a value is no part of it
    texts = [(name, re.sub(r"(?<=[\]\"e])  +[a-z].*$", "", block, flags=re.M)) for name, block in _documented()]
    assert {name for name, _ in texts} >= {"README.md", "expectations.md", "config.py", "configuration.md"}
    known = [(rule.CODE, rule.NAME) for rule in rules.RULES] + [("RA302", "")]
    for name, text in texts:
        values = tomllib.loads(text)
        values = values.get("tool", {}).get("ruleaudit", values)
        jsonschema.validate(values, SCHEMA)
        assert set(config.load(SourceFile("ruleaudit.toml", text), known).as_toml(name)) != set()


@pytest.mark.parametrize(
    "text",
    [
        'selct = ["RA2"]',
        'ignore = "RA101"',
        'fail-on = "bad"',
        "severity = 3",
        'preview = "yes"',
        '[severity]\nRA101 = "bad"',
        '[[expect]]\nverdict = "accept"',
        '[[expect]]\ntraffic = "in"',
        '[[expect]]\ntraffic = "in"\nverdict = "acept"',
        '[[expect]]\ntraffic = "in"\ntracked = "no"',
        '[[expect]]\ntraffic = "in"\nverdict = "accept"\nwhy = "x"',
    ],
)
def test_what_the_schema_refuses_is_refused(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(tomllib.loads(text), SCHEMA)
    with pytest.raises(UsageError):
        config.load(SourceFile("ruleaudit.toml", text), [(rule.CODE, rule.NAME) for rule in rules.RULES])
