"""Random hosts under what `suggest` makes of them, with real connections: a bounded sample of `replaying`."""

import random

import pytest

from tests.kernel.replaying import Figures, Stage, compare, compare_corpus
from tests.syntax.corpus import MISSING, REASON

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]


def test_the_same_connections_succeed() -> None:
    """One sample that is always the same, and one of its own in each run."""
    with Stage() as stage:
        for seed in (1, random.SystemRandom().randrange(1 << 30)):
            print(f"seed {seed}")
            figures = Figures()
            for number in range(5):
                figures += compare(stage, f"{seed}/{number}")
            assert not figures.wrong, f"seed {seed}\n{figures}"
            if seed == 1:
                assert figures.rewritten.total() >= 3, figures
                assert 0 < figures.answered < figures.questions, figures
                assert figures.freed, figures


@pytest.mark.skipif(MISSING, reason=REASON)
def test_rewrites_of_the_corpus() -> None:
    with Stage() as stage:
        figures = compare_corpus(stage, slice(0, None, 11), enough=4)
    assert not figures.wrong, figures
    assert figures.rewritten.total() == 4, figures
