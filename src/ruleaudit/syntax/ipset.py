"""The text of `ipset save`: sets and their elements (ipset(8)).

Only what decides membership is kept; counters, comments and skb marks of elements are read over.
"""

import shlex
from dataclasses import dataclass, field

from ruleaudit.source import SourceFile, Span
from ruleaudit.syntax.problem import Problem

_CREATE = ("create", "-N", "--create", "n", "-n")
_ADD = ("add", "-A", "--add", "a", "-a")
_OTHER = ("flush", "-F", "--flush", "destroy", "-X", "--destroy", "swap", "-W", "--swap", "rename", "-E", "--rename")
#: the options of create, and of add, that have a value; the flags have none
_OF_SET = (
    "family", "hashsize", "maxelem", "netmask", "bitmask", "markmask", "range", "bucketsize", "initval", "timeout",
    "size", "from", "to", "network",
)  # fmt: skip
_FLAGS_OF_SET = ("counters", "comment", "skbinfo", "forceadd")
_OF_ELEMENT = ("timeout", "packets", "bytes", "comment", "skbmark", "skbprio", "skbqueue", "before", "after")
_FLAGS_OF_ELEMENT = ("nomatch", "wildcard")


@dataclass(frozen=True, slots=True)
class ElementText:
    """One `add` line: the element as written, its options, and where the line stands."""

    text: str
    options: dict[str, str]
    span: Span


@dataclass(frozen=True, slots=True)
class SetText:
    """One `create` line with the elements that were added to it."""

    name: str
    kind: str
    options: dict[str, str]
    span: Span
    elements: list[ElementText] = field(default_factory=list)


def read(source: SourceFile) -> tuple[dict[str, SetText], tuple[Problem, ...]]:
    """The sets of a file by name, and what is wrong with the file."""
    sets: dict[str, SetText] = {}
    problems: list[Problem] = []
    at = 0
    for raw in source.text.split("\n"):
        line = raw.strip()
        span = Span(at, at + len(raw))
        at += len(raw) + 1
        if not line or line[0] == "#" or line in ("COMMIT", "quit"):
            continue
        words = line.split() if '"' not in line else _quoted(line)
        if words is None:
            problems.append(Problem(span, "this quote does not close"))
            continue
        words = [word for word in words if word not in ("-exist", "-!")]
        if words and words[0] in _CREATE and len(words) >= 3:
            _create(words, span, sets, problems)
        elif words and words[0] in _ADD and len(words) >= 3:
            wanted = sets.get(words[1])
            if wanted is None:
                problems.append(Problem(span, f'set "{words[1]}" is not created before this line'))
                continue
            options = _options(words[3:], _OF_ELEMENT, _FLAGS_OF_ELEMENT, span, problems)
            wanted.elements.append(ElementText(words[2], options, span))
        elif not words or words[0] not in _OTHER:
            message = f'unexpected "{line[:40]}": expected create or add, as ipset save prints them'
            problems.append(Problem(span, message))
        elif words[0] in ("flush", "-F", "--flush"):
            for known in sets.values():
                if len(words) == 1 or known.name == words[1]:
                    known.elements.clear()
    return sets, tuple(problems)


def _quoted(line: str) -> list[str] | None:
    try:
        return shlex.split(line)
    except ValueError:
        return None


def _create(words: list[str], span: Span, sets: dict[str, SetText], problems: list[Problem]) -> None:
    name, kind = words[1], words[2]
    if name in sets:
        problems.append(Problem(span, f'set "{name}" is created twice'))
        return
    sets[name] = SetText(name, kind, _options(words[3:], _OF_SET, _FLAGS_OF_SET, span, problems), span)


def _options(
    words: list[str], valued: tuple[str, ...], flags: tuple[str, ...], span: Span, problems: list[Problem]
) -> dict[str, str]:
    options: dict[str, str] = {}
    at = 0
    while at < len(words):
        word = words[at]
        if word in valued and at + 1 < len(words):
            options[word] = words[at + 1]
            at += 2
            continue
        if word not in flags:
            problems.append(Problem(span, f'unknown option "{word}" of a set'))
        options[word] = ""
        at += 1
    return options
