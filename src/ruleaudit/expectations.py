"""The `[[expect]]` blocks of a configuration: what a repository states about its firewall.

    [[expect]]
    traffic = "in tcp dport 443"        in words, or a packet of the packet language
    verdict = "accept"                  accept, drop, reject, refuse (drop or reject) or queue
    tracked = false                     neither direction makes an entry in the connection table
    files = ["web/*.v4"]                the rulesets that it is about; default: all
    name = "the website is open"        both are for the reader
    reason = "ticket 4711"

A block needs traffic, and a verdict or tracked. What is wrong with one is said with its line.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ruleaudit.diagnostics import UsageError
from ruleaudit.model.expectation import Expectation, Fate
from ruleaudit.model.traffic import Traffic
from ruleaudit.source import SourceFile, Span
from ruleaudit.syntax.refusal import Refused, did_you_mean
from ruleaudit.syntax.traffic import traffic

KEYS = ("traffic", "verdict", "tracked", "files", "name", "reason")
_HEADER = re.compile(r"^[ \t]*\[\[[ \t]*(?:tool[ \t]*\.[ \t]*ruleaudit[ \t]*\.[ \t]*)?expect[ \t]*\]\]", re.M)
_TABLE = re.compile(r"^[ \t]*\[", re.M)


def read(source: SourceFile, blocks: object) -> tuple[Expectation, ...]:
    """The expectations of a configuration. Raises UsageError for what makes no sense."""
    headers = list(_HEADER.finditer(source.text))
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise UsageError(f"{source.path}: expect is a list of tables: write [[expect]] above each")
    spans = [Span(header.start(), _end(source, header.end())) for header in headers]
    if len(spans) != len(blocks):
        # an inline list of tables has no headers of its own
        spans = [Span(0, 0)] * len(blocks)
    return tuple(_Block(source, values, span).expectation() for values, span in zip(blocks, spans, strict=True))


def _end(source: SourceFile, start: int) -> int:
    following = _TABLE.search(source.text, start)
    return following.start() if following else len(source.text)


@dataclass(frozen=True)
class _Block:
    """One block, and where it stands; an empty span: somewhere in the file."""

    source: SourceFile
    values: Mapping[str, Any]
    span: Span

    def expectation(self) -> Expectation:
        for key in self.values:
            if key not in KEYS:
                near = did_you_mean(key, KEYS) or f"known: {', '.join(KEYS)}"
                raise self._wrong(key, f'unknown key "{key}" in [[expect]]; {near}')
        if "verdict" not in self.values and "tracked" not in self.values:
            raise self._wrong("traffic", "an [[expect]] block needs a verdict, or tracked")
        asked, verdict = self._traffic(), self._verdict()
        if verdict in (Fate.DROP, Fate.REJECT, Fate.REFUSE) and "tracked" in self.values:
            raise self._wrong("tracked", "refused traffic makes no entry: leave tracked out")
        return Expectation(
            asked,
            self._place("traffic"),
            verdict,
            self._flag("tracked"),
            self._text("name"),
            self._text("reason"),
            tuple(self._files()),
        )

    def _traffic(self) -> Traffic:
        text = self._text("traffic")
        if not text:
            raise self._wrong("traffic", 'an [[expect]] block needs traffic, such as "in tcp dport 443"')
        try:
            return traffic(text)
        except Refused as error:
            hint = f"; {error.hint}" if error.hint else ""
            raise self._wrong("traffic", f'traffic "{text}": {error.message}{hint}') from None

    def _verdict(self) -> Fate | None:
        word = self.values.get("verdict")
        names = [fate.value for fate in Fate]
        if word is None or word in names:
            return None if word is None else Fate(word)
        near = did_you_mean(word, names) if isinstance(word, str) else ""
        raise self._wrong("verdict", f"verdict is {', '.join(names)}, not {word!r}" + (f"; {near}" if near else ""))

    def _flag(self, key: str) -> bool | None:
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(key, f"{key} is true or false, not {value!r}")
        return value

    def _text(self, key: str) -> str:
        value = self.values.get(key, "")
        if not isinstance(value, str):
            raise self._wrong(key, f"{key} is a text, not {value!r}")
        return value

    def _files(self) -> Iterator[str]:
        value = self.values.get("files", [])
        if not isinstance(value, list) or not all(isinstance(glob, str) for glob in value):
            raise self._wrong("files", f"files is a list of globs, not {value!r}")
        yield from value

    @cached_property
    def _lines(self) -> Mapping[str, Span]:
        """The line of each key of the block."""
        found: dict[str, Span] = {}
        for line in re.finditer(r"^[ \t]*[\"']?([\w-]+)[\"']?[ \t]*=.*", self.source.text, re.M):
            if self.span.start <= line.start() < self.span.end:
                text = line.group()
                start = line.start() + len(text) - len(text.lstrip())
                found.setdefault(line[1], Span(start, line.start() + len(text.rstrip())))
        return found

    def _place(self, key: str) -> Span:
        """The line of a key, else that of the block."""
        if key in self._lines:
            return self._lines[key]
        return Span(self.span.start, self.source.text.find("]]", self.span.start) + 2) if self.span.end else self.span

    def _wrong(self, key: str, message: str) -> UsageError:
        where = f":{self.source.position(self._place(key).start).line}" if self.span.end else ""
        return UsageError(f"{self.source.path}{where}: {message}")
