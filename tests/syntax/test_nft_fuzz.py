"""Whatever stands in an nft file or in nft JSON, the reader gives it back and comes to an end.

RULEAUDIT_EXAMPLES=100000 makes a long run of it; `tests.fuzz.reader` looks for texts that reach new code.
"""

import os
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import large_texts
from tests.fuzz.nft_json_texts import documents
from tests.fuzz.nft_texts import files
from tests.fuzz.reader import PROPERTIES, in_time, read_nft, read_nft_json, write_json

EXAMPLES = int(os.environ.get("RULEAUDIT_EXAMPLES", "25"))
_LARGE = [
    pytest.param(PROPERTIES[language], text, id=f"{language}-{name.replace(' ', '-')}")
    for language, texts in (
        ("nft", large_texts.nft()),
        ("nft-json", large_texts.nft_json()),
        ("iptables", large_texts.iptables()),
    )
    for name, text in texts
]
often = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@often
@given(files())
def test_every_text_of_nft_comes_back_and_is_read_to_its_end(text: str) -> None:
    read_nft(text)


@often
@given(files())
def test_every_text_of_nft_is_said_in_json_or_cannot_be(text: str) -> None:
    write_json(text)


@pytest.mark.parametrize("text", [text for _, text in large_texts.nft()], ids=[name for name, _ in large_texts.nft()])
def test_every_large_text_is_said_in_json_or_cannot_be(text: str) -> None:
    write_json(text)


@often
@given(files(), st.lists(files(), max_size=3))
def test_every_file_is_read_with_what_it_includes(text: str, others: list[str]) -> None:
    read_nft(text, {str(number): other for number, other in enumerate(others)})


@often
@given(documents())
def test_every_document_of_nft_json_comes_back(text: str) -> None:
    read_nft_json(text)


@often
@given(st.binary(max_size=300))
def test_every_file_comes_back(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    read_nft(text)
    read_nft_json(text)


@pytest.mark.parametrize(("read", "text"), _LARGE)
def test_10_kb_are_read_within_a_second(read: Callable[[str], None], text: str) -> None:
    read("")  # the grammar is made once
    in_time(read, text, patience=5)
