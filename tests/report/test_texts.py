"""The texts for people, whole: what is printed for hand-made answers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ruleaudit.report import check_concise, check_full, check_summary, explain_text, suggest_text, verify_text
from ruleaudit.report.style import Style
from ruleaudit.results.suggestion import Suggestion
from tests.report import made

EXPECTED = Path(__file__).parent / "expected"
TEXTS: dict[str, Callable[[], str]] = {
    "check-full": lambda: check_full.render([made.REPORT]),
    "check-full-notes": lambda: check_full.render([made.REPORT], notes=True),
    "check-summary": lambda: check_summary.render([made.REPORT]),
    "suggest-rewrite": lambda: suggest_text.render(made.REWRITE, ("--except", "8080")),
    "suggest-nothing-to-free": lambda: suggest_text.render(made.REFUSAL),
    "suggest-nothing-needs-tracking": lambda: suggest_text.render(made.NEEDLESS),
    "explain": lambda: explain_text.render(made.TRACKING, notes=True),
    "verify-allowed": lambda: verify_text.render(made.COMPARISON, [made.STRAYS, made.UNTRACKED]),
    "verify-broken": lambda: verify_text.render(made.BROKEN),
    "suggest-contradicted": lambda: suggest_text.render(made.REWRITE, observation=made.CONTRADICTED),
    "suggest-refused": lambda: suggest_text.render(made.REWRITE, observation=made.REFUSED_BY_KERNEL),
    "verify-observed": lambda: verify_text.render(made.COMPARISON, observation=made.OBSERVED),
    "verify-contradicted": lambda: verify_text.render(made.COMPARISON, observation=made.CONTRADICTED),
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_whole_text_is_as_expected(name: str) -> None:
    assert TEXTS[name]() == (EXPECTED / f"{name}.txt").read_text()


def test_concise_is_one_clickable_line_for_each_finding() -> None:
    assert check_concise.render([made.REPORT], notes=True) == (
        "rules.v4:7:10: RA100 note this rule needs tracking [needs-tracking]\n"
        "rules.v4:10:46: RA101 warning web traffic is tracked but no rule needs its state [needless-tracking]\n"
    )


def test_mere_notes_are_left_out_unless_asked_for() -> None:
    assert check_concise.render([made.REPORT]).count("\n") == 1
    assert check_full.render([replace(made.REPORT, findings=(made.NOTE,))]) == ""


def test_colour_adds_escape_sequences_and_nothing_else() -> None:
    import re

    plain = suggest_text.render(made.REWRITE)
    coloured = suggest_text.render(made.REWRITE, style=Style(True))
    assert "\x1b" not in plain
    assert "\x1b[32m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


def test_what_was_observed_stands_below_what_was_proved() -> None:
    lines = suggest_text.render(made.REWRITE, observation=made.OBSERVED).split("\n")
    (at,) = (number for number, line in enumerate(lines) if line.startswith("  proved "))
    assert "\n".join(lines[at + 2 :]).startswith(
        "  observed 62 packets in the kernel (6.1.0, nft 1.0.6), 4 of them from this report: the same rules decided,\n"
        "           with the same verdicts, as reasoned; not compared: 2 (there was no time to send it)\n\nRIGHT NOW"
    )
    assert "\n".join(lines).replace("\n".join(lines[at + 2 : at + 4]) + "\n", "") == suggest_text.render(made.REWRITE)


@pytest.mark.parametrize("answer", [made.REWRITE, made.REFUSAL, made.NEEDLESS], ids=lambda a: a.outcome)
def test_that_nothing_was_observed_is_said_in_every_answer(answer: Suggestion) -> None:
    said = suggest_text.render(answer, observation=made.NOT_OBSERVED)
    assert said.count("  observed nothing: not installed: nft\n") == 1


def test_an_equivalent_change_is_said_in_the_first_line() -> None:
    comparison = replace(made.COMPARISON, differences=(), assumptions=())
    assert verify_text.render(comparison).split("\n")[0] == "EQUIVALENT: every packet fares as before."


def test_what_could_not_be_compared_is_never_called_equivalent() -> None:
    comparison = replace(made.BROKEN, differences=())
    first = verify_text.render(comparison).split("\n")[0]
    assert first == "UNDECIDED: no difference was found, but not everything could be compared."


def test_a_ruleset_without_state_tests_has_nothing_to_gain() -> None:
    empty = replace(made.NEEDLESS, tracking=replace(made.TRACKING, judgements=()))
    first = suggest_text.render(empty).split("\n")[0]
    assert first == "NOTHING TO DO: no rule of this file uses connection tracking."


def test_rules_that_were_not_understood_are_named() -> None:
    vague = replace(made.REPORT, exact=6, opaque=(made.rule(11),))
    assert check_summary.render([vague]).startswith(
        "rules.v4: 7 rules read, 6 understood exactly; line 11 may or may not match. "
    )


if __name__ == "__main__":
    # python -m tests.report.test_texts: expect today's texts; read the difference before it is committed
    for name, text in TEXTS.items():
        (EXPECTED / f"{name}.txt").write_text(text())
