"""Where to point at: the part of a rule's text that a finding is about, and what to delete to take a rule away."""

import re
from itertools import pairwise

from ruleaudit.analysis.walk import mentions_state
from ruleaudit.model.ruleset import Chain, Rule
from ruleaudit.source import SourceFile, Span

_WORD = re.compile(r'(?:"(?:\\.|[^"\\])*"|\S)+')
_TARGET = frozenset({"-j", "--jump", "-g", "--goto"})


def state_test(rule: Rule) -> Span | None:
    """The match of a rule that reads conntrack's state or entry."""
    return next((rule.place_of(m) for m in rule.matches if mentions_state(m.condition)), None)


def consumer(rule: Rule, source: SourceFile) -> Span:
    """The match or target of a rule whose effect lives in conntrack, else its state test, else the rule."""
    match = next((rule.place_of(m) for m in rule.matches if m.consumer is not None), None)
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
