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
from dataclasses import replace
from typing import TextIO

import ruleaudit
from ruleaudit.answer import BUG, DONE, FAILED, FOUND, Answer, load_source, style
from ruleaudit.diagnostics import FixClass, RuleauditError, Severity, SourceError, UsageError
from ruleaudit.model.fields import Family
from ruleaudit.results import Comparison, Difference, Observation, Reach, RuleClass, Suggestion
from ruleaudit.source import SourceFile, write

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


# -- suggest ------------------------------------------------------------------------------------------


def _suggest(asked: Namespace) -> Answer:
    paths: list[str] = asked.files
    if asked.output and len(paths) > 1:
        raise UsageError("-o takes the new ruleset of one FILE")
    if asked.format == "html":
        return _suggested_page(asked, paths)
    if len(paths) == 1:
        return _suggested(asked, _suggestion(asked, paths[0]))
    code, results, remarks, errors = DONE, [], "", ""
    for path in paths:
        try:
            answer = _suggested(asked, _suggestion(asked, path))
        except SourceError as error:
            failed = _failure(str(error)) if asked.format == "json" else ""
            answer = Answer(FAILED, failed, errors=f"ruleaudit: {error}\n")
        code = max(code, answer.code)
        results.append(answer.result)
        remarks += answer.remarks
        errors += answer.errors
    if asked.format == "json":
        from ruleaudit.report.schema import together

        return Answer(code, together(results), remarks, errors)
    return Answer(code, ("" if asked.diff else "\n").join(filter(None, results)), remarks, errors)


def _suggested_page(asked: Namespace, paths: Sequence[str]) -> Answer:
    """One page for all files."""
    from ruleaudit.report import html_page, suggest_html

    code, sections, remarks, errors = DONE, [], "", ""
    for number, path in enumerate(paths, 1):
        try:
            suggestion = _suggestion(asked, path)
        except SourceError as error:
            code = FAILED
            sections.append(html_page.failed(path, str(error)))
            errors += f"ruleaudit: {error}\n"
            continue
        observation = _kernel_on_suggestion(asked, suggestion) if asked.kernel else None
        answer = _given_out(asked, suggestion, observation)
        code, remarks, errors = max(code, answer.code), remarks + answer.remarks, errors + answer.errors
        sections.append(suggest_html.section(suggestion, f"file-{number}", _repeated(asked), observation))
    return Answer(code, suggest_html.render(sections), remarks, errors)


def _suggestion(asked: Namespace, path: str) -> Suggestion:
    return ruleaudit.suggest(
        load_source(path, asked),
        ports=asked.port,
        everything=asked.all,
        exclude=asked.exclude,
        allow=asked.allow,
        language=asked.language,
        menu=not asked.diff,
        separate=asked.separate_table,
        sets=ruleaudit.read_sets(asked.ipset),
    )


def _suggested(asked: Namespace, suggestion: Suggestion) -> Answer:
    from ruleaudit.report import suggest_text

    observation = _kernel_on_suggestion(asked, suggestion) if asked.kernel else None
    answer = _given_out(asked, suggestion, observation)
    if asked.format == "json":
        from ruleaudit.report import suggest_json

        return replace(answer, result=suggest_json.render(suggestion, observation))
    if asked.diff:
        from ruleaudit.report.diff import unified

        text = None if answer.errors else suggestion.text
        return replace(answer, result="" if text is None else unified(suggestion.source, text))
    return replace(answer, result=suggest_text.render(suggestion, _repeated(asked), observation, style=style(asked)))


def _given_out(asked: Namespace, suggestion: Suggestion, observation: Observation | None) -> Answer:
    """The exit code and what standard error says, without a result; the new file is written where it is asked for."""
    from ruleaudit.report import suggest_text

    errors = _not_observed(observation)
    # what the kernel was to confirm, and did not, is not given out as a file or a patch
    text = None if errors else suggestion.text
    code = FAILED if errors else FOUND if asked.exit_code and text is not None else DONE
    remarks = suggest_text.summary(suggestion)
    if asked.output and text is not None:
        placed = ruleaudit.elsewhere(suggestion, asked.output)
        write(asked.output, placed)
        remarks += f"{asked.output}: written\n"
        if placed != text:
            remarks += "it stands in another folder: its includes are absolute now, or written out\n"
    elif asked.output:
        why = "the kernel did not confirm it" if suggestion.text is not None else "there is no rewrite"
        remarks += f"{asked.output}: not written, {why}\n"
    return Answer(code, "", remarks, errors)


def _kernel_on_suggestion(asked: Namespace, suggestion: Suggestion) -> Observation:
    """The rules as they are, and as they would be, in the kernel."""
    source, ruleset = suggestion.source, suggestion.ruleset
    # what a rewritten text is must not be guessed again
    six = ruleset.language == "iptables-save" and ruleset.family is Family.IPV6
    language = "ip6tables-save" if six else ruleset.language
    new = None if suggestion.text is None else SourceFile(f"{source.path} (new)", suggestion.text)
    differences = suggestion.comparison.differences if suggestion.comparison else ()
    reasons = [k.witness for k in suggestion.kept] + [r.witness for r in suggestion.refused]
    packets = [w.packet for w in (*(d.witness for d in differences), *reasons) if w is not None]
    return ruleaudit.observe(source, new, packets=packets, language=language, ipset=asked.ipset)


def _not_observed(observation: Observation | None) -> str:
    """What standard error says when the kernel was asked and did not confirm."""
    from ruleaudit.report import kernel_text

    if observation is None or observation.agrees:
        return ""
    return f"ruleaudit: --kernel: {kernel_text.problem(observation)}\n"


def _repeated(asked: Namespace) -> list[str]:
    """The options that decided what leaves, to be typed again."""
    options = ["--all"] if asked.all else []
    options += ["--separate-table"] if asked.separate_table else []
    for name, values in (("--port", asked.port), ("--except", asked.exclude), ("--allow", asked.allow)):
        if values:
            options += [name, ",".join(values)]
    return options


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
    old, new = (load_source(path, asked) for path in (asked.old, asked.new))
    comparison = ruleaudit.verify(old, new, language=asked.language, sets=ruleaudit.read_sets(asked.ipset))
    allowed = [d for d in comparison.differences if _is_allowed(d, asked.allow)]
    observation = None
    if asked.kernel:
        packets = [d.witness.packet for d in comparison.differences]
        observation = ruleaudit.observe(old, new, packets=packets, language=asked.language, ipset=asked.ipset)
    errors = _not_observed(observation)
    if asked.format == "json":
        from ruleaudit.report import verify_json

        result = verify_json.render(comparison, allowed, observation)
    else:
        result = verify_text.render(comparison, allowed, observation, style=style(asked))
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
    "show": _show,
    "rules": _rules,
    "rule": _rule,
    "completions": _completions,
}
