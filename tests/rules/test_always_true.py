"""What to write instead of a test of the state that holds for every packet."""

import pytest

from ruleaudit.rules import always_true_test
from ruleaudit.rules.file_report import check_source
from ruleaudit.source import SourceFile


@pytest.mark.parametrize("states", ["established,related", "established, related", "established | related"])
def test_the_advice_is_a_set_of_the_same_states(states: str) -> None:
    text = f"table inet t {{\n chain c {{\n  type filter hook input priority 0;\n  ct state != {states} drop\n }}\n}}\n"
    (finding,) = (f for f in check_source(SourceFile("rules.nft", text)).findings if f.code == always_true_test.CODE)
    assert finding.notes == (("help", "write: ct state != { established, related }"),)
