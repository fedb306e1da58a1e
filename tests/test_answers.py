"""Whatever was read: check, explain and suggest say something or name what is wrong, and raise nothing else.

RULEAUDIT_EXAMPLES=5000 makes a long run of it.
"""

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import iptables_texts, nft_json_texts, nft_texts, rulesets
from tests.fuzz.reader import answer

EXAMPLES = int(os.environ.get("RULEAUDIT_EXAMPLES", "3"))
often = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


@often
@given(iptables_texts.files(), st.sampled_from(("iptables-save", "ip6tables-save")))
def test_every_file_of_iptables_has_its_answers(text: str, language: str) -> None:
    answer(text, language)


@often
@given(nft_texts.files())
def test_every_file_of_nft_has_its_answers(text: str) -> None:
    answer(text, "nft")


@often
@given(nft_json_texts.documents())
def test_every_document_of_nft_json_has_its_answers(text: str) -> None:
    answer(text, "nft-json")


@often
@given(rulesets.iptables())
def test_every_ruleset_of_iptables_has_its_answers(file: tuple[str, str]) -> None:
    answer(*file)


@often
@given(rulesets.nft())
def test_every_ruleset_of_nft_has_its_answers(text: str) -> None:
    answer(text, "nft")


@often
@given(rulesets.nft_json())
def test_every_ruleset_of_nft_json_has_its_answers(text: str) -> None:
    answer(text, "nft-json")
