"""nft JSON and what we make of it, loaded by nft: both list the same."""

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ruleaudit.kernel.namespace import Namespace
from ruleaudit.source import SourceFile
from ruleaudit.syntax import nft_json, nft_json_document, nftables
from ruleaudit.syntax.nft_json_statements import statements
from ruleaudit.syntax.nft_json_values import Unwritable
from ruleaudit.syntax.nft_json_write import expr
from tests.syntax.corpus import MISSING, REASON, ROOT, Entry, entries
from tests.syntax.test_nft_json import SAME

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]

_COUNTED = re.compile(r"packets \d+ bytes \d+|expires \w+")
VECTORS = sorted((ROOT / "nft-t-json").rglob("*.t.json")) if not MISSING else []
#: nft 1.0.6 loads these from text alone, or says so in other words: (file, rule)
ELSEWHERE = {
    ("any_tcpopt", "tcp option mptcp subtype 1"),  # JSON has the name of the subtype, which 1.0.6 does not know
}
#: what nft 1.0.6 reads as text alone, or sees as another set than in one transaction
NOT_AS_JSON = ("add @", "delete @", "update @")
TCP = {"match": {"op": "==", "left": {"meta": {"key": "l4proto"}}, "right": "tcp"}}
CHAINS = [
    ("inet", "type filter hook input priority 0"),
    ("ip", "type filter hook input priority 0"),
    ("inet", "type filter hook prerouting priority -300"),
    ("inet", "type nat hook postrouting priority 100"),
    ("inet", "type nat hook prerouting priority -100"),
    ("netdev", 'type filter hook ingress device "lo" priority 0'),
]
NAMED = """
add counter {0} t seen
add map {0} t ports {{ type inet_service : verdict; elements = {{ 22 : accept }}; }}
add map {0} t m {{ type ipv4_addr : mark; flags dynamic,timeout; size 9; }}
add set {0} t blocked {{ type ipv4_addr; }}
add set {0} t seen {{ type ipv4_addr; flags dynamic,timeout; size 9; }}
add chain {0} t web
add chain {0} t r
"""


class Nft:
    """nft in a namespace of its own."""

    def __init__(self, space: Namespace) -> None:
        self.space = space

    def load(self, text: str, *options: str) -> bool:
        """Whether nft takes a text, on an empty ruleset."""
        self.space.run("nft", "flush", "ruleset")
        return self.add(text, *options)

    def add(self, text: str, *options: str) -> bool:
        """Whether nft takes a text, added to what is there."""
        try:
            self.space.run("nft", *options, "-f", "-", text=text)
        except RuntimeError:
            return False
        return True

    def listed(self) -> str:
        return _COUNTED.sub("", self.space.run("nft", "list", "ruleset"))


@pytest.fixture(scope="module")
def nft() -> Iterator[Nft]:
    space = Namespace()
    try:
        space.run("ip", "link", "set", "lo", "up")
        yield Nft(space)
    finally:
        space.close()


def _parsed(text: str) -> Any:
    return (
        nftables.read(SourceFile("x", f"table inet t {{\nchain c {{\n{text}\n}}\n}}\n")).tables[0].chains["c"].rules[0]
    )


@pytest.mark.parametrize(("value", "text"), SAME, ids=[text for _, text in SAME])
def test_json_and_its_text_load_to_the_same(nft: Nft, value: Any, text: str) -> None:
    for (family, hook), before in itertools.product(CHAINS, ([], [TCP])):
        base = f"add table {family} t\nadd chain {family} t c {{ {hook}; }}\n"
        base += "".join(line + "\n" for line in NAMED.format(family).split("\n") if nft.load(base + line))
        if not nft.load(f"{base}add rule {family} t c {statements(before)} {text}"):
            continue
        wanted = nft.listed()
        assert nft.load(base)
        rule = {"family": family, "table": "t", "chain": "c", "expr": [*before, value]}
        if not nft.add(json.dumps({"nftables": [{"add": {"rule": rule}}]}), "-j"):
            continue
        assert nft.listed() == wanted
        return
    pytest.skip(f"nft takes this in no chain here: {text}")


