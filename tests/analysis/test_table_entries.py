"""Entries and rules: classes fare as each single entry does under the reference interpreter."""

import random
from dataclasses import dataclass
from pathlib import Path

import pytest

import ruleaudit
from ruleaudit.model.ruleset import Rule
from ruleaudit.report.relief import percent, read_words, service_words
from ruleaudit.results.packet import Followed
from ruleaudit.results.suggestion import Suggestion
from ruleaudit.results.table import Relief, ServiceUse, TableUse
from ruleaudit.source import SourceFile, Span

HEAD = "*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -i lo -j ACCEPT\n"
KNOWN = "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
RULES = {
    "restricted": HEAD + KNOWN + "-A INPUT -s 198.51.100.0/25 -p tcp --dport 22 -j ACCEPT\n"
    "-A INPUT ! -s 198.51.100.8/29 -p tcp -m multiport --dports 80,443 -j ACCEPT\n"
    "-A INPUT -s 198.51.100.8/29 -p tcp --dport 443 -j ACCEPT\n"
    "-A INPUT -p udp -m udp --dport 53 -j ACCEPT\n-A INPUT -p icmp --icmp-type 8 -j ACCEPT\nCOMMIT\n",
    "open": "*filter\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
    + KNOWN
    + "-A INPUT -p tcp --dport 25 -j DROP\nCOMMIT\n",
    "two addresses": HEAD + KNOWN + "-A INPUT -d 203.0.113.10 -p tcp --dport 443 -j ACCEPT\n"
    "-A INPUT -d 203.0.113.11 -p tcp -m multiport --dports 22,80 -j ACCEPT\n"
    "-A INPUT -p udp --dport 53 -j ACCEPT\nCOMMIT\n",
}
OPTIONS = {"default": {}, "all": {"everything": True}, "one port": {"ports": ("443",)}}


@dataclass(frozen=True)
class Entry:
    protocol: str
    source: str
    target: str
    port: int
    sport: int

    @property
    def text(self) -> str:
        number = {"tcp": 6, "udp": 17}[self.protocol]
        state = "TIME_WAIT " if number == 6 else ""
        return (
            f"{self.protocol}      {number} 60 {state}src={self.source} dst={self.target} sport={self.sport}"
            f" dport={self.port} src={self.target} dst={self.source} sport={self.port} dport={self.sport}"
            " mark=0 use=1\n"
        )

    @property
    def packet(self) -> str:
        way = "out" if self.source.startswith("203.") else "in"
        flags = " flags S" if self.protocol == "tcp" else ""
        ends = f"{self.source}:{self.sport} > {self.target}:{self.port}"
        return f"{way} {self.protocol} {ends}{flags} {'oif' if way == 'out' else 'iif'} eth0 state new"


def some_entries(number: int) -> list[Entry]:
    chance = random.Random(number)
    found = []
    for _ in range(number):
        near, far = f"203.0.113.1{chance.randint(0, 1)}", f"198.51.100.{chance.randint(1, 254)}"
        ends = (far, near) if chance.random() < 0.7 else (near, far)
        protocol, port = chance.choice([("tcp", 443), ("tcp", 443), ("tcp", 80), ("tcp", 22), ("udp", 53), ("tcp", 25)])
        found.append(Entry(protocol, *ends, port, chance.randint(32768, 60999)))
    return found


def suggested(text: str, entries: list[Entry], path: Path, **options: object) -> tuple[Suggestion, Relief]:
    path.write_text("".join(entry.text for entry in entries))
    source = SourceFile("rules.v4", text)
    use = ruleaudit.read_table(str(path), regions=ruleaudit.regions(ruleaudit.lower(source).rulesets))
    found = ruleaudit.suggest(source, table=use, menu=False, **options)  # type: ignore[arg-type]
    assert found.relief is not None
    return found, found.relief


def _decider(followed: Followed) -> Span | None:
    """The place of the rule that decided; None where a policy did."""
    return followed.decided_by.span if isinstance(followed.decided_by, Rule) else None


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("options", OPTIONS)
def test_every_entry_fares_as_its_class(rules: str, options: str, tmp_path: Path) -> None:
    entries = some_entries(120)
    found, relief = suggested(RULES[rules], entries, tmp_path / "table", **OPTIONS[options])
    old, new = found.source, SourceFile("rules.v4", found.text) if found.text else found.source
    before = {f.asked: f for f in ruleaudit.follow(old, [e.packet for e in entries])}
    after = {f.asked: f for f in ruleaudit.follow(new, [e.packet for e in entries])}
    accepted = [e for e in entries if before[e.packet].verdict == "accept"]
    freed = [e for e in accepted if not after[e.packet].tracked]
    assert relief.refused == len(entries) - len(accepted)
    assert (relief.freed, relief.unclear) == (len(freed), 0)
    assert sum(flow.entries or 0 for flow in found.flows) == len(freed)
    # each flow that stays has the entries that its rule lets in and that stay
    for could in found.could_leave:
        flow = could.flow
        mine = [
            e
            for e in accepted
            if e not in freed
            and _decider(before[e.packet]) == (flow.rule and flow.rule.span)
            and (flow.direction == "in" or not flow.addresses or e.target in flow.addresses)
            and e.protocol == flow.protocol
            and str(e.port) in flow.ports
            and e.packet.startswith(f"{flow.direction} ")
        ]
        assert flow.entries == len(mine)


