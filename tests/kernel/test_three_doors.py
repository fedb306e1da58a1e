"""The same ruleset through three doors: iptables-save text, its translation to nft, and nft's own JSON of that.

The answers have to be the same: the class of every rule that mentions conntrack, what `suggest` frees, and the packets
that show it. Only translations that are complete are compared; how many, and which differ:

    python -m tests.kernel.test_three_doors
"""

import re
import sys
from collections import Counter
from dataclasses import dataclass

import pytest

import ruleaudit
from ruleaudit.kernel.namespace import Namespace
from ruleaudit.source import SourceFile
from tests.syntax.corpus import MISSING, REASON, Entry, entries

FILES = [entry for entry in entries("iptables", "ip6tables") if entry.verdict == "accepted"]
#: what iptables-restore-translate leaves as it was, and what only iptables can load
_INCOMPLETE = re.compile(r"^(?:# )?-[A-Z] |^# |\bxt\b", re.M)
_TITLE = re.compile(r"^# (?:Translated by|Completed on).*\n", re.M)
_CHAIN = re.compile(r"^add rule (ip6? \w+ [A-Z]\w*) ", re.M)


@dataclass(frozen=True)
class Answers:
    """What does not depend on how a ruleset is written."""

    classes: tuple[str, ...]  #: in order of the words: a listing has the chains in another order
    outcome: str
    frees: frozenset[tuple[str, str, tuple[str, ...]]]
    witnesses: frozenset[str]


def translated(entry: Entry, namespace: Namespace) -> str | None:
    """The ruleset in nft's words, or None where iptables-restore-translate has none for a part of it."""
    program = "ip6tables-restore-translate" if entry.kind == "ip6tables" else "iptables-restore-translate"
    try:
        text = namespace.run(program, "-f", "/dev/stdin", text=entry.source.text)
    except RuntimeError:
        return None
    text = _TITLE.sub("", text)
    declared = set(re.findall(r"^add chain (ip6? \w+ \w+) ", text, re.M))
    # a built-in chain that the file does not name is left out
    if not text.strip() or _INCOMPLETE.search(text) or set(_CHAIN.findall(text)) - declared:
        return None
    return text


def in_json(text: str, namespace: Namespace) -> str | None:
    """The ruleset as nft lists it in JSON, or None where nft does not take its translation."""
    namespace.run("nft", "flush", "ruleset")
    try:
        namespace.run("nft", "-f", "-", text=text, timeout=60)
    except RuntimeError:
        return None
    return namespace.run("nft", "-j", "list", "ruleset")


def answers(source: SourceFile, language: str) -> Answers:
    """Everything that is compared."""
    tracking = ruleaudit.explain(source, language=language)
    suggestion = ruleaudit.suggest(source, language=language, menu=False)
    return Answers(
        tuple(sorted(j.kind.value for j in tracking.judgements)),
        suggestion.outcome,
        frozenset((f.direction, f.protocol, f.ports) for f in suggestion.flows),
        frozenset(w.packet for j in tracking.judgements for w in j.connections),
    )


def compare(entry: Entry, namespace: Namespace) -> tuple[str, str]:
    """How the answers through the three doors compare, in a word, and the details."""
    text = translated(entry, namespace)
    listing = text and in_json(text, namespace)
    if not text or not listing:
        return "incomplete", ""
    language = "ip6tables-save" if entry.kind == "ip6tables" else "iptables-save"
    ours = answers(entry.source, language)
    for name, source in (("nft", SourceFile("x.nft", text)), ("nft-json", SourceFile("x.json", listing))):
        found = answers(source, name)
        if found != ours:
            return "different", f"{entry.path} through {name}:\n  {ours}\n  {found}"
    return "the same", ""


@pytest.mark.kernel
@pytest.mark.skipif(MISSING, reason=REASON)
@pytest.mark.usefixtures("kernel")
def test_a_sample_of_the_corpus_has_the_same_answers() -> None:
    namespace = Namespace()
    try:
        results = [compare(entry, namespace) for entry in FILES[3::12]]
    finally:
        namespace.close()
    assert not [details for _, details in results if details]
    assert Counter(word for word, _ in results)["the same"] > 8


def main() -> int:
    namespace = Namespace()
    counted: Counter[str] = Counter()
    try:
        for entry in FILES:
            word, details = compare(entry, namespace)
            counted[word] += 1
            print(details, end="\n" if details else "", flush=True)
    finally:
        namespace.close()
    print(", ".join(f"{word}: {number}" for word, number in counted.most_common()))
    return 1 if counted["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
