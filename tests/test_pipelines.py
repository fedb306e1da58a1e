"""The GitHub action, the GitLab template and the problem matcher: valid, and their steps do what docs/ci.md says."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
HEAD, TEMPLATE = (ROOT / "templates" / "ruleaudit.yml").read_text().split("---\n")
MATCHER = json.loads((ROOT / "templates" / "problem-matcher.json").read_text())["problemMatcher"][0]["pattern"][0]
CI = (ROOT / "docs" / "ci.md").read_text()

BAD = """*filter
:INPUT DROP [0:0]
-A INPUT -m conntrack --ctstate ESTBLISHED -j ACCEPT
COMMIT
"""
GOOD = BAD.replace("ESTBLISHED", "ESTABLISHED")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with a good ruleset and a bad one."""
    folder = tmp_path / "repository"
    (folder / "hosts").mkdir(parents=True)
    (folder / "rules.v4").write_text(BAD)
    (folder / "hosts" / "good.nft").write_text("table inet filter {\n}\n")
    return folder


def _shell(text: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a text as GitHub runs the steps of `shell: bash`."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300
    )


def _schema(schema: str, path: Path, *options: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *options, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


# -- GitHub -------------------------------------------------------------------------------------------


def _step(name: str) -> dict[str, Any]:
    return next(step for step in ACTION["runs"]["steps"] if step.get("name") == name)


def _environment(step: Mapping[str, Any], **inputs: str) -> dict[str, str]:
    """The variables of a step, the inputs put in."""
    values = {name: str(given.get("default", "")) for name, given in ACTION["inputs"].items()} | inputs
    return {
        name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: values[found[1]], value)
        for name, value in step["env"].items()
    }


@pytest.fixture(scope="module")
def runner(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables that the runner sets; the action is installed by its own step."""
    temporary = tmp_path_factory.mktemp("runner")
    environment = {
        "RUNNER_TEMP": str(temporary),
        "GITHUB_ACTION_PATH": str(checkout),
        "GITHUB_STEP_SUMMARY": str(temporary / "summary.md"),
    }
    done = _shell(_step("Install ruleaudit")["run"], temporary, {**environment, "RULEAUDIT_PYTHON": sys.executable})
    if "No matching distribution" in done.stderr or "ConnectionError" in done.stderr:
        pytest.skip("no package index in reach")
    assert done.returncode == 0, done.stderr
    return environment


def test_the_action_is_valid() -> None:
    _schema("vendor.github-actions", ROOT / "action.yml")


def test_no_input_is_pasted_into_a_shell() -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")


def test_the_action_annotates_and_fails(runner: dict[str, str], repository: Path) -> None:
    step = _step("Check the rulesets")
    done = _shell(step["run"], repository, {**runner, **_environment(step)})
    assert done.returncode == 1, done.stderr
    assert "::error title=RA001 syntax,file=rules.v4,line=3," in done.stdout
    assert "RA001" in Path(runner["GITHUB_STEP_SUMMARY"]).read_text()
    sarif = json.loads(Path(runner["RUNNER_TEMP"], "ruleaudit.sarif").read_text())
    (result,) = sarif["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "rules.v4"
    upload = _step("Send the findings to code scanning")
    assert upload["with"]["sarif_file"] == "${{ runner.temp }}/ruleaudit.sarif"


def test_the_action_takes_files_and_arguments(runner: dict[str, str], repository: Path) -> None:
    step = _step("Check the rulesets")

    def code(**inputs: str) -> int:
        return _shell(step["run"], repository, {**runner, **_environment(step, **inputs)}).returncode

    assert code(files="hosts/*.nft") == 0
    assert code(files="hosts/good.nft rules.v4") == 1
    assert code(files="rules.v4", args="--exit-zero -q") == 0
    assert code(files="$(touch pwned)") == 2
    assert not (repository / "pwned").exists()


def test_the_workflow_of_the_documentation_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "ruleaudit.yml"
    path.write_text(CI.split('```yaml title=".github/workflows/ruleaudit.yml"\n')[1].split("```\n")[0])
    _schema("vendor.github-workflows", path)
    inputs = yaml.safe_load(path.read_text())["jobs"]["check"]["steps"][1]["with"]
    assert set(inputs) <= set(ACTION["inputs"])


# -- GitLab -------------------------------------------------------------------------------------------


def _job(folder: Path, **inputs: str) -> dict[str, Any]:
    """The job as GitLab makes it of the template, and its validity."""
    given = yaml.safe_load(HEAD)["spec"]["inputs"]
    assert set(inputs) <= set(given)
    values = {name: one.get("default") for name, one in given.items()} | inputs
    text = re.sub(r"\$\[\[ inputs\.(\w+) \]\]", lambda found: str(values[found[1]]), TEMPLATE)
    path = folder / ".gitlab-ci.yml"
    path.write_text(text)
    _schema("vendor.gitlab-ci", path, "--data-transform", "gitlab-ci")
    job: dict[str, Any] = yaml.safe_load(text)["ruleaudit"]
    return job


def test_the_template_reports_and_fails(repository: Path, tmp_path: Path) -> None:
    job = _job(tmp_path, package="git+https://example.org/ruleaudit@v0", files="rules.v4")
    fake = tmp_path / "bin"
    fake.mkdir()
    (fake / "pip").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/installed\n')
    (fake / "pip").chmod(0o755)
    done = _shell("\n".join(job["script"]), repository, {"PATH": f"{fake}:{BIN}:{os.environ['PATH']}"})
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "installed").read_text() == "install --quiet git+https://example.org/ruleaudit@v0\n"
    reports = job["artifacts"]["reports"]
    (issue,) = json.loads((repository / reports["codequality"]).read_text())
    assert issue["location"] == {"path": "rules.v4", "lines": {"begin": 3, "end": 3}}
    assert {"description", "check_name", "fingerprint", "severity"} <= set(issue)
    assert "<testsuites" in (repository / reports["junit"]).read_text()


def test_the_inputs_of_the_documentation_exist(tmp_path: Path) -> None:
    shown = yaml.safe_load(CI.split('```yaml title=".gitlab-ci.yml"\n')[1].split("```\n")[0])
    assert _job(tmp_path, **shown["include"][0]["inputs"])
    required = {name for name, one in yaml.safe_load(HEAD)["spec"]["inputs"].items() if "default" not in one}
    assert required == set(shown["include"][0]["inputs"])


# -- problem matcher ----------------------------------------------------------------------------------


def test_the_problem_matcher_reads_the_concise_format(repository: Path) -> None:
    command = [sys.executable, "-m", "ruleaudit", "check", "-q", "--format", "concise", "rules.v4"]
    line = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=60).stdout.rstrip("\n")
    found = re.match(MATCHER["regexp"], line)
    assert found is not None
    told = {name: found[MATCHER[name]] for name in ("file", "line", "column", "code", "severity")}
    assert told == {"file": "rules.v4", "line": "3", "column": "33", "code": "RA001", "severity": "error"}
    assert found[MATCHER["message"]].endswith("[syntax]")
