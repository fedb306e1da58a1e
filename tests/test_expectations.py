"""`[[expect]]` blocks: how they are read, what is wrong with one, and what `check` says of those that do not hold."""

import json
from pathlib import Path
from typing import Any

import pytest

from ruleaudit import UsageError, cli, config
from ruleaudit.model.expectation import Fate
from ruleaudit.source import SourceFile

RULES = """\
*filter
:INPUT DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW -j ACCEPT
-A INPUT -p tcp -m tcp --dport 22 -m limit --limit 5/min -j ACCEPT
COMMIT
"""


def read(text: str, path: str = "ruleaudit.toml") -> config.Settings:
    return config.load(SourceFile(path, text), [("RA501", "unmet-expectation")])


def test_what_a_block_says() -> None:
    text = """\
fail-on = "error"

[[expect]]
traffic = "in tcp dport 443"
verdict = "accept"
tracked = false
name = "the website"
reason = "ticket 4711"
files = ["web/*.v4"]

[[expect]]
verdict = "refuse"
traffic = "in tcp dport 22"
"""
    web, ssh = read(text).expect
    assert (web.traffic.text, web.verdict, web.tracked) == ("in tcp dport 443", Fate.ACCEPT, False)
    assert (web.name, web.reason, web.files) == ("the website", "ticket 4711", ("web/*.v4",))
    assert text[web.span.start : web.span.end] == 'traffic = "in tcp dport 443"'
    assert text[ssh.span.start : ssh.span.end] == 'traffic = "in tcp dport 22"'
    assert (ssh.verdict, ssh.tracked, ssh.files) == (Fate.REFUSE, None, ())


def test_blocks_of_a_project_and_in_one_line() -> None:
    (one,) = read('[[tool.ruleaudit.expect]]\ntraffic = "in tcp"\nverdict = "drop"\n', "pyproject.toml").expect
    assert one.verdict is Fate.DROP
    (one,) = read('expect = [{traffic = "in tcp", verdict = "drop"}]\n').expect
    assert (one.verdict, one.span.end) == (Fate.DROP, 0)


