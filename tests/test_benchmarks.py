"""The benchmarks work on tiny sizes; nothing is said of how long it takes."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def _run(program: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / program), *words], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _table(page: str) -> dict[tuple[str, str], list[str]]:
    """The cells of each row, by size and command."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    return {(row[0], row[1]): row[2:] for row in rows if row[0].isdigit()}


def test_each_command_is_measured(tmp_path: Path) -> None:
    into = tmp_path / "results.md"
    into.write_text("# Mine\n\nstays\n")
    for _ in range(2):
        _run("run.py", "--sizes", "20", "--only", "services", "--runs", "1", "--no-peers", "--write", str(into))
    page = into.read_text()
    assert page.startswith("# Mine\n\nstays\n")
    rows = _table(page)
    assert {name for _, name in rows} >= {"the interpreter alone", "read", "check", "explain", "suggest"}
    assert len([line for line in page.splitlines() if line.startswith("## Commands on one ruleset")]) == 1
    for figures in rows.values():
        seconds, memory = float(figures[0]), float(figures[2])
        assert seconds > 0 and memory > 0, figures
    assert float(rows["20", "the interpreter alone"][2]) < float(rows["20", "check"][2])


def test_the_profile_names_functions_of_ours() -> None:
    assert "ruleaudit/cli.py" in _run("hotspots.py", "check", "services", "20")


def test_thousands_of_sets_in_braces_are_never_given_to_nft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    may_be_loaded = importlib.import_module("inputs").may_be_loaded
    forms = {
        "add rule ip filter INPUT ip protocol tcp tcp dport { 80,443 } counter accept\n": "v4.nft",
        "\t\ttcp dport { 80, 443 } accept\n": "block.nft",
        '{"match": {"op": "==", "right": {"set": [80, 443]}}},\n': "rules.json",
    }
    for rule, name in forms.items():
        path = tmp_path / name
        path.write_text(rule * 900)
        assert may_be_loaded(path)
        path.write_text(rule * 1100)
        assert not may_be_loaded(path)
