"""The tree of nft JSON (libnftables-json(5)): what `nft -j list ruleset` prints, or commands for `nft -j -f`.

Every object becomes words of nft text at the place of the object, and the reader of nft text carries them out.
"""

from dataclasses import replace
from typing import Any

from ruleaudit.source import SourceFile, Span
from ruleaudit.syntax.nft_commands import CommandReader
from ruleaudit.syntax.nft_json_commands import Commands
from ruleaudit.syntax.nft_json_scan import BadJson, Items, scan
from ruleaudit.syntax.nft_json_selectors import kind
from ruleaudit.syntax.nft_tokens import Token
from ruleaudit.syntax.nft_tree import NftDocument, Rule
from ruleaudit.syntax.nftables import check
from ruleaudit.syntax.problem import Problem
from ruleaudit.syntax.refusal import Refused

_SCHEMA = 1


def read(source: SourceFile) -> NftDocument:
    """The tree of a document; whatever the text is, there is one."""
    try:
        whole = scan(source.text)
    except BadJson as error:
        at = min(error.at, max(len(source.text) - 1, 0))
        span = Span(at, min(at + 1, len(source.text)))
        return NftDocument(source, (), (Problem(span, f"this is no JSON: {error.message}"),), json=True)
    items = whole.value.get("nftables") if isinstance(whole.value, dict) else None
    if not isinstance(items, Items):
        message = f'"nftables" must be an array, not {kind(items)}' if items is not None else '"nftables" is missing'
        problem = Problem(whole.span, message, 'nft reads {"nftables": [...]}')
        return NftDocument(source, (), (problem,), json=True)
    reader = _Reader(source)
    for value, span in zip(items, items.spans, strict=True):
        reader.command(value, span)
    return reader.document(source)


class _Reader:
    """Carries out one command after the other."""

    def __init__(self, source: SourceFile) -> None:
        self.commands = Commands()
        self.text = CommandReader(SourceFile(source.path, ""), None)
        self.text.blocks.reserved = frozenset()  # in JSON any word may be a name
        self.problems: list[Problem] = []

    def command(self, value: Any, span: Span) -> None:
        """One item of the document."""
        try:
            if isinstance(value, dict) and "metainfo" in value:
                self._metainfo(value["metainfo"])
            else:
                self._carry_out(self.commands.command(value, span))
        except Refused as refused:
            self.problems.append(Problem(span, refused.message, refused.hint))
        except RecursionError:
            self.problems.append(Problem(span, "it is nested too deeply"))
        self.problems += (Problem(span, message, refused=False) for message in self.commands.ignored)
        self.commands.ignored.clear()

    def _metainfo(self, value: Any) -> None:
        """METAINFO OBJECT."""
        version = value.get("json_schema_version", _SCHEMA) if isinstance(value, dict) else _SCHEMA
        if isinstance(version, int) and version > _SCHEMA:
            raise Refused(f"schema version {version} is newer than {_SCHEMA}, which is all that nft reads")

    def _carry_out(self, words: list[Token]) -> None:
        inside = self.text.words
        inside.words, inside.kinds, inside.at = words, "".join([word.kind for word in words]), 0
        self.text.run()

    def document(self, source: SourceFile) -> NftDocument:
        """What is there when all is carried out."""
        check(self.text)
        wrong = self.commands.wrong
        problems = [*self.problems, *(Problem(span, refused.message, refused.hint) for span, refused in wrong)]
        known = {span for span, _ in wrong}
        problems += (problem for problem in self.text.words.problems if problem.span not in known)
        for table in self.text.tables.values():
            for chain in table.chains.values():
                chain.rules[:] = map(self._rule, chain.rules)
        ordered = tuple(sorted(problems, key=lambda problem: problem.span.start))
        return NftDocument(source, tuple(self.text.tables.values()), ordered, self.text.partial, json=True)

    def _rule(self, made: Rule) -> Rule:
        """A rule with its place and its text."""
        span, text, unread = self.commands.texts.get(made.span.start, (made.span, made.text, ""))
        return replace(made, span=span, text=text, unread=unread or made.unread, command=False)
