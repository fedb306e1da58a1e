"""What to look for, and how bad it is: ruleaudit.toml, or [tool.ruleaudit] in pyproject.toml, and the command line.

    select = ["RA2", "needless-tracking"]        codes, their beginnings, or names; default: all
    ignore = ["RA302"]
    fail-on = "error"
    ipset = ["sets.save"]                        relative to this file
    baseline = ".ruleaudit-baseline.json"
    preview = true                               also the rules that are in preview

    [severity]
    RA101 = "note"

    [per-file-ignores]
    "legacy/*.v4" = ["RA1"]

    [[expect]]                                   what the firewall must do; see `expectations`
    traffic = "in tcp dport 443"
    verdict = "accept"

The nearest file above a ruleset counts, up to the root of its repository; files are not merged.
`ruleaudit.schema.json`, beside this module, is the same as a JSON Schema, for editors.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any

from ruleaudit.diagnostics import Finding, Severity, SourceError, UsageError
from ruleaudit.model.expectation import Expectation
from ruleaudit.source import SourceFile, Span
from ruleaudit.suppress import NO_REDIRECTS
from ruleaudit.syntax.refusal import did_you_mean

#: a ruleset cannot be read, and what is wrong with it, is always said
ALWAYS = ("RA001", "RA005")
KEYS = (
    "select",
    "extend-select",
    "ignore",
    "fail-on",
    "ipset",
    "baseline",
    "preview",
    "severity",
    "per-file-ignores",
    "expect",
)


@dataclass(frozen=True)
class Settings:
    """The choices for one ruleset; paths are absolute or relative to the current folder."""

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    fail_on: Severity = Severity.WARNING
    severity: Mapping[str, Severity] = field(default_factory=dict)
    per_file: tuple[tuple[str, tuple[str, ...]], ...] = ()
    ipset: tuple[str, ...] = ()
    baseline: str = ""
    preview: bool = False  #: also run the rules that are in preview
    comments: bool = True  #: take notice of ignore comments
    path: str = ""  #: the file that they were read from; empty: none
    folder: str = "."
    expect: tuple[Expectation, ...] = ()
    source: SourceFile | None = field(default=None, repr=False)  #: the text that they were read from

    def wants(self, finding: Finding, source: SourceFile) -> bool:
        """Whether a finding about a file is to be told."""
        if finding.code in ALWAYS and finding.severity is Severity.ERROR:
            return True
        if self.select and not _names(self.select, finding):
            return False
        if _names(self.ignore, finding):
            return False
        path = source.position(finding.span.start).path
        return not any(_names(codes, finding) for glob, codes in self.per_file if self._is_under(glob, path))

    def wants_code(self, code: str, name: str, source: SourceFile) -> bool:
        """Whether what a rule finds in a file would be told."""
        return self.wants(Finding(code, name, Severity.NOTE, "", Span(0, 0)), source)

    def expectations(self, source: SourceFile) -> tuple[Expectation, ...]:
        """What is expected of a file."""
        return tuple(e for e in self.expect if not e.files or any(self._is_under(g, source.path) for g in e.files))

    def weighed(self, finding: Finding) -> Finding:
        """The finding with the severity that it has here."""
        for word, severity in self.severity.items():
            if _names((word,), finding):
                return replace(finding, severity=severity)
        return finding

    def as_toml(self, path: str) -> str:
        """The settings for a file as they would be written, with where they come from."""
        lines = [f"# {path}: {self.path or 'no configuration file'}"]
        lists = {"select": self.select or ("ALL",), "ignore": self.ignore, "ipset": self.ipset}
        lines += [f"{key} = {_toml(list(values))}" for key, values in lists.items()]
        lines += [f"fail-on = {_toml(self.fail_on.value)}", f"preview = {_toml(self.preview)}"]
        lines += [f"baseline = {_toml(self.baseline)}"] * bool(self.baseline)
        lines += ["# ignore comments are not heeded"] * (not self.comments)
        tables: dict[str, dict[str, object]] = {
            "severity": {word: level.value for word, level in self.severity.items()},
            "per-file-ignores": {glob: list(codes) for glob, codes in self.per_file},
        }
        for name, table in tables.items():
            if table:
                lines += ["", f"[{name}]", *(f"{_toml(key)} = {_toml(value)}" for key, value in table.items())]
        lines += [f"# and {len(self.expect)} [[expect]]"] * bool(self.expect)
        return "".join(f"{line}\n" for line in lines)

    def _is_under(self, glob: str, path: str) -> bool:
        from fnmatch import fnmatch

        try:
            relative = Path(os.path.realpath(path)).relative_to(os.path.realpath(self.folder)).as_posix()
        except ValueError:
            relative = Path(path).as_posix()
        return fnmatch(relative, glob) or fnmatch(Path(path).name, glob)


def _toml(value: object) -> str:
    """A text, a flag or a list of texts; JSON writes these as TOML does."""
    import json

    return json.dumps(value, ensure_ascii=False)


def _names(words: Iterable[str], finding: Finding) -> bool:
    """A code, the beginning of one (`RA2`), a name, or ALL."""
    return any(w in ("ALL", finding.name) or finding.code.startswith(w.upper()) for w in words)


def load(source: SourceFile, known: Iterable[tuple[str, str]], redirects: Mapping[str, str] = NO_REDIRECTS) -> Settings:
    """The settings of a file; `known` are the codes and names of all rules, `redirects` what retired ones are now.

    Raises SourceError, UsageError.
    """
    import tomllib

    from ruleaudit import expectations

    path = PurePath(source.path)
    try:
        values: dict[str, Any] = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        raise SourceError(f"{path}: {error}") from None
    if path.name == "pyproject.toml":
        values = values.get("tool", {}).get("ruleaudit", {})
    for key in values:
        if key not in KEYS:
            raise UsageError(f'{path}: unknown key "{key}"; {did_you_mean(key, KEYS) or "known: " + ", ".join(KEYS)}')
    reader = _Reader(path, tuple(known), redirects, values)
    return Settings(
        reader.codes("select") + reader.codes("extend-select"),
        reader.codes("ignore"),
        reader.severity("fail-on", values.get("fail-on", "warning")),
        {reader.code(word): reader.severity(word, level) for word, level in reader.table("severity").items()},
        tuple((glob, reader.all_codes(glob, some)) for glob, some in reader.table("per-file-ignores").items()),
        tuple(str(path.parent / name) for name in reader.texts("ipset", values.get("ipset", []))),
        str(path.parent / values["baseline"]) if "baseline" in values else "",
        reader.flag("preview"),
        path=str(path),
        folder=str(path.parent),
        expect=expectations.read(source, values.get("expect", [])),
        source=source,
    )


@dataclass(frozen=True)
class _Reader:
    """The values of one file, and what is said about those that make no sense."""

    path: PurePath
    known: tuple[tuple[str, str], ...]
    redirects: Mapping[str, str]
    values: Mapping[str, Any]

    def texts(self, key: str, value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise UsageError(f"{self.path}: {key} is a list of texts")
        return tuple(value)

    def flag(self, key: str) -> bool:
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise UsageError(f"{self.path}: {key} is true or false, not {value!r}")
        return value

    def table(self, key: str) -> Mapping[str, Any]:
        value = self.values.get(key, {})
        if not isinstance(value, dict):
            raise UsageError(f"{self.path}: {key} is a table")
        return value

    def codes(self, key: str) -> tuple[str, ...]:
        return self.all_codes(key, self.values.get(key, []))

    def all_codes(self, key: str, value: object) -> tuple[str, ...]:
        return tuple(self.code(word) for word in self.texts(key, value))

    def code(self, word: str) -> str:
        return known_code(word, self.known, self.redirects, f"{self.path}: ")

    def severity(self, key: str, value: object) -> Severity:
        try:
            return Severity(value)
        except ValueError:
            raise UsageError(f'{self.path}: {key} is "error", "warning" or "note", not {value!r}') from None


def known_code(
    word: str, known: Iterable[tuple[str, str]], redirects: Mapping[str, str] = NO_REDIRECTS, where: str = ""
) -> str:
    """The word, if it names some rule; what a retired one is called now. Raises UsageError."""
    known = tuple(known)
    word = redirects.get(word, word)
    if word == "ALL" or any(word == name or code.startswith(word.upper()) for code, name in known):
        return word
    near = did_you_mean(word, [w for pair in known for w in pair])
    raise UsageError(f'{where}no rule is called "{word}"; {near or "see: ruleaudit rules"}')
