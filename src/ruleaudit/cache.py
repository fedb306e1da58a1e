"""What was found in a file, kept under everything that it was found from: looking again at what has not changed takes
no time.

The key is a hash of the program itself, the text, the texts that it includes, that of the twin, the settings and the
place: whatever changes, changes the key, so that nothing stale is ever told. What depends on ipsets is not kept.
"""

import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

import ruleaudit
from ruleaudit import kept
from ruleaudit.config import Settings
from ruleaudit.results import FileReport
from ruleaudit.source import SourceFile
from ruleaudit.syntax import grammar

if TYPE_CHECKING:
    from ruleaudit.syntax.nft_definitions import Found

_INCLUDE = re.compile(r'include(?:\s*"(?P<name>[^"\n]*)")?')
#: a text with more includes is looked at each time
_MOST = 100


def key(source: SourceFile, beside: Iterable[SourceFile], settings: Settings, language: str | None) -> str | None:
    """The name of what is found in a text beside others; None where it depends on files that cannot be told here."""
    if settings.ipset:
        return None
    included = _included(source)
    if included is None:
        return None
    configuration = settings.source
    said = (
        program(),
        os.getcwd(),
        (source.path, kept.name(source.text)),
        included,
        [(other.path, kept.name(other.text)) for other in beside],
        repr(replace(settings, source=None)),
        (configuration.path, configuration.text) if configuration else None,
        language,
    )
    return kept.name(repr(said))


def _included(source: SourceFile) -> "list[Found] | None":
    """What is found for every include that stands in a text, or in what it includes: in comments too, which is more
    than nft reads. None where a text has too many of them, or the word stands there without a name.
    """
    found: list[Found] = []
    if "include" not in source.text:
        return found
    from ruleaudit.includes import finder

    load, texts = finder(source.path), [source]
    for file in texts:
        for include in _INCLUDE.finditer(file.text):
            if include["name"] is None or len(found) == _MOST:
                return None
            one = load(include["name"], file.path)
            found.append(one)
            texts += (other for other in one.files if other not in texts)
    return found


@cache
def program() -> str:
    """The program that finds: its files, as they are now, and what they run on."""
    specs = (find_spec(package) for package in ("ruleaudit", "oxidd", "lark"))
    folders = [folder for spec in specs if spec for folder in spec.submodule_search_locations or ()]
    folders.append(str(grammar.folder()))
    stats = [(path, found.st_size, found.st_mtime_ns) for folder in folders for path, found in _code(folder)]
    return repr((ruleaudit.__version__, sys.version, sorted(stats)))


def _code(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """The files below a folder that say what a package does."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((".py", ".lark", ".so", ".pyd")):
                yield entry.path, entry.stat()
            elif entry.is_dir(follow_symlinks=False) and entry.name != "__pycache__":
                yield from _code(entry.path)


def read(name: str) -> FileReport | None:
    """The report that is kept under a name."""
    report = kept.read(name)
    return report if isinstance(report, FileReport) else None
