"""The arguments of the command line: commands, options and what they may hold."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ruleaudit import LANGUAGES, __version__
from ruleaudit.diagnostics import UsageError
from ruleaudit.report import FORMATS

_DESCRIPTION = (
    "Tells which firewall rules need connection tracking, and rewrites a ruleset so that the rest does without."
)
_EXITS = "exit status: 0 done, 1 findings or differences (see each command), 2 could not do it"
BASELINE = ".ruleaudit-baseline.json"
_LOOSE = ("reversed", "relaxing")
SHELLS = ("bash", "zsh", "fish")
_KERNEL = "also load the rules in a network namespace, and send packets through them: 2 if that cannot be done"
#: what `verify --allow` takes: kinds of differences (strays is a synonym of stray), and classes of rewrites
ALLOWED = (
    "strays",
    "breaks",
    "opens",
    "half-tracked",
    "refusal",
    "effect",
    "reversed",
    "stray",
    "icmp-errors",
    "tracked",
    "untracked",
    "exact",
    "same-connections",
    "assuming",
    "relaxing",
)


class _Parser(argparse.ArgumentParser):
    """Errors of usage are ours to report."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}\n{self.format_usage().rstrip()}\nMore: {self.prog} --help")


def _formatter() -> Any:
    """Coloured help on a terminal; the plain one, which loads in no time, elsewhere."""
    if sys.stdout is not None and sys.stdout.isatty():
        from rich_argparse import RawDescriptionRichHelpFormatter

        return RawDescriptionRichHelpFormatter
    return argparse.RawDescriptionHelpFormatter


def _list(text: str) -> tuple[str, ...]:
    """`80,443` as ("80", "443")."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


@dataclass(frozen=True)
class Chosen:
    """`reversed,relaxing` as a tuple of words, each out of `names`."""

    names: tuple[str, ...]

    def __call__(self, text: str) -> tuple[str, ...]:
        return tuple(_known(name, self.names) for name in _list(text))


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes")
    return int(text)


@dataclass(frozen=True)
class FormatAndFile:
    """`sarif` or `sarif:out.sarif` as (format, file); the format is out of `names`."""

    names: tuple[str, ...]

    def __call__(self, text: str) -> tuple[str, str]:
        name, _, path = text.partition(":")
        return _known(name, self.names), path


def _known(name: str, names: Sequence[str]) -> str:
    if name not in names:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(names)}")
    return name


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What the user asks for. Raises UsageError; --help and --version raise SystemExit."""
    asks_for_help = any(a in ("-h", "--help") for a in arguments)
    parser = make_parser(_formatter() if asks_for_help else argparse.RawDescriptionHelpFormatter)
    asked = parser.parse_args(arguments)
    if asked.completions:
        asked.command = "completions"
    if asked.command is None:
        parser.error("the following arguments are required: COMMAND")
    if asked.command == "suggest" and not asked.files and len(asked.haproxy) < 2:
        raise UsageError("the following arguments are required: FILE\nMore: ruleaudit suggest --help")
    if asked.command == "check":
        shown = [name for name, path in asked.formats if not path]
        if len(shown) > 1:
            raise UsageError("only one --format can go to standard output; name a file: --format sarif:out.sarif")
        asked.format = shown[0] if shown else _default_format()
    return asked


