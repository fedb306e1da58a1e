"""Which program loads a ruleset, and at which line it refuses one."""

import os
import re
import shutil
from dataclasses import dataclass

from ruleaudit.model.fields import Family
from ruleaudit.model.ruleset import Ruleset

#: where such programs are; the search path of an ordinary user has only some of these
FOLDERS = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
#: of iptables-restore, of nft
_LINE = re.compile(r"line:? (\d+)|:(\d+):\d+-\d+: ")


@dataclass(frozen=True, slots=True)
class Loader:
    """A program with its arguments, that reads the ruleset from standard input; or what is not installed for it.

    saver   the program that lists its rules with counters, where they cannot be traced
    """

    command: tuple[str, ...] = ()
    saver: str = ""
    missing: str = ""


def program(name: str) -> str | None:
    """The path of an installed program."""
    return shutil.which(name, path=FOLDERS)


def loader(ruleset: Ruleset) -> Loader:
    """How a ruleset is loaded.

    Of iptables the nf_tables variant is taken, whose rules can be traced; the legacy one where there is no other.
    """
    if ruleset.is_nft:
        found = program("nft")
        arguments = ("-j", "-f", "-") if ruleset.language == "nft-json" else ("-f", "-")
        return Loader((found, *arguments)) if found else Loader(missing="nft")
    name = "ip6tables" if ruleset.family is Family.IPV6 else "iptables"
    traced = program(f"{name}-nft-restore")
    if traced:
        return Loader((traced,))
    for variant in (f"{name}-legacy", name):
        restore, save = program(f"{variant}-restore"), program(f"{variant}-save")
        if restore and save:
            return Loader((restore,), save)
    return Loader(missing=f"{name}-restore")


def refused_line(said: str) -> int | None:
    """The line that a loader's message names."""
    found = _LINE.search(said)
    return int(found[1] or found[2]) or None if found else None
