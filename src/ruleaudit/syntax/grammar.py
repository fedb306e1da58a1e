"""The grammars, and their parsers, which are kept between runs: to make that of nft takes 0.17 s, to read it 0.03 s."""

import sys
from contextlib import suppress
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruleaudit import kept

if TYPE_CHECKING:
    from lark import Lark


def folder() -> Path:
    """Where the grammars are: the package `ruleaudit.grammars`, or the checkout that this file lies in."""
    package = find_spec("ruleaudit.grammars")
    found = package.submodule_search_locations if package else None
    return Path(next(iter(found))) if found else Path(__file__).parents[3] / "grammars"


def parser(grammar: str, **options: Any) -> "Lark":
    """The LALR parser of a grammar, with more options of lark."""
    import lark

    text = (folder() / grammar).read_text("utf-8")
    name = kept.name(repr((lark.__version__, sys.version, text, sorted(options.items()))))
    known = kept.read(name)
    if isinstance(known, bytes):
        with suppress(Exception):  # as for every entry: whatever is wrong with it, it is made anew
            return lark.Lark.load(BytesIO(known))
    made = lark.Lark(text, parser="lalr", **options)
    saved = BytesIO()
    made.save(saved)
    kept.write(name, saved.getvalue())
    return made