def make_parser(formatter: Any = argparse.RawDescriptionHelpFormatter) -> argparse.ArgumentParser:
    """Everything that the command line takes."""
    parser = _Parser(
        "ruleaudit", description=_DESCRIPTION, epilog=_EXITS, formatter_class=formatter, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"ruleaudit {__version__}")
    completions = f"print the script by which a shell completes this command: {', '.join(SHELLS)}"
    parser.add_argument("--completions", choices=SHELLS, metavar="SHELL", help=completions)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, help: str, exits: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(
            name,
            help=help,
            description=f"{help[0].upper()}{help[1:]}.",
            epilog=f"exit status: {exits}",
            formatter_class=formatter,
            allow_abbrev=False,
        )
        if name in FORMATS:
            _common(made, name)
        return made

    check = command("check", "lint rulesets", "0 nothing at or above --fail-on, 1 findings, 2 a file could not be read")
    check.add_argument("files", nargs="*", metavar="FILE", help="or a folder; default: the current one")
    check.add_argument("--fix", action="store_true", help="apply the fixes that are proved to change nothing")
    check.add_argument("--diff", action="store_true", help="print what --fix would change, and nothing else")
    check.add_argument("--fail-on", choices=("error", "warning", "note"), help="default: warning")
    for option, text in (
        ("--select", "these rules alone: codes, their beginnings (RA2), names"),
        ("--extend-select", "these, too"),
        ("--ignore", "not these"),
    ):
        check.add_argument(option, type=_list, action="extend", default=[], metavar="RULES", help=text)
    check.add_argument("--preview", action="store_true", help="also the rules that are in preview")
    check.add_argument("--no-ignores", action="store_true", help="take no notice of ignore comments")
    check.add_argument("--baseline", metavar="FILE", help="leave out what a baseline knows")
    check.add_argument(
        "--write-baseline", nargs="?", const=BASELINE, metavar="FILE", help=f"write one; default: {BASELINE}"
    )
    check.add_argument("--prune-baseline", action="store_true", help="take out of it what is no longer found")
    check.add_argument("--config", metavar="FILE", help="default: the nearest ruleaudit.toml or pyproject.toml")
    check.add_argument("--no-config", action="store_true", help="read no configuration file")
    check.add_argument("--show-settings", action="store_true", help="print the settings for each file, and do nothing")
    check.add_argument("--show-files", action="store_true", help="print which files would be checked, and do nothing")
    check.add_argument("--no-cache", action="store_true", help="look at every file, whatever an earlier run found")
    check.add_argument("--jobs", type=_number, metavar="N", help="processes; default: as many as this machine runs")
    check.add_argument("--exit-zero", action="store_true", help="exit with 0 whatever is found")

    suggest = command(
        "suggest",
        "print the ruleset rewritten so that less is tracked, proved",
        "0 done, with or without a rewrite, 1 there is one (with --exit-code), 2 could not do it",
    )
    suggest.add_argument("files", nargs="*", metavar="FILE", help="the IPv6 twin is a FILE of its own")
    suggest.add_argument("--diff", action="store_true", help="print a unified diff and nothing else")
    suggest.add_argument("--all", action="store_true", help="whatever may leave, not only public services")
    suggest.add_argument("--port", type=_list, action="extend", default=[], metavar="LIST", help="these: 80,8000-8010")
    suggest.add_argument(
        "--except", type=_list, action="extend", default=[], dest="exclude", metavar="LIST", help="not these ports"
    )
    separate = "nft: notrack rules in a table of their own"
    suggest.add_argument("--separate-table", action="store_true", help=separate)
    suggest.add_argument(
        "--allow",
        type=Chosen(_LOOSE),
        action="extend",
        default=[],
        metavar="LIST",
        help="classes of rewrites beyond the default: reversed, relaxing",
    )
    suggest.add_argument(
        "--haproxy",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE",
        help="haproxy.cfg, or a folder of them: what HAProxy listens on and connects to",
    )
    table = "a saved connection table (conntrack -L): what would be freed of it; - for standard input"
    suggest.add_argument("--conntrack", metavar="FILE", help=table)
    script = "print a shell script that loads the new rules with a way back; of one FILE, or of the v4 and v6 of a host"
    suggest.add_argument("--script", action="store_true", help=script)
    suggest.add_argument("--listeners", metavar="FILE", help="what listens on this host: the text of ss -lntup")
    suggest.add_argument("--live", action="store_true", help="also look who else's rules run here (as root)")
    suggest.add_argument("--kernel", action="store_true", help=_KERNEL)
    suggest.add_argument("--exit-code", action="store_true", help="exit with 1 when there is a rewrite")

    explain = command("explain", "show who needs connection tracking, and why", "0 done, 2 could not do it")
    explain.add_argument("file", metavar="FILE[:LINE]")
    explain.add_argument(
        "--packet",
        action="append",
        default=[],
        metavar="P",
        help="its way: 'in tcp * > *:443 flags S'; again and again",
    )
    explain.add_argument("--packets", metavar="LIST", help="the ways of the packets in a file, one in each line")
    explain.add_argument(
        "--connection", action="store_true", help="the whole connection that a packet opens, and whether it works"
    )

    verify = command(
        "verify",
        "show what a change of rules does",
        "0 equivalent or only what --allow names, 1 different, 2 undecided or could not do it",
    )
    verify.add_argument("old", metavar="OLD")
    verify.add_argument("new", nargs="?", metavar="NEW")
    verify.add_argument("--live", action="store_true", help="in place of NEW: the rules that run here (as root)")
    verify.add_argument(
        "--allow",
        type=Chosen(ALLOWED),
        action="extend",
        default=[],
        metavar="LIST",
        help=f"kinds or classes of differences: {', '.join(ALLOWED)}",
    )

    verify.add_argument("--kernel", action="store_true", help=_KERNEL)

    capacity = command(
        "capacity",
        "tell how full the connection table of this host is, and what to set",
        "0 done, 2 there is nothing to read",
    )
    where = capacity.add_mutually_exclusive_group()
    where.add_argument("--live", action="store_true", help="read /proc of this host; that is the default")
    where.add_argument("--snapshot", metavar="DIR", help="read what the script of --snapshot-script saved elsewhere")
    where.add_argument("--snapshot-script", action="store_true", help="print that script: plain sh, needs nothing")
    capacity.add_argument("--conntrack", metavar="FILE", help="what fills the table: a saved conntrack -L, or - for it")

    show = command("show", "show what was understood of a ruleset", "0 done, 2 could not do it")
    show.add_argument("file", metavar="FILE")
    show.add_argument("--as", choices=("source", "json"), default="json", dest="form", help="default: json")

    command("rules", "list the lint rules", "0 done")
    rule = command("rule", "show the documentation of a lint rule", "0 done, 2 there is no such rule")
    rule.add_argument("code", metavar="CODE", help="a code or a name: RA201, one-way-notrack")
    return parser


