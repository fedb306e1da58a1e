"""The corpus of rulesets that the project did not write; it is read in place and never copied (see its README)."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from ruleaudit.source import SourceFile

ROOT = Path(os.environ.get("RULEAUDIT_CORPUS") or Path(__file__).resolve().parents[3] / "shared" / "corpus")
MISSING = not (ROOT / "index.tsv").is_file()
REASON = "no corpus: set RULEAUDIT_CORPUS to its folder"


@dataclass(frozen=True)
class Entry:
    """One line of index.tsv."""

    path: str
    kind: str
    verdict: str
    first_error: str

    @property
    def source(self) -> SourceFile:
        return SourceFile(self.path, (ROOT / self.path).read_bytes().decode("utf-8", "surrogateescape"))


def entries(*kinds: str) -> list[Entry]:
    """The files of some kinds."""
    if MISSING:
        return []
    with (ROOT / "index.tsv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [Entry(r["path"], r["kind"], r["verdict"], r["first_error"]) for r in rows if r["kind"] in kinds]
