"""What `check` is asked to look at: the files, those in folders too, and the settings for each of them."""

import os
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ruleaudit import config
from ruleaudit.config import Settings
from ruleaudit.diagnostics import Severity, SourceError, UsageError
from ruleaudit.report.wording import printable
from ruleaudit.source import read

#: so many files are named one by one
NAMED = 10


def paths(asked: Namespace) -> tuple[list[str], list[tuple[str, str]], str]:
    """The files that are asked for, those in folders too; what could not be looked into; and a word about them."""
    from ruleaudit.discovery import rulesets

    names: list[str] = asked.files or ["."]
    failed: list[tuple[str, str]] = []

    def unreadable(error: OSError) -> None:
        path = str(error.filename)
        failed.append((path, f"{path}: cannot be looked into: {(error.strerror or str(error)).lower()}"))

    found: list[str] = []
    for name in names:
        if name == "-" or not os.path.isdir(name):
            found.append(name)
            continue
        known = len(failed)
        below = list(rulesets(name, unreadable))
        if not below and len(failed) == known:
            where = "this folder" if name == "." else name
            what = f"no ruleset below {where} (rules.v4, iptables.rules, *.nft...); name the files"
            if len(names) == 1:
                raise SourceError(what)
            failed.append((name, what))
        found += below
    # a file that is named twice, or by a link, too, is looked at once: --fix would not know its own work again
    once: dict[str, str] = {}
    for name in found:
        once.setdefault(name if name == "-" else os.path.realpath(name), name)
    found = list(once.values())
    if (asked.fix or asked.diff) and "-" in found and len(found) > 1:
        raise UsageError("--fix prints what it makes of standard input: no other file can be fixed with it")
    if asked.files and found == list(dict.fromkeys(asked.files)):
        return found, failed, ""
    some = printable(", ".join(found)) if len(found) <= NAMED else f"{len(found):,} rulesets"
    return found, failed, f"checking {some}\n" if found else ""


class Choices:
    """The settings for each path: those of the nearest configuration file, and what the command line says instead."""

    def __init__(self, asked: Namespace) -> None:
        from ruleaudit.rules import REDIRECTS, RULES, in_preview

        self.asked = asked
        self.remarks: list[str] = []
        self._known = [(rule.CODE, rule.NAME) for rule in RULES]
        self._redirects = REDIRECTS
        self._in_preview = {word: rule.CODE for rule in RULES if in_preview(rule) for word in (rule.CODE, rule.NAME)}
        self._by_file: dict[str | None, Settings] = {}
        self._by_folder: dict[Path, Settings] = {}

    def of(self, path: str) -> Settings:
        """The settings for a file; a configuration file is read once."""
        from ruleaudit.discovery import nearest_config

        folder = Path(os.path.realpath(path)).parent if path != "-" else Path.cwd()
        if folder not in self._by_folder:
            found = self.asked.config or (None if self.asked.no_config else nearest_config(path))
            if found not in self._by_file:
                self._by_file[found] = self._read(found)
            self._by_folder[folder] = self._by_file[found]
        return self._by_folder[folder]

    def _read(self, found: str | None) -> Settings:
        asked = self.asked
        settings = Settings()
        if found:
            settings = config.load(read(found, _near(found), ruleset=False), self._known, self._redirects)
        select = self._codes(asked.select) or settings.select
        select += self._codes(asked.extend_select) if select else ()
        settings = replace(settings, select=select, ignore=(*settings.ignore, *self._codes(asked.ignore)))
        if asked.fail_on:
            settings = replace(settings, fail_on=Severity(asked.fail_on))
        settings = replace(settings, comments=not asked.no_ignores, preview=asked.preview or settings.preview)
        if not settings.preview:
            for word in dict.fromkeys(w for w in settings.select if w in self._in_preview):
                remark = f"{word} is in preview: it is looked for only with --preview\n"
                self.remarks += [] if remark in self.remarks else [remark]
        return settings

    def _codes(self, words: Sequence[str]) -> tuple[str, ...]:
        return tuple(config.known_code(word, self._known, self._redirects) for word in words)


def _near(path: str) -> str:
    """A path as seen from the current folder, if it is below it."""
    here, there = Path.cwd(), Path(os.path.realpath(path))
    return str(there.relative_to(here)) if there.is_relative_to(here) else path
