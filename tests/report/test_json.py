"""The JSON for programs: the published schema, and places that point at what they say."""

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import jsonschema
import pytest

from ruleaudit.report import check_json, check_jsonl, explain_json, schema, show_json, suggest_json, verify_json
from tests.report import made

SCHEMA = json.loads((files("ruleaudit") / "ruleaudit-1.schema.json").read_text())
DOCUMENTS = {
    "check": check_json.render([made.REPORT]),
    "check with a failure": check_json.render([made.REPORT], [("gone.v4", "gone.v4: cannot be read")]),
    "suggest: a rewrite": suggest_json.render(made.REWRITE),
    "suggest: nothing to free": suggest_json.render(made.REFUSAL),
    "suggest: nothing needs tracking": suggest_json.render(made.NEEDLESS),
    "explain": explain_json.render(made.TRACKING),
    "verify: allowed": verify_json.render(made.COMPARISON, [made.STRAYS]),
    "verify: broken": verify_json.render(made.BROKEN),
    "suggest: observed": suggest_json.render(made.REWRITE, made.OBSERVED),
    "suggest: not observed": suggest_json.render(made.REWRITE, made.NOT_OBSERVED),
    "error: contradicted": suggest_json.render(made.REWRITE, made.CONTRADICTED),
    "error: refused by the kernel": suggest_json.render(made.REWRITE, made.REFUSED_BY_KERNEL),
    "verify: observed": verify_json.render(made.COMPARISON, (), made.OBSERVED),
    "verify: contradicted": verify_json.render(made.COMPARISON, (), made.CONTRADICTED),
    "show": show_json.render([made.RULESET]),
}


def places(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "end_line" in value:
            yield value
        for inner in value.values():
            yield from places(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from places(inner)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_it_is_one_object_of_the_schema(name: str) -> None:
    document = json.loads(DOCUMENTS[name])
    command = name.split(":")[0].split(" ")[0]
    jsonschema.validate(document, {**SCHEMA, "$ref": f"#/$defs/{command}"})


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_whole_schema_takes_what_a_part_of_it_takes(name: str) -> None:
    document = json.loads(DOCUMENTS[name])
    jsonschema.validate(document, SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "schema": "ruleaudit/2"}, SCHEMA)


def test_lines_and_answers_about_several_files_are_in_the_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for line in check_jsonl.render([made.REPORT]).splitlines():
        jsonschema.validate(json.loads(line), SCHEMA)
    both = schema.together([suggest_json.render(made.REWRITE), schema.failure("gone.v4: cannot be read")])
    jsonschema.validate(json.loads(both), SCHEMA)
    jsonschema.validate(json.loads(show_json.render_source("rules.v4", made.TEXT)), SCHEMA)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_each_place_is_where_its_text_stands(name: str) -> None:
    for place in places(json.loads(DOCUMENTS[name])):
        lines = {"rules.v4": made.TEXT, "rules.v4.new": made.REWRITTEN}[place["path"]].split("\n")
        assert place["line"] == place["end_line"]
        assert lines[place["line"] - 1][place["column"] - 1 : place["end_column"] - 1] == place["text"]


def test_check_names_the_rule_that_holds_a_finding() -> None:
    document = json.loads(DOCUMENTS["check"])
    counts = {"errors": 0, "warnings": 1, "notes": 1, "suppressed": 0, "baselined": 0}
    assert document["summary"] == {**counts, "fixable": 0, "fixed": 0}
    place = document["findings"][1]["place"]
    assert place == {
        "path": "rules.v4",
        "line": 10,
        "column": 46,
        "end_line": 10,
        "end_column": 72,
        "table": "filter",
        "chain": "INPUT",
        "text": "-m conntrack --ctstate NEW",
    }


def test_suggest_carries_the_diff_and_the_assumptions_with_their_ids() -> None:
    document = json.loads(DOCUMENTS["suggest: a rewrite"])
    assert document["outcome"] == "rewrite"
    assert document["class"] == "same-connections"
    assert document["assumptions"] == ["no-other-owner: no other owner of rules in this namespace"]
    assert document["diff"].startswith("--- a/rules.v4\n+++ b/rules.v4\n@@ -1,12 +1,20 @@\n+*raw\n")
    assert [flow["ports"] for flow in document["flows"]] == [["80", "443"]]


def test_what_the_kernel_contradicts_is_no_rewrite_and_undecided() -> None:
    document = json.loads(DOCUMENTS["error: contradicted"])
    assert "diff" not in document
    first = document["kernel"]["disagreements"][0]
    assert first["packet"] == "in tcp 198.51.100.7:4242 > 10.9.0.2:80 flags S iif eth0 state new"
    assert (first["kernel"]["verdict"], first["kernel"]["place"]["chain"]) == ("drop", "INPUT")
    assert (first["reasoned"]["verdict"], first["reasoned"]["place"]["line"]) == ("accept", 10)
    assert json.loads(DOCUMENTS["verify: contradicted"])["result"] == "undecided"
    assert json.loads(DOCUMENTS["verify: observed"])["result"] == "different"
    refused = json.loads(DOCUMENTS["error: refused by the kernel"])
    assert refused["error"] == "rules.v4:9: nft refuses it: syntax error, unexpected comma"
    assert json.loads(DOCUMENTS["suggest: not observed"])["kernel"]["impossible"] == "not installed: nft"


def test_verify_says_who_decided_and_what_is_allowed() -> None:
    stray, untracked = json.loads(DOCUMENTS["verify: allowed"])["differences"]
    assert (stray["kind"], stray["allowed"], stray["old"]["place"]["line"]) == ("stray", True, 6)
    assert (stray["new"]["place"]["path"], stray["new"]["tracked"]) == ("rules.v4.new", False)
    assert (untracked["kind"], untracked["allowed"]) == ("untracked", False)
    breaks = json.loads(DOCUMENTS["verify: broken"])["differences"][0]
    assert breaks["new"]["place"] == {
        "chain": "INPUT",
        "table": "filter",
        "policy": "drop",
        "path": "rules.v4.new",
        "line": 8,
    }


def test_bytes_that_are_not_utf8_do_not_make_the_json_invalid() -> None:
    text = schema.document({"text": "caf\udce9"})
    assert json.loads(text.encode())["text"] == "caf\ufffd"


def test_show_marks_what_is_not_understood() -> None:
    from ruleaudit import lower
    from ruleaudit.source import SourceFile

    text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m nonesuch --what 3 -j ACCEPT\n-A INPUT -p tcp -j DROP\nCOMMIT\n"
    document = json.loads(show_json.render(lower(SourceFile("x", text)).rulesets))
    chain = next(c for c in document["families"][0]["tables"][0]["chains"] if c["name"] == "INPUT")
    assert [rule["understood"] for rule in chain["rules"]] == [False, True]
    assert [rule["verdict"] for rule in chain["rules"]] == ["accept", "drop"]
    assert chain["rules"][1]["matches"][0]["condition"] == {"field": "protocol", "in": ["6"]}
