"""Random whole rulesets against the kernel, and rulesets of the corpus: a bounded sample of `differential`."""

import random

import pytest

from ruleaudit.model.fields import Family, State
from tests.kernel.bench import PROGRAMS, Bench
from tests.kernel.differential import compare, compare_corpus
from tests.kernel.shown import Figures
from tests.syntax.corpus import MISSING, REASON

pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("kernel")]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_packet_goes_the_way_that_the_model_says(program: str) -> None:
    """One sample that is always the same, and one of its own in each run."""
    figures = Figures()
    for seed in (1, random.SystemRandom().randrange(1 << 30)):
        print(f"seed {seed}")
        with Bench() as bench:
            for number in range(3):
                for family in Family:
                    figures += compare(bench, program, family, f"{seed}/{number}", 100)
        assert not figures.wrong, f"seed {seed}\n{figures}"
    assert figures.packets > 700, figures
    assert all(figures.states[state] > 20 for state in State), figures
    assert all(figures.ways[way] > 40 for way in ("in", "out", "forward", "local")), figures
    assert figures.other < figures.packets / 4, figures
    assert figures.lost < figures.packets / 50, figures


@pytest.mark.skipif(MISSING, reason=REASON)
def test_rulesets_of_the_corpus() -> None:
    with Bench() as bench:
        figures = compare_corpus(bench, 25, slice(5, None, 100))
    assert not figures.wrong, figures
    assert figures.packets > 100, figures
