"""Whatever stands in a file, the reader gives it back and comes to an end: texts made of the language's own words.

RULEAUDIT_EXAMPLES=100000 makes a long run of it; `tests.fuzz.reader` looks for texts that reach new code.
"""

import os

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.iptables_texts import files
from tests.fuzz.reader import read_iptables

EXAMPLES = int(os.environ.get("RULEAUDIT_EXAMPLES", "250"))


@given(files())
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_text_comes_back_and_is_read_to_its_end(text: str) -> None:
    read_iptables(text)


@given(st.binary(max_size=300))
@settings(max_examples=EXAMPLES, deadline=None)
def test_every_file_comes_back(data: bytes) -> None:
    read_iptables(data.decode("utf-8", "surrogateescape"))
