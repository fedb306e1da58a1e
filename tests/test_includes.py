"""What a ruleset includes: where it is looked for, what is said when it is not there, and reports about it."""

import errno
import json
import os
import subprocess
from pathlib import Path
from typing import IO

import pytest

import ruleaudit
from ruleaudit.cli import run
from ruleaudit.diagnostics import SourceError

MAIN = 'include "./defines.nft"\ntable inet filter {\n\tinclude "./parts/*.chain"\n}\n'
DEFINES = "define web = { 80, 443 }\n"
INPUT = """\
\tchain input {
\t\ttype filter hook input priority 0; policy drop;
\t\tct state established,related accept
\t\ttcp dport $web ct state new accept
\t}
"""


#: what the rewrite adds: to the chain, and to the table
ERRORS = """\
\t\ticmp type { destination-unreachable, time-exceeded, parameter-problem } accept
\t\ticmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept
"""
CHAINS = """
\tchain raw_prerouting {
\t\ttype filter hook prerouting priority -300; policy accept;
\t\tiif != "lo" fib daddr type local tcp dport $web notrack
\t}

\tchain raw_output {
\t\ttype filter hook output priority -300; policy accept;
\t\toif != "lo" fib saddr type local tcp sport $web notrack
\t}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ruleset in three files, and the current folder."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "main.nft").write_text(MAIN)
    (tmp_path / "defines.nft").write_text(DEFINES)
    (tmp_path / "parts" / "input.chain").write_text(INPUT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(path: str) -> list[tuple[str, str, str]]:
    """What reading a file finds: the severity, the place and the message."""
    reading = ruleaudit.lower(ruleaudit.load(path))
    source = reading.document.source
    places = [source.position(f.span.start) for f in reading.findings]
    return [
        (f.severity.value, f"{p.path}:{p.line}:{p.column}", f.message)
        for f, p in zip(reading.findings, places, strict=True)
    ]


# -- where nft looks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", ["./defines.nft", "defines.nft", "./../{here}/defines.nft", "{folder}/defines.nft"])
def test_where_a_file_may_be(folder: Path, pattern: str) -> None:
    pattern = pattern.format(folder=folder, here=folder.name)
    Path("main.nft").write_text(MAIN.replace("./defines.nft", pattern))
    assert said("main.nft") == []


def test_a_file_is_never_looked_for_beside_the_one_that_includes_it(folder: Path) -> None:
    Path("parts/input.chain").write_text('include "more.inc"\n' + INPUT)
    Path("parts/more.inc").write_text("\tchain more {\n\t}\n")
    assert said("main.nft") == [
        ("error", "parts/input.chain:1:9", "more.inc is not there, and nft loads nothing without it")
    ]
    (finding,) = ruleaudit.lower(ruleaudit.load("main.nft")).findings
    assert finding.label == "it is beside parts/input.chain, but nft looks beside main.nft for all that is included"
    Path("more.inc").write_text("\tchain more {\n\t}\n")
    assert said("main.nft") == []


def test_a_dot_counts_from_the_folder_that_nft_is_started_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert said("../main.nft") == []
    Path("defines.nft").write_text("define web = 8080\n")
    assert said("../main.nft") == [
        (
            "warning",
            "../main.nft:1:9",
            "nft takes ./defines.nft from the folder that it is started in: this was read in .., not here",
        )
    ]


def test_what_is_not_there(folder: Path) -> None:
    Path("defines.nft").unlink()
    assert said("main.nft")[0] == (
        "error",
        "main.nft:1:9",
        "./defines.nft is not there, and nft loads nothing without it",
    )
    with pytest.raises(SourceError, match=r"^main.nft:1:9: ./defines.nft is not there"):
        ruleaudit.suggest("main.nft")


def test_what_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(path: str, mode: str) -> IO[bytes]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr("ruleaudit.includes.open", refusing, raising=False)
    assert said("main.nft")[0] == ("error", "main.nft:1:9", "defines.nft cannot be read: permission denied")


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    Path("defines.nft").unlink()
    os.mkfifo("defines.nft")
    message = "./defines.nft is no regular file: what it holds is not known"
    assert said("main.nft")[0] == ("error", "main.nft:1:9", message)


def test_wildcards_may_match_nothing(folder: Path) -> None:
    patterns = ("./parts/*.none", f"{folder}/parts/*.none", "./nowhere/*.nft", "/var/*.none")
    Path("main.nft").write_text("".join(f'include "{p}"\n' for p in patterns) + "table ip t {\n}\n")
    reading = ruleaudit.lower(ruleaudit.load("main.nft"))
    assert reading.findings == ()
    # what lies with the ruleset is known to be empty; other folders may hold something where the rules are loaded
    assert reading.rulesets[0].notes == tuple(
        f'include "{p}" finds nothing here; what it brings in elsewhere was not looked at' for p in patterns[2:]
    )


def test_a_folder_is_no_file(folder: Path) -> None:
    Path("main.nft").write_text('include "./parts"\ntable ip t {\n}\n')
    assert said("main.nft") == [("warning", "main.nft:1:9", "./parts is a folder, and nft reads nothing from one")]


@pytest.mark.parametrize("pattern", ["./main.nft", "main.nft", "./*.nft"])
def test_cycles(folder: Path, pattern: str) -> None:
    Path("defines.nft").write_text(f'include "{pattern}"\n')
    assert ("error", "defines.nft:1:9", "main.nft includes itself") in said("./main.nft")


@pytest.mark.parametrize(("depth", "refused"), [(15, False), (16, True)])
def test_how_deep_files_may_stand_in_each_other(folder: Path, depth: int, refused: bool) -> None:
    for n in range(1, depth):
        Path(f"{n}.inc").write_text(f'include "./{n + 1}.inc"\n')
    Path(f"{depth}.inc").write_text("add table ip t\n")
    Path("main.nft").write_text('include "./1.inc"\n')
    message = ("error", "15.inc:1:9", "nft follows no more than 16 files in each other")
    assert said("main.nft") == ([message] if refused else [])


def test_a_file_without_a_last_line_end_runs_into_what_follows(folder: Path) -> None:
    Path("defines.nft").write_text(DEFINES.rstrip())
    message = "the last line of defines.nft has no line end: nft goes on with what is behind this include"
    assert said("main.nft") == [("error", "main.nft:1:9", message)]
    Path("main.nft").write_text(MAIN.replace('nft"\n', 'nft"\n\n', 1))
    assert said("main.nft") == []


def test_characters_that_nft_refuses_are_found_in_included_files(folder: Path) -> None:
    Path("defines.nft").write_text("# first\n" + DEFINES.replace("\n", "\r\n"), newline="")
    assert [(place, message) for _, place, message in said("main.nft")][:1] == [
        ("defines.nft:2:25", "lines end in a carriage return (CRLF), which nft does not take")
    ]


# -- reports -------------------------------------------------------------------------------------------


def test_every_report_names_the_file_and_its_line(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "main.nft", "--format", "json"]) == 1
    (found,) = [f for f in json.loads(capfd.readouterr().out)["findings"] if f["code"] == "RA101"]
    place = {key: found["place"][key] for key in ("path", "line", "column", "table", "chain", "text")}
    assert place == {
        "path": "parts/input.chain",
        "line": 4,
        "column": 18,
        "table": "inet filter",
        "chain": "input",
        "text": "ct state new",
    }
    assert [(r["place"]["path"], r["place"]["line"]) for r in found["related"]] == [("parts/input.chain", 3)]

    assert run(["check", "main.nft", "-q"]) == 1
    lines = capfd.readouterr().out.split("\n")
    at = lines.index("  --> parts/input.chain:4:18")
    assert lines[at + 4 : at + 6] == [
        " 4 |   tcp dport $web ct state new accept",
        "   |                  ^^^^^^^^^^^^ not needed: tcp to 80,443 is accepted whatever its state",
    ]

    run(["check", "main.nft", "-q", "--format", "concise"])
    assert "\nparts/input.chain:4:18: RA101" in capfd.readouterr().out
    run(["check", "main.nft", "-q", "--format", "github"])
    assert "file=parts/input.chain,line=4,endLine=4,col=18" in capfd.readouterr().out
    run(["check", "main.nft", "-q", "--format", "gitlab"])
    issues = {i["check_name"]: i["location"] for i in json.loads(capfd.readouterr().out)}
    assert issues["RA101 needless-tracking"] == {"path": "parts/input.chain", "lines": {"begin": 4, "end": 4}}
    run(["check", "main.nft", "-q", "--format", "sarif"])
    results = json.loads(capfd.readouterr().out)["runs"][0]["results"]
    location = next(r["locations"][0]["physicalLocation"] for r in results if r["ruleId"] == "RA101")
    assert location["artifactLocation"]["uri"] == "parts/input.chain" and location["region"]["startLine"] == 4
    run(["check", "main.nft", "-q", "--format", "markdown"])
    assert "\n### parts/input.chain\n" in capfd.readouterr().out
    run(["check", "main.nft", "-q", "--format", "junit"])
    assert 'classname="parts/input.chain"' in capfd.readouterr().out


def test_explain_and_verify_name_the_file(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run(["explain", "main.nft", "-q"])
    answer = capfd.readouterr().out.split("\n")
    assert answer[0].startswith("Only 1 rule needs connection tracking (line 3 of parts/input.chain)")
    assert answer[4] == "  in parts/input.chain" and answer[5].startswith("      3  required     inet filter input")

    run(["explain", "main.nft", "--packet", "in tcp * > *:443 flags S state new", "-q"])
    assert capfd.readouterr().out.split("\n")[1:] == [
        "  input, table inet filter, parts/input.chain",
        "        3  no   ct state established,related accept",
        "        4  yes  tcp dport $web ct state new accept  -> accept",
        "  ACCEPTED by line 4 of parts/input.chain; tracked",
        "",
    ]
    run(["explain", "main.nft", "--packet", "in tcp * > *:443 flags S state new", "-q", "--format", "json"])
    (packet,) = json.loads(capfd.readouterr().out)["packets"]
    assert (packet["decided_by"]["path"], packet["decided_by"]["line"]) == ("parts/input.chain", 4)
    assert [(step["path"], step["line"]) for step in packet["path"]] == [("parts/input.chain", n) for n in (3, 4)]

    Path("other.nft").write_text(MAIN.replace("./parts/*.chain", "./other.chain"))
    Path("other.chain").write_text(INPUT.replace("policy drop", "policy accept"))
    assert run(["verify", "main.nft", "other.nft", "--format", "json", "-q"]) == 1
    found = json.loads(capfd.readouterr().out)["differences"][0]
    assert found["old"]["place"]["path"] == "parts/input.chain" and found["new"]["place"]["path"] == "other.chain"


def test_marks_in_two_files(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("main.nft").write_text(
        MAIN.replace('include "./parts/*.chain"', f'{INPUT.strip()[:-2]}\n\t\tinclude "./web.inc"\n\t}}').replace(
            "tcp dport $web ct state new accept\n", ""
        )
    )
    Path("web.inc").write_text("tcp dport $web ct state new accept\n")
    assert run(["check", "main.nft", "-q"]) == 1
    text = capfd.readouterr().out
    assert "  --> web.inc:1:16\n   |\n 1 | tcp dport $web ct state new accept\n" in text
    assert "  ::: main.nft:5:3\n   |\n 5 |   ct state established,related accept\n" in text


def test_ignore_comments_stand_in_the_file_that_they_are_about(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    part = Path("parts/input.chain")
    ignored = "\t\t# ruleaudit: ignore[RA101] wanted\n"
    part.write_text(INPUT.replace("\t\ttcp dport", f"{ignored}\t\ttcp dport"))
    (report,) = ruleaudit.check(["main.nft"])
    assert [f.code for f in report.suppressed] == ["RA101"]
    assert not {f.code for f in report.findings} & {"RA101", "RA003", "RA004"}
    # the same line of another file is another line
    part.write_text(INPUT)
    Path("defines.nft").write_text("\n\n# ruleaudit: ignore[RA101] not here\n" + DEFINES)
    (report,) = ruleaudit.check(["main.nft"])
    codes = {f.code: report.source.position(f.span.start) for f in report.findings}
    assert (codes["RA003"].path, codes["RA003"].line) == ("defines.nft", 3) and "RA101" in codes
    fix = next(f.fix for f in report.findings if f.code == "RA003")
    assert fix is not None and report.source.slice(fix.edits[0].span) == "# ruleaudit: ignore[RA101] not here\n"
    # a file is ignored as a whole by its own comment
    part.write_text("# ruleaudit: ignore-file[RA1] theirs\n" + INPUT)
    Path("defines.nft").write_text(DEFINES)
    (report,) = ruleaudit.check(["main.nft"])
    assert [f.code for f in report.suppressed] == ["RA100", "RA101", "RA106"]


def test_a_baseline_and_per_file_settings_know_the_included_file(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["check", "main.nft", "--write-baseline", "known.json", "-q"]) == 0
    entries = {(e["file"], e["code"]) for e in json.loads(Path("known.json").read_text())["findings"]}
    assert ("parts/input.chain", "RA101") in entries
    assert run(["check", "main.nft", "--baseline", "known.json", "-q"]) == 0
    Path("ruleaudit.toml").write_text('[per-file-ignores]\n"parts/*" = ["ALL"]\n')
    assert run(["check", "main.nft", "-q"]) == 0


def test_a_folder_is_checked_as_its_rulesets_include_each_other(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("parts/input.chain").rename("parts/input.nft")
    Path("main.nft").write_text(MAIN.replace("*.chain", "*.nft"))
    Path("second.nft").write_text(Path("main.nft").read_text() + "table ip more {\n}\n")
    assert run(["check", "--format", "json"]) == 1
    shown = capfd.readouterr()
    document = json.loads(shown.out)
    assert [file["path"] for file in document["files"]] == ["main.nft", "second.nft"]
    assert not [f for f in document["findings"] if f["severity"] == "error"]
    # both include it, and it is spoken of once
    assert [f["place"]["path"] for f in document["findings"] if f["code"] == "RA101"] == ["parts/input.nft"]
    assert "parts/input.nft: checked as a part of main.nft\n" in shown.err
    reports = ruleaudit.check(["main.nft", "second.nft"])
    assert [sum(f.code == "RA101" for f in report.findings) for report in reports] == [1, 0]


def test_what_is_no_ruleset_by_itself_is_a_part_all_the_same(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("nftables.d").mkdir()
    Path("nftables.d/empty.conf").write_text("")
    Path("nftables.d/rules.conf").write_text("tcp dport $web ct state new accept\n")
    Path("main.nft").write_text(MAIN.replace("*.chain", "*.none"))
    Path("parts/web.none").write_text(
        INPUT.replace("tcp dport $web ct state new accept", 'include "nftables.d/*.conf"')
    )
    assert run(["check", "--format", "json"]) == 1
    document = json.loads(capfd.readouterr().out)
    assert [file["path"] for file in document["files"]] == ["main.nft"] and "error" not in document
    assert ("RA101", "nftables.d/rules.conf", 1) in {
        (f["code"], f["place"]["path"], f["place"]["line"]) for f in document["findings"]
    }


def test_two_files_that_include_each_other_are_both_checked(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("a.nft").write_text('include "./b.nft"\n')
    Path("b.nft").write_text('include "./a.nft"\n')
    assert run(["check", "a.nft", "b.nft", "--format", "json"]) == 1
    found = json.loads(capfd.readouterr().out)["findings"]
    assert {f["message"] for f in found} == {"a.nft includes itself", "b.nft includes itself"}


# -- rewrites ------------------------------------------------------------------------------------------


def test_an_edit_writes_the_included_file_out(folder: Path) -> None:
    part = INPUT.replace("\t\tct state est", f"{ERRORS}\t\tct state est").replace("new accept", "new,untracked accept")
    header, end = '# include "./parts/*.chain": parts/input.chain, written out', "# end of parts/input.chain"
    expected = MAIN.replace('include "./parts/*.chain"\n', f"{header}\n{part}\t{end}\n{CHAINS}")
    assert ruleaudit.suggest("main.nft").text == expected


def test_the_diff_applies_and_the_text_shows_each_file(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["suggest", "main.nft", "-q"]) == 0
    text = capfd.readouterr().out
    assert "  --- a/main.nft\n" in text and "  --- a/parts/input.chain\n" in text
    assert "  -  tcp dport $web ct state new accept\n  +  tcp dport $web ct state new,untracked accept\n" in text
    assert "  nft -s list ruleset > ruleset.nft " in text

    assert run(["suggest", "main.nft", "--diff", "-q"]) == 0
    diff = capfd.readouterr().out
    assert run(["suggest", "main.nft", "-o", "main.nft.new", "-q"]) == 0
    subprocess.run(["patch", "-p1"], input=diff, text=True, check=True, capture_output=True)
    assert Path("main.nft").read_text() == Path("main.nft.new").read_text()
    # the rewrite is a file like any other: it has no more to free
    assert ruleaudit.suggest("main.nft.new").outcome == "nothing-to-free"


def test_only_the_edited_file_of_a_pattern_is_written_out(folder: Path) -> None:
    Path("parts/a.chain").write_text("\tchain a {\n\t}\n")
    Path("parts/z.chain").write_text("\tchain z {\n\t}")
    Path("main.nft").write_text(MAIN.replace('*.chain"\n', '*.chain" # theirs\n\n'))
    text = ruleaudit.suggest("main.nft").text
    assert text is not None
    lines = text.split("\n")
    assert lines[2:4] == [
        '\tinclude "./parts/a.chain"',
        '\t# include "./parts/*.chain": parts/input.chain, written out',
    ]
    assert lines[11:14] == ["\t# end of parts/input.chain", '\tinclude "./parts/z.chain" # theirs', ""]


def test_a_file_in_a_file_and_what_stands_behind_its_include(folder: Path) -> None:
    Path("parts/input.chain").write_text(
        INPUT.replace("tcp dport $web ct state new accept", 'include "./web.inc"; drop')
    )
    Path("web.inc").write_text("tcp dport $web ct state new accept # web\n")
    text = ruleaudit.suggest("main.nft").text
    assert text is not None
    part = text[text.index("\t\t# include") : text.index("\t# end of parts")]
    assert part == (
        '\t\t# include "./web.inc", written out\ntcp dport $web ct state new,untracked accept # web\n'
        f"\t\t# end of web.inc\n; {ERRORS.strip().replace(chr(10) + chr(9) * 2, '; ')}; drop\n\t}}\n"
    )


def test_a_file_that_is_included_twice_is_edited_where_it_has_to_be(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("web.inc").write_text("tcp dport $web ct state new accept\n")
    chain = INPUT.replace("tcp dport $web ct state new accept", 'include "./web.inc"')
    forward = chain.replace("input", "forward").replace("established,related", "established")
    Path("main.nft").write_text(MAIN.replace('\tinclude "./parts/*.chain"\n', chain + forward))
    suggestion = ruleaudit.suggest("main.nft")
    assert suggestion.text is not None and suggestion.text.count("written out") == 1
    assert suggestion.text.count('\t\tinclude "./web.inc"\n') == 1
    # then the files by themselves would not say which of the two is meant
    assert run(["suggest", "main.nft", "-q"]) == 0
    assert "--- a/web.inc" not in capfd.readouterr().out


def test_in_another_folder_what_stays_included_is_named_in_full(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (folder / "new").mkdir()
    Path("nested.inc").write_text('include "./defines.nft"\n')
    Path("main.nft").write_text(MAIN.replace("./defines.nft", "nested.inc"))
    text = ruleaudit.suggest("main.nft").text
    assert text is not None and text.startswith('include "nested.inc"\n')
    assert run(["suggest", "main.nft", "-o", "new/main.nft"]) == 0
    assert "it stands in another folder: its includes are absolute now, or written out\n" in capfd.readouterr().err
    written = Path("new/main.nft").read_text()
    assert written.startswith(
        f'# include "nested.inc": {folder}/nested.inc, written out\ninclude "{folder}/defines.nft"\n'
    )
    assert run(["verify", "main.nft", "new/main.nft", "--format", "json"]) == 1
    changed = [d["kind"] for d in json.loads(capfd.readouterr().out)["differences"]]
    assert set(changed) <= {"untracked", "stray"}


@pytest.mark.parametrize("name", ["parts/new.chain", "parts/input.chain", "defines.nft"])
def test_a_rewrite_is_not_written_where_it_would_be_included(
    folder: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    before = (folder / name).read_text() if (folder / name).exists() else None
    assert run(["suggest", "main.nft", "-o", name]) == 2
    assert f"ruleaudit: {name}: not written: include" in capfd.readouterr().err
    assert ((folder / name).read_text() if (folder / name).exists() else None) == before
