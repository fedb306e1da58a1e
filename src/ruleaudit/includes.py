"""The files that an nft ruleset includes: where nft looks for them, and what it does when they are not there.

Source: nft(8), INCLUDE FILES; `scanner_include_file` in src/scanner.l of nftables; tests/kernel/test_includes.py.
"""

import glob
import os
import re

from ruleaudit.source import SourceFile
from ruleaudit.syntax.nft_definitions import Found, Load

#: the folder that nft looks in last (its DEFAULT_INCLUDE_PATH)
_DEFAULT = "/etc"
_WILDCARD = re.compile(r"[*?\[]")


def finder(main: str) -> Load:
    """How nft finds what the ruleset at path `main` includes, wherever in it the include stands; files are read once.

    `./x` and `../x` count from the folder that nft is started in, which is taken to be that of `main`, and where they
    are not there, the current one. Other relative names are looked for beside `main` (nft 1.0.9, or `-I`), then in
    /etc. A pattern with wildcards may match nothing; its files come in the order of their names.
    """
    known: dict[str, Found] = {}

    def load(pattern: str, by: str) -> Found:
        if pattern not in known:
            known[pattern] = _find(pattern, os.path.dirname(main) or ".")
        found = known[pattern]
        if found.problem and not found.files and os.path.isfile(os.path.join(os.path.dirname(by), pattern)):
            hint = f"it is beside {by}, but nft looks beside {main} for all that is included"
            return Found((), found.folder, False, found.problem, hint)
        return found

    return load


def _find(pattern: str, beside: str) -> Found:
    if pattern.startswith("/"):
        return _in_folders(pattern, [""], beside)
    if not pattern.startswith(("./", "../")):
        return _in_folders(pattern, [beside, _DEFAULT], beside)
    folders = [beside] if os.path.realpath(beside) == os.path.realpath(".") else [beside, "."]
    found = _in_folders(pattern, folders, beside)
    if not found.problem and len(folders) > 1 and _names(pattern, ".") and _names(pattern, beside):
        problem = f"nft takes {pattern} from the folder that it is started in: this was read in {beside}, not here"
        return Found(found.files, found.folder, problem=problem, hint="start it there", refused=False)
    return found


def _in_folders(pattern: str, folders: list[str], beside: str) -> Found:
    """What a pattern names in the first folder where it names something; the ruleset lies in `beside`."""
    for folder in folders:
        names = _names(pattern, folder)
        if names:
            return _read(pattern, folder, names)
    if _WILDCARD.search(pattern):
        # nft takes it for nothing; what lies elsewhere than the ruleset may be there on another machine
        home, at = os.path.realpath(beside), os.path.realpath(os.path.dirname(os.path.join(folders[0], pattern)))
        known = os.path.isdir(at) and os.path.commonpath((home, at)) == home
        return Found(folder=folders[0], known=known)
    where = f"it is neither in {folders[0]} nor in {folders[1]}" if len(folders) > 1 else ""
    return Found((), folders[0], False, f"{pattern} is not there, and nft loads nothing without it", where)


def _names(pattern: str, folder: str) -> list[str]:
    if _WILDCARD.search(pattern):
        return sorted(glob.glob(pattern, root_dir=folder or None))
    return [pattern] if os.path.exists(os.path.join(folder, pattern)) else []


def _read(pattern: str, folder: str, names: list[str]) -> Found:
    files = []
    for name in names:
        path = os.path.join(folder, name)
        if not os.path.isfile(path) and _WILDCARD.search(pattern):
            continue
        if os.path.isdir(path):
            problem = f"{pattern} is a folder, and nft reads nothing from one"
            hint = f'include "{pattern.rstrip("/")}/*.nft" for the files in it'
            return Found((), folder, True, problem, hint, refused=False)
        if not os.path.isfile(path):
            return Found((), folder, False, f"{pattern} is no regular file: what it holds is not known")
        try:
            with open(path, "rb") as opened:
                text = opened.read().decode("utf-8", "surrogateescape")
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            return Found((), folder, False, f"{os.path.normpath(path)} cannot be read: {why}")
        files.append(SourceFile(os.path.normpath(path), text))
    return Found(tuple(files), folder)
