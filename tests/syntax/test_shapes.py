"""Words and options of a rule: iptables-restore's splitting, the grammar, and the memory of shapes."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruleaudit.syntax import shapes
from ruleaudit.syntax.shapes import Malformed, RawOption, options, parse_with_grammar, words

PIECES = st.lists(
    st.sampled_from(
        [
            "-A",
            "INPUT",
            "!",
            "-s",
            "10.0.0.1",
            "--dport",
            "80",
            "--dport=80",
            "-jACCEPT",
            '"a b"',
            'x"y z"',
            "-1",
            "-",
            "--",
            "-p",
            "tcp",
            '"\\""',
            "--tcp-flags",
            "SYN,ACK",
            "-4",
            "--log-prefix=",
            '-m"x"',
            "!x",
            '"',
            "  ",
            "\t",
            "é",
            '--x="a b"',
        ]
    ),
    max_size=12,
)


@given(PIECES, st.sampled_from([" ", "  ", " \t"]))
@settings(max_examples=300, deadline=None)
def test_a_remembered_shape_gives_what_the_grammar_gives(pieces: list[str], blank: str) -> None:
    text = blank.join(pieces)
    split = words(text)
    remembered = shapes._SHAPES.get(split.shape)
    options(text)
    assert shapes._SHAPES[split.shape] == parse_with_grammar(text, split)
    assert remembered in (None, shapes._SHAPES[split.shape])


@given(st.text(alphabet='-Aa1! "\\\t=é', max_size=14), st.text(alphabet='-Aa1! "\\\t=é', max_size=14))
@settings(max_examples=300, deadline=None)
def test_texts_of_one_shape_parse_alike(one: str, other: str) -> None:
    if words(one).shape == words(other).shape:
        assert parse_with_grammar(one, words(one)) == parse_with_grammar(other, words(other))


@pytest.mark.parametrize(("one", "other"), [("-Ax", "-A-A"), ("-A!", "-A--"), ("--x=1", '--x="a b"'), ("-A x", "-A =")])
def test_glued_words_of_one_shape_parse_alike(one: str, other: str) -> None:
    assert words(one).shape == words(other).shape
    assert parse_with_grammar(one, words(one)) == parse_with_grammar(other, words(other)) == (0,)


@given(st.text(alphabet='-Aa1! "\\\t=é', max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_has_words_that_stand_where_they_say(text: str) -> None:
    split = words(text)
    for word, start in zip(split.text, split.starts, strict=True):
        assert text[start : start + len(word)] == word
    rest = list(text)
    for word, start in zip(split.text, split.starts, strict=True):
        rest[start : start + len(word)] = [" "] * len(word)
    assert "".join(rest).strip(" \t") == ""
    assert len(split.shape) == len(split.text)
    options(text)


def test_a_shape_in_order_is_as_the_grammar_has_it() -> None:
    spelled = {"O": ("-a", "--long-one"), "V": ("v", "-5"), "S": ('"s"', '"-x !"'), "!": ("!", "!")}
    orderly = 0
    for size in range(1, 8):
        for letters in product("OVS!", repeat=size):
            shape = "".join(letters)
            for spelling in (0, 1):
                text = " ".join(spelled[letter][spelling] for letter in shape)
                if words(text).shape == shape and (known := shapes.in_order(shape)):
                    orderly += 1
                    assert parse_with_grammar(text, words(text)) == known
    assert orderly > 1000


def named(text: str) -> list[tuple[str, bool, tuple[str, ...]]]:
    found = options(text)[1]
    assert not isinstance(found, Malformed)
    return [(o.name, o.negated, o.values) for o in found]


def test_negation_before_and_behind_the_option() -> None:
    assert named("-A INPUT ! -s 10.0.0.1 -d ! 10.0.0.2 ! --syn") == [
        ("-A", False, ("INPUT",)),
        ("-s", True, ("10.0.0.1",)),
        ("-d", True, ("10.0.0.2",)),
        ("--syn", True, ()),
    ]


def test_quotes_escapes_and_glued_values() -> None:
    assert named('-A INPUT -m"x" -jLOG') == [("-A", False, ("INPUT",)), ("-m", False, ("x",)), ("-j", False, ("LOG",))]
    assert named('-A INPUT --comment "a \\"b\\" \\\\" -jLOG --log-prefix="x y" --dport=80') == [
        ("-A", False, ("INPUT",)),
        ("--comment", False, ('a "b" \\',)),
        ("-j", False, ("LOG",)),
        ("--log-prefix", False, ("x y",)),
        ("--dport", False, ("80",)),
    ]


def test_a_closing_quote_ends_a_word_and_an_opening_one_does_not_begin_one() -> None:
    assert words('a"b c"d').text == ('a"b c"', "d")
    assert named('-A x"y z"w') == [("-A", False, ("xy z", "w"))]


def test_a_negative_number_is_a_value() -> None:
    assert named("-A INPUT -m x --y -1") == [("-A", False, ("INPUT",)), ("-m", False, ("x",)), ("--y", False, ("-1",))]


@pytest.mark.parametrize(
    ("text", "word"),
    [("INPUT -A", 0), ("-A INPUT !", 2), ("-A INPUT ! ! -s 1", 2), ('-A INPUT --comment "x', 3), ("-A INPUT -s !", 3)],
)
def test_where_a_line_stops_to_be_a_rule(text: str, word: int) -> None:
    assert options(text)[1] == Malformed(word)


def test_raw_options_name_their_words() -> None:
    found = options("-A INPUT ! -s ::1 -j DROP")[1]
    assert isinstance(found, tuple)
    assert found[1] == RawOption("-s", True, ("::1",), 2, 5)
