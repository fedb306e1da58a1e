"""The rules that run in this network namespace, program by program, as the programs themselves list them.

nf_tables is asked through libnftables (module `nftables`), or through the program `nft`. What iptables-nft keeps there
is asked of iptables-nft-save: nft shows `-m connlimit` and the like without what they ask. The legacy tables are those
that /proc/net/ip_tables_names names; the programs are told which, because to open a table is to make it.
Sources: nft(8), iptables-save(8), tests/kernel/test_live.py.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ruleaudit.diagnostics import SourceError
from ruleaudit.kernel.loading import program

#: bit of CapEff; linux/capability.h
_NET_ADMIN = 12
_TABLES = ("raw", "mangle", "nat", "filter", "security")
_TABLE = re.compile(r"^table (\S+) (\S+)$", re.MULTILINE)
#: with the comments around it: lines are numbered as the program prints them
_SAVED = re.compile(r"(?:^#.*\n)*^\*(\S+)$[\s\S]*?^COMMIT$\n?(?:^# Completed.*\n?)?", re.MULTILINE)
_TIMEOUT = 60


@dataclass(frozen=True, slots=True)
class Listing:
    """What one program lists.

    name    nft, or the program's name without -save: iptables-nft, ip6tables-legacy
    tables  the text of each; `filter`, or `inet fw4`
    shared  nft's text of the tables that iptables-nft keeps
    """

    name: str
    tables: dict[str, str]
    shared: dict[str, str]


@dataclass(frozen=True, slots=True)
class Listed:
    """Every listing that is not empty, and what could not be read, in words."""

    listings: tuple[Listing, ...]
    unread: tuple[str, ...]


def listed() -> Listed:
    """The rules of this network namespace. Nothing is changed, no module is loaded that is not there.

    Raises SourceError where the rules cannot be read by this user, or on this system.
    """
    if sys.platform != "linux":
        raise SourceError("--live reads the rules of a Linux kernel; here, save them on the host and compare the files")
    if not _may_ask():
        raise SourceError(
            "--live: only root (CAP_NET_ADMIN) may read the rules of the kernel; run it with sudo, or save them as root"
            " (iptables-save > now.v4; nft list ruleset > now.nft) and name that file"
        )
    unread: list[str] = []
    listings = [*_of_nf_tables(), *_of_legacy(unread)]
    return Listed(tuple(one for one in listings if one.tables), tuple(unread))


def _may_ask() -> bool:
    """This process has CAP_NET_ADMIN."""
    found = re.search(r"^CapEff:\s*([0-9a-f]+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> _NET_ADMIN & 1)


# -- nf_tables ----------------------------------------------------------------------------------------


def _of_nf_tables() -> Iterator[Listing]:
    """What iptables-nft, ip6tables-nft and everybody else keep in nf_tables."""
    if not _may_be_loaded("nf_tables"):
        return
    mine = {" ".join(found): _nft(f"list table {' '.join(found)}") for found in _TABLE.findall(_nft("list tables"))}
    shared: dict[str, str] = {}
    for family, name in (("ip", "iptables"), ("ip6", "ip6tables")):
        saver = program(f"{name}-nft-save")
        if saver is None or not any(f"{family} {table}" in mine for table in _TABLES):
            continue
        # it leaves out, and says so, the tables of the same names that it does not understand
        saved = {found[1]: found[0] for found in _SAVED.finditer(_run(saver))}
        kept = {table: text for table, text in saved.items() if f"{family} {table}" in mine}
        shared |= {f"{family} {table}": mine.pop(f"{family} {table}") for table in kept}
        yield Listing(f"{name}-nft", kept, {})
    if mine or shared:
        yield Listing("nft", mine, shared)


def _nft(command: str) -> str:
    """What nft answers, without the values of counters. Raises SourceError."""
    try:
        import nftables

        library = nftables.Nftables()
    except (ImportError, OSError):  # without the module, or without the library that it calls
        library = None
    if library is not None:
        library.set_stateless_output(True)
        code, said, errors = library.cmd(command)
        if code:
            raise SourceError(f"--live: nft {command}: {_first(errors)}")
        return str(said)
    found = program("nft")
    if found is None:
        raise SourceError(
            "--live: the rules of nf_tables can't be read: install nftables, or the module that knows its library"
            " (pip install 'ruleaudit[live]')"
        )
    return _run(found, "-s", *command.split())


def _may_be_loaded(module: str) -> bool:
    """False where it is known not to be: to ask a module that is not there would load it."""
    if Path("/sys/module", module).exists():
        return True
    try:
        built_in = Path("/lib/modules", os.uname().release, "modules.builtin").read_text()
        loaded = Path("/proc/modules").read_text()
    except OSError:
        return True
    return f"/{module}.ko" in built_in or f"\n{module} " in f"\n{loaded}"


# -- the legacy tables --------------------------------------------------------------------------------


def _of_legacy(unread: list[str]) -> Iterator[Listing]:
    """What the legacy variants keep, of the tables that are there."""
    for name, names in (("iptables", "ip_tables_names"), ("ip6tables", "ip6_tables_names")):
        try:
            tables = Path("/proc/thread-self/net", names).read_text().split()
        except FileNotFoundError:
            continue
        except PermissionError:
            unread.append(f"the tables of {name}-legacy, if there are any: only root of the whole system may see them")
            continue
        if not tables:
            continue
        saver = _legacy_saver(name)
        if saver is None:
            held = ", ".join(f"{table}{_number_of_rules(name, table)}" for table in tables)
            unread.append(f"the tables of {name}-legacy ({held}): {name}-legacy-save is not installed")
            continue
        yield Listing(f"{name}-legacy", {table: _run(saver, "-t", table) for table in tables}, {})


def variant(name: str) -> str:
    """Which variant `iptables` or `ip6tables` is on this host: iptables-nft or iptables-legacy."""
    plain = program(f"{name}-restore")
    return f"{name}-nft" if plain is None or "nf_tables" in _run(plain, "-V") else f"{name}-legacy"


def _legacy_saver(name: str) -> str | None:
    """The program that lists the legacy tables; where there is only one variant, it has the plain name."""
    found = program(f"{name}-legacy-save")
    plain = program(f"{name}-save") if found is None else None
    return plain if plain and "nf_tables" not in _run(plain, "-V") else found


def _number_of_rules(name: str, table: str) -> str:
    """` with 12 rules`, by python-iptables; it is asked of tables only that are there: it makes those that are not."""
    try:
        import iptc
    except ImportError:
        return ""
    found = (iptc.Table6 if name == "ip6tables" else iptc.Table)(table)
    return f" with {sum(len(chain.rules) for chain in found.chains)} rules"


def _run(command: str, *arguments: str) -> str:
    """Standard output of a program that lists rules. Raises SourceError with what it says."""
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            (command, *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            env=environment,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SourceError(f"--live: {command} did not answer within {_TIMEOUT} s") from None
    if done.returncode:
        raise SourceError(f"--live: {' '.join((command, *arguments))}: {_first(done.stderr)}")
    return done.stdout


def _first(said: str) -> str:
    return said.strip().partition("\n")[0] or "failed without a word"
