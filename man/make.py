"""The manual page: the hand-written parts of ruleaudit.1.in, and the options as the command line has them.

python man/make.py      writes man/ruleaudit.1, which is installed with the package
"""

from argparse import Action, ArgumentParser, _HelpAction
from collections.abc import Collection, Iterator
from pathlib import Path

from ruleaudit import __version__
from ruleaudit.arguments import BASELINE, make_parser

HERE = Path(__file__).parent


def page() -> str:
    """The whole page."""
    parser = make_parser()
    chosen = next(a for a in parser._actions if a.dest == "command")
    commands: dict[str, ArgumentParser] = dict(chosen.choices or {})
    # what every command that reads a ruleset says in the same words is said once
    readers = [command for command in commands.values() if "--from" in command._option_string_actions]
    common = [told for told in _options(readers[0]) if all(told in _options(other) for other in readers)]
    parts = {
        "@VERSION@": __version__,
        "@BASELINE@": BASELINE,
        "@SYNOPSIS@": "\n.br\n".join([*map(_usage, commands.values()), _usage(parser)]),
        "@COMMANDS@": "\n".join(line for command in commands.values() for line in _command(command, common)),
        "@COMMON@": "\n".join(common),
    }
    text = (HERE / "ruleaudit.1.in").read_text()
    for mark, part in parts.items():
        text = text.replace(mark, part)
    return text


def _usage(parser: ArgumentParser) -> str:
    operands = [_operand(a) for a in parser._actions if not a.option_strings and a.dest != "command"]
    if not operands and parser.prog == "ruleaudit":
        operands = [" | ".join(_invocation(a) for a in parser._actions if a.option_strings and not _is_help(a))]
    elif any(a.option_strings and not _is_help(a) for a in parser._actions):
        operands.insert(0, "[\\fIOPTION\\fR...]")
    return " ".join([f"\\fB{_escaped(parser.prog)}\\fR", *operands])


def _command(parser: ArgumentParser, common: Collection[str]) -> Iterator[str]:
    """What a command does, its own options, its exit status."""
    yield f".SS {_escaped(parser.prog)}"
    yield _escaped(parser.description or "")
    yield from (told for told in _options(parser) if told not in common)
    yield ".PP"
    yield _escaped(parser.epilog or "")


def _options(parser: ArgumentParser) -> list[str]:
    """What a parser takes: operands, then options."""
    actions = sorted((a for a in parser._actions if a.help and not _is_help(a)), key=lambda a: bool(a.option_strings))
    return [f".TP\n{_invocation(a) if a.option_strings else _operand(a)}\n{_escaped(a.help or '')}" for a in actions]


def _invocation(action: Action) -> str:
    names = ", ".join(f"\\fB{_escaped(name)}\\fR" for name in action.option_strings)
    if action.nargs == 0:
        return names
    value = f"\\fI{_value(action)}\\fR"
    return f"{names} [{value}]" if action.nargs == "?" else f"{names} {value}"


def _operand(action: Action) -> str:
    value = f"\\fI{_value(action)}\\fR"
    return {"*": f"[{value}...]", "+": f"{value}..."}.get(str(action.nargs), value)


def _value(action: Action) -> str:
    return _escaped(str(action.metavar or "|".join(map(str, action.choices or ()))))


def _is_help(action: Action) -> bool:
    return isinstance(action, _HelpAction)


def _escaped(text: str) -> str:
    """As roff: a hyphen is an ASCII one, a backslash and an apostrophe are themselves."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    return f"\\&{text}" if text.startswith(".") else text


if __name__ == "__main__":
    (HERE / "ruleaudit.1").write_text(page())
