"""The reference answers to real rulesets: what is freed, what never is, and the class of every rule."""

import json
from typing import Any

import pytest

import ruleaudit
from tests.syntax.corpus import MISSING, REASON, ROOT

pytestmark = pytest.mark.skipif(MISSING, reason=REASON)


def _answers() -> list[dict[str, Any]]:
    if MISSING:
        return []
    lines = (ROOT / "expected.jsonl").read_text().splitlines()
    return [answer for answer in map(json.loads, lines) if answer["kind"] in ("iptables", "ip6tables", "nft")]


@pytest.mark.parametrize("answer", _answers(), ids=lambda answer: str(answer["path"]).rsplit("/", 1)[-1])
def test_the_reference_answer(answer: dict[str, Any]) -> None:
    found = ruleaudit.suggest(str(ROOT / answer["path"]))
    assert found.outcome in (answer["outcome"], *answer.get("outcome_also", ()))
    freed = {(flow.protocol, port) for flow in found.flows if flow.direction == "in" for port in flow.ports}
    expected = {tuple(flow) for flow in answer["frees"]}
    assert expected <= freed <= expected | {tuple(flow) for flow in answer["may"]}
    classes = {judgement.rule.line: judgement.kind.value for judgement in found.tracking.judgements}
    assert classes.keys() == {rule["line"] for rule in answer["rules"]}
    for rule in answer["rules"]:
        assert classes[rule["line"]] in (rule["class"], *rule.get("also", ())), rule
