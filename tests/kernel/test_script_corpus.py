"""The script of `suggest --script` for rulesets that people have: tried, confirmed, and back to the same rules.

`RULEAUDIT_SCRIPTS=50` takes so many of the corpus.
"""

import os
import random
import re
import subprocess
from pathlib import Path

import pytest

import ruleaudit
from ruleaudit.diagnostics import SourceError
from ruleaudit.kernel.namespace import Namespace
from ruleaudit.model.fields import Family
from ruleaudit.report import script
from ruleaudit.results.suggestion import Suggestion
from tests.kernel.corpus_rulesets import DEVICES, sets_named
from tests.syntax.corpus import entries

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

SAMPLE = int(os.environ.get("RULEAUDIT_SCRIPTS", "8"))
#: what changes by itself, and tables that hold nothing
_CHANGING = re.compile(
    r"packets \d+ bytes \d+|\[\d+:\d+\]|^#.*\n|^\*raw\n(:.* ACCEPT .*\n)*COMMIT\n| expires [\dhms]+", re.M
)


def rewritten() -> list[Suggestion]:
    """Some rulesets that the kernel takes and that have a rewrite; the same ones each time."""
    kinds = ("iptables", "ip6tables", "nft")
    known = [e for e in entries(*kinds) if e.verdict == "accepted" and len(e.source.text) < 20_000]
    random.Random(1).shuffle(known)
    found: list[Suggestion] = []
    while known and len(found) < SAMPLE:
        try:
            suggestion = ruleaudit.suggest(known.pop().source, menu=False)
        except SourceError:
            continue
        if script.refused([suggestion]) is None:
            found.append(suggestion)
    return found


def round_trip(suggestion: Suggestion, folder: Path) -> str:
    """What was wrong."""
    space = Namespace()
    environment = {"RULEAUDIT_STATE": f"{folder}/state", "XTABLES_LOCKFILE": f"{folder}/lock"}

    def shell(command: str) -> str:
        return space.run("sh", "-c", f"{command} 2>&1", environment=environment, timeout=120)

    six = suggestion.ruleset.family is Family.IPV6
    program = f"ip{'6' * six}tables-nft"
    nft = suggestion.ruleset.is_nft
    load, save = ("nft -f", "nft list ruleset") if nft else (f"{program}-restore", f"{program}-save")
    for name, text in (("rules", suggestion.source.text), ("apply.sh", script.render([suggestion]))):
        (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    try:
        for device in DEVICES:
            shell(f"ip link add {device} type dummy || true")
        for name in sets_named(suggestion.source.text):
            shell(f"ipset create {name} hash:ip {'family inet6' * six} || true")
        shell(f"{load} {folder}/rules")
        old = _CHANGING.sub("", shell(save))
        shell(f"sh {folder}/apply.sh try 300")
        if _CHANGING.sub("", shell(save)) == old:
            return "nothing changed"
        shell(f"sh {folder}/apply.sh confirm")
        shell(f"sh {folder}/apply.sh rollback")
        return "" if _CHANGING.sub("", shell(save)) == old else "not the rules of before"
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return str(error)
    finally:
        timer = folder / "state" / "timer"
        if timer.exists():
            subprocess.run(["kill", "-KILL", timer.read_text().strip()], check=False)
        space.close()


def test_real_rulesets_change_and_come_back(tmp_path: Path) -> None:
    suggestions = rewritten()
    if not suggestions:
        pytest.skip("the corpus is not here: RULEAUDIT_CORPUS")
    wrong = {}
    for number, suggestion in enumerate(suggestions):
        (tmp_path / str(number)).mkdir()
        said = round_trip(suggestion, tmp_path / str(number))
        if said:
            wrong[suggestion.source.path] = said
    assert wrong == {}