def _setups(path: Path, nft: Nft) -> list[tuple[str, str]]:
    """What stands before the rules of a file of vectors: tables, chains and sets, and where the rules go."""
    described = Path(str(path).replace("nft-t-json", "nft-t").removesuffix(".json"))
    lines = described.read_text().split("\n") if described.exists() else []
    hooks = dict(line[1:].split(";", 1) for line in lines if line.startswith(":"))
    out = []
    for line in (line for line in lines if line.startswith("*")):
        family, table, chains = line[1:].split(";")
        base = f"add table {family} {table}\n"
        for chain in chains.split(","):
            base += f"add chain {family} {table} {chain} {{ {hooks[chain]}; }}\n"
        for named in _named(lines, f"{family} {table}"):
            base += named if nft.load(base + named) else ""
        out += [(base, f"{family} {table} {chain}") for chain in chains.split(",")]
    return out


def _named(lines: list[str], place: str) -> Iterator[str]:
    for line in lines:
        made = re.match(r"!(\S+)\s+(.*?);ok", line)
        if made is not None:
            what = "map" if ":" in made[2] else "set"
            yield f"add {what} {place} {made[1]} {{ {made[2].replace(' timeout', '; timeout')}; }}\n"
        named = re.match(r"%(\S+) type (ct \w+|\w+)\s*(.*?);ok", line)
        if named is not None:
            inside = named[3].strip()
            inside = inside if inside.startswith("{") or not inside else f"{{ {inside}; }}"
            yield f"add {named[2]} {place} {named[1]} {inside}\n"


def _vectors(path: Path) -> Iterator[tuple[str, list[Any]]]:
    """The text and the JSON of every rule of a file."""
    for block in re.split(r"^# ", path.read_text(), flags=re.M)[1:]:
        text, _, value = block.partition("\n")
        try:
            yield text, json.loads(value)
        except json.JSONDecodeError:
            continue  # a comment of the file


@pytest.mark.skipif(MISSING, reason=REASON)
@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.name.split("_py_")[-1].removesuffix(".t.json"))
def test_the_vectors_are_written_as_text_and_back_as_json(nft: Nft, path: Path) -> None:
    setups = _setups(path, nft)
    name = path.name.split("_py_")[-1].removesuffix(".t.json")
    wrong, loaded = [], 0
    for text, value in _vectors(path):
        ours = statements(value)
        taken = next((s for s in setups if nft.load(f"{s[0]}add rule {s[1]} {text}")), None)
        if taken is None or (name, text) in ELSEWHERE:
            continue
        loaded += 1
        base, place = taken
        wanted = nft.listed()
        if not nft.load(f"{base}add rule {place} {ours}") or nft.listed() != wanted:
            wrong.append(f"{text}: {ours}")
            continue
        rule = _parsed(ours)
        try:
            again = expr(rule.statements)
        except Unwritable:
            continue
        if rule.unread or text.startswith(NOT_AS_JSON):
            continue
        family, table, chain = place.split()
        made = {"rule": {"family": family, "table": table, "chain": chain, "expr": again}}
        nft.load(base)
        if not nft.add(json.dumps({"nftables": [made]}), "-j") or nft.listed() != wanted:
            wrong.append(f"{text}: {again}")
    assert wrong == []
    if not loaded:
        pytest.skip("nft takes none of these here")


@pytest.mark.skipif(MISSING, reason=REASON)
@pytest.mark.parametrize(
    "entry", [e for e in entries("nftjson") if e.verdict == "accepted"], ids=lambda entry: entry.path.split("/")[-1]
)
def test_a_ruleset_printed_from_its_tree_loads_to_the_same(nft: Nft, entry: Entry) -> None:
    source = entry.source
    if not nft.load(source.text, "-j"):
        pytest.skip("nft does not take it here")
    wanted = nft.listed()
    assert nft.load(nft_json_document.text(nft_json.read(source)), "-j")
    assert nft.listed() == wanted
