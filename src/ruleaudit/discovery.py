"""Which files below a folder are rulesets, by their names: what `check` takes when no file is named.

And which of them belong together: the two of one host, and those that others include.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ruleaudit.diagnostics import Finding, SourceError
from ruleaudit.results import FileReport
from ruleaudit.source import SourceFile
from ruleaudit.syntax.language import family, sniff

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

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


def haproxy_files(path: str) -> list[str]:
    """The files that `haproxy -f` reads: of a folder, those that end with .cfg and are not hidden, by their names.

    Raises SourceError for a folder that cannot be looked into, or has none.
    """
    if not os.path.isdir(path):
        return [path]
    try:
        names = sorted(os.listdir(path), key=os.fsencode)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    found = [os.path.join(path, name) for name in names if name.endswith(".cfg") and name[0] != "."]
    found = [file for file in found if os.path.isfile(file)]
    if not found:
        raise SourceError(f"{path}: no *.cfg in it, which is what HAProxy reads of a folder")
    return found


def rulesets(folder: str = ".", unreadable: Callable[[OSError], None] | None = None) -> Iterator[str]:
    """The paths of rulesets below a folder, sorted; hidden folders and what .gitignore names are left out.

    `unreadable` is told of folders that cannot be looked into.
    """
    rules = {folder: _ignored_above(folder)}
    for here, folders, files in os.walk(folder, onerror=unreadable):
        ignored = rules.pop(here) + _ignored_in(here)
        kept = [f for f in sorted(folders) if not f.startswith(".") and f not in _SKIPPED]
        folders[:] = [f for f in kept if not _is_ignored(os.path.join(here, f, ""), ignored)]
        rules |= {os.path.join(here, f): ignored for f in folders}
        for name in sorted(files):
            path = os.path.join(here, name)
            if RULESET.search(Path(path).as_posix()) and not _is_ignored(path, ignored) and os.path.isfile(path):
                yield Path(path).as_posix()


#: a folder, and what the .gitignore in it names
_Ignored = tuple[str, "GitIgnoreSpec"]


def _ignored_in(folder: str, name: str = ".gitignore") -> list[_Ignored]:
    try:
        text = Path(folder, name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    from pathspec import GitIgnoreSpec

    return [(os.path.abspath(folder), GitIgnoreSpec.from_lines(text.splitlines()))]


def _ignored_above(folder: str) -> list[_Ignored]:
    """What the folders above name, up to the root of the repository; nothing outside of one.

    A folder that is asked for although it is ignored is looked into.
    """
    found: list[_Ignored] = []
    start = Path(os.path.abspath(folder))
    for above in (start, *start.parents):
        if above != start:
            found[:0] = _ignored_in(str(above))
        if os.path.exists(above / ".git"):
            return [] if _is_ignored(f"{start}/", found) else found
    return []


def _is_ignored(path: str, ignored: Sequence[_Ignored]) -> bool:
    """Whether the nearest .gitignore that speaks of a path leaves it out; a folder's path ends with a slash."""
    if not ignored:
        return False
    full = os.path.abspath(path) + os.sep * path.endswith(os.sep)
    for folder, spec in reversed(ignored):
        decided = spec.check_file(os.path.relpath(full, folder) + "/" * full.endswith(os.sep)).include
        if decided is not None:
            return decided
    return False


#: what is different in the names of the two files of one host
_OF_FAMILY = re.compile(r"(?<=ip)6(?=tables)|(?<![a-z])(?:ip)?v[46](?![0-9])|(?<=[a-z])6(?=\.[a-z]+$)", re.I)


def companions(paths: Sequence[str]) -> dict[str, list[str]]:
    """Among which other paths each one's twin is to be looked for: those of the same name but for the family.

    Where only two files are there, they may be twins whatever their names.
    """
    if len(paths) <= 2:
        return {path: [other for other in paths if other != path] for path in paths}
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(_OF_FAMILY.sub("", path), []).append(path)
    return {path: [other for other in group if other != path] for group in groups.values() for path in group}


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
    wholes: dict[str, list[str]] = {}
    for path, parts in within.items():
        for part in parts:
            wholes.setdefault(part, []).append(path)
    if not wholes:
        return {}
    out: dict[str, str] = {}
    for path in paths:
        here = os.path.realpath(path)
        for other in wholes.get(here, ()):
            # where two include each other, both stay
            if os.path.realpath(other) not in within.get(path, set()) | {here}:
                out.setdefault(path, other)
    return out


def once(reports: Sequence[FileReport]) -> list[FileReport]:
    """The reports, what was found in an included file said once, however often it is included."""
    if not any(report.source.included for report in reports):
        return list(reports)
    seen: set[tuple[object, ...]] = set()
    real = cache(os.path.realpath)

    def fresh(source: SourceFile, finding: Finding) -> bool:
        part, base = source.file_at(finding.span.start)
        key = (real(part.path), finding.span.start - base, finding.code, finding.message)
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
    """The configuration for a ruleset: the nearest one above it, up to the root of the repository.

    One that cannot be read may be meant: whoever reads it says what is wrong.
    """
    folder = Path(os.path.realpath(path)).parent if path != "-" else Path.cwd()
    for above in (folder, *folder.parents):
        own, project = above / "ruleaudit.toml", above / "pyproject.toml"
        if os.path.isfile(own):
            return str(own)
        if os.path.isfile(project) and _is_ours(project):
            return str(project)
        if os.path.exists(above / ".git"):
            return None
    return None


def _is_ours(project: Path) -> bool:
    try:
        return "[tool.ruleaudit" in project.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
