"""The command line: arguments in, exit code out. It wires the stages and decides nothing.

Results go to standard output, summaries and notes to standard error. The exit code is the same in every format:
0 done, 1 findings or differences, 2 could not do it.
"""

import gc
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TextIO

import ruleaudit
from ruleaudit.answer import BUG, DONE, FAILED, FOUND, Answer, load_source, not_observed, style
from ruleaudit.diagnostics import FixClass, RuleauditError, Severity, SourceError, UsageError
from ruleaudit.results import Comparison, Difference, RuleClass
from ruleaudit.results.reach import Reach
from ruleaudit.source import write

INTERRUPTED, BROKEN_PIPE = 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point: a short-lived process has no garbage worth collecting."""
    gc.disable()
    try:
        return run(sys.argv[1:] if arguments is None else arguments)
    except BrokenPipeError:
        # whoever reads has enough
        _abandon(sys.stdout)
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments ask for, and say it."""
    from ruleaudit.arguments import parse

    try:
        asked = parse(arguments)
    except UsageError as error:
        _say(f"ruleaudit: {error}\n")
        return FAILED
    as_json = getattr(asked, "format", "") == "json"
    try:
        answer = _COMMANDS[asked.command](asked)
        if not getattr(asked, "quiet", False):
            _say(answer.remarks)
        _say(answer.errors)
        if getattr(asked, "output", None) and asked.command != "suggest":
            write(asked.output, answer.result)
        elif getattr(asked, "quiet", 0) < 2:
            _print(answer.result)
        return answer.code
    except UsageError as error:
        _say(f"ruleaudit: {error}\n")
        return FAILED
    except RuleauditError as error:
        return _failed(str(error), as_json)
    except (BrokenPipeError, KeyboardInterrupt):
        raise
    except Exception as error:
        if getattr(asked, "verbose", False):
            import traceback

            traceback.print_exc()
        name = type(error).__name__
        return _failed(f"internal error: {name}: {error}".rstrip(": "), as_json, BUG)


def _failed(message: str, as_json: bool, hint: str = "") -> int:
    _say(f"ruleaudit: {message}\n" + (f"{hint}\n" if hint else ""))
    if as_json:
        # where nothing can be printed, that was said
        with suppress(SourceError):
            _print(_failure(message))
    return FAILED


def _failure(message: str) -> str:
    from ruleaudit.report.schema import failure

    return failure(message)


def _print(text: str) -> None:
    """The result. Raises SourceError if there is no room for it."""
    if not text:
        return
    if sys.stdout is None:
        raise SourceError("standard output is closed")
    try:
        _emit(sys.stdout, text)
    except BrokenPipeError:
        raise
    except OSError as error:
        _abandon(sys.stdout)
        raise SourceError(f"standard output cannot be written: {(error.strerror or str(error)).lower()}") from None


def _say(text: str) -> None:
    """What is said beside the result; where nobody can hear it, the result is given all the same."""
    if not text or sys.stderr is None:
        return
    try:
        _emit(sys.stderr, text)
    except OSError:
        _abandon(sys.stderr)


