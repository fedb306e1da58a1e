"""Which program loads a ruleset, and at which line it refuses one."""

import os
import re
import shutil
from dataclasses import dataclass

from ruleaudit.model.fields import Family
from ruleaudit.model.ruleset import Ruleset

#: where such programs are, whoever asks
_FOLDERS = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
#: of iptables-restore, of nft
_LINE = re.compile(r"line:? (\d+)|:(\d+):\d+-\d+: ")


@dataclass(frozen=True, slots=True)
class Loader:
    """A program with its arguments, that reads the ruleset from standard input; or what is not installed for it."""

    command: tuple[str, ...] = ()
    missing: str = ""


def program(name: str) -> str | None:
    """The path of an installed program."""
    return shutil.which(name, path=_FOLDERS)


def loader(ruleset: Ruleset) -> Loader:
    """How a ruleset is loaded. The nf_tables variant of iptables is taken: its rules can be traced."""
    if ruleset.is_nft:
        found = program("nft")
        arguments = ("-j", "-f", "-") if ruleset.language == "nft-json" else ("-f", "-")
        return Loader((found, *arguments)) if found else Loader(missing="nft")
    name = f"ip{'6' if ruleset.family is Family.IPV6 else ''}tables-nft-restore"
    found = program(name)
    return Loader((found,)) if found else Loader(missing=name)


def refused_line(said: str) -> int | None:
    """The line that a loader's message names."""
    found = _LINE.search(said)
    return int(found[1] or found[2]) if found else None
