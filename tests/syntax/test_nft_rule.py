"""The inside of nft rules: words to statements, by the shape of the rule."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ruleaudit.source import SourceFile
from ruleaudit.syntax import nft_rule, nft_shapes
from ruleaudit.syntax.nft_definitions import Found
from ruleaudit.syntax.nft_rule import rule
from ruleaudit.syntax.nft_shapes import parse_with_grammar, plan
from ruleaudit.syntax.nft_tokens import TERMINALS, Token, tokens
from ruleaudit.syntax.nft_tree import (
    Action,
    Assignment,
    Braces,
    Concat,
    Lookup,
    Match,
    Nat,
    Operation,
    Range,
    Reject,
    Selector,
    SetName,
    SetUpdate,
    Several,
    Statement,
    Value,
    Verdict,
    VerdictMap,
    Word,
)
from ruleaudit.syntax.nft_words import WordReader
from ruleaudit.syntax.nftables import read


def words_of(text: str) -> list[Token]:
    return WordReader(SourceFile("x", text)).statement()


def shown(value: Value | Verdict | None) -> str:
    """A value with every grouping written out."""
    match value:
        case None:
            return "nothing"
        case Word(text, _, quoted):
            return f'"{text}"' if quoted else text
        case Selector(text, _):
            return f"<{text}>"
        case SetName(name, _):
            return f"@{name}"
        case Range(low, high, _):
            return f"[{shown(low)} to {shown(high)}]"
        case Concat(parts, _):
            return "(" + " . ".join(map(shown, parts)) + ")"
        case Several(parts, _):
            return "(" + ", ".join(map(shown, parts)) + ")"
        case Operation(operator, left, right, _):
            return f"({shown(left)} {operator} {shown(right)})"
        case Lookup(key, target, _):
            return f"{shown(key)} in {shown(target)}"
        case Verdict(name, chain, _):
            return f"{name} {chain}".strip()
        case Braces(elements, _):
            return "{" + "; ".join(shown(e.key) + (f"={shown(e.data)}" if e.data else "") for e in elements) + "}"


def said(statement: Statement) -> str:
    """A statement with every grouping written out."""
    match statement:
        case Match(left, operator, right, _):
            return f"{shown(left)} {operator or 'is'} {shown(right)}"
        case VerdictMap(key, target, _):
            return f"{shown(key)} vmap {shown(target)}"
        case Assignment(selector, value, _, _):
            return f"{shown(selector)} := {shown(value)}"
        case SetUpdate(operation, name, key, statements, _, _, data):
            inside = "".join(f" {said(one)}" for one in statements)
            return f"{operation} {name} {shown(key)}{inside}" + (f" = {shown(data)}" if data else "")
        case Nat(name, address, port, _, _):
            return f"{name} to {shown(address)} port {shown(port)}"
        case Reject(kind, _, _):
            return f"reject [{kind}]"
        case Verdict():
            return shown(statement)
        case Action(name, text, _):
            return f"{name}: {text}"


@pytest.mark.parametrize(
    ("text", "statements"),
    [
        ("meta l4proto tcp tcp dport 22 accept", ["<meta l4proto> is tcp", "<tcp dport> is 22", "accept"]),
        (
            "iifname lo ip protocol icmp icmp type redirect",
            ["<meta iifname> is lo", "<ip protocol> is icmp", "<icmp type> is redirect"],
        ),
        ("ct state established,related accept", ["<ct state> is (established, related)", "accept"]),
        ("ct state new|untracked", ["<ct state> is (new | untracked)"]),
        ("tcp flags syn / fin,syn,rst", ["<tcp flags> is (syn / (fin, syn, rst))"]),
        ("tcp flags & (fin | syn) == syn", ["(<tcp flags> & (fin | syn)) == syn"]),
        ("tcp flags ! syn,ack", ["<tcp flags> ! (syn, ack)"]),
        ("meta mark and 0xff xor 1 != 0x10", ["((<meta mark> & 0xff) ^ 1) != 0x10"]),
        ("meta mark & 1 | ct mark << 2 == 3", ["((<meta mark> & 1) | (<ct mark> << 2)) == 3"]),
        (
            "ip saddr 10.0.0.0/8 ip daddr != 10.0.0.1-10.0.0.9",
            ["<ip saddr> is 10.0.0.0/8", "<ip daddr> != [10.0.0.1 to 10.0.0.9]"],
        ),
        ("ip saddr 10.0.0.0 / 8", ["<ip saddr> is 10.0.0.0/8"]),
        (
            "ip saddr . tcp dport { 1.1.1.1 . 22, 10.0.0.0/8 . 1-5 }",
            ["(<ip saddr> . <tcp dport>) is {(1.1.1.1 . 22); (10.0.0.0/8 . [1 to 5])}"],
        ),
        ("ip saddr @friends", ["<ip saddr> is @friends"]),
        (
            "tcp dport vmap { 22 : jump a, 23-24 : drop, * : accept }",
            ["<tcp dport> vmap {22=jump a; [23 to 24]=drop; *=accept}"],
        ),
        ("ct state vmap @m", ["<ct state> vmap @m"]),
        ("fib daddr.iif type local", ["<fib daddr . iif type> is local"]),
        ("fib saddr . iif oif missing drop", ["<fib saddr . iif oif> is missing", "drop"]),
        ("@th,16,16 80", ["<@th,16,16> is 80"]),
        ("ct original ip saddr 1.1.1.1", ["<ct original ip saddr> is 1.1.1.1"]),
        ("tcp option maxseg size set rt mtu", ["<tcp option maxseg size> := <rt mtu>"]),
        ("ct mark set meta mark & 0xff", ["<ct mark> := (<meta mark> & 0xff)"]),
        ("meta mark set tcp dport map { 22 : 1 }", ["<meta mark> := <tcp dport> in {22=1}"]),
        ('ct helper set "ftp"', ['<ct helper> := "ftp"']),
        (
            "meta mark set jhash ip saddr . tcp sport mod 4 seed 0x1",
            ["<meta mark> := <jhash ip saddr . tcp sport mod 4 seed 0x1>"],
        ),
        ("numgen inc mod 4 offset 1 vmap { 1 : accept }", ["<numgen inc mod 4 offset 1> vmap {1=accept}"]),
        ("dnat ip to 10.0.0.1:80", ["dnat to 10.0.0.1 port 80"]),
        ("dnat ip6 to [fe80::1]:80-81 random,persistent", ["dnat to fe80::1 port [80 to 81]"]),
        (
            "dnat to tcp dport map { 80 : 10.0.0.1 . 8080 }",
            ["dnat to <tcp dport> in {80=(10.0.0.1 . 8080)} port nothing"],
        ),
        ("masquerade", ["masquerade to nothing port nothing"]),
        ("masquerade to :1024-2048", ["masquerade to nothing port [1024 to 2048]"]),
        ("redirect to :8080", ["redirect to nothing port 8080"]),
        ("redirect to 8080", ["redirect to nothing port 8080"]),
        ("reject", ["reject []"]),
        ("reject with icmpx type port-unreachable", ["reject [icmpx port-unreachable]"]),
        ("reject with icmp host-unreachable", ["reject [icmp host-unreachable]"]),
        ("reject with icmpv6 type no-route", ["reject [icmpv6 no-route]"]),
        ("reject with tcp reset", ["reject [tcp reset]"]),
        (
            'log prefix "a " flags tcp sequence,options flags ip options level warn accept',
            ['log: log prefix "a " flags tcp sequence,options flags ip options level warn', "accept"],
        ),
        (
            "limit rate over 10 mbytes/second burst 5 mbytes drop",
            ["limit: limit rate over 10 mbytes/second burst 5 mbytes", "drop"],
        ),
        ("limit rate 1/hour burst 3 packets", ["limit: limit rate 1/hour burst 3 packets"]),
        (
            "ct count over 20 counter packets 1 bytes 2",
            ["ct count: ct count over 20", "counter: counter packets 1 bytes 2"],
        ),
        (
            "add @s { ip saddr timeout 1m limit rate 3/second } accept",
            ["add s <ip saddr> limit: limit rate 3/second", "accept"],
        ),
        ("update @m { ip saddr : tcp dport }", ["update m <ip saddr> = <tcp dport>"]),
        (
            "meter m size 10 { ip saddr limit rate over 3/second } drop",
            ["meter m <ip saddr> limit: limit rate over 3/second", "drop"],
        ),
        ('xt match "conntrack" xt target "CT"', ['xt: xt match "conntrack"', 'xt: xt target "CT"']),
        ("queue flags bypass,fanout to 1-3", ["queue: queue flags bypass, fanout to 1-3"]),
        ("tproxy ip to 10.0.0.1:80 notrack", ["tproxy: tproxy ip to 10.0.0.1:80", "notrack: notrack"]),
        ("ip protocol gre ip saddr 1.1.1.1", ["<ip protocol> is gre", "<ip saddr> is 1.1.1.1"]),
        ("gre ip saddr 1.1.1.1", ["<gre ip saddr> is 1.1.1.1"]),
        ('ip6 saddr ::1 meta day "Monday"', ["<ip6 saddr> is ::1", '<meta day> is "Monday"']),
        ('meta hour "08:00"-"17:00"', ['<meta hour> is ["08:00" to "17:00"]']),
        ("ether saddr 00:11:22:33:44:55", ["<ether saddr> is 00:11:22:33:44:55"]),
        ('iifname eth* oifname != "ppp*"', ["<meta iifname> is eth*", '<meta oifname> != "ppp*"']),
        ("reset tcp option fastopen", ["reset: reset tcp option fastopen"]),
    ],
)
def test_statements(text: str, statements: list[str]) -> None:
    assert [said(statement) for statement in rule(words_of(text)).statements] == statements


def test_every_node_knows_where_it_stands() -> None:
    text = '  ip saddr . tcp dport { 1.1.1.1 . 22 } limit rate 3/second jump  there comment "x"'
    found = rule(words_of(text)).statements
    assert [text[s.span.start : s.span.end] for s in found] == [
        "ip saddr . tcp dport { 1.1.1.1 . 22 }",
        "limit rate 3/second",
        "jump  there",
    ]
    (match, *_) = found
    assert isinstance(match, Match) and isinstance(match.left, Concat)
    assert [text[p.span.start : p.span.end] for p in match.left.parts] == ["ip saddr", "tcp dport"]


_PIECES = """
tcp dport|ip saddr|meta mark|ct state|iifname|@th,16,16|jhash|22|10.0.0.1|fe80::1|new|lo|"a b"|@s|{ 1, 2 }|-|/|,|:|.|&|or
==|!=|!|(|)|<<|set|map|vmap|accept|jump|goto|counter|limit rate 3/second|log|prefix|reject|with|tcp|reset|dnat|snat|to
masquerade|random|queue|num|add|update|comment|timeout|packets|bytes|name|over|mod|xt|match|flow
"""  # noqa: E501
PIECES = st.lists(st.sampled_from(_PIECES.strip().replace("\n", "|").split("|")), max_size=12)


@given(PIECES)
@settings(max_examples=300, deadline=None)
def test_a_remembered_shape_gives_what_the_grammar_gives(pieces: list[str]) -> None:
    words = [word for word in tokens(" ".join(pieces)) if word.kind not in "{}"]
    shape = nft_rule.shape(words)
    for start in ("rule", "element", "update", "definition"):
        first = plan(start, shape)
        assert plan(start, shape) is first
        assert parse_with_grammar(start, shape) == first


@given(PIECES)
@settings(max_examples=200, deadline=None)
def test_a_rule_means_the_same_whatever_was_read_before(pieces: list[str]) -> None:
    text = "table ip t {\nchain c {\n" + " ".join(pieces) + "\n}\n}\n"
    with_memory = read(SourceFile("x", text))
    kept = dict(nft_shapes._PLANS)
    nft_shapes._PLANS.clear()
    try:
        assert read(SourceFile("x", text)) == with_memory
    finally:
        nft_shapes._PLANS.update(kept)


@given(st.lists(st.tuples(st.sampled_from(["w", "s", "S"]), st.text("ab1", min_size=1, max_size=3)), max_size=4))
@settings(max_examples=100, deadline=None)
def test_the_words_of_a_shape_do_not_matter(words: list[tuple[str, str]]) -> None:
    shape = "".join(kind for kind, _ in words)
    assert plan("rule", shape) == parse_with_grammar("rule", shape)


def test_every_kind_is_a_terminal_of_its_own() -> None:
    assert len(set(TERMINALS.values())) == len(TERMINALS)
    assert all(len(kind) == 1 for kind in TERMINALS)


_WORDS = """
table|ip|inet|t|{|}|;|chain|c|set|s|map|type|filter|hook|input|priority|0|policy|drop|ipv4_addr|flags|interval|elements|=
{ 1.1.1.1, 2.2.2.2 }|define|x|$x|include|"f"|add|rule|delete|flush|ruleset|element|tcp dport|22|accept|jump|ct state|new
counter|comment|"|#|\\|é|@|ct helper|limit|rate|3/second|flowtable|quota|destroy|insert|index|handle|rename
"""
WORDS = st.sampled_from([*_WORDS.strip().replace("\n", "|").split("|"), "\n", "\r\n"])


@given(st.lists(WORDS, max_size=40), st.sampled_from([" ", "  ", ""]))
@settings(max_examples=300, deadline=None)
def test_whatever_a_text_is_it_is_read_and_kept(words: list[str], blank: str) -> None:
    text = blank.join(words)

    def load(pattern: str, by: str) -> Found:
        return Found((SourceFile(pattern, "define y = 1\nadd rule t c accept\n"),))

    for document in (read(SourceFile("x", text)), read(SourceFile("x", text), load)):
        assert str(document) == text
        for problem in document.problems:
            assert document.source.position(problem.span.start).line >= 1
            assert problem.message


@given(st.text(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_characters_are_read_and_kept(text: str) -> None:
    assert str(read(SourceFile("x", text))) == text


@pytest.mark.parametrize(
    "text", ["{" * 5000, "table t " * 2000, "(" * 3000, "add rule t c meta mark " + "1 | " * 3000 + "1\n"]
)
def test_nothing_goes_too_deep(text: str) -> None:
    assert str(read(SourceFile("x", text))) == text
    inside = f"table ip t {{\nchain c {{\nip saddr {text}\n}}\n}}\n"
    assert str(read(SourceFile("x", inside))) == inside


def test_the_grammar_takes_common_statements_one_after_another_as_they_are_listed() -> None:
    trees, _ = nft_shapes._common_statements()
    assert len(trees) == len(nft_shapes.COMMON_STATEMENTS.split("\n")) - 2
    for one in trees:
        for other in ("", *trees):
            known = nft_shapes.of_common_statements(one + other)
            assert known is not None and known == parse_with_grammar("rule", one + other), (one, other)


def test_the_grammar_takes_common_pieces_as_they_are_listed() -> None:
    pieces = nft_shapes._common_pieces()
    assert len(pieces) == len(nft_shapes.COMMON_PIECES.split("\n")) - 2
    for (start, shape), tree in pieces.items():
        assert tree == parse_with_grammar(start, shape), shape
