"""nft itself and the table of mistakes: it refuses each at the line that we mark, and loads the neighbours."""

import re
import subprocess
from collections.abc import Iterator

import pytest

from ruleaudit.kernel.namespace import Namespace
from tests.syntax.test_nft_mistakes import GOOD, MISTAKES, unmarked


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    made = Namespace()
    yield made
    made.close()


def refusal(namespace: Namespace, text: str) -> str:
    """What nft says of a ruleset; "" if it loads."""
    namespace.run("nft", "flush", "ruleset")
    with namespace.inside():
        done = subprocess.run(["nft", "-f", "-"], input=text.encode(), capture_output=True, timeout=20, check=False)
    return done.stderr.decode(errors="replace") or "refused" if done.returncode else ""


def test_nft_refuses_the_same_lines(namespace: Namespace) -> None:
    wrong = []
    for text, _ in MISTAKES:
        said = refusal(namespace, unmarked(text))
        lines = {int(line) for line in re.findall(r"^/dev/stdin:(\d+):", said, re.M)}
        if text[: text.index("«")].count("\n") + 1 not in lines:
            wrong.append((text, said))
    assert wrong == []


def test_nft_loads_the_neighbours(namespace: Namespace) -> None:
    said = {text: refusal(namespace, text) for text in GOOD}
    assert {text: message for text, message in said.items() if message} == {}
