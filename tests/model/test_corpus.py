"""Every iptables-save file of the corpus is read as the tools read it."""

import re

import pytest

from ruleaudit import check
from ruleaudit.diagnostics import Severity
from ruleaudit.model.fields import Family
from ruleaudit.model.from_iptables import Lowered, lower
from ruleaudit.source import SourceFile
from ruleaudit.syntax.iptables import read, sniff
from tests.syntax.corpus import MISSING, REASON, Entry, entries

pytestmark = pytest.mark.skipif(MISSING, reason=REASON)

FILES = entries("iptables", "ip6tables")

#: what the tools refuse because of something that is not in the file, or that a lint rule of its own finds
_ELSEWHERE = re.compile(r"host/network `[\w.-]+' not found|Chain '[\w-]+' does not exist")


def lowered(entry: Entry) -> Lowered:
    return lower(read(entry.source), Family.IPV4 if entry.kind == "iptables" else Family.IPV6)


def error_lines(result: Lowered) -> list[int]:
    source = result.ruleset.source
    return [
        source.position(f.span.start).line
        for f in result.findings
        if f.code == "RA001" and f.severity is Severity.ERROR
    ]


def test_every_file_comes_back_byte_for_byte() -> None:
    for entry in FILES:
        assert str(read(entry.source)) == entry.source.text, entry.path


def test_every_file_is_known_as_what_it_is() -> None:
    assert {entry.path: sniff(entry.source) for entry in FILES if sniff(entry.source) != "iptables-save"} == {}


def test_no_nft_file_is_taken_for_iptables_save() -> None:
    wrong = [e.path for e in entries("nft", "nftjson") if sniff(e.source) == "iptables-save"]
    assert wrong == []


def test_what_the_kernel_accepts_has_no_error() -> None:
    wrong = {e.path: error_lines(lowered(e)) for e in FILES if e.verdict == "accepted"}
    assert {path: lines for path, lines in wrong.items() if lines} == {}


def test_what_the_tools_refuse_has_an_error_at_the_line_that_they_name() -> None:
    for entry in FILES:
        if entry.verdict != "rejected" or _ELSEWHERE.search(entry.first_error):
            continue
        lines = error_lines(lowered(entry))
        if not lines:
            # chains that are not there are found by a rule of the linter
            undefined = [f for f in check([entry.source])[0].findings if f.code == "RA301"]
            lines = [entry.source.position(f.span.start).line for f in undefined]
        assert lines, entry.path
        # the legacy tools name the line of COMMIT for whatever the kernel refuses
        named = re.search(r"-restore: line (\d+)", entry.first_error.split(" | ")[0])
        if named:
            assert int(named[1]) in lines, (entry.path, lines)


def test_the_vectors_of_the_iptables_suite_are_read_without_a_traceback() -> None:
    rules: list[str] = []
    for entry in entries("iptables-t"):
        chain = "INPUT"
        for line in entry.source.text.split("\n"):
            if line.startswith(":"):
                chain = line[1:].split(",")[0].split(" ")[0]
            elif line and line[0] not in "#*%":
                rules.append(f"-A {chain} {line.split(';')[0]}")
    for family in Family:
        for table in ("filter", "mangle", "nat", "raw"):
            text = "\n".join([f"*{table}", *rules, "COMMIT", ""])
            result = lower(read(SourceFile("vectors", text)), family)
            assert len(result.findings) < 3 * len(rules)