def _abandon(stream: TextIO) -> None:
    """Nothing may be written when Python closes a stream that takes no more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _emit(stream: TextIO, text: str) -> None:
    """Write text; bytes of the input that are not UTF-8 come out as they came in."""
    binary = getattr(stream, "buffer", None)
    if binary is None:
        stream.write(text)
    else:
        stream.flush()
        binary.write(text.encode("utf-8", "surrogateescape"))
    stream.flush()


def _check(asked: Namespace) -> Answer:
    from ruleaudit.checking import check

    return check(asked)


def _suggest(asked: Namespace) -> Answer:
    from ruleaudit.suggesting import suggest

    return suggest(asked)


def _capacity(asked: Namespace) -> Answer:
    from ruleaudit.measuring import measure

    return measure(asked)


# -- explain, verify, show ----------------------------------------------------------------------------


def _explain(asked: Namespace) -> Answer:
    if asked.packet or asked.packets:
        return _followed(asked)
    if asked.connection:
        raise UsageError("--connection needs the packet that opens it: --packet 'in tcp * > *:443'")
    path, number = _with_line(asked.file)
    sets = ruleaudit.read_sets(asked.ipset)
    if number is not None:
        return _reached(asked, ruleaudit.reach(load_source(path, asked), number, language=asked.language, sets=sets))
    tracking = ruleaudit.explain(load_source(path, asked), language=asked.language, sets=sets)
    required = sum(j.kind is RuleClass.REQUIRED for j in tracking.judgements)
    remarks = f"{tracking.ruleset.source.path}: {required} of {len(tracking.judgements)} rules required.\n"
    if asked.format == "json":
        from ruleaudit.report import explain_json

        return Answer(DONE, explain_json.render(tracking), remarks)
    from ruleaudit.report import explain_text

    return Answer(DONE, explain_text.render(tracking, notes=asked.verbose, style=style(asked)), remarks)


def _reached(asked: Namespace, found: Sequence[Reach]) -> Answer:
    if asked.format == "json":
        from ruleaudit.report import reach_json

        return Answer(DONE, reach_json.render(found))
    from ruleaudit.report import reach_text

    return Answer(DONE, reach_text.render(found, notes=asked.verbose, style=style(asked)))


def _followed(asked: Namespace) -> Answer:
    packets: list[str] = list(asked.packet)
    if asked.packets:
        if asked.packets == asked.file == "-":
            raise UsageError("only one of FILE and LIST can be standard input")
        lines = ruleaudit.load(asked.packets).text.splitlines()
        packets += [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    source = load_source(asked.file, asked)
    sets = ruleaudit.read_sets(asked.ipset)
    if asked.connection:
        exchanges = ruleaudit.connections(source, packets, language=asked.language, sets=sets)
        if asked.format == "json":
            from ruleaudit.report import packet_json

            return Answer(DONE, packet_json.connections(exchanges))
        from ruleaudit.report import packet_text

        return Answer(DONE, packet_text.connections(exchanges, notes=asked.verbose, style=style(asked)))
    found = ruleaudit.follow(source, packets, language=asked.language, sets=sets)
    if asked.format == "json":
        from ruleaudit.report import packet_json

        return Answer(DONE, packet_json.render(found))
    from ruleaudit.report import packet_text

    return Answer(DONE, packet_text.render(found, style=style(asked)))


def _with_line(text: str) -> tuple[str, int | None]:
    """`rules.v4:10` as path and line, unless a file has that very name."""
    path, colon, number = text.rpartition(":")
    if colon and path and number.isascii() and number.isdigit() and not os.path.exists(text):
        return path, int(number)
    return text, None


def _verify(asked: Namespace) -> Answer:
    from ruleaudit.report import verify_text

    if asked.old == asked.new == "-":
        raise UsageError("only one of OLD and NEW can be standard input")
    if (asked.new is not None) is asked.live:
        raise UsageError("verify takes OLD and NEW, or OLD and --live")
    old, running = load_source(asked.old, asked), None
    sets = ruleaudit.read_sets(asked.ipset)
    if asked.live:
        from ruleaudit import live

        before = ruleaudit.lower(old, asked.language, sets)
        after, running = live.drifted(old, before, sets)
        new = after.document.source
        comparison = ruleaudit.compared(before, after)
    else:
        new = load_source(asked.new, asked)
        comparison = ruleaudit.verify(old, new, language=asked.language, sets=sets)
    allowed = [d for d in comparison.differences if _is_allowed(d, asked.allow)]
    observation = None
    if asked.kernel:
        packets = [d.witness.packet for d in comparison.differences]
        observation = ruleaudit.observe(old, new, packets=packets, language=asked.language, ipset=asked.ipset)
    errors = not_observed(observation)
    if asked.format == "json":
        from ruleaudit.report import verify_json

        result = verify_json.render(comparison, allowed, observation, running)
    else:
        result = verify_text.render(comparison, allowed, observation, running, style=style(asked))
    code = FAILED if errors else _verify_code(comparison, allowed)
    return Answer(code, result, verify_text.summary(comparison), errors)


def _is_allowed(difference: Difference, names: Sequence[str]) -> bool:
    """Whether --allow covers a difference: by its kind, by its class, or as one that changes no outcome."""
    if not names:
        return False
    kind = difference.kind.value
    if kind in names or (kind == "stray" and "strays" in names) or difference.loosens is FixClass.EXACT:
        return True
    classes = [c.value for c in FixClass]
    loosest = max((classes.index(name) for name in names if name in classes), default=-1)
    return difference.loosens is not None and classes.index(difference.loosens.value) <= loosest


def _verify_code(comparison: Comparison, allowed: Sequence[Difference]) -> int:
    if any(d not in allowed for d in comparison.differences):
        # a change of what is tracked alone does not settle what could not be decided
        return FAILED if comparison.result == "undecided" else FOUND
    return FAILED if comparison.undecided else DONE


def _show(asked: Namespace) -> Answer:
    from ruleaudit.report import show_json
    from ruleaudit.report.wording import count

    reading = ruleaudit.lower(load_source(asked.file, asked), asked.language, ruleaudit.read_sets(asked.ipset))
    document = reading.document
    found = [f for f in reading.findings if f.severity is Severity.ERROR]
    path = document.source.path
    remarks = f"{path}: {count(len(found), 'error')}; see: ruleaudit check {path}\n" if found else ""
    if asked.form == "json":
        return Answer(DONE, show_json.render(reading.rulesets), remarks)
    if asked.format == "json":
        return Answer(DONE, show_json.render_source(path, str(document)), remarks)
    return Answer(DONE, str(document), remarks)


# -- rules --------------------------------------------------------------------------------------------


def _rules(asked: Namespace) -> Answer:
    from ruleaudit.report import rule_text
    from ruleaudit.rules import RULES

    return Answer(DONE, rule_text.listing(RULES))


def _rule(asked: Namespace) -> Answer:
    from ruleaudit.report import rule_text
    from ruleaudit.rules import find

    found = find(asked.code)
    if found is None:
        raise UsageError(f"there is no rule {asked.code!r}; see: ruleaudit rules")
    return Answer(DONE, rule_text.page(found))


def _completions(asked: Namespace) -> Answer:
    from ruleaudit import arguments, completions
    from ruleaudit.rules import RULES

    names = [name for rule in RULES for name in (rule.CODE, rule.NAME)]
    return Answer(DONE, completions.script(arguments.make_parser(), asked.completions, names))


_COMMANDS: dict[str, Callable[[Namespace], Answer]] = {
    "check": _check,
    "suggest": _suggest,
    "explain": _explain,
    "verify": _verify,
    "capacity": _capacity,
    "show": _show,
    "rules": _rules,
    "rule": _rule,
    "completions": _completions,
}
