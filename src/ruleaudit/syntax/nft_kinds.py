"""The characters of a shape (`nft_shapes`) as the grammar's terminals. It loads lark."""

from collections.abc import Iterator

from lark import Token
from lark.lexer import Lexer

from ruleaudit.syntax.nft_tokens import TERMINALS


class Kinds(Lexer):
    """One terminal for each character; its value is its place."""

    def __init__(self, configuration: object) -> None:
        pass

    def lex(self, data: str) -> Iterator[Token]:  # type: ignore[override]
        for index, kind in enumerate(data):
            yield Token(TERMINALS[kind], str(index))
