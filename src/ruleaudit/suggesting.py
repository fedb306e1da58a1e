"""`suggest`: the rewritten ruleset of each file, as text, JSON, a diff or a page."""

import os
import re
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from re import Pattern
from shlex import quote

import ruleaudit
from ruleaudit.answer import DONE, FAILED, FOUND, Answer, load_source, not_observed, saved_table, style
from ruleaudit.diagnostics import SourceError, UsageError
from ruleaudit.model.fields import Family
from ruleaudit.model.proxy import services
from ruleaudit.model.ruleset import Ruleset
from ruleaudit.report.schema import failure
from ruleaudit.report.wording import printable
from ruleaudit.results.observation import Observation
from ruleaudit.results.suggestion import Suggestion
from ruleaudit.results.table import TableUse
from ruleaudit.source import SourceFile, read, write

#: lines that only a ruleset has: a table of iptables-save, a table, rule or chain of nft, its JSON
_RULESET = re.compile(
    r"^(?:\*(?:filter|nat|mangle|raw|security)\s*$|#!.*\bnft\b"
    r"|\s*(?:add |create )?table\s+(?:(?:ip6?|inet|arp|bridge|netdev)\s+)?[\w.-]+\s*(?:[{;]|$)"
    r"|\s*(?:flush ruleset|add (?:rule|chain) )|\s*\{\s*\"nftables\")",
    re.MULTILINE,
)
#: sections of HAProxy
_HAPROXY = re.compile(r"^\s*(?:global\s*$|defaults\b|(?:frontend|backend|listen)\s+[\w.-]+)", re.MULTILINE)


def suggest(asked: Namespace) -> Answer:
    """What `ruleaudit suggest` answers."""
    _sort_files(asked)
    paths: list[str] = asked.files
    if [*paths, asked.listeners, asked.conntrack].count("-") > 1:
        raise UsageError("only one of FILE, --listeners and --conntrack can be standard input")
    asked.listening, notes = ruleaudit.read_listeners(asked.listeners) if asked.listeners else (None, ())
    answer = _answer(asked, paths)
    return replace(answer, remarks="".join(f"note: {printable(note)}\n" for note in notes) + answer.remarks)


def _sort_files(asked: Namespace) -> None:
    """Takes the rulesets out of the words behind --haproxy: `suggest --haproxy haproxy.cfg rules.v4 rules.v6`.

    Raises UsageError where a haproxy.cfg stands for a ruleset.
    """
    found = [path for path in asked.haproxy if _looks(path, _RULESET)]
    asked.haproxy = [path for path in asked.haproxy if path not in found]
    asked.files = [*asked.files, *found] or [asked.haproxy.pop()]
    for path in asked.files:
        if _looks(path, _HAPROXY) and not _looks(path, _RULESET):
            known = " ".join(map(quote, (*asked.haproxy, path)))
            raise UsageError(f"{path} is a haproxy.cfg, no ruleset; write: ruleaudit suggest RULES --haproxy {known}")
    if found and not asked.haproxy:
        names = " ".join(map(quote, found))
        raise UsageError(f"--haproxy names rulesets alone; write: ruleaudit suggest {names} --haproxy haproxy.cfg")


def _looks(path: str, lines: Pattern[str]) -> bool:
    """A file has such lines; standard input, and what cannot be read, is left to those who read it."""
    if path == "-" or not os.path.isfile(path):  # unlike Path.is_file, False where nobody may look
        return False
    with suppress(SourceError):
        return lines.search(read(path, ruleset=False).text) is not None
    return False


def _answer(asked: Namespace, paths: Sequence[str]) -> Answer:
    if asked.output and len(paths) > 1 and not asked.script:
        raise UsageError("-o takes the new ruleset of one FILE")
    asked.proxy = ruleaudit.read_haproxy(asked.haproxy) if asked.haproxy else None
    asked.loaded = {}
    asked.table = _table(asked) if asked.conntrack else None
    if asked.script:
        return _script(asked, paths)
    if asked.format == "html":
        return _suggested_page(asked, paths)
    if len(paths) == 1:
        return _suggested(asked, _suggestion(asked, paths[0]))
    code, results, remarks, errors = DONE, [], "", ""
    for path in paths:
        try:
            answer = _suggested(asked, _suggestion(asked, path))
        except SourceError as error:
            failed = failure(str(error)) if asked.format == "json" else ""
            answer = Answer(FAILED, failed, errors=f"ruleaudit: {error}\n")
        code = max(code, answer.code)
        results.append(answer.result)
        remarks += answer.remarks
        errors += answer.errors
    if asked.format == "json":
        from ruleaudit.report.schema import together

        return Answer(code, together(results), remarks, errors)
    return Answer(code, ("" if asked.diff else "\n").join(filter(None, results)), remarks, errors)


