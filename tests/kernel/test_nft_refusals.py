"""nft rulesets in which something works through conntrack: its ports are refused by name, the others leave."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import ruleaudit
from tests.kernel.ask import Ask
from tests.kernel.lab import ROUTER, SERVER, Lab
from tests.kernel.test_refusals import limited, passive, services

RULES = Path(__file__).parent.parent / "fixtures" / "nft" / "refusals"


def marked(lab: Lab) -> bool:
    """Do the answers carry the mark of their connection?"""
    assert lab.tcp("client", SERVER, 80) == "ok"
    return lab.hits_nft("server", "marked") > 0


@dataclass(frozen=True)
class Refusal:
    """A ruleset, what must stay tracked, words of the rule that is the reason, and what leaves.

    asks     questions whose answers never change
    feature  what works through conntrack, and what it shows before and after
    """

    rules: str
    stays: tuple[str, str]
    because: str
    leaves: tuple[tuple[str, str], ...]
    asks: tuple[Ask, ...] = ()
    feature: Callable[[Lab], object] = str
    shows: object = ""
    on: str = "server"

    @property
    def path(self) -> Path:
        return RULES / self.rules


_HTTPS = Ask(SERVER, 443, freed=True)
_OURS = Ask(ROUTER, 443, freed=True)
CASES = (
    Refusal("dnat.nft", ("tcp", "80"), "dnat to", (("tcp", "443"),), (_OURS, Ask(ROUTER, 80)), on="router"),
    Refusal("redirect.nft", ("tcp", "8080"), "redirect", (("tcp", "443"),), (_HTTPS, Ask(SERVER, 80))),
    Refusal("count.nft", ("tcp", "80"), "ct count", (("tcp", "443"),), (_HTTPS,), limited, ["ok"] * 3 + ["refused"]),
    Refusal("mark.nft", ("tcp", "80"), "ct mark set 5", (("tcp", "443"),), (_HTTPS, Ask(SERVER, 80)), marked, True),
    Refusal("ftp.nft", ("tcp", "21"), 'ct helper set "ftp', (("tcp", "443"),), (_HTTPS,), passive, "ok"),
    Refusal("meter.nft", ("udp", "53"), "ct state new accept", (("tcp", "443"),), (_HTTPS,)),
    Refusal("masquerade-out.nft", ("udp", "443"), "masquerade", (("tcp", "80"),)),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rules)
def test_refused(case: Refusal) -> None:
    """The rule is named by its line, with a packet; and nothing else is held back."""
    suggestion = ruleaudit.suggest(str(case.path), everything=True)
    lines = [n for n, line in enumerate(case.path.read_text().splitlines(), 1) if case.because in line]
    flows = [r for r in suggestion.refused if (r.flow.protocol, *r.flow.ports) == case.stays]
    assert [r.rule.line in lines and r.witness is not None for r in flows if r.rule is not None] == [True]
    assert suggestion.outcome == "rewrite"
    assert tuple((f.protocol, *f.ports) for f in suggestion.flows) == case.leaves


@pytest.mark.kernel
@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize("case", [c for c in CASES if c.asks], ids=lambda case: case.rules)
def test_works_on(case: Refusal) -> None:
    suggestion = ruleaudit.suggest(str(case.path), everything=True)
    assert suggestion.text is not None
    with Lab(router=case.on == "router") as lab:
        services(lab)
        for text in (case.path.read_text(), suggestion.text):
            lab.load_nft(case.on, text)
            assert [ask.answer(lab) for ask in case.asks] == [ask.seen for ask in case.asks]
            assert case.shows == (case.feature(lab) if case.feature is not str else "")
        assert [a for a in case.asks if a.seen == "ok" and bool(a.entries(lab, case.on)) is a.freed] == []


@pytest.mark.parametrize("rules", ["synproxy.nft", "flow.nft"])
def test_the_port_is_no_flow_or_is_refused(rules: str) -> None:
    """SYNPROXY answers in the server's place; an offloaded flow lives in the entry."""
    suggestion = ruleaudit.suggest(str(RULES / rules), everything=True)
    assert {(f.direction, f.protocol, f.ports) for f in suggestion.flows} == {("in", "tcp", ("443",))}


def test_a_zone_keeps_what_it_is_set_for_tracked() -> None:
    suggestion = ruleaudit.suggest(str(RULES / "zone.nft"), everything=True)
    assert {f.ports for f in suggestion.flows} == {("443",)}
    assert [(r.flow.ports, r.reason) for r in suggestion.refused] == [
        (("80",), "another rule has conntrack look at it in spite of notrack")
    ]
