"""What a change does, told apart by the rules that changed, in words that a reviewer can check."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ruleaudit
from ruleaudit.analysis.alignment import align
from ruleaudit.analysis.compare import compare_in
from ruleaudit.analysis.pair import Pair, make_space
from ruleaudit.model.ruleset import Accept, Drop, Ruleset, Table
from ruleaudit.packets.diagram import FIRST_ROOM, PacketSet, is_empty
from ruleaudit.report import verify_text
from ruleaudit.results import Comparison, DifferenceKind
from ruleaudit.source import SourceFile
from tests.analysis.random_rulesets import rulesets

RULES = (
    "-A INPUT -s 192.0.2.9/32 -j DROP",
    "-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 22 -j ACCEPT",
    "-A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT",
    "-A INPUT -s 198.51.100.0/24 -p udp -m udp --dport 53 -j ACCEPT",
    "-A INPUT -i eth1 -p tcp -m tcp --dport 9000:9100 -j ACCEPT",
    "-A FORWARD -d 10.9.0.0/16 -p tcp -m tcp --dport 80 -j ACCEPT",
)


def text(*rules: str) -> SourceFile:
    head = "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n"
    return SourceFile("rules.v4", head + "".join(f"{rule}\n" for rule in rules) + "COMMIT\n")


def change(*rules: str) -> Comparison:
    return ruleaudit.verify(text(*RULES), text(*rules))


def told(comparison: Comparison, kind: DifferenceKind) -> list[str]:
    return [d.description for d, _ in verify_text.folded(comparison.differences) if d.kind is kind]


def test_each_changed_rule_has_a_class_of_its_own() -> None:
    comparison = change(RULES[0], RULES[2], RULES[4].replace("9100", "9200"), RULES[5])
    assert told(comparison, DifferenceKind.BREAKS) == [
        "tcp to 22 from 10.0.0.0/8: accepted before and not any more",
        "udp to 53 from 198.51.100.0/24: accepted before and not any more",
    ]
    assert told(comparison, DifferenceKind.OPENS) == ["tcp to 9101-9200: refused before and accepted now"]


def test_a_moved_rule_is_told_by_what_it_lets_in() -> None:
    comparison = change(*RULES[1:], RULES[0])
    opened = "tcp to 80,443,9000-9100 from 192.0.2.9: refused before and accepted now"
    assert told(comparison, DifferenceKind.OPENS) == [opened]
    assert told(comparison, DifferenceKind.BREAKS) == []


@pytest.mark.parametrize(
    ("table", "chain", "rule"),
    [
        ("mangle", "FORWARD", "-p tcp -m conntrack --ctstate ESTABLISHED -j CONNMARK --set-xmark 0x1/0xffffffff"),
        ("nat", "POSTROUTING", "-o eth0 -j MASQUERADE"),
        ("mangle", "FORWARD", "-p tcp -j TOS --set-tos 0x10/0x3f"),
    ],
)
def test_what_tracked_packets_no_longer_meet_is_a_difference(table: str, chain: str, rule: str) -> None:
    def ruleset(*rules: str) -> SourceFile:
        head = "*filter\n:INPUT DROP [0:0]\n-A INPUT -m conntrack --ctstate INVALID -j DROP\nCOMMIT\n"
        lines = "".join(f"-A {chain} {rule}\n" for rule in rules)
        return SourceFile("rules.v4", f"{head}*{table}\n:{chain} ACCEPT [0:0]\n{lines}COMMIT\n")

    assert ruleaudit.verify(ruleset(rule), ruleset(rule)).differences == ()
    for old, new in (([rule], []), ([], [rule])):
        differences = ruleaudit.verify(ruleset(*old), ruleset(*new)).differences
        assert any("tracked packets meet" in d.description for d in differences)
    # the same in two chains that the base chain leads to, of which one is walked only once
    once = ruleset(rule)
    called = once.text.replace(f"-A {chain} {rule}\n", f":ONE - [0:0]\n-A {chain} -j ONE\n-A ONE {rule}\n")
    assert ruleaudit.verify(once, SourceFile("rules.v4", called)).differences == ()
    without = called.replace(f"-A ONE {rule}\n", "")
    assert ruleaudit.verify(SourceFile("rules.v4", called), SourceFile("rules.v4", without)).differences != ()


def test_what_the_same_rules_decide_on_lo_too_is_said_in_one_line() -> None:
    comparison = change(*RULES[1:])
    ((difference, also),) = verify_text.folded(comparison.differences)
    assert difference.description == "tcp to 80,443,9000-9100 from 192.0.2.9: refused before and accepted now"
    assert also == ["on lo", "packets of no connection"]


def ruleset(source: SourceFile) -> Ruleset:
    return ruleaudit.lower(source).rulesets[0]


@given(st.permutations(RULES), st.integers(0, len(RULES)))
def test_the_parts_are_the_whole_and_do_not_overlap(order: list[str], kept: int) -> None:
    old, new = ruleset(text(*RULES)), ruleset(text(*order[:kept]))
    pair = Pair(make_space((old, new), FIRST_ROOM), old, new, in_detail=True)
    found: PacketSet = pair.domain("in", False)
    union = pair.space.none
    for part in pair.by_change(found):
        assert is_empty(union & part)
        union = union | part
    assert union == found


@st.composite
def changes(draw: st.DrawFn) -> tuple[Ruleset, Ruleset]:
    """A random ruleset, and the same with some rules of its chains taken out, moved, or given another verdict."""
    old = draw(rulesets())
    tables: dict[str, Table] = {}
    for name, table in old.tables.items():
        chains = dict(table.chains)
        for chain in table.chains.values():
            if not chain.rules or draw(st.booleans()):
                continue
            rules = list(draw(st.permutations(chain.rules))) if draw(st.booleans()) else list(chain.rules)
            at = draw(st.integers(0, len(rules) - 1))
            match draw(st.sampled_from(("remove", "verdict", "keep"))):
                case "remove":
                    del rules[at]
                case "verdict" if not rules[at].effects:
                    verdict = draw(st.sampled_from((Accept(), Drop())))
                    rules[at] = replace(rules[at], verdict=verdict, text=f"{rules[at].text} {verdict}")
            chains[chain.name] = replace(chain, rules=tuple(rules))
        tables[name] = replace(table, chains=chains)
    return old, replace(old, tables=tables)


#: rules that meet each other's packets
CROWD = (
    *RULES[:4],
    "-A INPUT -s 192.0.2.0/24 -j ACCEPT",
    "-A INPUT -p tcp -j REJECT",
    "-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT",
    "-A INPUT -m conntrack --ctstate INVALID -j DROP",
    "-A INPUT -m mark --mark 1 -j DROP",
    "-A INPUT -s 10.0.0.0/8 -j MARK --set-mark 1",
)


@st.composite
def reordered(draw: st.DrawFn) -> tuple[Ruleset, Ruleset]:
    """Two rulesets out of one crowd of rules."""
    rules = draw(st.permutations(CROWD))[: draw(st.integers(2, len(CROWD)))]
    other = draw(st.permutations(rules)) if draw(st.booleans()) else [*rules[1:], rules[0]]
    return ruleset(text(*rules)), ruleset(text(*other))


@settings(max_examples=80)
@given(st.one_of(changes(), reordered()))
def test_outside_of_the_region_of_the_changes_nothing_differs(pair: tuple[Ruleset, Ruleset]) -> None:
    """The comparison looks at the packets that a changed rule may match; looking at all of them finds no more."""
    old, new = pair
    known = align(old, new)
    kinds: list[set[tuple[DifferenceKind, str]]] = []
    for alignment in (known, replace(known, other=True)):
        comparison = compare_in(make_space((old, new), FIRST_ROOM), old, new, alignment)
        kinds.append({(d.kind, d.path) for d in comparison.differences})
    assert kinds[0] == kinds[1]
