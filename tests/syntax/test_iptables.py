"""The document of an iptables-save file: lossless for every text, with exact places and line by line recovery."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruleaudit.source import SourceFile, Span
from ruleaudit.syntax.iptables import (
    BadLine,
    Blank,
    ChainLine,
    CommandLine,
    Comment,
    CommitLine,
    Document,
    RuleLine,
    TableLine,
    Word,
    read,
)

LINES = st.sampled_from(
    [
        "*filter",
        ":INPUT DROP [0:0]",
        ":x - [1:2]",
        "-A INPUT -j ACCEPT",
        "COMMIT",
        "# note",
        "",
        " ",
        "-A INPUT ! -s 1 -j x",
        "[1:2] -A INPUT",
        '-A INPUT -m comment --comment "a',
        "-N x",
        "garbage",
        "*",
        ":",
        "-",
        "[",
        "[1:2]",
        "\x00",
        "-A",
        " COMMIT",
        "COMMIT ",
        "-P INPUT DROP",
        '"',
        "\udcff",
        "\u2028",
        "*nat",
        "-F",
        "\t-A\tINPUT",
        "é",
    ]
)
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\r", "", "\n\n"])), max_size=10).map(
        lambda lines: "".join(a + b for a, b in lines)
    ),
)


def parsed(text: str) -> Document:
    return read(SourceFile("rules", text))


@given(TEXTS)
@settings(max_examples=500, deadline=None)
def test_printing_a_document_gives_its_text_back(text: str) -> None:
    document = parsed(text)
    assert str(document) == text
    at = 0
    for line in document.lines:
        assert line.span.start == at
        at = line.span.end
    assert at == len(text)


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_options_and_values_stand_where_they_say(text: str) -> None:
    document = parsed(text)
    for line in document.lines:
        if isinstance(line, RuleLine):
            assert document.rule_line_at(line.span.start) is line
            for option in line.options:
                assert text[option.name_span.start : option.name_span.end] == option.name
                assert line.span.start <= option.span.start <= option.name_span.start
                for value in option.values:
                    assert text[value.span.start : value.span.end] == value.text
                    assert value.span.end <= option.span.end
    for problem in document.problems:
        assert 0 <= problem.span.start <= problem.span.end <= len(text)


def test_every_kind_of_line() -> None:
    text = "# a\n\n*filter\n:INPUT DROP [1:2]\n:web - [0:0]\n-N more\n[3:4] -A INPUT -j web\nbad\nCOMMIT\n"
    document = parsed(text)
    kinds = [type(line) for line in document.lines]
    assert kinds == [Comment, Blank, TableLine, ChainLine, ChainLine, CommandLine, RuleLine, BadLine, CommitLine]
    chain = document.lines[3]
    assert isinstance(chain, ChainLine)
    assert (chain.name, chain.policy, chain.counters) == ("INPUT", "DROP", (1, 2))
    rule = document.lines[6]
    assert isinstance(rule, RuleLine)
    assert (rule.command, rule.chain, rule.counters, rule.text) == ("-A", "INPUT", (3, 4), "-A INPUT -j web")
    assert [p.message for p in document.problems] == ['unexpected "bad": a line starts with *, :, -A, # or is COMMIT']


def test_the_parts_of_a_negated_option() -> None:
    text = '*filter\n-A INPUT ! -s 10.0.0.1 -m comment --comment "a b" -j DROP\nCOMMIT\n'
    rule = parsed(text).lines[1]
    assert isinstance(rule, RuleLine)
    source = rule.options[1]
    assert (source.name, source.negated) == ("-s", True)
    assert source.negation_span == Span(17, 18)
    assert text[source.span.start : source.span.end] == "! -s 10.0.0.1"
    assert rule.options[3].values == (Word('"a b"', "a b", Span(52, 57)),)
    assert text[52:57] == '"a b"'
    assert [o.name for o in rule.options_named("-j", "--jump")] == ["-j"]


def test_the_sections_of_a_document() -> None:
    document = parsed("*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j NOTRACK\nCOMMIT\n*filter\n-A INPUT\n")
    raw, filtered = document.sections
    assert (raw.table.name, len(raw.chains), len(raw.rules)) == ("raw", 1, 1)
    assert raw.commit is document.lines[3]
    assert filtered.commit is None


@pytest.mark.parametrize(
    ("text", "newline"), [("*filter\r\nCOMMIT\r\n", "\r\n"), ("*filter\nCOMMIT\n", "\n"), ("x", "\n")]
)
def test_the_line_end_in_use(text: str, newline: str) -> None:
    assert parsed(text).newline == newline


@pytest.mark.parametrize(
    ("text", "under", "message"),
    [
        (
            "-A INPUT -j DROP\n",
            "-A INPUT -j DROP",
            "a rule outside of a table: a line such as *filter is missing before it",
        ),
        (
            "*filter\n:INPUT DROP [0:0]\n-A INPUT -j DR",
            "-A INPUT -j DR",
            "the file ends inside table filter: COMMIT is missing, so iptables-restore loads none of it",
        ),
        ("*raw\n*filter\nCOMMIT\n", "*filter", "table raw is not finished: COMMIT is missing before this line"),
        ("*filter\n:INPUT\nCOMMIT\n", ":INPUT", 'chain "INPUT" has no policy: ACCEPT, DROP, or - for a user chain'),
        ("COMMIT\n", "COMMIT", "COMMIT without a table: a line such as *filter is missing before it"),
        ("*filter\nCOMMIT \n", "COMMIT", "COMMIT must stand alone in its line, without blanks around it"),
        ("*filter\n # x\nCOMMIT\n", "#", "a comment must start in the first column"),
        ("*filter\n[1:x] -A INPUT\nCOMMIT\n", "[1:x]", "counters should look like [12:3456]"),
        (
            "*filter\n-p tcp -j DROP\nCOMMIT\n",
            "-p tcp -j DROP",
            "no command: a rule starts with -A and the name of a chain",
        ),
    ],
)
def test_what_is_wrong_with_the_structure(text: str, under: str, message: str) -> None:
    problems = parsed(text).problems
    assert [(text[p.span.start : p.span.end], p.message) for p in problems] == [(under, message)]


def test_one_bad_line_does_not_hide_the_others() -> None:
    document = parsed("*filter\nbad\n-A INPUT -j ACCEPT\nworse\n-A INPUT -j DROP\nCOMMIT\n")
    assert len(document.problems) == 2
    assert len(document.sections[0].rules) == 2


def test_what_iptables_S_prints_is_a_listing_and_said_once() -> None:
    text = "# Generated\n-P INPUT DROP\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n-N WEB\n-A INPUT -j WEB\n"
    document = read(SourceFile("listing", text))
    assert str(document) == text
    assert document.listing
    assert [(text[p.span.start : p.span.end], p.refused) for p in document.problems] == [("-P INPUT DROP", False)]


def test_a_chain_command_before_a_table_is_no_listing() -> None:
    document = read(SourceFile("rules", "-P INPUT DROP\n*filter\n:INPUT DROP [0:0]\nCOMMIT\n"))
    assert not document.listing
    assert [p.refused for p in document.problems] == [True]
