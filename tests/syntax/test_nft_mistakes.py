"""The mistakes which administrators make in nft rulesets: each is refused at its place, with what to write instead."""

import pytest

from ruleaudit.source import SourceFile
from ruleaudit.syntax.nftables import read
from tests.syntax.nft_mistakes import FILES, GOOD_FILES, GOOD_RULES, HEAD, RULES, TAIL

MISTAKES = [*((HEAD + rule + TAIL, said) for rule, said in RULES), *FILES]
GOOD = [*(HEAD + rule + TAIL for rule in GOOD_RULES), *GOOD_FILES]


def unmarked(text: str) -> str:
    """A text without the marks."""
    return text.replace("«", "").replace("»", "")


@pytest.mark.parametrize(("text", "said"), MISTAKES)
def test_a_mistake_is_found_at_its_place(text: str, said: str) -> None:
    (problem,) = read(SourceFile("rules.nft", unmarked(text))).problems
    start = text.index("«")
    assert (problem.span.start, problem.span.end) == (start, text.index("»") - 1)
    assert problem.message + (f" ({problem.hint})" if problem.hint else "") == said
    assert problem.refused


@pytest.mark.parametrize("text", GOOD)
def test_what_only_looks_like_a_mistake_is_read(text: str) -> None:
    document = read(SourceFile("rules.nft", text))
    assert document.problems == ()
    assert [rule.unread for t in document.tables for c in t.chains.values() for rule in c.rules if rule.unread] == []
