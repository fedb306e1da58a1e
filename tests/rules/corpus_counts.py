"""How often each lint rule speaks on the corpus, and samples of what it says, to be judged one by one.

    python -m tests.rules.corpus_counts
    python -m tests.rules.corpus_counts --code RA302 --sample 20

Files of one group are the same ruleset or near to it, so that a sample takes one finding of a group before it takes
the second of another.
"""

import argparse
import csv
import random
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from ruleaudit import SourceError
from ruleaudit.diagnostics import Finding
from ruleaudit.report.check_full import one
from ruleaudit.rules import RULES
from ruleaudit.rules.file_report import check_source
from ruleaudit.source import SourceFile
from tests.syntax.corpus import ROOT

#: the kinds of the corpus that `check` reads, and as what
LANGUAGES = {"iptables": None, "ip6tables": "ip6tables-save", "nft": None, "nftjson": "nft-json"}


@dataclass(frozen=True)
class Said:
    """One finding about one file of a group, as a reader sees it."""

    path: str
    group: str
    code: str
    severity: str
    text: str


def files(kinds: Iterable[str], part: str) -> list[tuple[str, str, str]]:
    """(path, kind, group) of the rulesets whose path holds a word."""
    with (ROOT / "index.tsv").open(encoding="utf-8", newline="") as table:
        rows = csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [(r["path"], r["kind"], r["group"]) for r in rows if r["kind"] in kinds and part in r["path"]]


def findings(file: tuple[str, str, str]) -> list[Said]:
    """Everything that `check` says of one file, notes included; nothing of what is no ruleset."""
    path, kind, group = file
    source = SourceFile(path, (ROOT / path).read_bytes().decode("utf-8", "surrogateescape"))
    try:
        report = check_source(source, LANGUAGES[kind])
    except SourceError:
        return []
    except Exception as error:
        raise RuntimeError(f"{path}: {error!r}") from error
    return [_said(path, group, report.source, finding) for finding in report.findings]


def _said(path: str, group: str, source: SourceFile, finding: Finding) -> Said:
    return Said(path, group, finding.code, finding.severity.value, "\n".join(one(source, finding)))


def sample(said: Iterable[Said], size: int, seed: int) -> Iterator[Said]:
    """Some findings, spread over groups."""
    shuffled = list(said)
    random.Random(seed).shuffle(shuffled)
    taken: dict[str, int] = {}
    ranked = []
    for finding in shuffled:
        taken[finding.group] = taken.get(finding.group, 0) + 1
        ranked.append((taken[finding.group], finding))
    ranked.sort(key=lambda pair: pair[0])
    yield from (finding for _, finding in ranked[:size])


def main() -> int:
    """Count, and print a sample where one is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--code", help="print findings of this rule")
    parser.add_argument("--sample", type=int, default=20, help="how many (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="which (default %(default)s)")
    parser.add_argument("--files", default="", metavar="WORD", help="only files with this in their path")
    parser.add_argument("--workers", type=int, default=2, help="processes (default %(default)s)")
    asked = parser.parse_args()
    todo = files(LANGUAGES, asked.files)
    with ProcessPoolExecutor(asked.workers) as pool:
        said = [finding for some in pool.map(findings, todo, chunksize=4) for finding in some]
    print(f"{len(todo)} files in {len({group for _, _, group in todo})} groups")
    print(f"{'rule':<6} {'severity':<8} findings  files groups  name")
    for rule in RULES:
        for severity in ("error", "warning", "note"):
            found = [s for s in said if s.code == rule.CODE and s.severity == severity]
            if found:
                paths, groups = ({getattr(s, name) for s in found} for name in ("path", "group"))
                print(f"{rule.CODE:<6} {severity:<8} {len(found):>8} {len(paths):>6} {len(groups):>6}  {rule.NAME}")
    for finding in sample((s for s in said if s.code == asked.code), asked.sample, asked.seed):
        print(f"\n# {finding.path} (group {finding.group})\n{finding.text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
