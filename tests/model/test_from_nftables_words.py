"""A selector compared with one word is read by a plan; the reader of every other test says the same."""

import pytest

from ruleaudit.model.fields import Family
from ruleaudit.model.from_nftables_conditions import Conditions, Contents
from ruleaudit.source import Span
from ruleaudit.syntax.nft_tree import Match, Selector, Word

_NOWHERE = Span(0, 0)
_SELECTORS = (
    "ip saddr", "ip6 daddr", "tcp dport", "udp sport", "th dport", "meta l4proto", "ip protocol", "ip6 nexthdr",
    "tcp flags", "icmp type", "icmpv6 code", "meta mark", "meta pkttype", "fib daddr type", "meta iifname", "meta oif",
    "meta nfproto", "ip version", "ct state", "ct mark", "ct direction", "ip frag-off", "meta skuid",
    "numgen inc mod 2", "ether saddr",
)  # fmt: skip
_WORDS = (
    "10.0.0.1", "10.0.0.0/8", "10.0.0.0/255.0.255.0", "2001:db8::/32", "host.example", "22", "ssh", "0x16", "tcp", "6",
    "syn", "echo-request", "new", "exists", "missing", "local", "eth0", "eth*", "lo", "ipv4", "original", "nonsense",
)  # fmt: skip


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("selector", _SELECTORS)
def test_the_plan_says_what_the_reader_of_all_tests_says(selector: str, family: Family) -> None:
    conditions = Conditions(family, Contents("", {}, set()))
    for operator in ("", "==", "!=", "<", ">=", "!"):
        for word in _WORDS:
            for quoted in (False, True):
                match = Match(Selector(selector, _NOWHERE), operator, Word(word, _NOWHERE, quoted), _NOWHERE)
                for with_ports in (False, True):
                    asked = conditions.match(match, lambda answer=with_ports: answer)  # type: ignore[misc]
                    assert asked == conditions.tested(match, lambda answer=with_ports: answer)  # type: ignore[misc]
