"""The words, conditions and addresses of haproxy.cfg, compared with HAProxy itself."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from ruleaudit.source import SourceFile
from ruleaudit.syntax import haproxy_address as addresses
from ruleaudit.syntax.haproxy import Document, read
from ruleaudit.syntax.haproxy_condition import Unreadable, decide
from ruleaudit.syntax.haproxy_words import parse_with_grammar, split
from ruleaudit.syntax.refusal import Refused

ENVIRONMENT = {"A": "one", "B": "two  words", "EMPTY": "", "_x1": "under"}
judged = pytest.mark.skipif(shutil.which("haproxy") is None, reason="not installed: haproxy")
#: nothing is shrunk: it would take HAProxy minutes, and the texts are one by one in the message anyway
slow = settings(
    max_examples=30, suppress_health_check=[HealthCheck.too_slow], phases=(Phase.explicit, Phase.reuse, Phase.generate)
)

PIECES = st.one_of(
    st.sampled_from(
        [
            " ", "\t", "  ", "a", "b:80", "-", "#", "'", '"', "\\", '\\"', "\\'", "\\ ", "\\#", "\\$", "\\\\", "\\t",
            "\\q",
            "\\x41", "\\x20", "\\x4", "\\x", "$", "$A", "$B", "${A}", "${B}", "${B[*]}", "${NONE}", "${NONE-d e}",
            '${NONE-"q"}', "${NONE-$A}", "${A-x}", "${EMPTY-x}", "$EMPTY", "$_x1", "$1", "${", "}", "${A", "${A[*}",
            "${NONE[*]-d e}", "%[src]", "{", "é", "$A.b", '"$A"', '"${B[*]}"', '"${NONE-1 2}"', "''", '""', "'$A'", "=",
        ]
    ),
    st.text("ab\"'\\$ {}#-", max_size=4),
)  # fmt: skip


def of(text: str) -> Document:
    return read(SourceFile("haproxy.cfg", text), ENVIRONMENT)


def said_by_haproxy(text: str) -> str:
    """What `haproxy -c` says of a text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "haproxy.cfg"
        path.write_text(text)
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **ENVIRONMENT}
        command = ["haproxy", "-c", "-f", str(path)]
        done = subprocess.run(command, capture_output=True, env=environment, timeout=20, check=False)
        return (done.stdout + done.stderr).decode(errors="surrogateescape").replace(str(path), "F")


@judged
@slow
@given(st.lists(st.lists(PIECES, max_size=8).map("".join), min_size=20, max_size=40))
@example(["a b", '"', "$A ${A}", '"$A ${A}"'])
def test_words_are_those_of_haproxy(lines: list[str]) -> None:
    # .notice says its one word, or complains of the next
    # HAProxy 2.6 spoils a default value in the line for which it first makes room
    text = "global\n" + "".join(f".notice {line}\n" for line in lines)
    said = said_by_haproxy(text)
    found = dict(re.findall(r"parsing \[F:(\d+)\]:? ?:? (.*?)\.?\n(?=\[|$|  )", said, re.DOTALL))
    mine = of(text)
    wrong = {mine.source.position(p.span.start).line for p in mine.problems}
    for number, line in enumerate(lines, 2):
        words = _words(line)
        if words is None:
            assert number in wrong
            assert "Unexpected" not in found[str(number)], (line, found[str(number)])
            assert not found[str(number)].startswith("'"), (line, found[str(number)])
        elif len(words) > 1 and words[1]:
            assert found[str(number)].startswith(f"Unexpected argument '{words[1]}' for"), (line, words)
        else:
            assert found[str(number)] == f"'{words[0] if words else ''}'", (line, words)


def _words(line: str) -> list[str] | None:
    """The words behind another one; None where the line is none."""
    document = of(f"global\n  word {line}\n")
    if document.problems and document.problems[0].refused and not document.sections[0].lines:
        return None
    return [word.text for word in document.sections[0].lines[0].words[1:]]


