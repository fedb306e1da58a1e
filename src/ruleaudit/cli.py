"""The command line: arguments in, exit code out. It wires the stages and decides nothing.

Results go to standard output, summaries and notes to standard error. The exit code is the same in every format:
0 done, 1 findings or differences, 2 could not do it.
"""

import gc
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

import ruleaudit
from ruleaudit.config import Settings
from ruleaudit.diagnostics import Finding, FixClass, RuleauditError, Severity, SourceError, UsageError
from ruleaudit.model.fields import Family
from ruleaudit.report.style import Style, wants_colour
from ruleaudit.results import Comparison, Difference, FileReport, Observation, Reach, RuleClass, Suggestion
from ruleaudit.source import SourceFile, write

DONE, FOUND, FAILED, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 130, 141

_HINT = (
    "This is a bug of ruleaudit. Please report it with the ruleset (addresses may be changed),"
    " the command and the traceback that -v shows."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command wants to say: `result` for standard output; `remarks` (not with -q) and `errors` for the other."""

    code: int
    result: str
    remarks: str = ""
    errors: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """The entry point: a short-lived process has no garbage worth collecting."""
    gc.disable()
    try:
        return run(sys.argv[1:] if arguments is None else arguments)
    except BrokenPipeError:
        # whoever reads has enough; nothing may be written when Python closes the stream
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED


def run(arguments: Sequence[str]) -> int:
    """Do what the arguments ask for, and say it."""
    from ruleaudit.arguments import parse

    try:
        asked = parse(arguments)
    except UsageError as error:
        _emit(sys.stderr, f"ruleaudit: {error}\n")
        return FAILED
    as_json = getattr(asked, "format", "") == "json"
    try:
        answer = _COMMANDS[asked.command](asked)
        if not getattr(asked, "quiet", False):
            _emit(sys.stderr, answer.remarks)
        _emit(sys.stderr, answer.errors)
        if getattr(asked, "output", None) and asked.command != "suggest":
            write(asked.output, answer.result)
        else:
            _emit(sys.stdout, answer.result)
        return answer.code
    except UsageError as error:
        _emit(sys.stderr, f"ruleaudit: {error}\n")
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
        return _failed(f"internal error: {name}: {error}".rstrip(": "), as_json, _HINT)


def _failed(message: str, as_json: bool, hint: str = "") -> int:
    _emit(sys.stderr, f"ruleaudit: {message}\n" + (f"{hint}\n" if hint else ""))
    if as_json:
        _emit(sys.stdout, _failure(message))
    return FAILED


def _failure(message: str) -> str:
    from ruleaudit.report.schema import failure

    return failure(message)


def _emit(stream: TextIO, text: str) -> None:
    """Write text; bytes of the input that are not UTF-8 come out as they came in."""
    binary = getattr(stream, "buffer", None)
    if binary is None:
        stream.write(text)
    else:
        stream.flush()
        binary.write(text.encode("utf-8", "surrogateescape"))
    stream.flush()


def _style(asked: Namespace) -> Style:
    if asked.output and asked.command != "suggest":
        return Style(asked.color == "always")
    return Style(wants_colour(asked.color, os.environ, sys.stdout))


def _load(path: str, asked: Namespace) -> SourceFile:
    return ruleaudit.load(path, asked.stdin_filename if path == "-" else None)


# -- check --------------------------------------------------------------------------------------------


def _check(asked: Namespace) -> Answer:
    paths: list[str] = asked.files
    remarks = ""
    if not paths:
        from ruleaudit.discovery import rulesets

        paths = list(rulesets())
        if not paths:
            raise SourceError("no ruleset below this folder (rules.v4, iptables.rules, *.nft...); name the files")
        remarks = f"checking {', '.join(paths)}\n"
    settings = {path: _settings(asked, path) for path in paths}
    if asked.show_settings:
        return Answer(DONE, "".join(f"{path}: {settings[path]}\n" for path in paths))
    reports: list[FileReport] = []
    failed: list[tuple[str, str]] = []
    sources: list[tuple[SourceFile, Settings]] = []
    bars: list[Severity] = []
    for path in paths:
        try:
            sources.append((_load(path, asked), settings[path]))
        except SourceError as error:
            failed.append((path, str(error)))
    for source, chosen in sources:
        try:
            sets = ruleaudit.read_sets([*chosen.ipset, *asked.ipset])
            beside = [other for other, _ in sources]
            reports += ruleaudit.check([source], language=asked.language, sets=sets, beside=beside, settings=chosen)
            bars.append(chosen.fail_on)
        except SourceError as error:
            failed.append((source.path, str(error)))
    reports, bars, failed, said = _whole(reports, bars, failed)
    remarks += said
    reports, said = _baselined(asked, reports, settings[paths[0]].baseline)
    remarks += said
    from ruleaudit.report import check_summary

    for form, file in asked.formats:
        if file:
            write(file, _checked(asked, reports, failed, form, Style(False)))
    result = _checked(asked, reports, failed, asked.format, _style(asked))
    summary = check_summary.render(reports, notes=asked.verbose)
    errors = "".join(f"ruleaudit: {message}\n" for _, message in failed)
    return Answer(_check_code(asked, list(zip(reports, bars, strict=True)), failed), result, remarks + summary, errors)


def _whole(
    reports: list[FileReport], bars: list[Severity], failed: list[tuple[str, str]]
) -> tuple[list[FileReport], list[Severity], list[tuple[str, str]], str]:
    """What was said of files that are no part of another, whose report speaks of them; and a word about these."""
    from ruleaudit.discovery import fragments, once

    parts = fragments(reports, [*(report.source.path for report in reports), *(path for path, _ in failed)])
    kept = [(report, bar) for report, bar in zip(reports, bars, strict=True) if report.source.path not in parts]
    said = "".join(f"{part}: checked as a part of {whole}\n" for part, whole in parts.items())
    wrong = [one for one in failed if one[0] not in parts]
    return once([report for report, _ in kept]), [bar for _, bar in kept], wrong, said


def _settings(asked: Namespace, path: str) -> Settings:
    """The settings of the configuration file, and what the command line says instead."""
    from ruleaudit import config
    from ruleaudit.discovery import nearest_config
    from ruleaudit.rules import RULES

    known = [(rule.CODE, rule.NAME) for rule in RULES]
    found = asked.config or (None if asked.no_config else nearest_config(path))
    settings = config.load(ruleaudit.load(found, _near(found)), known) if found else config.Settings()

    def codes(words: Sequence[str]) -> tuple[str, ...]:
        return tuple(config.known_code(word, known) for word in words)

    select = codes(asked.select) or settings.select
    select += codes(asked.extend_select) if select else ()
    settings = replace(settings, select=select, ignore=(*settings.ignore, *codes(asked.ignore)))
    if asked.fail_on:
        settings = replace(settings, fail_on=Severity(asked.fail_on))
    return replace(settings, comments=not asked.no_ignores)


def _near(path: str) -> str:
    """A path as seen from the current folder, if it is below it."""
    here, there = Path.cwd(), Path(path).resolve()
    return str(there.relative_to(here)) if there.is_relative_to(here) else path


def _baselined(asked: Namespace, reports: list[FileReport], configured: str) -> tuple[list[FileReport], str]:
    """The reports without what the baseline knows; a new one is written where it is asked for."""
    from ruleaudit import suppress

    if asked.write_baseline:
        text = suppress.baseline_text((r.source, f) for r in reports for f in r.findings)
        write(asked.write_baseline, text)
        return reports, f"{asked.write_baseline}: written\n"
    path = asked.baseline or configured
    if not path:
        if asked.prune_baseline:
            raise UsageError("--prune-baseline needs --baseline FILE")
        return reports, ""
    left = suppress.read_baseline(ruleaudit.load(path))
    out: list[FileReport] = []
    known: list[tuple[SourceFile, Finding]] = []
    for report in reports:
        fresh, number = suppress.without_known(report.source, report.findings, left)
        known += [(report.source, f) for f in report.findings if f not in fresh]
        out.append(replace(report, findings=tuple(fresh), baselined=number))
    gone = sum(left.values())
    if asked.prune_baseline:
        write(path, suppress.baseline_text(known))
        return out, f"{path}: written, without {gone} that are no longer found\n"
    return out, f"{path}: {gone} of its findings are no longer there: --prune-baseline\n" if gone else ""


def _checked(
    asked: Namespace, reports: list[FileReport], failed: list[tuple[str, str]], form: str, style: Style
) -> str:
    notes: bool = asked.verbose
    match form:
        case "json":
            from ruleaudit.report import check_json

            return check_json.render(reports, failed)
        case "jsonl":
            from ruleaudit.report import check_jsonl

            return check_jsonl.render(reports)
        case "concise":
            from ruleaudit.report import check_concise

            return check_concise.render(reports, notes=notes, style=style)
        case "github":
            from ruleaudit.report import check_github

            return check_github.render(reports, notes=notes)
        case "gitlab":
            from ruleaudit.report import check_gitlab

            return check_gitlab.render(reports)
        case "sarif":
            from ruleaudit.report import check_sarif
            from ruleaudit.rules import RULES

            return check_sarif.render(reports, RULES, failed)
        case "junit":
            from ruleaudit.report import check_junit

            return check_junit.render(reports, failed, notes=notes)
        case "markdown":
            from ruleaudit.report import check_markdown

            return check_markdown.render(reports, failed, notes=notes)
        case "html":
            from ruleaudit.report import check_html

            answers = [_answer_beside(asked, report) for report in reports]
            return check_html.render(reports, answers, failed, notes=notes)
        case _:
            from ruleaudit.report import check_full

            return check_full.render(reports, notes=notes, style=style)


def _answer_beside(asked: Namespace, report: FileReport) -> Suggestion | str:
    """The suggestion for a file that was checked, or why there is none."""
    path = report.source.path
    sets = ruleaudit.read_sets([*_settings(asked, path).ipset, *asked.ipset])
    source = SourceFile(path, report.source.text)  # without what its configuration says
    try:
        return ruleaudit.suggest(source, language=asked.language, sets=sets)
    except SourceError as error:
        return str(error)


def _check_code(asked: Namespace, reports: list[tuple[FileReport, Severity]], failed: list[tuple[str, str]]) -> int:
    if failed or any(_is_cut_off(report) for report, _ in reports):
        return FAILED
    severities = (Severity.ERROR, Severity.WARNING, Severity.NOTE)

    found = any(
        severities.index(finding.severity) <= severities.index(bar)
        for report, bar in reports
        for finding in report.findings
    )
    return FOUND if found and not asked.exit_zero and not asked.write_baseline else DONE


def _is_cut_off(report: FileReport) -> bool:
    """The file ends inside a table: it is not a whole ruleset, and no loader would take it."""
    if report.ruleset is None or not any(f.code == "RA001" for f in report.findings):
        return False
    structure = [
        line[:1] for line in report.source.text.split("\n") if line.startswith("*") or line.strip() == "COMMIT"
    ]
    return structure[-1:] == ["*"]


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
        _load(path, asked),
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
    return replace(answer, result=suggest_text.render(suggestion, _repeated(asked), observation, style=_style(asked)))


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
        return _reached(asked, ruleaudit.reach(_load(path, asked), number, language=asked.language, sets=sets))
    tracking = ruleaudit.explain(_load(path, asked), language=asked.language, sets=sets)
    required = sum(j.kind is RuleClass.REQUIRED for j in tracking.judgements)
    remarks = f"{tracking.ruleset.source.path}: {required} of {len(tracking.judgements)} rules required.\n"
    if asked.format == "json":
        from ruleaudit.report import explain_json

        return Answer(DONE, explain_json.render(tracking), remarks)
    from ruleaudit.report import explain_text

    return Answer(DONE, explain_text.render(tracking, notes=asked.verbose, style=_style(asked)), remarks)


def _reached(asked: Namespace, found: Sequence[Reach]) -> Answer:
    if asked.format == "json":
        from ruleaudit.report import reach_json

        return Answer(DONE, reach_json.render(found))
    from ruleaudit.report import reach_text

    return Answer(DONE, reach_text.render(found, notes=asked.verbose, style=_style(asked)))


def _followed(asked: Namespace) -> Answer:
    packets: list[str] = list(asked.packet)
    if asked.packets:
        if asked.packets == asked.file == "-":
            raise UsageError("only one of FILE and LIST can be standard input")
        lines = ruleaudit.load(asked.packets).text.splitlines()
        packets += [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    source = _load(asked.file, asked)
    sets = ruleaudit.read_sets(asked.ipset)
    if asked.connection:
        exchanges = ruleaudit.connections(source, packets, language=asked.language, sets=sets)
        if asked.format == "json":
            from ruleaudit.report import packet_json

            return Answer(DONE, packet_json.connections(exchanges))
        from ruleaudit.report import packet_text

        return Answer(DONE, packet_text.connections(exchanges, notes=asked.verbose, style=_style(asked)))
    found = ruleaudit.follow(source, packets, language=asked.language, sets=sets)
    if asked.format == "json":
        from ruleaudit.report import packet_json

        return Answer(DONE, packet_json.render(found))
    from ruleaudit.report import packet_text

    return Answer(DONE, packet_text.render(found, style=_style(asked)))


def _with_line(text: str) -> tuple[str, int | None]:
    """`rules.v4:10` as path and line, unless a file has that very name."""
    path, colon, number = text.rpartition(":")
    if colon and path and number.isascii() and number.isdigit() and not Path(text).exists():
        return path, int(number)
    return text, None


def _verify(asked: Namespace) -> Answer:
    from ruleaudit.report import verify_text

    if asked.old == asked.new == "-":
        raise UsageError("only one of OLD and NEW can be standard input")
    old, new = (_load(path, asked) for path in (asked.old, asked.new))
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
        result = verify_text.render(comparison, allowed, observation, style=_style(asked))
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

    reading = ruleaudit.lower(_load(asked.file, asked), asked.language, ruleaudit.read_sets(asked.ipset))
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
