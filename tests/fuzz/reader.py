"""Whatever the bytes are: no traceback, no lost byte, no place outside of the text, and no second for 10 kB.

    pip install atheris
    python -m tests.fuzz.reader -max_total_time=1800 -max_len=10000 FOLDER

FOLDER keeps the inputs that reach new code; the rulesets of tests/fixtures are a good start. Hypothesis tries the same
property with texts made of the language's own words in tests/syntax/test_fuzz.py.
"""

import sys
import time
from pathlib import Path

from ruleaudit.model import from_nftables
from ruleaudit.model.fields import Family
from ruleaudit.model.from_ipset import sets_of
from ruleaudit.model.from_iptables import lower
from ruleaudit.source import SourceFile
from ruleaudit.syntax import iptables, nft_json, nftables
from ruleaudit.syntax.language import family, sniff

#: seconds that a reader may take for a text of 10 kB
PATIENCE = 1.0


def read_everything(text: str) -> None:
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
                assert rule.span.start <= match.span.start <= match.span.end <= rule.span.end, (rule.text, match)
    for problem in sets_of(source)[1]:
        assert 0 <= problem.span.start <= problem.span.end <= len(text), problem


def read_nft(text: str) -> None:
    """The same of the readers of nft's language and of its JSON."""
    source = SourceFile("fuzz.nft", text)
    for read in (nftables.read, nft_json.read):
        document = read(source)
        assert str(document) == text
        lowered = from_nftables.lower(document)
        for finding in lowered.findings:
            assert 0 <= finding.span.start <= finding.span.end <= len(text), finding
        for ruleset in lowered.rulesets:
            for rule in ruleset.rules():
                assert 0 <= rule.span.start <= rule.span.end <= len(text), rule


def _main() -> None:
    import atheris  # type: ignore[import-not-found]

    atheris.instrument_all()

    def one_input(data: bytes) -> None:
        text = data.decode("utf-8", "surrogateescape")
        try:
            started = time.process_time()
            read_everything(text)
            read_nft(text)
            took = time.process_time() - started
            assert took < PATIENCE * max(1, len(text) / 10_000), took
        except Exception:
            Path("crash.txt").write_bytes(data)
            raise

    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    _main()
