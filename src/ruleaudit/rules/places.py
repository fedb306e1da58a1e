"""Where to point at: the part of a rule's text that a finding is about, and what to delete to take a rule away."""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from ruleaudit.analysis.walk import mentions_state
from ruleaudit.diagnostics import Fix, FixClass
from ruleaudit.model.ruleset import Chain, Rule
from ruleaudit.rules.audit import Audit
from ruleaudit.source import Edit, SourceFile, Span

_WORD = re.compile(r'(?:"(?:\\.|[^"\\])*"|\S)+')
_TARGET = frozenset({"-j", "--jump", "-g", "--goto"})


def state_test(rule: Rule) -> Span | None:
    """The match of a rule that reads conntrack's state or entry."""
    return next((m.span for m in rule.matches if mentions_state(m.condition)), None)


def consumer(rule: Rule, source: SourceFile) -> Span:
    """The match or target of a rule whose effect lives in conntrack, else its state test, else the rule."""
    match = next((m.span for m in rule.matches if m.consumer is not None), None)
    if match is not None:
        return match
    return target(rule, source) if rule.consumers else state_test(rule) or rule.span


#: the statements of nft that decide or act
_STATEMENT = re.compile(
    r"(?<![\w\".-])"
    r"(?:accept|drop|reject|queue|jump|goto|return|notrack|[sd]nat|masquerade|redirect"
    r"|ct (?:(?:original|reply) )?\w+ set)"
    r"(?![\w\".-])"
)


def target(rule: Rule, source: SourceFile) -> Span:
    """`-j TARGET` with its options, or nft's last statement, up to the end; the rule itself when it has none."""
    text = source.slice(rule.span)
    for word in _WORD.finditer(text):
        if word.group() in _TARGET:
            return Span(rule.span.start + word.start(), rule.span.end)
    statements = list(_STATEMENT.finditer(text)) if " " in rule.table else []
    return Span(rule.span.start + statements[-1].start(), rule.span.end) if statements else rule.span


def target_name(rule: Rule, source: SourceFile) -> Span:
    """The name behind `-j` or `-g`."""
    words = list(_WORD.finditer(source.slice(rule.span)))
    for word, name in pairwise(words):
        if word.group() in _TARGET:
            return Span(rule.span.start + name.start(), rule.span.start + name.end())
    return rule.span


def policy(chain: Chain, source: SourceFile) -> Span | None:
    """The line of a base chain's policy, without its line end; None when the file has no such line."""
    if chain.span is None:
        return None
    text = source.slice(chain.span).rstrip("\r\n")
    return Span(chain.span.start, chain.span.start + len(text))


def chain_name(chain: Chain, source: SourceFile) -> Span:
    """A chain's declaration: the whole line of iptables, the name in nft."""
    line = policy(chain, source)
    assert line is not None
    found = re.compile(rf"(?<![\w.-]){re.escape(chain.name)}(?![\w.-])").search(source.slice(line))
    if " " not in chain.table or found is None:
        return line
    return Span(line.start + found.start(), line.start + found.end())


#: what stands in front of a rule that is a command of its own (`add rule inet filter input tcp dport 22 accept`)
_COMMAND = re.compile(r"(?:add\s+|create\s+)?rule\s[^;{}]*\Z")


def deletion(audit: Audit, rules: Iterable[Rule], what: str) -> Fix:
    """The fix that takes rules out which decide about no packet: exact, unless they alone switch tracking on."""
    gone = frozenset(rules)
    edits = without(audit, gone)
    if not edits:
        return Fix(FixClass.MANUAL, f"delete {what}")
    users = audit.conntrack_users
    if users and not audit.ruleset.tracks and users <= gone:
        return Fix(FixClass.MANUAL, f"delete {what}; nothing is tracked any more then, for no other rule asks for it")
    return Fix(FixClass.EXACT, f"delete {what}", edits)


def without(audit: Audit, rules: Iterable[Rule]) -> tuple[Edit, ...]:
    """The edits that take rules out of the text, with their lines where nothing else stands there.

    None where the text does not say plainly which words are the rule: in JSON, in included files, and where rules are
    called by their numbers.
    """
    if audit.ruleset.language == "nft-json" or audit.is_numbered:
        return ()
    edits = []
    for span in _apart(sorted({rule.span for rule in rules})):
        edit = _removal(audit.source, span, audit.ruleset.is_nft)
        if edit is None:
            return ()
        edits.append(edit)
    return tuple(_joined(edits))


def _apart(spans: Iterable[Span]) -> Iterator[Span]:
    """Spans without those inside others."""
    end = 0
    for span in spans:
        if span.end > end:
            yield span
            end = span.end


def _removal(source: SourceFile, span: Span, is_nft: bool) -> Edit | None:
    text = source.text
    if span.end > len(text):
        return None  # in an included file
    start = text.rfind("\n", 0, span.start) + 1
    end = text.find("\n", span.end) + 1 or len(text)
    before, after = text[start : span.start], text[span.end : end].strip()
    if not is_nft:
        return Edit(Span(start, end), "")
    command = _COMMAND.search(before)
    if command is not None:
        before = before[: command.start()]
    elif before.rstrip().rpartition(";")[2].rpartition("{")[2].strip():
        return None  # part of something that is not read here
    if not before.strip() and (after in ("", ";") or after.removeprefix(";").lstrip().startswith("#")):
        return Edit(Span(start, end), "")
    if text[start : span.start].rstrip().endswith("\\"):
        return None
    stop = span.end
    rest = text[stop:end]
    if rest.lstrip(" \t").startswith(";"):
        stop += len(rest) - len(rest.lstrip(" \t;"))
    return Edit(Span(start + len(before), stop), "")


def _joined(edits: Iterable[Edit]) -> Iterator[Edit]:
    """Deletions that touch each other as one."""
    begun: Edit | None = None
    for edit in sorted(edits):
        if begun is not None and edit.span.start <= begun.span.end:
            begun = Edit(Span(begun.span.start, max(begun.span.end, edit.span.end)), "")
            continue
        if begun is not None:
            yield begun
        begun = edit
    if begun is not None:
        yield begun
