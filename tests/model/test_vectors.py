"""The vectors of the iptables test suite: what it takes is understood, what it refuses is an error.

`python -m tests.model.test_vectors` prints the figures for each extension.
"""

from collections import Counter

import pytest

from ruleaudit.diagnostics import Severity
from ruleaudit.model.from_iptables import lower
from ruleaudit.source import SourceFile
from ruleaudit.syntax.iptables import read
from tests.model.vectors import ELSEWHERE, Vector, vectors
from tests.syntax.corpus import MISSING, REASON

pytestmark = pytest.mark.skipif(MISSING, reason=REASON)

BY_EXTENSION: dict[str, list[Vector]] = {}
for _vector in vectors():
    BY_EXTENSION.setdefault(_vector.extension, []).append(_vector)


def problems(vector: Vector) -> list[str]:
    """What is wrong with our reading, in one of the chains; nothing is as it should be."""
    found = []
    for chain in vector.chains:
        text = vector.text(chain)
        document = read(SourceFile("vector", text))
        assert str(document) == text
        lowered = lower(document, vector.family)
        understood = all(rule.understood for rule in lowered.ruleset.rules())
        if vector.accepted:
            found += [f.message for f in lowered.findings] + ([] if understood else ["not understood"])
        elif not any(f.severity is Severity.ERROR for f in lowered.findings):
            found.append("taken")
    return found


@pytest.mark.parametrize("extension", BY_EXTENSION)
def test_what_iptables_takes_is_understood_and_what_it_refuses_is_an_error(extension: str) -> None:
    wrong = {
        (v.line, v.family.name, v.rule): problems(v) for v in BY_EXTENSION[extension] if not v.elsewhere and problems(v)
    }
    assert wrong == {}


def test_every_exception_is_one() -> None:
    left = {(v.extension, v.line) for some in BY_EXTENSION.values() for v in some if v.elsewhere and problems(v)}
    assert left == {(extension, line) for extension, line, _ in ELSEWHERE}


def _print_figures() -> None:
    print(f"{'extension':<22} {'taken':>7} {'understood':>11} {'refused':>8} {'an error':>9} {'elsewhere':>10}")
    total: Counter[str] = Counter()
    for extension, some in BY_EXTENSION.items():
        own: Counter[str] = Counter()
        for vector in some:
            result = "taken" if vector.accepted else "refused"
            own[result] += 1
            own["elsewhere" if vector.elsewhere and problems(vector) else f"{result} right"] += not (
                problems(vector) and not vector.elsewhere
            )
        _row(extension, own)
        total += own
    _row("all", total)


def _row(name: str, counts: Counter[str]) -> None:
    columns = [counts[c] for c in ("taken", "taken right", "refused", "refused right", "elsewhere")]
    print("{:<22} {:>7} {:>11} {:>8} {:>9} {:>10}".format(name, *columns))


if __name__ == "__main__":
    _print_figures()