def _script(asked: Namespace, paths: Sequence[str]) -> Answer:
    """The script that loads the new rules of one ruleset, or of both families of a host, with a way back."""
    from ruleaudit.report import script, suggest_text

    if asked.diff or asked.format != "full":
        raise UsageError("--script is a form of its own: without --diff and --format")
    suggestions = [_suggestion(asked, path) for path in paths]
    remarks = "".join(suggest_text.summary(one, asked.proxy) for one in suggestions)
    errors = script.refused(suggestions) or ""
    if not errors and asked.kernel:
        observed = (_kernel_on_suggestion(asked, one) for one in suggestions)
        errors = "".join(filter(None, map(not_observed, observed))).removeprefix("ruleaudit: ").removesuffix("\n")
    if errors:
        headlines = "".join(f"{one.source.path}: {suggest_text.headline(one)}\n" for one in suggestions)
        return Answer(FAILED, "", remarks + headlines, f"ruleaudit: {errors}\n")
    text = script.render(suggestions)
    if not asked.output:
        return Answer(FOUND if asked.exit_code else DONE, text, remarks)
    write(asked.output, text)
    return Answer(FOUND if asked.exit_code else DONE, "", f"{remarks}{asked.output}: written\n")


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
        sections.append(suggest_html.section(suggestion, f"file-{number}", _repeated(asked), observation, asked.proxy))
    return Answer(code, suggest_html.render(sections), remarks, errors)


def _suggestion(asked: Namespace, path: str) -> Suggestion:
    source = _loaded(asked, path)
    suggestion = ruleaudit.suggest(
        source,
        ports=asked.port,
        everything=asked.all,
        exclude=asked.exclude,
        allow=asked.allow,
        language=asked.language,
        menu=not asked.diff,
        separate=asked.separate_table,
        sets=ruleaudit.read_sets(asked.ipset),
        services=services(asked.proxy) if asked.proxy else (),
        table=asked.table,
        listeners=asked.listening,
    )
    if not asked.live:
        return suggestion
    from ruleaudit import live

    return live.beside(suggestion, ruleaudit.lower(source, asked.language))


def _loaded(asked: Namespace, path: str) -> SourceFile:
    """The text of a file, read once."""
    if path not in asked.loaded:
        asked.loaded[path] = load_source(path, asked)
    found: SourceFile = asked.loaded[path]
    return found


def _table(asked: Namespace) -> TableUse:
    """The connection table, read for the rules of all files."""
    rulesets: list[Ruleset] = []
    sets = ruleaudit.read_sets(asked.ipset)
    for file in asked.files:
        with suppress(SourceError):  # it is said when its turn comes
            rulesets += ruleaudit.lower(_loaded(asked, file), asked.language, sets).rulesets
    return saved_table(asked.conntrack, rulesets, asked.quiet)


def _suggested(asked: Namespace, suggestion: Suggestion) -> Answer:
    from ruleaudit.report import suggest_text

    observation = _kernel_on_suggestion(asked, suggestion) if asked.kernel else None
    answer = _given_out(asked, suggestion, observation)
    if asked.format == "json":
        from ruleaudit.report import suggest_json

        return replace(answer, result=suggest_json.render(suggestion, observation, asked.proxy))
    if asked.diff:
        from ruleaudit.report.diff import unified

        text = None if answer.errors else suggestion.text
        return replace(answer, result="" if text is None else unified(suggestion.source, text))
    text = suggest_text.render(suggestion, _repeated(asked), observation, asked.proxy, style=style(asked))
    return replace(answer, result=text)


def _given_out(asked: Namespace, suggestion: Suggestion, observation: Observation | None) -> Answer:
    """The exit code and what standard error says, without a result; the new file is written where it is asked for."""
    from ruleaudit.report import suggest_text

    errors = not_observed(observation)
    # what the kernel was to confirm, and did not, is not given out as a file or a patch
    text = None if errors else suggestion.text
    code = FAILED if errors else FOUND if asked.exit_code and text is not None else DONE
    remarks = suggest_text.summary(suggestion, asked.proxy)
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


def _repeated(asked: Namespace) -> list[str]:
    """The options that decided what leaves, to be typed again."""
    options = ["--all"] if asked.all else []
    options += ["--separate-table"] if asked.separate_table else []
    options += ["--haproxy", *asked.haproxy] if asked.haproxy else []
    options += ["--conntrack", asked.conntrack] if asked.conntrack else []
    options += ["--listeners", asked.listeners] if asked.listeners else []
    for name, values in (("--port", asked.port), ("--except", asked.exclude), ("--allow", asked.allow)):
        if values:
            options += [name, ",".join(values)]
    return options
