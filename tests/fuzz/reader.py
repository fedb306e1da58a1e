"""Whatever the bytes are: no traceback, no lost byte, no place outside of the text, and no second for 10 kB.

    pip install atheris
    python -m tests.fuzz.reader nft -max_total_time=1800 -max_len=10000 FOLDER

The first word is a key of PROPERTIES. FOLDER keeps the inputs that reach new code; the rulesets of tests/fixtures are a
good start. Hypothesis tries the same properties with texts made of the languages' own words in
tests/syntax/test_fuzz.py and test_nft_fuzz.py.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from xml.etree import ElementTree

import ruleaudit
from ruleaudit.model import from_nftables
from ruleaudit.model.fields import Family
from ruleaudit.model.from_ipset import sets_of
from ruleaudit.model.from_iptables import lower
from ruleaudit.report import (
    check_full,
    check_json,
    check_junit,
    check_sarif,
    explain_json,
    explain_text,
    suggest_json,
    suggest_text,
)
from ruleaudit.rules import RULES
from ruleaudit.source import SourceFile
from ruleaudit.syntax import iptables, nft_json, nft_json_document, nftables
from ruleaudit.syntax.language import family, sniff
from ruleaudit.syntax.nft_definitions import Found
from ruleaudit.syntax.nft_json_values import Unwritable
from ruleaudit.syntax.nft_tree import NftDocument

#: seconds that a reader may take for a text of 10 kB, and that all commands together may
PATIENCE, PATIENCE_WITH_PROOFS = 1.0, 60.0
#: what parts a text into the file and those that it includes as "0", "1", ...
FILE_END = "\0"


def read_iptables(text: str) -> None:
    """Raises AssertionError, or whatever the reader raises, when the property does not hold."""
    source = SourceFile("fuzz", text)
    sniff(source)
    family(source)
    document = iptables.read(source)
    assert str(document) == text
    for each in Family:
        lowered = lower(document, each)
        for finding in lowered.findings:
            assert 0 <= finding.span.start <= finding.span.end <= len(text), finding
        for rule in lowered.ruleset.rules():
            assert text[rule.span.start : rule.span.end].split() or not rule.text, rule
            for match in rule.matches:
                place = rule.place_of(match)
                assert rule.span.start <= place.start <= place.end <= rule.span.end, (rule.text, match)
    for problem in sets_of(source)[1]:
        assert 0 <= problem.span.start <= problem.span.end <= len(text), problem


def read_nft(text: str, included: Mapping[str, str] | None = None) -> None:
    """The same of the reader of nft's language; `included` are the texts of other files by the name of an include."""
    source = SourceFile("fuzz.nft", text)
    sniff(source)
    files = {"fuzz.nft": text} | dict(included or {})

    def load(pattern: str, by: str) -> Found:
        assert by in files, by
        return Found(tuple(SourceFile(name, files[name]) for name in files if pattern in (name, "*")))

    _sound(nftables.read(source, load if included is not None else None), text)


def read_nft_parts(text: str) -> None:
    """The same of a text that holds what it includes behind FILE_END."""
    first, *others = text.split(FILE_END)
    read_nft(first, {str(number): other for number, other in enumerate(others)} if others else None)


def read_nft_json(text: str) -> None:
    """The same of the reader of libnftables-json."""
    source = SourceFile("fuzz.json", text)
    sniff(source)
    _sound(nft_json.read(source), text)


def _sound(document: NftDocument, text: str) -> None:
    assert str(document) == text
    size = _size(document.source)
    lowered = from_nftables.lower(document)
    for finding in lowered.findings:
        assert 0 <= finding.span.start <= finding.span.end <= size, finding
        document.source.position(finding.span.start)
    for ruleset in lowered.rulesets:
        for rule in ruleset.rules():
            assert 0 <= rule.span.start <= rule.span.end <= size, rule
            for match in rule.matches:
                place = rule.place_of(match)
                assert 0 <= place.start <= place.end <= size, (rule.text, match)


def write_json(text: str) -> None:
    """What was read of nft's language is written as JSON, or cannot be said in it."""
    with suppress(Unwritable):
        json.loads(nft_json_document.text(nftables.read(SourceFile("fuzz.nft", text))))


def _size(source: SourceFile) -> int:
    """The end of the last place in a file and in what it includes."""
    last, base = list(source.parts())[-1]
    return base + len(last.text)


def answer(text: str, language: str | None = None) -> None:
    """No command raises anything but the error that it names, whatever was read, and every report can be written."""
    # in a folder that is not there: what lies about on this machine is not included
    source = SourceFile("nowhere/fuzz", text)
    for command in (_checked, _explained, _suggested):
        with suppress(ruleaudit.SourceError):
            command(source, language)


def _checked(source: SourceFile, language: str | None) -> None:
    reports = ruleaudit.check([source], language=language)
    for finding in reports[0].findings:
        assert 0 <= finding.span.start <= finding.span.end <= _size(reports[0].source), finding
    check_full.render(reports, notes=True)
    json.loads(check_json.render(reports))
    json.loads(check_sarif.render(reports, RULES))
    ElementTree.fromstring(check_junit.render(reports, notes=True))


def _explained(source: SourceFile, language: str | None) -> None:
    tracking = ruleaudit.explain(source, language=language)
    explain_text.render(tracking, notes=True)
    json.loads(explain_json.render(tracking))


def _suggested(source: SourceFile, language: str | None) -> None:
    suggestion = ruleaudit.suggest(source, language=language)
    suggest_text.render(suggestion)
    json.loads(suggest_json.render(suggestion))


#: what a run may try, by the word that asks for it
PROPERTIES: Mapping[str, Callable[[str], None]] = {
    "iptables": read_iptables,
    "nft": read_nft_parts,
    "nft-json": read_nft_json,
    "nft-to-json": write_json,
    "answers": answer,
}


def in_time(holds: Callable[[str], None], text: str, patience: float = 1) -> None:
    """The property holds, and one of three tries is fast: whatever else the machine does slows a program down.

    `patience` times as long is fast enough: the suite looks for what grows without measure, on any machine.
    """
    most = patience * (PATIENCE_WITH_PROOFS if holds is answer else PATIENCE) * max(1, len(text) / 10_000)
    took = []
    while len(took) < 3 and (not took or took[-1] >= most):
        started = time.process_time()
        holds(text)
        took.append(time.process_time() - started)
    assert min(took) < most, took


def _main() -> None:
    import atheris  # type: ignore[import-not-found]

    holds = PROPERTIES[sys.argv.pop(1)]
    atheris.instrument_all()

    def one_input(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        try:
            in_time(holds, text)
        except Exception:
            Path("crash.txt").write_bytes(data)
            raise

    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    _main()
