"""TAB behind `ruleaudit`, in the shells themselves."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import pytest

from ruleaudit.arguments import SHELLS, make_parser
from ruleaudit.report import FORMATS
from ruleaudit.rules import RULES

COMMANDS = [*FORMATS, "rules", "rule"]
#: what is typed, and what the last word may become
TYPED = [
    (["sug"], ["suggest"]),
    (["check", "--fo"], ["--format"]),
    (["check", "--format", ""], list(FORMATS["check"])),
    (["check", "--format", "js"], ["json", "jsonl"]),
    (["check", "--ignore", "RA5"], ["RA501"]),
    (["rule", "RA20"], [rule.CODE for rule in RULES if rule.CODE.startswith("RA20")]),
    (["rule", "one"], ["one-way-notrack"]),
    (["suggest", "--allow", ""], ["reversed", "relaxing"]),
    (["show", "web.nft", "--as", ""], ["source", "json"]),
    (["check", "we"], ["web.nft"]),
    (["verify", "web.nft", "we"], ["web.nft"]),
    (["explain", "web.nft", "--packets", "pac"], ["packets.txt"]),
    (["--completions", ""], list(SHELLS)),
]


@cache
def _script(shell: str) -> str:
    command = [sys.executable, "-m", "ruleaudit", "--completions", shell]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with some files, and the scripts of all shells."""
    for name in ("web.nft", "packets.txt"):
        (tmp_path / name).touch()
    for shell in SHELLS:
        (tmp_path / f".{shell}").write_text(_script(shell))
    return tmp_path


def _ask(folder: Path, shell: str, text: str) -> list[str]:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    return subprocess.run(
        [shell, "-c", text], cwd=folder, capture_output=True, text=True, timeout=60, check=True
    ).stdout.splitlines()


@pytest.mark.parametrize(("typed", "completed"), TYPED, ids=lambda words: " ".join(words)[:30])
def test_bash(typed: list[str], completed: list[str], folder: Path) -> None:
    words = " ".join(f"'{word}'" for word in ["ruleaudit", *typed])
    ask = f"""source .bash
        COMP_WORDS=({words}); COMP_CWORD={len(typed)}; COMP_LINE="{words}"; COMP_POINT=${{#COMP_LINE}}
        $(complete -p ruleaudit | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        printf '%s\\n' "${{COMPREPLY[@]}}" """
    assert _ask(folder, "bash", ask) == completed


@pytest.mark.parametrize(("typed", "completed"), TYPED, ids=lambda words: " ".join(words)[:30])
def test_fish(typed: list[str], completed: list[str], folder: Path) -> None:
    line = " ".join(["ruleaudit", *typed])
    told = _ask(folder, "fish", f"source .fish; complete -C '{line}'")
    assert sorted(one.split("\t")[0] for one in told) == sorted(completed)


@pytest.mark.parametrize(("typed", "completed"), [one for one in TYPED if len(one[1]) == 1], ids=str)
def test_zsh(typed: list[str], completed: list[str], folder: Path) -> None:
    """zsh completes on a terminal only."""
    if shutil.which("zsh") is None:
        pytest.skip("no zsh here")
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.execvpe("zsh", ["zsh", "-f", "-i"], {**os.environ, "TERM": "dumb"})
    try:
        os.write(terminal, b"autoload -Uz compinit; compinit -u -D; eval \"$(cat .zsh)\"; print REA''DY\n")
        assert "READY\r\n" in _read_until(terminal, "READY\r\n")
        os.write(terminal, " ".join(["ruleaudit", *typed]).encode() + b"\t")
        line = " ".join(["ruleaudit", *typed[:-1], *completed])
        assert line in _read_until(terminal, line)
    finally:
        os.close(terminal)
        os.waitpid(process, 0)


def _read_until(terminal: int, text: str) -> str:
    """What a terminal shows, up to a text; all of it, if that does not come."""
    seen = ""
    last = time.monotonic() + 30
    while text not in seen and time.monotonic() < last:
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 65536).decode(errors="replace")
    return seen


@pytest.mark.parametrize("shell", SHELLS)
def test_every_command_and_option_is_in_every_script(shell: str) -> None:
    script = _script(shell)
    commands = next(action for action in make_parser()._actions if action.dest == "command")
    assert list(commands.choices or ()) == COMMANDS
    for name, parser in dict(commands.choices or {}).items():
        assert name in script
        for action in parser._actions:
            for option in action.option_strings:
                assert option.lstrip("-") in script, f"{name} {option}"