def test_services_have_the_rule_that_lets_them_be(tmp_path: Path) -> None:
    _, relief = suggested(RULES["restricted"], some_entries(300), tmp_path / "table")
    lines = {(one.direction, one.protocol, one.port): rule and rule.line for one, rule, _ in relief.services}
    assert lines["in", "tcp", 22] == 7
    assert lines["in", "udp", 53] == 10
    assert lines["out", "tcp", 443] is None
    assert sum(one.entries for one, _, _ in relief.services) == 300
    assert sum(freed for _, _, freed in relief.services) == relief.freed


def test_a_class_that_may_come_by_two_interfaces_is_not_claimed(tmp_path: Path) -> None:
    rules = (
        HEAD
        + KNOWN
        + "-A INPUT -i eth0 -p tcp --dport 443 -j ACCEPT\n-A INPUT -i lan0 -p tcp --dport 443 -j ACCEPT\nCOMMIT\n"
    )
    entries = [Entry("tcp", f"198.51.100.{n}", "203.0.113.10", 443, 40000) for n in range(1, 20)]
    found, relief = suggested(rules, entries, tmp_path / "table")
    assert [flow.interfaces for flow in found.flows] == [("eth0",)]
    assert relief.freed + relief.unclear == 19


def test_the_rules_tell_which_way_connections_went(tmp_path: Path) -> None:
    """One backend, on a network of its own: nothing comes in to 8080, so that the host opened them."""
    entries = [Entry("tcp", f"198.51.100.{n}", "203.0.113.10", 443, 40000) for n in range(1, 20)]
    entries += [Entry("tcp", "10.0.0.5", "10.0.1.1", 8080, 40000 + n) for n in range(1, 20)]
    found, relief = suggested(RULES["restricted"], entries, tmp_path / "table")
    assert {c.direction for c in relief.use.table.classes} == {"in", "unknown"}
    assert {one.direction for one, _, _ in relief.services} == {"in", "out"}
    assert [(flow.direction, flow.addresses, flow.entries) for flow in found.flows if flow.direction == "out"] == [
        ("out", ("10.0.1.1",), 19)
    ]
    _, either = suggested(RULES["open"], entries, tmp_path / "table")
    assert {one.direction for one, _, _ in either.services} == {"in", "unknown"}


def test_where_nothing_needs_tracking_everything_goes(tmp_path: Path) -> None:
    rules = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\nCOMMIT\n"
    entries = [Entry("tcp", f"198.51.100.{n}", "203.0.113.10", 443, 40000) for n in range(1, 20)]
    found, relief = suggested(rules, entries, tmp_path / "table")
    assert found.outcome == "nothing-needs-tracking"
    assert relief.freed == 19


def test_translated_entries_stay(tmp_path: Path) -> None:
    entries = [Entry("tcp", f"198.51.100.{n}", "203.0.113.10", 443, 40000) for n in range(1, 20)]
    path = tmp_path / "table"
    text = "".join(e.text.replace("src=203.0.113.10", "src=172.17.0.2") for e in entries)
    path.write_text(text + "".join(e.text for e in entries))
    use = ruleaudit.read_table(str(path))
    found = ruleaudit.suggest(SourceFile("rules.v4", RULES["two addresses"]), table=use)
    assert found.relief is not None
    assert (use.entries, found.relief.freed) == (38, 19)


def test_words() -> None:
    assert [percent(*pair) for pair in ((0, 5), (5, 5), (1, 1000), (999, 1000), (1, 2))] == [
        "0 %", "100 %", "<1 %", ">99 %", "50 %",
    ]  # fmt: skip
    uses = [
        ServiceUse(d, p, n, 1, {}, 0, 0) for d, p, n in (("in", "tcp", 443), ("out", "50", None), ("local", "udp", 53))
    ]
    assert list(map(service_words, uses)) == ["tcp/443", "to protocol 50", "udp/53 on lo"]


def test_what_was_not_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text(
        "# saved\n" + some_entries(1)[0].text + "conntrack v1.4.7 (conntrack-tools): 9 flow entries have been shown.\n"
    )
    use: TableUse = ruleaudit.read_table(str(path))
    assert read_words(use) == f"{path}: 1 entry read; 1 line is none, line 1: # saved; its last line says 9"
