"""The files that are measured: rulesets of every shape and size, and copies of them with some verdicts changed."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nft_rulesets
import rulesets

CHANGED = 20
#: more sets in braces than this are never given to nft in one go: thousands of them lock the kernel up
ANONYMOUS_SETS = 1000
_VERDICTS = {
    ".v4": re.compile(r"(?<=-j )(ACCEPT|DROP)$", re.M),
    ".nft": re.compile(r"(?<=\s)(accept|drop)$", re.M),
    ".json": re.compile(r'(?<=")(accept|drop)(?=": null)'),
}
_OTHER = {"ACCEPT": "DROP", "DROP": "ACCEPT", "accept": "drop", "drop": "accept"}
#: a set in a rule, of a block or of a command
_BRACES = re.compile(r"^(?:\s*add rule |\t\t|    +)[^{\n]*\{", re.M)


@dataclass(frozen=True)
class Input:
    """A ruleset in a file; `changed` is a copy with other verdicts in its middle, if it has that many."""

    shape: str
    size: int
    path: Path
    changed: Path | None = None

    @property
    def of_nft(self) -> bool:
        """Whether nft reads it as it is."""
        return self.path.suffix != ".v4"


def written(shape: str, size: int, path: Path, text: str) -> Input:
    """A ruleset and its changed copy, written."""
    path.write_text(text)
    return with_changed(Input(shape, size, path))


def with_changed(ruleset: Input) -> Input:
    """The ruleset with a copy beside it in which CHANGED verdicts, spread over the whole, are the other way round."""
    text = ruleset.path.read_text()
    pattern = _VERDICTS[ruleset.path.suffix]
    places = list(pattern.finditer(text))
    if not places:
        return ruleset
    step = max(1, len(places) // CHANGED)
    pieces, end = [], 0
    for match in places[step // 2 :: step][:CHANGED]:
        pieces += [text[end : match.start()], _OTHER[match.group()]]
        end = match.end()
    into = ruleset.path.with_name(f"changed-{ruleset.path.name}")
    into.write_text("".join([*pieces, text[end:]]))
    return Input(ruleset.shape, ruleset.size, ruleset.path, into)


def may_be_loaded(path: Path) -> bool:
    """Whether nft may be given a file: it has few sets in braces, each of which becomes one of the kernel's."""
    text = path.read_text()
    return len(_BRACES.findall(text)) + text.count('"set": [') <= ANONYMOUS_SETS


def iptables(sizes: list[int], folder: Path) -> Iterator[Input]:
    """The shapes of `rulesets.py`, those of one shape together."""
    for shape, (make, largest) in rulesets.KINDS.items():
        for size in sizes:
            if size <= largest and (size >= 100 or shape == "services"):
                yield written(shape, size, folder / f"{shape}-{size}.v4", "".join(make(size)))


def nft(sizes: list[int], folder: Path) -> Iterator[Input]:
    """The shapes of `nft_rulesets.py`, as text and those of one table as JSON too."""
    for shape, make in nft_rulesets.KINDS.items():
        for suffix in ("nft", "json"):
            for size in (s for s in sizes if s >= 100):
                ruleset = make(size)
                text = ruleset.json if suffix == "json" else ruleset.text
                yield written(f"nft {shape}, {suffix}", size, folder / f"{shape}-{size}.{suffix}", text)
    for shape, write in nft_rulesets.TEXTS.items():
        for size in (s for s in sizes if s >= 100):
            path = folder / f"{shape.replace(' ', '-')}-{size}.nft"
            yield written(f"nft {shape}, nft", size, path, write(size))


#: what another generator is asked for: its kind, the option that gives the size, rules for each of these, the suffix
_ASKED = (
    ("kube-proxy", "--services", 8, "v4"),
    ("blocklist", "--rules", 1, "v4"),
    ("edge", "--frontends", 2.5, "v4"),
    ("nft-set", "--elements", 1, "nft"),
    ("nft-json-set", "--elements", 1, "json"),
    ("nft-vmap", "--elements", 1, "nft"),
    ("nft-multi-table", "--tables", 50, "nft"),
    ("deep-chains", "--depth", 2, "v4"),
)


def generated(generator: Path, sizes: list[int], folder: Path) -> Iterator[Input]:
    """The shapes of another generator, a Python program which is told a kind and a size."""
    for kind, option, rules, suffix in _ASKED:
        for size in (s for s in sizes if s >= 100):
            number = 15 if kind == "deep-chains" else max(1, int(size / rules))
            words = [kind, option, str(number), *(["--rules", "50"] if kind == "nft-multi-table" else [])]
            done = subprocess.run([sys.executable, str(generator), *words], capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{generator} {' '.join(words)}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
                break
            name = f"{generator.stem}: {kind}"
            path = folder / f"{generator.stem}-{kind}-{size}.{suffix}"
            yield written(name, int(number * rules), path, done.stdout)
            if kind == "deep-chains":
                break
