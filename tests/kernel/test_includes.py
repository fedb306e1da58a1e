"""Where nft finds what a ruleset includes, and rewrites of rulesets that stand in several files."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ruleaudit
from ruleaudit.diagnostics import Severity
from ruleaudit.kernel.namespace import Namespace
from ruleaudit.source import write

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

RULES = Path(__file__).parent.parent / "fixtures" / "nft"


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    made = Namespace()
    yield made
    made.close()


def loaded(namespace: Namespace, path: Path | str, folder: Path, options: str = "") -> str:
    """The rules after nft, started in a folder, has loaded a file. Raises RuntimeError when it refuses."""
    command = f"cd '{folder}' && nft flush ruleset && nft {options} -f '{path}' && nft list ruleset"
    return namespace.run("sh", "-c", command)


# -- one ruleset in several files ----------------------------------------------------------------------


def test_a_rewrite_of_several_files_is_that_of_one(namespace: Namespace, tmp_path: Path) -> None:
    flat = tmp_path / "flat.nft"
    text = ruleaudit.suggest(str(RULES / "included-flat.nft"), menu=False).text
    assert text is not None
    flat.write_text(text)
    expected = loaded(namespace, flat, tmp_path)
    assert expected.count("notrack") == 2

    folder = tmp_path / "etc"
    shutil.copytree(RULES / "included", folder)
    main = folder / "nftables.conf"
    assert loaded(namespace, main, folder) == loaded(namespace, RULES / "included-flat.nft", tmp_path)
    suggestion = ruleaudit.suggest(str(main), menu=False)
    for new in (folder / "new.conf", tmp_path / "elsewhere.conf"):
        write(str(new), ruleaudit.elsewhere(suggestion, str(new)))
        assert loaded(namespace, new, new.parent) == expected
    # in another folder it is found from everywhere
    assert loaded(namespace, tmp_path / "elsewhere.conf", Path("/")) == expected
    assert ruleaudit.verify(str(folder / "new.conf"), str(tmp_path / "elsewhere.conf")).result == "equivalent"


def _in_one_include(text: str) -> dict[str, str]:
    return {"main.nft": '#!/usr/sbin/nft -f\ninclude "./whole.nft"\n', "whole.nft": text}


def _in_many_includes(text: str) -> dict[str, str]:
    """Each chain, and the inside of each chain, in files of their own."""
    files: dict[str, str] = {}

    def chain(found: re.Match[str]) -> str:
        number = len(files)
        files[f"{number}.rules"] = found[3]
        files[f"{number}.chain"] = f'{found[2]}\n\t\tinclude "./{number}.rules"\n\t}}\n'
        return f'{found[1]}include "./{number}.c[h]ain"\n'

    files["main.nft"] = re.sub(r"^([ \t]+)(chain \w+ \{)\n((?:.*\n)*?)\1\}\n", chain, text, flags=re.M)
    return files


@pytest.mark.parametrize("apart", [_in_one_include, _in_many_includes])
@pytest.mark.parametrize("rules", ["commands.nft", "raw-chains.nft", "sets.nft", "vmaps.nft"])
def test_however_a_ruleset_is_cut(
    namespace: Namespace, tmp_path: Path, rules: str, apart: Callable[[str], dict[str, str]]
) -> None:
    flat = ruleaudit.suggest(str(RULES / "haproxy-host" / rules), menu=False)
    assert flat.text is not None
    (tmp_path / "flat").write_text(flat.text)
    for name, text in apart((RULES / "haproxy-host" / rules).read_text()).items():
        (tmp_path / name).write_text(text)
    suggestion = ruleaudit.suggest(str(tmp_path / "main.nft"), menu=False)
    assert suggestion.kind is flat.kind and suggestion.flows and suggestion.text is not None
    (tmp_path / "new").write_text(suggestion.text)
    expected = loaded(namespace, tmp_path / "flat", tmp_path)
    assert loaded(namespace, tmp_path / "new", tmp_path) == expected
    (tmp_path / "other").mkdir()
    write(str(tmp_path / "other" / "new"), ruleaudit.elsewhere(suggestion, str(tmp_path / "other" / "new")))
    assert loaded(namespace, tmp_path / "other" / "new", Path("/")) == expected


def test_names_without_a_dot(namespace: Namespace, tmp_path: Path) -> None:
    """Beside the file since nft 1.0.9, with -I . in every version, as the report says it."""
    folder = tmp_path / "etc"
    shutil.copytree(RULES / "included", folder)
    main = folder / "nftables.conf"
    main.write_text(main.read_text().replace('"./', '"'))
    suggestion = ruleaudit.suggest(str(main), menu=False)
    write(str(folder / "new.conf"), ruleaudit.elsewhere(suggestion, str(folder / "new.conf")))
    write(str(tmp_path / "new.conf"), ruleaudit.elsewhere(suggestion, str(tmp_path / "new.conf")))
    beside = loaded(namespace, "new.conf", folder, "-I .")
    assert beside.count("notrack") == 2
    assert loaded(namespace, tmp_path / "new.conf", Path("/")) == beside


# -- where nft looks -----------------------------------------------------------------------------------

#: a ruleset in three files, by what becomes of one of them
_TABLE = "add table ip {}\n".format
CASES = {
    "dot": {"main.nft": 'include "./a.nft"\n', "a.nft": _TABLE("a")},
    "up": {"main.nft": 'include "../work/a.nft"\n', "a.nft": _TABLE("a")},
    "absolute": {"main.nft": 'include "{folder}/a.nft"\n', "a.nft": _TABLE("a")},
    "missing": {"main.nft": 'include "./a.nft"\n'},
    "missing absolute": {"main.nft": 'include "/nowhere/a.nft"\n'},
    "pattern": {"main.nft": 'include "./d/*.nft"\n', "d/b.nft": _TABLE("b"), "d/.c.nft": _TABLE("c"), "d/d.inc": "!"},
    "pattern of nothing": {"main.nft": 'include "./d/*.nft"\n', "d/d.inc": "!"},
    "pattern of no folder": {"main.nft": 'include "./nowhere/*.nft"\n'},
    "classes": {"main.nft": 'include "./[ab].nft"\ninclude "./?.inc"\n', "a.nft": _TABLE("a"), "c.inc": _TABLE("c")},
    "nested": {"main.nft": 'include "./d/a.nft"\n', "d/a.nft": 'include "./b.nft"\n', "b.nft": _TABLE("b")},
    "beside": {"main.nft": 'include "./d/a.nft"\n', "d/a.nft": 'include "./b.nft"\n', "d/b.nft": _TABLE("b")},
    "folder": {"main.nft": 'include "./d"\n', "d/a.nft": _TABLE("a")},
    "cycle": {"main.nft": 'include "./a.nft"\n', "a.nft": 'include "./main.nft"\n'},
    "15 deep": {"main.nft": 'include "./1"\n', **{f"{n}": f'include "./{n + 1}"\n' for n in range(1, 15)}, "15": ""},
    "16 deep": {"main.nft": 'include "./1"\n', **{f"{n}": f'include "./{n + 1}"\n' for n in range(1, 16)}, "16": ""},
    "behind it": {"main.nft": 'include "./a.nft"; add table ip c\n', "a.nft": _TABLE("a")},
    "comment": {"main.nft": 'include "./a.nft" # a\n', "a.nft": _TABLE("a")},
    "two": {"main.nft": 'include "./a.nft" include "./a.nft"\n', "a.nft": _TABLE("a")},
    "no end": {"main.nft": 'include "./a.nft"\nadd table ip c\n', "a.nft": "add table ip a"},
    "no end, empty line": {"main.nft": 'include "./a.nft"\n\nadd table ip c\n', "a.nft": "add table ip a"},
    "last line": {"main.nft": 'include "./a.nft"', "a.nft": _TABLE("a")},
    "define": {"main.nft": 'include "./a.nft"\nadd table ip t\nadd chain ip t $c\n', "a.nft": "define c = x\n"},
    "scope": {
        "main.nft": 'table ip t {\nchain c {\ninclude "./a"\n}\nchain d {\ntcp dport $x accept\n}\n}\n',
        "a": "define x = 22\n",
    },
    "unended comment": {"main.nft": 'include "./a.nft"\n\n', "a.nft": "add table ip a\n# a"},
    "variable": {"main.nft": 'define p = "./a.nft"\ninclude $p\n', "a.nft": _TABLE("a")},
    "elements": {
        "main.nft": 'table ip t {\nset s {\ntype ipv4_addr\nelements = { include "./a" }\n}\n}\n',
        "a": "192.0.2.1\n",
    },
}


@pytest.mark.parametrize("case", CASES)
def test_nft_and_the_reader_agree(
    namespace: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    folder = tmp_path / "work"
    for name, text in CASES[case].items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text.replace("{folder}", str(folder)))
    monkeypatch.chdir(folder)
    reading = ruleaudit.lower(ruleaudit.load("main.nft"), "nft")
    refused = any(f.severity is Severity.ERROR for f in reading.findings)
    try:
        tables = {line for line in loaded(namespace, "main.nft", folder).split("\n") if line.startswith("table")}
    except RuntimeError:
        assert refused
        return
    assert not refused
    mine = {f"table {name} {{" for ruleset in reading.rulesets for name in ruleset.tables}
    assert mine == tables


def test_etc_comes_last(namespace: Namespace, tmp_path: Path) -> None:
    """A relative name without a dot is looked for in /etc, here an empty one in a mount namespace of its own."""
    (tmp_path / "etc" / "some.d").mkdir(parents=True)
    (tmp_path / "etc" / "some.d" / "a.nft").write_text(_TABLE("a"))
    (tmp_path / "main.nft").write_text('include "some.d/*.nft"\n')
    with namespace.inside():
        command = f"mount --bind {tmp_path}/etc /etc && cd / && nft -f {tmp_path}/main.nft && nft list tables"
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", command], capture_output=True, text=True, timeout=20, check=False
        )
    assert done.stdout == "table ip a\n", done.stderr
