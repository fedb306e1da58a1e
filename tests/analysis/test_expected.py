"""Expectations: what they mean, that two ways of looking at a connection agree, and that a doubt is never silent."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ruleaudit
from ruleaudit.analysis.exchange import exchange
from ruleaudit.analysis.expected import unmet
from ruleaudit.model import condition as conditions
from ruleaudit.model.expectation import Expectation, Fate
from ruleaudit.model.fields import Field
from ruleaudit.model.ruleset import Chain, Rule, Ruleset
from ruleaudit.results.expectation import Stage, Unmet
from ruleaudit.source import SourceFile, Span
from ruleaudit.syntax.packet import asked_packet
from ruleaudit.syntax.traffic import traffic
from tests.analysis.half_tracked import HOSTS, ROUTERS, Host, in_nft
from tests.analysis.random_rulesets import rulesets

ACCEPT, DROP, REJECT, REFUSE, QUEUE = Fate


def expected(text: str, verdict: Fate | None = None, tracked: bool | None = None) -> Expectation:
    return Expectation(traffic(text), Span(0, 0), verdict, tracked)


def failing(rules: str, text: str, verdict: Fate | None = None, tracked: bool | None = None) -> Unmet | None:
    ruleset = ruleaudit.lower(SourceFile("rules.v4", rules)).rulesets[0]
    return next(iter(unmet(ruleset, [expected(text, verdict, tracked)])), None)


def by(found: Unmet | None) -> int | str | None:
    match found.decided_by if found else None:
        case Rule(line=line):
            return line
        case Chain(name=name):
            return name
        case None:
            return None


def filters(*rules: str, into: str = "DROP", out: str = "ACCEPT") -> str:
    """The rules begin in line 4."""
    return f"*filter\n:INPUT {into} [0:0]\n:OUTPUT {out} [0:0]\n" + "".join(f"{r}\n" for r in rules) + "COMMIT\n"


KNOWN = "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"
WEB = "-A INPUT -p tcp -m tcp --dport 443 -m conntrack --ctstate NEW -j ACCEPT"


# -- accept -------------------------------------------------------------------------------------------


def test_a_connection_that_works() -> None:
    assert failing(filters(KNOWN, WEB), "in tcp dport 443", ACCEPT) is None
    assert failing(filters(KNOWN, WEB), "in tcp 198.51.100.7:4242 > 10.9.0.2:443 flags S iif eth0", ACCEPT) is None


def test_the_first_packet_is_refused() -> None:
    found = failing(filters(KNOWN, WEB), "in tcp dport 80", ACCEPT)
    assert found is not None and (found.stage, found.proved, by(found)) == (Stage.OPENING, True, "INPUT")
    assert found.witness is not None and found.witness.packet.startswith(
        "in tcp 198.51.100.7:4242 > 10.9.0.2:80 flags S"
    )
    assert found.whole


def test_some_of_them_are_refused() -> None:
    found = failing(filters("-A INPUT -s 192.0.2.0/24 -j DROP", KNOWN, WEB), "in tcp dport 443", ACCEPT)
    assert found is not None and (by(found), found.proved, found.whole) == (4, True, False)
    assert found.witness is not None and "192.0.2." in found.witness.packet
    blocked = filters("-A INPUT -s 192.0.2.0/24 -j DROP", KNOWN, WEB)
    assert failing(blocked, "in tcp dport 443 from 198.51.100.0/24", ACCEPT) is None


def test_the_replies_do_not_leave() -> None:
    found = failing(filters(KNOWN, WEB, out="DROP"), "in tcp dport 443", ACCEPT)
    assert found is not None and (found.stage, by(found)) == (Stage.REPLY, "OUTPUT")
    assert found.witness is not None and found.witness.packet.endswith("state established")
    open_again = filters(KNOWN, WEB, "-A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT", out="DROP")
    assert failing(open_again, "in tcp dport 443", ACCEPT) is None


def test_the_later_packets_are_refused() -> None:
    found = failing(filters(WEB), "in tcp dport 443", ACCEPT)
    assert found is not None and (found.stage, by(found)) == (Stage.LATER, "INPUT")


def test_replies_leave_as_the_first_packet_came() -> None:
    rules = filters(KNOWN, WEB, "-A OUTPUT -o eth0 -m conntrack --ctstate ESTABLISHED -j ACCEPT", out="DROP")
    assert failing(rules, "in tcp dport 443", ACCEPT) is not None
    assert failing(rules, "in tcp dport 443 iif eth0", ACCEPT) is None
    assert failing(rules, "in tcp dport 443 iif eth1", ACCEPT) is not None


def test_what_no_connection_needs_may_be_refused() -> None:
    rules = filters(
        "-A INPUT -p tcp -m tcp --tcp-flags RST RST -j DROP",
        "-A INPUT -p tcp -m tcp --tcp-flags SYN,PSH SYN,PSH -j DROP",
        "-A INPUT -m pkttype --pkt-type broadcast -j DROP",
        "-A INPUT -m addrtype --dst-type MULTICAST -j DROP",
        "-A INPUT -m mark --mark 0x1 -j DROP",
        KNOWN,
        WEB,
    )
    assert failing(rules, "in tcp dport 443", ACCEPT) is None
    ecn = filters("-A INPUT -p tcp -m tcp --tcp-flags ALL SYN -m ecn --ecn-tcp-cwr -j DROP", KNOWN, WEB)
    assert failing(ecn, "in tcp dport 443", ACCEPT) is not None


# -- refuse -------------------------------------------------------------------------------------------


def test_refusals_are_asked_of_every_packet() -> None:
    rules = filters("-A INPUT -m addrtype --dst-type MULTICAST -j ACCEPT", KNOWN)
    found = failing(rules, "in udp dport 53", REFUSE)
    assert found is not None and by(found) == 4
    assert failing(rules, "in tcp dport 53", REFUSE) is None


def test_a_listening_socket_takes_urgent_data_with_its_syn() -> None:
    rules = filters("-A INPUT -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK,URG SYN -j DROP", into="ACCEPT")
    found = failing(rules, "in tcp dport 80", REFUSE)
    assert found is not None and found.witness is not None
    assert " flags SU " in found.witness.packet
    assert failing(filters("-A INPUT -p tcp -m tcp --syn -j DROP", into="ACCEPT"), "in tcp dport 80", REFUSE) is None


def test_how_it_is_refused() -> None:
    rules = filters("-A INPUT -p tcp -j REJECT --reject-with tcp-reset", KNOWN)
    assert failing(rules, "in tcp dport 80", REJECT) is None
    assert failing(rules, "in udp dport 80", DROP) is None
    assert failing(rules, "in tcp dport 80", REFUSE) is None
    found = failing(rules, "in tcp dport 80", DROP)
    assert found is not None and (by(found), found.reason) == (4, "rejected with tcp-reset")


def test_a_queue_is_neither() -> None:
    rules = filters("-A INPUT -p tcp -m tcp --dport 80 -j NFQUEUE --queue-num 3", KNOWN)
    assert failing(rules, "in tcp dport 80", QUEUE) is None
    for verdict in (ACCEPT, REFUSE):
        found = failing(rules, "in tcp dport 80", verdict)
        assert found is not None and found.reason == "queued for a program"


# -- tracked ------------------------------------------------------------------------------------------

RAW = "*raw\n{}{}COMMIT\n"
THERE = "-A PREROUTING -p tcp -m tcp --dport 443 -j CT --notrack\n"
BACK = "-A OUTPUT -p tcp -m tcp --sport 443 -j CT --notrack\n"
PLAIN = filters(KNOWN, "-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT")


def test_neither_direction_makes_an_entry() -> None:
    assert failing(RAW.format(THERE, BACK) + PLAIN, "in tcp dport 443", ACCEPT, tracked=False) is None
    assert failing(PLAIN, "in tcp dport 443", tracked=False) is not None
    found = failing(RAW.format(THERE, "") + PLAIN, "in tcp dport 443", tracked=False)
    assert found is not None and (found.stage, found.reason) == (Stage.REPLY, "tracked")
    found = failing(RAW.format("", BACK) + PLAIN, "in tcp dport 443", tracked=False)
    assert found is not None and (found.stage, found.reason) == (Stage.OPENING, "tracked")


def test_both_directions_belong_to_an_entry() -> None:
    assert failing(PLAIN, "in tcp dport 443", tracked=True) is None
    found = failing(RAW.format(THERE, BACK) + PLAIN, "in tcp dport 443", tracked=True)
    assert found is not None and (found.reason, by(found)) == ("left untracked", 2)
    found = failing(filters("-A INPUT -j ACCEPT"), "in tcp dport 443", tracked=True)
    assert found is not None and "no rule has the kernel track" in found.reason
    assert failing(filters("-A INPUT -j ACCEPT"), "in tcp dport 443", tracked=False) is None


# -- what opens no connection -------------------------------------------------------------------------


def test_packets_in_every_state_that_they_can_have() -> None:
    rules = filters(KNOWN, WEB)
    found = failing(rules, "in icmp type 3/4", ACCEPT)
    assert found is not None and (found.stage, found.proved) == (Stage.PACKETS, True)
    assert found.witness is not None and found.witness.packet.endswith("state invalid")
    assert failing(rules, "in icmp type 3/4 state related", ACCEPT) is None
    assert failing(rules, "in tcp flags F", DROP) is None
    assert failing(rules, "in tcp dport 443 flags A state established", ACCEPT) is None
    assert failing(rules, "in tcp dport 443 state invalid", DROP) is None


def test_packets_of_a_state_have_all_the_flags_of_that_state() -> None:
    rules = filters("-A INPUT -p tcp -m tcp --tcp-flags ACK ACK -j DROP", KNOWN, WEB)
    found = failing(rules, "in tcp dport 443 state established", ACCEPT)
    assert found is not None and (by(found), found.proved, found.whole) == (4, True, False)


def test_a_state_that_no_packet_can_have_is_no_met_expectation() -> None:
    for rules in (filters("-A INPUT -j ACCEPT"), RAW.format(THERE, BACK) + filters(KNOWN)):
        found = failing(rules, "in tcp dport 443 state established", ACCEPT)
        assert found is not None and (found.proved, found.reason) == (False, "no such packet can be established here")


def test_packets_that_a_rule_leaves_untracked() -> None:
    rules = RAW.format(THERE, BACK) + filters(KNOWN, "-A INPUT -m conntrack --ctstate UNTRACKED -j ACCEPT")
    assert failing(rules, "in tcp dport 443 flags F", ACCEPT) is None
    assert failing(rules, "in tcp dport 80 flags F", DROP) is None


# -- doubt --------------------------------------------------------------------------------------------


def test_a_limit_and_a_set_are_named() -> None:
    limited = filters(KNOWN, "-A INPUT -p tcp -m tcp --dport 443 -m limit --limit 5/sec -j ACCEPT")
    found = failing(limited, "in tcp dport 443", ACCEPT)
    assert found is not None and (found.proved, by(found)) == (False, "INPUT")
    assert found.depends_on == ("limit --limit 5/sec (line 5)",)
    listed = filters("-A INPUT -m set --match-set bad src -j DROP", KNOWN, WEB)
    found = failing(listed, "in tcp dport 443", ACCEPT)
    assert found is not None and (found.proved, by(found)) == (False, 4)
    assert found.depends_on == ("set bad (line 4)",)


def test_what_is_certain_comes_before_what_is_not() -> None:
    rules = filters("-A INPUT -m set --match-set bad src -j DROP", "-A INPUT -s 192.0.2.0/24 -j DROP", KNOWN, WEB)
    found = failing(rules, "in tcp dport 443", ACCEPT)
    assert found is not None and (found.proved, by(found)) == (True, 5)


def test_what_is_translated_is_not_followed() -> None:
    nat = "*nat\n-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.9.1.2\nCOMMIT\n"
    for verdict in (ACCEPT, REFUSE):
        found = failing(nat + filters(KNOWN), "in tcp dport 80", verdict)
        assert found is not None and (found.proved, by(found)) == (False, 2)
        assert "line 2 (DNAT) translates it" in found.reason
    found = failing(nat + filters(KNOWN), "in tcp dport 81", REFUSE)
    assert found is None


MASQUERADE = "*nat\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n"
MANGLE = "*mangle\n-A PREROUTING -p udp -j DROP\nCOMMIT\n"


def test_replies_of_what_leaves_translated() -> None:
    rules = filters(KNOWN)
    assert failing(MASQUERADE + rules, "out tcp dport 80", ACCEPT) is None
    found = failing(MASQUERADE + MANGLE + rules, "out tcp dport 80", ACCEPT)
    assert found is not None and not found.proved
    assert "the rules before NAT (line 5)" in found.reason
    assert failing(MASQUERADE + MANGLE + rules, "out tcp dport 80 oif eth1", ACCEPT) is None


def test_synproxy_is_not_followed() -> None:
    rules = filters(
        "-A INPUT -p tcp -m tcp --dport 443 -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --wscale 7", KNOWN
    )
    raw = "*raw\n-A PREROUTING -p tcp -m tcp --dport 443 --syn -j CT --notrack\nCOMMIT\n"
    found = failing(raw + rules, "in tcp dport 443", ACCEPT)
    assert found is not None and not found.proved
    assert "SYNPROXY" in found.reason


# -- two ways of looking ------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [*HOSTS, *ROUTERS], ids=lambda host: host.name)
def test_both_ways_of_looking_at_a_connection_agree(host: Host) -> None:
    path = "forward" if host in ROUTERS else "in"
    for text in (host.iptables, in_nft(host)):
        source = SourceFile("rules", text)
        ruleset = ruleaudit.lower(source).rulesets[0]
        for protocol, port in (("tcp", 80), ("udp", 53), ("tcp", 81)):
            packet = f"{path} {protocol} 10.9.0.1:4242 > 10.9.0.2:{port}"
            (seen,) = ruleaudit.connections(source, [packet])
            assert (unmet(ruleset, [expected(packet, ACCEPT)]) == ()) is seen.works
            assert bool(unmet(ruleset, [expected(packet, REFUSE)])) is (seen.packets[0].verdict == "accept")
            if seen.works:
                made = any(p.tracked and p.state != "invalid" for p in seen.packets if p.role != "icmp-error")
                assert bool(unmet(ruleset, [expected(packet, tracked=False)])) is made


def without_flags(ruleset: Ruleset) -> Ruleset:
    """Random rules test TCP flags of every packet, udp included; and one segment stands for all of its role."""

    def kept(chain: Chain) -> Chain:
        tests_flags = [
            any(getattr(t, "field", None) is Field.TCP_FLAGS for t in conditions.tests(r.condition))
            for r in chain.rules
        ]
        return replace(chain, rules=tuple(r for r, no in zip(chain.rules, tests_flags, strict=True) if not no))

    return replace(
        ruleset,
        tables={
            table.name: replace(table, chains={c.name: kept(c) for c in table.chains.values()})
            for table in ruleset.tables.values()
        },
    )


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(rulesets(), st.data())
def test_both_ways_agree_on_random_rulesets(ruleset: Ruleset, data: st.DataObject) -> None:
    ruleset = without_flags(ruleset)
    path = data.draw(st.sampled_from(("in", "out", "forward")))
    ports = (22, 80, 443, 4242)
    source, target = data.draw(st.permutations(("10.9.0.1", "10.9.0.2", "198.51.100.7")))[:2]
    protocol = data.draw(st.sampled_from(("udp", "tcp")))
    packet = (
        f"{path} {protocol} {source}:{data.draw(st.sampled_from(ports))} > {target}:{data.draw(st.sampled_from(ports))}"
    )
    packet += "" if path == "out" else " iif eth0"
    packet += "" if path == "in" else " oif eth1"
    seen = exchange(ruleset, asked_packet(packet))
    wrong = unmet(ruleset, [expected(packet, ACCEPT)])
    if seen.works is None:
        # nobody can say whether it is left untracked, or whether it passes: the second is no met expectation
        assert wrong != () or all(p.verdict == "accept" for p in seen.packets if p.role != "icmp-error")
    else:
        assert (wrong == ()) is seen.works, seen
    opening = seen.packets[0].verdict
    refused = unmet(ruleset, [expected(packet, REFUSE)])
    if opening in ("drop", "reject"):
        assert refused == ()
    elif opening != "undecided":
        assert [u.proved for u in refused] == [True]