@pytest.mark.parametrize(
    ("block", "line", "message"),
    [
        ('trafic = "in tcp"\nverdict = "drop"', 4, 'unknown key "trafic" in [[expect]]; did you mean traffic?'),
        ('traffic = "in tcp"\nverdict = "drop"\nzzz = 1', 6,
         'unknown key "zzz" in [[expect]]; known: traffic, verdict, tracked, files, name, reason'),
        ('verdict = "drop"', 3, 'an [[expect]] block needs traffic, such as "in tcp dport 443"'),
        ('traffic = "in tcp"', 4, "an [[expect]] block needs a verdict, or tracked"),
        ('verdict = "drop"\n\ntraffic = "in tpc dport 443"', 6,
         'traffic "in tpc dport 443": unknown protocol "tpc"; did you mean tcp?'),
        ('traffic = "in tcp"\nverdict = "acept"', 5,
         "verdict is accept, drop, reject, refuse, queue, not 'acept'; did you mean accept?"),
        ('traffic = "in tcp"\nverdict = 1', 5, "verdict is accept, drop, reject, refuse, queue, not 1"),
        ('traffic = "in tcp"\ntracked = "no"', 5, "tracked is true or false, not 'no'"),
        ('traffic = "in tcp"\nverdict = "drop"\ntracked = false', 6,
         "refused traffic makes no entry: leave tracked out"),
        ('traffic = 1\nverdict = "drop"', 4, "traffic is a text, not 1"),
        ('traffic = "in tcp"\nverdict = "drop"\nfiles = "x"', 6, "files is a list of globs, not 'x'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_block(block: str, line: int, message: str) -> None:
    with pytest.raises(UsageError) as error:
        read(f'[[expect]]\ntraffic = "in"\n[[expect]]\n{block}\n'.replace('"in"\n', '"in"\nverdict = "drop"\n', 1))
    # a good block of three lines comes first
    assert str(error.value) == f"ruleaudit.toml:{line + 1}: {message}"


def test_expect_is_a_list_of_tables() -> None:
    with pytest.raises(UsageError, match="write \\[\\[expect\\]\\] above each"):
        read('[expect]\ntraffic = "in tcp"\n')


# -- check --------------------------------------------------------------------------------------------

HOLDS = '[[expect]]\ntraffic = "in tcp dport 443"\nverdict = "accept"\n'
FAILS = '[[expect]]\ntraffic = "in tcp dport 80"\nverdict = "accept"\nname = "the old site"\n'
DOUBTFUL = '[[expect]]\ntraffic = "in tcp dport 22"\nverdict = "accept"\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "rules.v4").write_text(RULES)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, findings of RA501, and standard error."""
    code = cli.run(["check", "rules.v4", "--format", "json", *arguments])
    out, err = capfd.readouterr()
    found = json.loads(out)["findings"] if out else []
    return code, [f for f in found if f["code"] == "RA501"], err


def test_what_holds_is_counted(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "ruleaudit.toml").write_text(HOLDS + 'files = ["*.v4"]\n')
    code, found, err = check(capfd, "--select", "RA501")
    assert (code, found) == (0, [])
    assert "1 of 1 expectation holds." in err


def test_what_fails_shows_the_rule_the_packet_and_the_block(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "ruleaudit.toml").write_text(HOLDS + FAILS)
    code, (found,), err = check(capfd)
    assert code == 1
    assert found["message"] == 'the old site: "in tcp dport 80" is expected to be accepted, but it is dropped'
    assert (found["place"]["path"], found["place"]["line"], found["certainty"]) == ("rules.v4", 2, "proved")
    (block,) = found["related"]
    assert (block["place"]["path"], block["place"]["line"]) == ("ruleaudit.toml", 5)
    assert (block["place"]["text"], block["label"]) == ('traffic = "in tcp dport 80"', "expected to be accepted")
    assert found["witness"]["packet"].startswith("in tcp 198.51.100.7:4242 > 10.9.0.2:80 flags S")
    assert "1 of 2 expectations holds." in err


def test_a_doubt_is_an_error_in_every_format(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "ruleaudit.toml").write_text(DOUBTFUL)
    code, (found,), _ = check(capfd, "--fail-on", "error")
    assert (code, found["severity"], found["certainty"]) == (1, "error", "undecided")
    assert "may be dropped, depending on limit --limit 5/min (line 6)" in found["message"]
    for form in ("full", "concise", "jsonl", "github", "gitlab", "sarif", "junit", "markdown", "html"):
        assert cli.run(["check", "rules.v4", "--fail-on", "error", "--format", form]) == 1
        assert "limit --limit 5/min" in capfd.readouterr().out


def test_the_block_is_shown_beside_the_rule(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "ruleaudit.toml").write_text(FAILS)
    cli.run(["check", "rules.v4", "--select", "RA501"])
    assert capfd.readouterr().out == (
        'error[RA501]: the old site: "in tcp dport 80" is expected to be accepted, but it is dropped'
        "  unmet-expectation\n"
        "  --> rules.v4:2:1\n"
        "   |\n"
        " 2 | :INPUT DROP [0:0]\n"
        "   | ^^^^^^^^^^^^^^^^^ dropped here\n"
        "  ::: ruleaudit.toml:2:1\n"
        "   |\n"
        ' 2 | traffic = "in tcp dport 80"\n'
        "   | --------------------------- expected to be accepted\n"
        "   = help:   ruleaudit explain rules.v4 --connection --packet 'in tcp 198.51.100.7:4242 > 10.9.0.2:80 flags S"
        " iif eth0'\n"
        "   = packet: in tcp 198.51.100.7:4242 > 10.9.0.2:80 flags S iif eth0 (dropped by the policy of INPUT)\n"
    )
    assert cli.run(["check", "rules.v4", "--format", "sarif"]) == 1
    (result,) = [r for r in json.loads(capfd.readouterr().out)["runs"][0]["results"] if r["ruleId"] == "RA501"]
    (block,) = result["relatedLocations"]
    assert block["physicalLocation"]["artifactLocation"] == {"uri": "ruleaudit.toml"}
    assert block["physicalLocation"]["region"]["startLine"] == 2


def test_blocks_about_other_files_and_families(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = FAILS + 'files = ["db/*"]\n' + FAILS.replace("dport 80", "dport 80 from 2001:db8::/32")
    (folder / "ruleaudit.toml").write_text(other)
    code, found, err = check(capfd, "--select", "RA501")
    assert (code, found, "expectation" in err) == (0, [], False)


def test_two_blocks_about_one_place_are_two_findings(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "ruleaudit.toml").write_text(FAILS + FAILS.replace("80", "81"))
    assert len(check(capfd)[1]) == 2


def test_nothing_is_passed_over_in_silence(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "ruleaudit.toml").write_text(FAILS)
    assert "1 expectation not checked" in check(capfd, "--select", "RA1")[2]
    (folder / "rules.v4").write_text(RULES.replace("NEW", "NOW"))
    code, _, err = check(capfd)
    assert code == 1
    assert "1 expectation not checked" in err
    (folder / "ruleaudit.toml").write_text(FAILS.replace("verdict", "verdit"))
    code, _, err = check(capfd)
    assert code == 2
    assert 'ruleaudit.toml:3: unknown key "verdit" in [[expect]]; did you mean verdict?' in err


def test_an_nft_file_without_rules_for_a_family_refuses_nothing_in_it(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "rules.v4").write_text(
        "table ip t {\n\tchain input {\n\t\ttype filter hook input priority 0; policy drop;\n\t}\n}\n"
    )
    refused = FAILS.replace("accept", "refuse")
    (folder / "ruleaudit.toml").write_text(refused)
    assert check(capfd, "--select", "RA501")[:2] == (0, [])
    (folder / "ruleaudit.toml").write_text(refused.replace("dport 80", "dport 80 from 2001:db8::/32"))
    code, (found,), _ = check(capfd, "--select", "RA501")
    assert (code, "but it is accepted" in found["message"]) == (1, True)


def test_comments_and_baselines_cover_them(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "ruleaudit.toml").write_text(FAILS.replace("accept", "drop").replace("dport 80", "dport 22"))
    code, (found,), _ = check(capfd, "--select", "RA501")
    assert (code, found["place"]["line"]) == (1, 6)
    (folder / "rules.v4").write_text(
        RULES.replace(
            "-A INPUT -p tcp -m tcp --dport 22", "# ruleaudit: ignore[RA501] ssh\n-A INPUT -p tcp -m tcp --dport 22"
        )
    )
    assert check(capfd, "--select", "RA501")[:2] == (0, [])
    (folder / "rules.v4").write_text(RULES)
    assert cli.run(["check", "rules.v4", "--write-baseline"]) == 0
    capfd.readouterr()
    assert check(capfd, "--select", "RA501", "--baseline", ".ruleaudit-baseline.json")[:2] == (0, [])
