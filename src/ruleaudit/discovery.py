"""Which files below a folder are rulesets, by their names: what `check` takes when no file is named.

And which of them belong together: the two of one host, and those that others include.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ruleaudit.diagnostics import Finding
from ruleaudit.results import FileReport
from ruleaudit.source import SourceFile
from ruleaudit.syntax.language import family, sniff

#: the file names under which rulesets are kept; bare *.rules belongs to udev, Snort and Prometheus too
RULESET = re.compile(
    r"""(?x)(^|/)(
        rules\.v[46]
      | ip6?tables(-save)?(\.up)?(\.(rules|save|conf|txt|v4|v6))?
      | (ip6?tables|firewall|ufw)/[^/]+\.rules
      | (before|after|user)6?\.rules
      | nftables\.conf
      | nftables(\.conf)?\.d/[^/]+\.(conf|rules)
      | [^/]+\.nft
    )$"""
)
_SKIPPED = ("node_modules", "__pycache__")


def rulesets(folder: str = ".") -> Iterator[str]:
    """The paths of rulesets below a folder, sorted; hidden folders are left out."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _SKIPPED)
        for name in sorted(files):
            path = Path(here, name).as_posix()
            if RULESET.search(path):
                yield path


#: what is different in the names of the two files of one host
_OF_FAMILY = re.compile(r"(?<=ip)6(?=tables)|(?<![a-z])(?:ip)?v[46](?![0-9])|(?<=[a-z])6(?=\.[a-z]+$)", re.I)


def twin(source: SourceFile, others: Sequence[SourceFile]) -> SourceFile | None:
    """The ruleset of the other family that belongs to the same host: by its name, or because no other file is there."""
    if sniff(source) != "iptables-save":
        return None
    found = [o for o in others if o.path != source.path and sniff(o) == "iptables-save" and family(o) != family(source)]
    named = [o for o in found if _OF_FAMILY.sub("", o.path) == _OF_FAMILY.sub("", source.path)]
    if len(named) == 1:
        return named[0]
    return found[0] if len(found) == 1 and len(others) <= 2 else None


def fragments(reports: Sequence[FileReport], paths: Iterable[str]) -> dict[str, str]:
    """Those of some paths that the files of reports include, each with the file of which it is a part."""
    within = {r.source.path: {os.path.realpath(part.path) for part in r.source.included} for r in reports}
    out: dict[str, str] = {}
    for path in paths:
        here = os.path.realpath(path)
        for other, theirs in within.items():
            # where two include each other, both stay
            if here in theirs and os.path.realpath(other) not in within.get(path, set()) | {here}:
                out.setdefault(path, other)
    return out


def once(reports: Sequence[FileReport]) -> list[FileReport]:
    """The reports, what was found in an included file said once, however often it is included."""
    seen: set[tuple[object, ...]] = set()

    def fresh(source: SourceFile, finding: Finding) -> bool:
        part, base = source.file_at(finding.span.start)
        key = (os.path.realpath(part.path), finding.span.start - base, finding.code, finding.message)
        if key in seen and part is not source:
            return False
        seen.add(key)
        return True

    return [
        replace(
            report,
            findings=tuple(f for f in report.findings if fresh(report.source, f)),
            suppressed=tuple(f for f in report.suppressed if fresh(report.source, f)),
        )
        for report in reports
    ]


def nearest_config(path: str) -> str | None:
    """The configuration for a ruleset: the nearest one above it, up to the root of the repository."""
    folder = Path(path).resolve().parent if path != "-" else Path.cwd()
    for above in (folder, *folder.parents):
        own, project = above / "ruleaudit.toml", above / "pyproject.toml"
        if own.is_file():
            return str(own)
        if project.is_file() and "[tool.ruleaudit" in project.read_text(encoding="utf-8", errors="replace"):
            return str(project)
        if (above / ".git").exists():
            return None
    return None
