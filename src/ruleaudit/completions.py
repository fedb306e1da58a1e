"""What a shell completes behind `ruleaudit`: the commands, their options, and what may follow these."""

import argparse
from collections.abc import Iterator, Sequence

import shtab

from ruleaudit.arguments import Chosen, FormatAndFile

#: what stands for the path of a file in the help
_FILES = ("FILE", "FILE[:LINE]", "OLD", "NEW")


def script(parser: argparse.ArgumentParser, shell: str, rules: Sequence[str]) -> str:
    """The script for a shell; `rules` are the codes and names of the lint rules. The parser is of no use afterwards."""
    for action in _actions(parser):
        if isinstance(action.type, Chosen | FormatAndFile):
            # the first word of a list, and a format without its file, are worth completing
            action.choices = action.type.names
        elif action.metavar in ("CODE", "RULES"):
            action.choices = rules
        elif action.metavar in _FILES or action.dest == "packets":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return shtab.complete(parser, shell) + "\n"


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """All that a parser and those of its commands take."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