def _default_format() -> str:
    """That of the environment, else the first."""
    formats = FORMATS["check"]
    name = os.environ.get("RULEAUDIT_FORMAT", formats[0])
    if name not in formats:
        raise UsageError(f"RULEAUDIT_FORMAT: {name!r} is none of {', '.join(formats)}")
    return name


def _common(parser: argparse.ArgumentParser, command: str) -> None:
    group = parser.add_argument_group("input and output")
    rules = command != "capacity"  # which takes no ruleset
    if rules:
        group.add_argument("--from", choices=LANGUAGES, dest="language", help="the language of the input, not guessed")
    group.add_argument(
        "--ipset", action="append", default=[], metavar="FILE", help="what the sets hold: the text of ipset save"
    )
    if rules:
        group.add_argument("--stdin-filename", metavar="NAME", help="what reports call standard input (-)")
    formats = FORMATS[command]
    if command == "check":
        group.add_argument(
            "--format",
            type=FormatAndFile(formats),
            action="append",
            default=[],
            dest="formats",
            metavar="FORMAT[:FILE]",
            help=f"one of {', '.join(formats)}; default: RULEAUDIT_FORMAT or {formats[0]}; again with a FILE: several",
        )
    else:
        group.add_argument("--format", choices=formats, default=formats[0], help=f"default: {formats[0]}")
    what = "write the new ruleset to FILE, if there is one" if command == "suggest" else "write the report to FILE"
    group.add_argument("-o", dest="output", metavar="FILE", help=what)
    group.add_argument("-q", dest="quiet", action="count", default=0, help="no summary; -qq: the exit code alone")
    group.add_argument(
        "-v", dest="verbose", action="count", default=0, help="notes, every witness, tracebacks; -vv: times"
    )
    group.add_argument("--color", choices=("auto", "always", "never"), default="auto", help="default: auto")
