"""Parsers that are kept between runs, and those that are made."""

from pathlib import Path

import pytest
from lark import Lark

from ruleaudit import kept
from ruleaudit.syntax import grammar, nft_shapes
from ruleaudit.syntax.nft_kinds import Kinds

NFT = {
    "lexer": Kinds,
    "start": ["rule", "element", "update", "definition"],
    "maybe_placeholders": False,
    "keep_all_tokens": True,
}
PARSERS = {
    "nftables.lark": NFT,
    "iptables_save.lark": {"lexer": "contextual", "maybe_placeholders": False},
    "haproxy.lark": {"lexer": "contextual", "start": ["line", "condition"], "propagate_positions": True},
}


def entries() -> list[Path]:
    return list(kept.folder().glob("??/*"))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The grammars that a parser is made of from here on."""
    found: list[str] = []
    real = Lark.__init__

    def noted(self: Lark, text: str, **options: object) -> None:
        found.append(text)
        real(self, text, **options)

    monkeypatch.setattr(Lark, "__init__", noted)
    return found


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_is_made_once(name: str, made: list[str]) -> None:
    for _ in range(3):
        grammar.parser(name, **PARSERS[name])
    assert made == [(grammar.folder() / name).read_text()]
    assert len(entries()) == 1


def test_a_kept_parser_says_what_a_new_one_says(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = [*nft_shapes._common_statements()[0], "", "S", "w", "Sw(", "((", "S=w,", "B", "S&(w|w)=w"]
    said = []
    for _ in range(2):
        parser = grammar.parser("nftables.lark", **NFT)
        monkeypatch.setattr(nft_shapes, "_grammar", lambda parser=parser: parser)
        said.append([nft_shapes.parse_with_grammar(start, shape) for start in NFT["start"] for shape in shapes])
    assert said[0] == said[1]
    assert len(made) == 1


def test_other_words_of_a_grammar_are_another_parser(
    made: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(grammar, "folder", lambda: tmp_path)
    for text in ('start: "a"', 'start: "b"', 'start: "a"'):
        (tmp_path / "g.lark").write_text(text)
        grammar.parser("g.lark").parse(text[-2])
    assert made == ['start: "a"', 'start: "b"']


def test_where_nothing_can_be_kept_it_is_made_each_time(made: list[str]) -> None:
    kept.folder().parent.mkdir(parents=True)
    kept.folder().write_text("a file")
    for _ in range(2):
        grammar.parser("iptables_save.lark", **PARSERS["iptables_save.lark"])
    assert len(made) == 2


@pytest.mark.parametrize("text", [b"", b"no pickle", b"\x80\x04K\x01."])
def test_a_damaged_entry_is_none(made: list[str], text: bytes) -> None:
    for _ in range(2):
        grammar.parser("haproxy.lark", **PARSERS["haproxy.lark"])
        (entry,) = entries()
        entry.write_bytes(text)
    assert len(made) == 2