@given(st.text("ab:80\t $%[]{}#\x0b-.", max_size=40))
def test_the_grammar_splits_plain_lines_as_the_short_way_does(text: str) -> None:
    assert split(text) == parse_with_grammar(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('bind "$A":80', ["bind", "one:80"]),
        ("bind $A:80", ["bind", "$A:80"]),
        ("bind '${A}'", ["bind", "${A}"]),
        ('x "${B[*]}" y', ["x", "two", "words", "y"]),
        ("x a\\ b # c", ["x", "a b"]),
        ('x "${.LINE} ${.FILE} ${.SECTION}"', ["x", "2 haproxy.cfg global"]),
        ("x a\rb c", ["x", "a"]),
        ("x y\xa0z", ["x", "y\xa0z"]),
    ],
)
def test_words(text: str, words: Sequence[str]) -> None:
    document = of(f"global\n{text}\n")
    assert [word.text for word in document.sections[0].lines[0].words] == list(words)
    assert document.problems == ()


def test_a_word_knows_its_place_and_what_is_not_set() -> None:
    document = of('frontend x\n  bind "$A:${PORT}"\n')
    word = document.sections[0].lines[0].words[1]
    assert document.source.slice(word.span) == '"$A:${PORT}"'
    assert (word.text, word.unset) == ("one:", ("PORT",))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('global\n log "x\n', 2),
        ("global\n log 'x\n", 2),
        ('global\n log "${A"\n', 2),
        ("global\n log \\x4z\n", 2),
        ("bind :80\nglobal\n", 1),
        ("global\n.if 1\n", 3),
        ("global\n.endif\n", 2),
        ("global\n.if 1\n.else\n.elif 1\n.endif\n", 4),
        ("global\n.if what(1)\n.endif\n", 2),
        ("global\n.sometimes\n", 2),
        ('global\n.alert "no"\n', 2),
        ("frontned x\n bind :80\n", 1),
        ("global\n maxconn 10", 2),
        ("frontend x\n bind :80 \\\n v4v6\n", 2),
        (f"global\n {'x ' * 65}\n", 2),
    ],
)
def test_what_haproxy_refuses_is_a_problem_with_a_line(text: str, line: int) -> None:
    document = of(text)
    assert [document.source.position(p.span.start).line for p in document.problems if p.refused] == [line]
    if shutil.which("haproxy"):
        assert "ALERT" in said_by_haproxy(text)


CONDITIONS = [
    "", "0", "1", "2", "-1", "0x0", "0x1f", "00", "!0", "!!0", "! 1", "(1)", "( 0 )", "!(0)", "1 && 0", "1&&1",
    "0 || 1", "0||0", "1 || 0 && 0", "(1 || 0) && 0", "0 && 1 || 1", "defined(A)", "defined(NONE)", "defined(EMPTY)",
    "!defined(A)", "streq(a,a)", "streq(a,b)", "streq(,)", "strneq(a,b)", 'streq("$A",one)', 'streq("$NONE",)',
    "streq('a b',\"a b\")", "streq(a b,a b)", 'streq(a\\,b,"a,b")', "defined(A) && defined(B) || 0", "1 0", "&& 1",
    "1 &&", "(1", "what(1)", "defined", "streq(a)", "1)", "defined(A", "version_atleast(1.0)", "!feature(NOTHING)",
]  # fmt: skip


@judged
@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditions_are_those_of_haproxy(condition: str) -> None:
    said = said_by_haproxy(f"global\n.if {condition}\n.notice yes\n.else\n.notice no\n.endif\n")
    words = of(f"global\n .if {condition}\n .endif\n")
    try:
        value = decide(_joined(condition), ENVIRONMENT)
    except Unreadable:
        assert "'yes'" not in said
        assert "'no'" not in said
        assert [p.refused for p in words.problems] == [True]
    else:
        # what depends on HAProxy's version holds in each of these
        assert ("'no'" if value is False else "'yes'") in said, said


def _joined(condition: str) -> str:
    return " ".join(_words(condition) or [])


