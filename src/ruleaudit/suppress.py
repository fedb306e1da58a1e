"""Findings that somebody has seen and accepted: ignore comments, and baselines of what was there before.

    # ruleaudit: ignore[RA101] low volume, and we like to see it in the table
    -A INPUT -p tcp -m comment --comment "ruleaudit: ignore[RA101] seen" --dport 80 -j ACCEPT
    # ruleaudit: ignore-file[RA1] a copy of the vendor's rules

A comment of its own is about the next line that is none; iptables-save drops it, and keeps the comment of a rule.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from types import MappingProxyType

from ruleaudit.diagnostics import Finding, Severity, SourceError
from ruleaudit.source import Position, SourceFile, Span

#: no rule has another code or name than it had
NO_REDIRECTS: Mapping[str, str] = MappingProxyType({})
_IGNORE = re.compile(r"ruleaudit:[ \t]*ignore(?P<file>-file)?\[(?P<codes>[^\]\n]*)\](?P<reason>[^\"\n]*)")


@dataclass(frozen=True, slots=True)
class Suppression:
    """One ignore comment: the lines of its file that it is about (none: the whole file), and what it covers."""

    path: str
    span: Span
    line: int | None
    codes: tuple[str, ...]
    reason: str
    own_line: bool

    def covers(self, finding: Finding, place: Position, redirects: Mapping[str, str] = NO_REDIRECTS) -> bool:
        """Whether a finding at a place is meant; `redirects` are what retired codes and names are called now."""
        if self.path != place.path or self.line not in (None, place.line):
            return False
        return self.names(finding.code, finding.name, redirects)

    def names(self, code: str, name: str, redirects: Mapping[str, str] = NO_REDIRECTS) -> bool:
        """Whether a rule is meant: by its code, the beginning of it, or its name."""
        words = [redirects.get(word, word) for word in self.codes]
        return any(word in (code, name) or code.startswith(word.upper()) for word in words)


def suppressions(source: SourceFile) -> Iterator[Suppression]:
    """Every ignore comment of a file and of those that it includes; each file is looked at once."""
    seen: set[str] = set()
    for part, base in source.parts():
        if part.path not in seen:
            seen.add(part.path)
            yield from _in_one_file(part, base)


def _in_one_file(source: SourceFile, base: int) -> Iterator[Suppression]:
    comments = list(_IGNORE.finditer(source.text)) if "ruleaudit:" in source.text else []
    lines = source.text.split("\n") if comments else []
    for found in comments:
        number = source.position(found.start()).line
        own_line = lines[number - 1].lstrip().startswith("#")
        about = number
        if own_line:
            while about < len(lines) and (not lines[about - 1].strip() or lines[about - 1].lstrip().startswith("#")):
                about += 1
        codes = tuple(word.strip() for word in found["codes"].split(",") if word.strip())
        span = Span(base + found.start(), base + found.start() + len(found.group().rstrip()))
        yield Suppression(
            source.path, span, None if found["file"] else about, codes, found["reason"].strip(" \t:-"), own_line
        )


@dataclass(frozen=True, slots=True)
class Applied:
    """What ignore comments leave of some findings, what they cover, and the comments that cover nothing."""

    kept: tuple[Finding, ...]
    covered: tuple[Finding, ...] = ()
    unused: tuple[Suppression, ...] = ()
    unexplained: tuple[Suppression, ...] = ()


def apply_to(source: SourceFile, findings: Sequence[Finding], redirects: Mapping[str, str] = NO_REDIRECTS) -> Applied:
    """The findings about one file and what it includes, sorted out by its comments."""
    comments = list(suppressions(source))
    if not comments:
        return Applied(tuple(findings))
    about: dict[tuple[str, int | None], list[Suppression]] = {}
    for comment in comments:
        about.setdefault((comment.path, comment.line), []).append(comment)
    kept: list[Finding] = []
    covered: list[Finding] = []
    used: set[Suppression] = set()
    for finding in findings:
        place = source.position(finding.span.start)
        near = [*about.get((place.path, place.line), ()), *about.get((place.path, None), ())]
        by = [comment for comment in near if comment.covers(finding, place, redirects)]
        used.update(by)
        (covered if by else kept).append(finding)
    unused = tuple(c for c in comments if c not in used)
    unexplained = tuple(c for c in comments if c in used and not c.reason)
    return Applied(tuple(kept), tuple(covered), unused, unexplained)


# -- baselines -----------------------------------------------------------------------------------------

#: file, code and the text of the line: what a finding is known by, whatever line it moves to
Known = tuple[str, str, str]


def known_as(source: SourceFile, finding: Finding, folder: str = ".") -> Known:
    """How a baseline in a folder calls a finding: the file as seen from there, wherever the command was started."""
    place = source.position(finding.span.start)
    text = " ".join(source.line(place.line, finding.span.start).split())
    path = place.path if place.path.startswith("<") else os.path.relpath(place.path, folder)
    return PurePath(path).as_posix(), finding.code, text


def read_baseline(source: SourceFile, redirects: Mapping[str, str] = NO_REDIRECTS) -> Counter[Known]:
    """The findings of a baseline, counted. Raises SourceError."""
    import json

    try:
        entries = json.loads(source.text)["findings"]
        known: Counter[Known] = Counter()
        for entry in entries:
            known[entry["file"], redirects.get(entry["code"], entry["code"]), entry["text"]] += int(entry["count"])
        return known
    except (ValueError, KeyError, TypeError):
        raise SourceError(f"{source.path}: no baseline; write one with: ruleaudit check --write-baseline") from None


def baseline_text(found: Iterable[tuple[SourceFile, Finding]], folder: str = ".") -> str:
    """The text of a baseline of findings, to be kept in a folder; notes are no faults, and not kept."""
    import json

    counts = Counter(known_as(s, f, folder) for s, f in found if f.severity is not Severity.NOTE)
    entries = [{"file": name[0], "code": name[1], "text": name[2], "count": counts[name]} for name in sorted(counts)]
    return json.dumps({"schema": "ruleaudit-baseline/1", "findings": entries}, indent=2, ensure_ascii=False) + "\n"


def without_known(
    source: SourceFile, findings: Sequence[Finding], left: Counter[Known], folder: str = "."
) -> tuple[list[Finding], int]:
    """The findings that the baseline does not know, and the number of the others; `left` is used up."""
    fresh: list[Finding] = []
    for finding in findings:
        name = known_as(source, finding, folder)
        if finding.severity is not Severity.NOTE and left[name] > 0:
            left[name] -= 1
        else:
            fresh.append(finding)
    return fresh, len(findings) - len(fresh)
