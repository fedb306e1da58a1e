"""What other programs read of `check`: each format is parsed again by a reader of its own."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree as xml

import jsonschema

from ruleaudit.diagnostics import Fix, FixClass, Severity
from ruleaudit.report import (
    check_github,
    check_gitlab,
    check_json,
    check_jsonl,
    check_junit,
    check_markdown,
    check_sarif,
)
from ruleaudit.results import FileReport
from ruleaudit.rules import RULES
from ruleaudit.source import Edit, SourceFile, Span
from tests.report import made

#: a path and a message with everything that some format gives a meaning to
AWKWARD = replace(
    made.REPORT,
    source=SourceFile("a b/50%,x:y|<z>&\"'.v4", made.TEXT),
    findings=tuple(replace(f, message='50% of "a|b" <c> & *d*\nnext') for f in made.REPORT.findings),
)
FAILED = [("gone.v4", "gone.v4: no such file")]
SARIF = json.loads((Path(__file__).parent / "schemas" / "sarif-2.1.0.schema.json").read_text())


def test_json_lines_are_the_findings_of_json() -> None:
    whole = json.loads(check_json.render([made.REPORT, AWKWARD]))["findings"]
    lines = [json.loads(line) for line in check_jsonl.render([made.REPORT, AWKWARD]).splitlines()]
    assert [{k: v for k, v in line.items() if k != "schema"} for line in lines] == whole
    assert {line["schema"] for line in lines} == {"ruleaudit/1"}


def test_a_workflow_command_for_each_finding() -> None:
    first, *commands = check_github.render([AWKWARD], notes=True).splitlines()
    assert first == f"ruleaudit: {len(AWKWARD.findings)} findings"
    assert len(commands) == len(AWKWARD.findings)
    for command, finding in zip(commands, AWKWARD.findings, strict=True):
        head, _, data = command.removeprefix("::").partition("::")
        level, _, properties = head.partition(" ")
        values = dict(p.split("=", 1) for p in properties.split(","))
        place = AWKWARD.source.position(finding.span.start)
        assert level == {"error": "error", "warning": "warning", "note": "notice"}[finding.severity.value]
        assert unquote(values["file"]) == AWKWARD.source.path
        assert (values["line"], values["col"]) == (str(place.line), str(place.column))
        assert unquote(data).startswith(finding.message)


def test_fingerprints_are_unique_and_no_line_numbers() -> None:
    twice = replace(made.REPORT, findings=made.REPORT.findings * 2)
    issues = json.loads(check_gitlab.render([twice]))
    marks = [issue["fingerprint"] for issue in issues]
    assert len(set(marks)) == len(marks)
    lower = SourceFile(made.SOURCE.path, "# one line more\n" + made.TEXT)
    moved = [replace(f, span=type(f.span)(f.span.start + 16, f.span.end + 16)) for f in made.REPORT.findings]
    again = json.loads(check_gitlab.render([replace(made.REPORT, source=lower, findings=tuple(moved))]))
    assert [i["fingerprint"] for i in again] == marks[: len(again)]
    assert [i["location"]["lines"]["begin"] for i in again] == [
        i["location"]["lines"]["begin"] + 1 for i in issues[: len(again)]
    ]


def test_sarif_points_at_the_rule_and_at_the_text() -> None:
    log = json.loads(check_sarif.render([made.REPORT, AWKWARD], RULES, FAILED))
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [r["id"] for r in rules] == [r.CODE for r in RULES]
    assert all(r["shortDescription"]["text"] and r["help"]["text"] for r in rules)
    assert run["invocations"][0]["executionSuccessful"] is False
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        region = result["locations"][0]["physicalLocation"]["region"]
        line = made.TEXT.splitlines()[region["startLine"] - 1]
        assert line[region["startColumn"] - 1 : region["endColumn"] - 1]
    uris = {r["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for r in run["results"]}
    assert {unquote(uri) for uri in uris} == {made.SOURCE.path, AWKWARD.source.path}
    assert not any(" " in uri or "%," in uri for uri in uris)


def test_junit_counts_what_it_holds() -> None:
    clean = replace(made.REPORT, findings=())
    root = xml.fromstring(check_junit.render([made.REPORT, AWKWARD, clean], FAILED))
    for suite in root:
        cases = list(suite)
        assert suite.get("tests") == str(len(cases))
        assert suite.get("failures") == str(sum(case.find("failure") is not None for case in cases))
        assert suite.get("errors") == str(sum(case.find("error") is not None for case in cases))
    assert [suite.get("errors") for suite in root] == ["0", "0", "0", "1"]


def test_markdown_keeps_its_tables() -> None:
    text = check_markdown.render([made.REPORT, AWKWARD], FAILED, notes=True)
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| -")]
    assert len(rows) == 2 * (1 + len(made.REPORT.findings))
    for row in rows:
        bars = row.replace("\\\\", "").replace("\\|", "")
        assert bars.count("|") == 5, row
    by = Counter(f.severity for r in (made.REPORT, AWKWARD) for f in r.findings)
    assert text.startswith(f"## ruleaudit: {by[Severity.ERROR]} errors, {by[Severity.WARNING]} warnings in 2 files")


def test_no_finding_is_no_trouble() -> None:
    nothing: list[FileReport] = []
    assert check_jsonl.render(nothing) == ""
    assert json.loads(check_gitlab.render(nothing)) == []
    assert json.loads(check_sarif.render(nothing, RULES))["runs"][0]["results"] == []
    assert len(xml.fromstring(check_junit.render(nothing))) == 0


def test_sarif_is_valid() -> None:
    odd = replace(AWKWARD, source=replace(AWKWARD.source, text=made.TEXT.replace("drop", "caf\udce9")))
    for reports, failed in (([made.REPORT, AWKWARD, odd], FAILED), ([], FAILED), ([], [])):
        jsonschema.validate(json.loads(check_sarif.render(reports, RULES, failed)), SARIF)


def test_a_fix_in_several_files_is_a_change_of_each() -> None:
    part = SourceFile("part.inc", "tcp dport 25 accept\n")
    source = SourceFile("main.nft", 'include "./part.inc"\n', (part,))
    base = len(source.text) + 1
    edits = (Edit(Span(0, 7), "x"), Edit(Span(base, base + 3), "y"), Edit(Span(8, 9), "z"))
    finding = replace(made.FINDING, span=Span(0, 7), related=(), fix=Fix(FixClass.EXACT, "both", edits))
    report = FileReport(source, None, 0, 0, (), (finding,), None)
    log = json.loads(check_sarif.render([report], RULES))
    jsonschema.validate(log, SARIF)
    (fix,) = log["runs"][0]["results"][0]["fixes"]
    found = [
        (c["artifactLocation"]["uri"], [r["insertedContent"]["text"] for r in c["replacements"]])
        for c in fix["artifactChanges"]
    ]
    assert found == [("main.nft", ["x", "z"]), ("part.inc", ["y"])]
    (second,) = fix["artifactChanges"][1]["replacements"]
    assert second["deletedRegion"] == {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 4}


#: what Jenkins's schema of JUnit (junit-10.xsd) lets stand in each element, and what has to
JUNIT: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": ({"testsuite"}, {"name", "time", "tests", "failures", "errors"}, set()),
    "testsuite": (
        {"testcase", "properties", "system-out"},
        {"name", "tests", "failures", "errors", "time", "skipped", "timestamp", "hostname", "id", "package", "file"},
        {"name", "tests", "failures", "errors"},
    ),
    "testcase": ({"failure", "error", "skipped"}, {"name", "time", "classname", "group"}, {"name"}),
    "failure": (set(), {"type", "message"}, set()),
    "error": (set(), {"type", "message"}, set()),
}


def test_junit_has_no_element_and_attribute_that_jenkins_does_not_know() -> None:
    root = xml.fromstring(check_junit.render([made.REPORT, AWKWARD], FAILED, notes=True))
    for element in root.iter():
        inner, known, needed = JUNIT[element.tag]
        assert {child.tag for child in element} <= inner
        assert needed <= set(element.keys()) <= known


def test_code_quality_has_what_gitlab_asks_for() -> None:
    for issue in json.loads(check_gitlab.render([made.REPORT, AWKWARD])):
        assert set(issue) >= {"description", "check_name", "fingerprint", "severity", "location"}
        assert issue["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert re.fullmatch(r"[0-9a-f]{64}", issue["fingerprint"])
        assert not issue["location"]["path"].startswith("./")
        assert issue["location"]["lines"]["begin"] >= 1


def test_a_workflow_command_is_one_line_whatever_is_in_it() -> None:
    (_, command) = check_github.render([replace(AWKWARD, findings=(AWKWARD.findings[1],))]).splitlines()
    head, data = command[2:].split("::", 1)
    assert "file=a b/50%25%2Cx%3Ay|<z>&\"'.v4," in head
    assert data.startswith('50%25 of "a|b" <c> & *d*%0Anext%0A')
