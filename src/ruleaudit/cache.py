"""What was found in a file, kept under everything that it was found from: looking again at what has not changed takes
no time.

The key is a hash of the program itself, the text, the texts that it includes, that of the twin, the settings and the
place: whatever changes, changes the key, so that nothing stale is ever told. What depends on ipsets is not kept.
Entries live in $XDG_CACHE_HOME/ruleaudit (default ~/.cache); those that nobody asked for in a
month are deleted. An entry that cannot be read or written is no entry.
"""

import os
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import ruleaudit
from ruleaudit.config import Settings
from ruleaudit.results import FileReport
from ruleaudit.source import SourceFile

if TYPE_CHECKING:
    from ruleaudit.syntax.nft_definitions import Found

#: entries are kept for so many seconds after they were last asked for; the folder is looked through once a day
_KEPT, _BETWEEN = 30 * 86_400, 86_400
_INCLUDE = re.compile(r'include(?:\s*"(?P<name>[^"\n]*)")?')
#: a text with more includes is looked at each time
_MOST = 100


def folder() -> Path:
    """Where entries live."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return Path(home if os.path.isabs(home) else os.path.expanduser("~/.cache"), "ruleaudit")


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
        (source.path, _digest(source.text)),
        included,
        [(other.path, _digest(other.text)) for other in beside],
        repr(replace(settings, source=None)),
        (configuration.path, configuration.text) if configuration else None,
        language,
    )
    return _digest(repr(said))


def _digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


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
    specs = (find_spec(package) for package in ("ruleaudit", "ruleaudit.grammars", "oxidd", "lark"))
    folders = (folder for spec in specs if spec for folder in spec.submodule_search_locations or ())
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
    """What is kept under a name, by us: a pickle of somebody else's could do anything."""
    import pickle

    path = _path(name)
    try:
        with path.open("rb") as file:
            report = pickle.load(file) if os.fstat(file.fileno()).st_uid == os.geteuid() else None
        os.utime(path)
    except Exception:
        # whatever is wrong with an entry, the answer is to look at the file itself
        return None
    return report if isinstance(report, FileReport) else None


def write(name: str, report: FileReport) -> None:
    """Keep a report."""
    import pickle

    path = _path(name)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside.write_bytes(pickle.dumps(report, pickle.HIGHEST_PROTOCOL))
        beside.replace(path)
    except (OSError, RecursionError):
        with suppress(OSError):
            beside.unlink()


def tidy(now: float | None = None) -> None:
    """Delete what nobody asked for in a month, once a day."""
    now = time.time() if now is None else now
    stamp = folder() / "tidied"
    with suppress(OSError):
        if stamp.exists() and now - stamp.stat().st_mtime < _BETWEEN:
            return
        stamp.touch()
        for path in folder().glob("??/*"):
            with suppress(OSError):
                if now - path.stat().st_mtime > _KEPT:
                    path.unlink()


def _path(name: str) -> Path:
    return folder() / name[:2] / name[2:]
