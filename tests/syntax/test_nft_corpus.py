"""The nft reader and the rulesets of others: what nft accepts is read, what it refuses is refused at the same line."""

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from ruleaudit.source import SourceFile
from ruleaudit.syntax.nft_tree import NftDocument
from ruleaudit.syntax.nftables import read
from tests.syntax.corpus import MISSING, REASON, Entry, entries

corpus = pytest.mark.skipif(MISSING, reason=REASON)

#: what nft 1.0.6 refuses and newer versions take, or what it only cannot read back, by its words or by the line
NEWER = re.compile(
    r"unsupported xtables compat|must be constant|datatype mismatch: expected packet mark|undefined for type of 12 bits"
    r"|missing statement in map|lacks typeof|unexpected (?:gc-interval|quota|devices|expectation)|limit burst must be"
    r"|exceeds valid range 0-0|expecting type or oif or oifname|expecting counter or counters|requires transport protocol"  # noqa: E501
    r"|Could not process rule|unexpected (?:table|flowtable), expecting string|expected expression"
)
NEWER_LINE = re.compile(
    r"priority (?:dstnat|srcnat)|\bxt (?:match|target)|^\s*tunnel\b|: [0-9]+m?[0-9]*s\b|^\s*last\b|delete chain .*\{"
    r"|tcp flags \w+ / \w+ "
)


def unread(document: NftDocument) -> list[str]:
    return [rule.unread for t in document.tables for c in t.chains.values() for rule in c.rules if rule.unread]


def refusals(document: NftDocument) -> dict[int, list[str]]:
    """The messages by line."""
    out: dict[int, list[str]] = {}
    for problem in document.problems:
        if problem.refused:
            out.setdefault(document.source.position(problem.span.start).line, []).append(problem.message)
    return out


@corpus
@pytest.mark.parametrize("entry", [e for e in entries("nft") if e.verdict == "accepted"], ids=lambda e: e.path)
def test_what_nft_accepts_is_read(entry: Entry) -> None:
    document = read(entry.source)
    assert str(document) == entry.source.text
    assert refusals(document) == {}
    assert unread(document) == []


@corpus
def test_what_nft_refuses_is_refused_at_its_line() -> None:
    missed = []
    for entry in entries("nft"):
        place = re.match(r"in:(\d+):(\d+)-\d+: Error: (.*)", entry.first_error)
        if entry.verdict != "rejected" or place is None or NEWER.search(place[3]):
            continue
        source = entry.source
        line = int(place[1])
        if NEWER_LINE.search(source.line(line)) or int(place[1]) in refusals(read(source)):
            continue
        missed.append((entry.path, f"{line}: {source.line(line).strip()[:80]}: {place[3]}"))
    assert [m for m in missed if not m[0].endswith(tuple(EXCEPTIONS))] == []
    assert len(missed) == len(EXCEPTIONS)


#: the files of which a refusal is missed, or found at another line, and why
EXCEPTIONS = {
    "bogons_nft-f_invalid_data_expr_type_range_value_2_assert": "a map without flags: found where it gets them",
    "cake-dual-ifb__cake-dual-ifb.nft.nft": "an anonymised address in a define: found where the define is used",
}


def vectors(entry: Entry) -> Iterator[tuple[str, str, str]]:
    """Every rule of a vector file in every table that the file names: the ruleset, the rule, ok or fail."""
    chains: dict[str, str] = {}
    tables: list[list[str]] = []
    declared: list[str] = []
    for line in entry.source.text.splitlines():
        line = line.strip()
        match line[:1]:
            case "" | "#" | "-" | "?":
                continue
            case ":":
                name, _, chains_type = line[1:].partition(";")
                chains[name] = chains_type
            case "*":
                tables.append(line[1:].split(";"))
            case "!" if line.endswith(";ok"):
                name, _, kind = line[1:-3].partition(" ")
                word = "map" if " : " in kind else "set"
                declared.append(f"{word} {name} {{ {kind.replace(' flags ', '; flags ')}; }}")
            case "%" if line.endswith(";ok"):
                name, _, kind = line[1:-3].partition(" type ")
                words = kind.split(" ")
                first = 2 if words[0] == "ct" else 1
                declared.append(" ".join([*words[:first], name, *(words[first:] or ["{}"])]))
            case "!" | "%":
                continue
            case _:
                rule, _, result = line.partition(";")
                for family, table, names in tables:
                    chain = names.split(",")[0]
                    sets = "\n".join(declared)
                    text = f"table {family} {table} {{\n{sets}\nchain {chain} {{ {chains[chain]};\n{rule}\n}}\n}}\n"
                    yield text, rule, result.partition(";")[0].strip()


@corpus
@pytest.mark.parametrize("entry", entries("nft-t"), ids=lambda e: e.path.split("tests_py_")[-1])
def test_every_good_rule_of_the_vectors_is_read(entry: Entry) -> None:
    wrong = []
    for text, rule, result in vectors(entry):
        if result == "ok":
            document = read(SourceFile("vector", text))
            if refusals(document) or unread(document):
                wrong.append((rule, refusals(document), unread(document)))
    assert wrong == []


@corpus
def test_the_bad_rules_of_the_vectors_are_refused() -> None:
    count: Counter[bool] = Counter()
    for entry in entries("nft-t"):
        for text, _, result in vectors(entry):
            if result == "fail":
                count[bool(refusals(read(SourceFile("vector", text))))] += 1
    assert count[True] >= 374 and count[False] == 0, count


def main() -> None:
    """For each vector file: the rules that nft takes and those that it refuses, and how many of each we do too."""
    print(f"{'file':44} {'ok':>5} {'read':>5} {'fail':>5} {'refused':>7}")
    total: Counter[str] = Counter()
    for entry in entries("nft-t"):
        count: Counter[str] = Counter()
        for text, rule, result in vectors(entry):
            document = read(SourceFile("vector", text))
            bad = bool(refusals(document) or unread(document))
            count[result] += 1
            count[f"{result} and we say so"] += bad is (result == "fail")
            if result == "fail" and not bad:
                print(f"    not refused: {rule}")
        total += count
        _row(entry.path.split("tests_py_")[-1], count)
    _row("all", total)


def _row(name: str, count: Counter[str]) -> None:
    ok, fail = (f"{count[word]:5} {count[f'{word} and we say so']:5}" for word in ("ok", "fail"))
    print(f"{name:44} {ok} {fail}")


if __name__ == "__main__":
    main()
