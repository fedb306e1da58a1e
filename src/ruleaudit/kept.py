"""What is kept between runs, under names that say all that it was made from: whatever changes, changes the name.

Entries live in $XDG_CACHE_HOME/ruleaudit (default ~/.cache), where only their owner can write; those that nobody asked
for in a month are deleted. An entry that cannot be read or written is no entry.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

#: entries are kept for so many seconds after they were last asked for; the folder is looked through once a day
_KEPT, _BETWEEN = 30 * 86_400, 86_400


def folder() -> Path:
    """Where entries live."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return Path(home if os.path.isabs(home) else os.path.expanduser("~/.cache"), "ruleaudit")


def name(text: str) -> str:
    """The name of what is made from a text."""
    import hashlib

    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def read(name: str) -> object:
    """What is kept under a name, by us: a pickle of somebody else's could do anything. None: nothing."""
    import pickle

    path = _path(name)
    try:
        with path.open("rb") as file:
            where = folder().stat(), path.parent.stat(), os.fstat(file.fileno())
            found: object = pickle.load(file) if all(map(_only_ours, where)) else None
        os.utime(path)
    except Exception:
        # whatever is wrong with an entry, the answer is to make it anew
        return None
    return found


def write(name: str, value: object) -> None:
    """Keep a value; whoever reads it meanwhile gets all of it or nothing, and several may write it at once."""
    import pickle
    from tempfile import mkstemp

    path, beside = _path(name), ""
    try:
        folder().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for inner in (folder(), path.parent):
            inner.mkdir(mode=0o700, exist_ok=True)
        if not _only_ours(folder().stat()):
            return
        handle, beside = mkstemp(dir=path.parent)
        with open(handle, "wb") as file:
            pickle.dump(value, file, pickle.HIGHEST_PROTOCOL)
        os.replace(beside, path)
    except (OSError, RecursionError):
        with suppress(OSError):
            os.unlink(beside)


def _only_ours(found: os.stat_result) -> bool:
    """Nobody but us, and root, can have written what is there."""
    return hasattr(os, "geteuid") and found.st_uid == os.geteuid() and not found.st_mode & 0o022


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
