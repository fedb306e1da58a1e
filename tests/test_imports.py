"""Imports point one way: the arrows of docs/architecture.md, and no other."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "ruleaudit"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: what each part may import of ours besides itself; `results` is the value between analysis and report
ALLOWED: dict[str, set[str]] = {
    "source": {"diagnostics"},
    "diagnostics": {"source"},
    "kept": set(),
    "packets": set(),
    "syntax": {"kept", "source", "diagnostics"},
    "model": {"source", "diagnostics"},
    "matches": {"model", "syntax", "diagnostics"},
    "targets": {"model", "syntax", "diagnostics", "matches"},
    "results": {"model", "source", "diagnostics"},
    "analysis": {"model", "packets", "results", "source", "diagnostics"},
    "kernel": {"analysis", "model", "results", "source", "diagnostics"},
    "live": {"kernel", "analysis", "reading", "model", "results", "source", "diagnostics", ""},
    "reading": {"model", "syntax", "source", "diagnostics"},
    "expectations": {"syntax", "model", "source", "diagnostics"},
    "config": {"expectations", "suppress", "model", "syntax", "source", "diagnostics"},
    "suppress": {"source", "diagnostics"},
    "rules": {"config", "suppress", "analysis", "model", "packets", "results", "source", "diagnostics", ""},
    "rewrite": {"analysis", "model", "packets", "results", "syntax", "source", "diagnostics"},
    "report": {"model", "results", "capacity", "source", "diagnostics", ""},
    "discovery": {"results", "source", "syntax", "diagnostics"},
    "includes": {"source", "syntax"},
    "completions": {"arguments"},
    "arguments": {"report", "diagnostics", ""},
    "answer": {"report", "results", "model", "source", "diagnostics", ""},
    "selection": {"config", "report", "discovery", "rules", "source", "diagnostics", ""},
    "fixing": {"includes", "reading", "results", "syntax", "source", "diagnostics", ""},
    "cache": {"config", "kept", "includes", "results", "source", "syntax", ""},
    "workers": set(),
    "machine": {"model", "diagnostics"},
    "capacity": {"model", "results"},
    "sizing": {"capacity", "model", "results"},
}
#: single modules that others may import too: the vocabulary of fields, and the flows that a rule may name
SINGLE = {
    ("syntax", "ruleaudit.model.fields"),
    ("syntax", "ruleaudit.model.packet"),
    ("syntax", "ruleaudit.model.traffic"),
    ("rules", "ruleaudit.rewrite.flows"),
}
#: what knows the arguments of the command line
COMMAND_LINE = {
    "cli",
    "checking",
    "suggesting",
    "measuring",
    "selection",
    "outcomes",
    "answer",
    "arguments",
    "completions",
}
#: whatever else they do, only these may open files, start processes or know the terminal
OPENERS = {"cli.py", "kept.py", "machine.py", "source.py", "discovery.py", "includes.py"}
OPENERS |= {"kernel/namespace.py", "kernel/running.py"}
PROCESS_STARTERS = {"workers.py", "kernel/namespace.py", "kernel/inside.py", "kernel/observation.py"}
PROCESS_STARTERS |= {"kernel/running.py"}


def part(module: str) -> str:
    """`ruleaudit.syntax.iptables` -> `syntax`; the package itself is ``."""
    return module.split(".")[1] if "." in module else ""


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, type checking and functions included."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            assert node.module is not None
            if node.module == "ruleaudit":
                for name in node.names:
                    target = PACKAGE / name.name
                    below = target.is_dir() or target.with_suffix(".py").exists()
                    yield f"ruleaudit.{name.name}" if below else "ruleaudit", node.lineno
            else:
                yield node.module, node.lineno


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_only_the_arrows_of_the_architecture(path: Path) -> None:
    here = path.relative_to(PACKAGE).as_posix()
    mine = here.split("/")[0].removesuffix(".py")
    if mine in ("cli", "checking", "suggesting", "outcomes", "measuring", "__main__", "__init__"):
        return
    allowed = {*ALLOWED[mine], mine}
    if here.startswith("model/from_"):
        # only these turn syntax into the model
        allowed |= {"syntax", "matches", "targets"}
    wrong = [
        f"{here}:{line}: {module}"
        for module, line in imported(path)
        if module.split(".")[0] == "ruleaudit" and part(module) not in allowed and (mine, module) not in SINGLE
    ]
    assert wrong == []


def test_nobody_imports_the_command_line() -> None:
    importers = {
        path.relative_to(PACKAGE).as_posix()
        for path in MODULES
        for module, _ in imported(path)
        if module == "ruleaudit.cli"
    }
    assert importers == {"__main__.py"}


def test_nobody_but_the_command_line_imports_a_command() -> None:
    importers = {
        path.relative_to(PACKAGE).as_posix()
        for path in MODULES
        for module, _ in imported(path)
        if module in ("ruleaudit.checking", "ruleaudit.suggesting", "ruleaudit.measuring", "ruleaudit.answer")
    }
    assert importers == {"cli.py", "checking.py", "suggesting.py", "measuring.py", "outcomes.py"}


def test_only_a_few_modules_open_files() -> None:
    found = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
                if name in ("open", "read_text", "read_bytes", "write_text", "write_bytes", "mkstemp"):
                    found.add(path.relative_to(PACKAGE).as_posix())
    assert found <= OPENERS | {"syntax/grammar.py"}, found


def test_only_the_kernel_package_and_the_workers_start_processes() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in MODULES
        for module, _ in imported(path)
        if module.split(".")[0] in ("subprocess", "multiprocessing")
    }
    assert found <= PROCESS_STARTERS, found


def test_only_the_reports_and_the_command_line_know_the_terminal() -> None:
    found = {
        path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for path in MODULES
        for module, _ in imported(path)
        if module.split(".")[0] in ("rich", "rich_argparse", "argparse")
    }
    assert found <= {"report", *COMMAND_LINE}, found


def test_no_attic() -> None:
    names = {path.stem for path in MODULES}
    assert not names & {"utils", "util", "helpers", "common", "misc", "manager"}


def test_every_package_is_in_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    folders = {p.parent.relative_to(PACKAGE.parent) for p in PACKAGE.rglob("__init__.py")}
    assert listed == {".".join(f.parts) for f in folders} | {"ruleaudit.grammars"}


def test_every_module_says_what_it_holds() -> None:
    written = [p for p in MODULES if p.read_text().strip()]
    silent = [str(p.relative_to(PACKAGE)) for p in written if not ast.get_docstring(ast.parse(p.read_text()))]
    assert silent == []


def test_third_parties_are_the_declared_ones() -> None:
    declared = {"jinja2", "lark", "markupsafe", "oxidd", "pathspec", "rich", "rich_argparse", "shtab"}
    live = {"iptc", "nftables"}  # of the extra, and done without where they are absent
    known = {"ruleaudit", *declared, *live, *sys.stdlib_module_names}
    strange = {m for path in MODULES for m, _ in imported(path) if m.split(".")[0] not in known}
    assert strange == set()