def test_an_undecided_condition_leaves_every_branch() -> None:
    document = of("frontend x\n.if feature(QUIC)\n a\n.elif 1\n b\n.else\n c\n.endif\n.if 1\n d\n.else\n e\n.endif\n")
    assert [line.text(0) for line in document.sections[0].lines] == ["a", "b", "d"]
    assert [(p.refused, document.source.position(p.span.start).line) for p in document.problems] == [(False, 2)]


def test_a_condition_says_what_is_not_set() -> None:
    document = of('global\n.if streq("$ROLE",x)\n a\n .if streq("$OTHER",x)\n .endif\n.endif\n')
    assert [line.text(0) for line in document.sections[0].lines] == []
    assert [(p.refused, document.source.position(p.span.start).line) for p in document.problems] == [(False, 2)]


HOSTS = st.sampled_from(
    ["", "*", "::", "[::]", "[::1]", "::1", "127.0.0.1", "[127.0.0.1]", "10.0.0.300", "2001:db8::1", "[2001:db8::1",
     "[]", "::ffff:1.2.3.4", "0.0.0.0", "[*]", "1::2::3"]
)  # fmt: skip
PREFIXES = st.sampled_from(
    ["", "", "", "ip@", "ipv4@", "ipv6@", "tcp@", "tcp4@", "tcp6@", "udp@", "udp4@", "udp6@", "stream+ipv4@", "stream+",
     "dgram+", "dgram+ipv4@", "stream+udp@", "dgram+tcp4@", "unix@", "abns@", "uxdg@", "uxst@"]
)  # fmt: skip
PORTS = st.sampled_from(
    ["", ":", ":80", ":080", ":0", ":65535", ":65536", ":80-90", ":90-80", ":80-", ":0-80", ":-80", ":+80", ":80-90-99",
     ":80x", ":x", ":80-x", ":65530-65536", ":99999999999"]
)  # fmt: skip
TEXTS = st.lists(st.tuples(PREFIXES, HOSTS, PORTS).map("".join), min_size=20, max_size=40, unique=True)


@judged
@slow
@given(TEXTS)
def test_addresses_of_bind_are_those_of_haproxy(texts: list[str]) -> None:
    _compare(texts, "frontend f\n timeout client 1s\n", "bind {}", addresses.BIND)


@judged
@slow
@given(TEXTS)
def test_addresses_of_servers_are_those_of_haproxy(texts: list[str]) -> None:
    _compare(texts, "backend b\n timeout server 1s\n", "server s{n} {}", addresses.SERVER)


@judged
@slow
@given(TEXTS)
def test_addresses_of_logs_are_those_of_haproxy(texts: list[str]) -> None:
    _compare(texts, "frontend f\n timeout client 1s\n", "log {} local0", addresses.LOG)


@judged
@slow
@given(TEXTS)
def test_addresses_of_name_servers_are_those_of_haproxy(texts: list[str]) -> None:
    _compare(texts, "resolvers r\n hold nx 1s\n", "nameserver n{n} {}", addresses.NAMESERVER)


def _compare(texts: Sequence[str], head: str, line: str, wanted: addresses.Wanted) -> None:
    said = said_by_haproxy(head + "".join(f" {line.format(text, n=n)}\n" for n, text in enumerate(texts)))
    refused = {int(number) - 3 for number in re.findall(r"ALERT.*?\[F:(\d+)\]", said)}
    for number, text in enumerate(texts):
        found = _read(text, wanted)
        # a name is looked up by HAProxy, that of a server only later
        if isinstance(found, str):
            if wanted is addresses.SERVER and found.startswith("bad address"):
                continue
            assert number in refused, (text, found, said)
        elif found is not None and not found.name:
            assert number not in refused, (text, found, said)


def _read(text: str, wanted: addresses.Wanted) -> addresses.Place | str | None:
    try:
        # an empty word is none
        return addresses.address(text, wanted) if text else None
    except Refused as error:
        return error.message
