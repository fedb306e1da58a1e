"""The tree of a file in the language of nft(8): its commands, carried out in order.

A table in braces adds to the table of its name; add, delete, flush and the like do what they say, so that the tables of
the document are those that are there when the file has been loaded.
"""

from collections.abc import Callable

from ruleaudit.source import SourceFile
from ruleaudit.syntax.nft_commands import CommandReader
from ruleaudit.syntax.nft_tree import NftDocument

#: gives the files of an include: its pattern, and the path of the file that says it
Load = Callable[[str, str], list[SourceFile]]


def read(source: SourceFile, load: Load | None = None) -> NftDocument:
    """The tree of a file and of what it includes; whatever the text is, there is one."""
    reader = CommandReader(source, load)
    reader.run()
    problems = tuple(sorted(reader.words.problems, key=lambda problem: problem.span.start))
    return NftDocument(reader.words.source, tuple(reader.tables.values()), problems, reader.partial)
