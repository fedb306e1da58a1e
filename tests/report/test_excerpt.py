"""Excerpt and caret: what is underlined is what is meant, however odd the line."""

from ruleaudit.report.excerpt import Mark, excerpt
from ruleaudit.source import SourceFile, Span


def drawn(text: str, *marks: Mark) -> list[str]:
    return list(excerpt(SourceFile("x", text), marks))


def test_the_caret_stands_below_the_word() -> None:
    text = "*filter\n-A INPUT -j ACEPT\nCOMMIT\n"
    at = text.index("ACEPT")
    assert drawn(text, Mark(Span(at, at + 5), "^", "did you mean ACCEPT?")) == [
        "   |",
        " 2 | -A INPUT -j ACEPT",
        "   |             ^^^^^ did you mean ACCEPT?",
    ]


def test_two_marks_in_one_line_show_it_once() -> None:
    assert drawn("abc def\n", Mark(Span(0, 3), "^", "one"), Mark(Span(4, 7), "-", "two")) == [
        "   |",
        " 1 | abc def",
        "   | ^^^ one",
        "   |     --- two",
    ]


def test_an_empty_span_at_the_end_of_a_line_still_has_a_caret() -> None:
    assert drawn("abc\n", Mark(Span(3, 3), "^", ""))[-1] == "   |    ^"


def test_a_span_over_several_lines_is_underlined_on_its_first() -> None:
    assert drawn("abc\ndef\n", Mark(Span(1, 6), "^", ""))[-1] == "   |  ^^"


def test_tabs_and_wide_letters_do_not_move_the_caret() -> None:
    text = "\t全角 x\n"
    at = text.index("x")
    assert drawn(text, Mark(Span(at, at + 1), "^", "")) == ["   |", " 1 |  全角 x", "   |       ^"]


def test_escape_sequences_of_the_input_do_not_reach_the_terminal() -> None:
    text = '-m comment --comment "\x1b[31mred"\n'
    assert drawn(text, Mark(Span(0, 2), "^", ""))[1] == ' 1 | -m comment --comment "\ufffd[31mred"'


def test_of_a_very_long_line_only_the_surroundings_are_shown() -> None:
    text = "a" * 5_000_000 + "BAD" + "b" * 5_000_000
    lines = drawn(text, Mark(Span(5_000_000, 5_000_003), "^", ""))
    assert lines[1] == f" 1 | ...{'a' * 20}BAD{'b' * 137}..."
    assert lines[2] == "   | " + " " * 23 + "^^^"


def test_a_long_label_goes_below_the_caret() -> None:
    lines = drawn(
        "a" * 100 + " b\n", Mark(Span(101, 102), "^", "a label of quite a few words that does not fit beside it")
    )
    assert lines[2] == "   | " + " " * 101 + "^"
    assert lines[3].strip(" |").startswith("a label of quite")
    assert all(len(line) <= 120 for line in lines)


def test_of_a_very_long_span_only_its_beginning_is_underlined() -> None:
    lines = drawn("ab " + "c" * 10_000_000, Mark(Span(3, 10_000_003), "^", ""))
    assert lines == ["   |", f" 1 | ab {'c' * 157}...", f"   |    {'^' * 120}"]


def test_a_long_label_is_cut() -> None:
    lines = drawn("abc\n", Mark(Span(0, 3), "^", "d" * 10_000_000))
    assert sum(map(len, lines)) < 1000
