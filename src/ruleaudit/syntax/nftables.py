"""The tree of a file in the language of nft(8): its commands, carried out in order.

A table in braces adds to the table of its name; add, delete, flush and the like do what they say, so that the tables of
the document are those that are there when the file has been loaded.
"""

from ruleaudit.source import SourceFile, Span
from ruleaudit.syntax.nft_call_checks import check_calls
from ruleaudit.syntax.nft_checks import RuleCheck
from ruleaudit.syntax.nft_commands import CommandReader
from ruleaudit.syntax.nft_definitions import Load
from ruleaudit.syntax.nft_set_checks import SetCheck
from ruleaudit.syntax.nft_tree import NftDocument


def read(source: SourceFile, load: Load | None = None) -> NftDocument:
    """The tree of a file and of what it includes; whatever the text is, there is one."""
    reader = CommandReader(source, load)
    reader.run()
    reader.words.words.clear()  # the readers know each other: without the collector they would live on with all of it
    check(reader)
    problems = tuple(sorted(reader.words.problems, key=lambda problem: problem.span.start))
    return NftDocument(
        reader.words.source, tuple(reader.tables.values()), problems, reader.partial, unread=tuple(reader.unread)
    )


def check(reader: CommandReader) -> None:
    """What nft refuses of rules and sets that are written well."""
    problems, blocks = reader.words.problems, reader.blocks
    defined = frozenset(reader.words.defined)
    for key, table in reader.tables.items():
        complete = key not in reader.implied and not blocks.unknown_variables
        rules = RuleCheck(table, problems, complete, defined)
        for chain in table.chains.values():
            for rule in chain.rules:
                rules.rule(rule)
        sets = SetCheck(table, problems, complete, defined)
        for made in table.sets.values():
            sets.set(made, blocks.types.get(id(made), Span(made.span.start, made.span.end)))
        check_calls(table, problems.append)
