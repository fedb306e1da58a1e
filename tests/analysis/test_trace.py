"""What the kernel does with whole rulesets, found by holding packets against its trace (tests/kernel/differential.py).

Both evaluations are asked: the reference interpreter and the packet sets.
"""

import pytest

import ruleaudit
from ruleaudit.analysis.connection import possible_states
from ruleaudit.analysis.pair import make_space
from ruleaudit.analysis.space import Frame
from ruleaudit.analysis.trace import Packet, trace
from ruleaudit.analysis.walk import PATHS, Identities, Walk, is_tracking
from ruleaudit.model.fields import Family, Field, State
from ruleaudit.model.ruleset import Ruleset
from ruleaudit.packets.diagram import is_empty
from ruleaudit.source import SourceFile
from tests.analysis.test_walk import singleton


def read(text: str, language: str = "nft") -> Ruleset:
    return ruleaudit.lower(SourceFile("rules", text), language).rulesets[0]


def verdict(ruleset: Ruleset, path: str, state: State, iif: str = "eth0", oif: str = "eth1") -> str:
    """What becomes of a TCP packet, in both evaluations."""
    values = dict.fromkeys((f for f in Field if f not in (Field.IIF, Field.OIF)), 0)
    values |= {Field.PROTOCOL: 6, Field.TCP_FLAGS: 2, Field.SPORT: 4242, Field.DPORT: 80}
    packet = Packet(Family.IPV4, values, "" if path == "out" else iif, "" if path == "in" else oif)
    active = is_tracking(ruleset)
    followed = trace(ruleset, path, packet, state, active=active).verdict
    space = make_space((ruleset,), 1 << 16)
    walk = Walk(space, ruleset, Identities.of(ruleset), Frame("any"), {state: space.all}, space.all, active=active)
    one = singleton(space, packet)
    walk.run(PATHS[path], one)
    for number in space.unknown_tests:
        one = one & ~space.diagrams.bit(number)
    assert {v for v, members in walk.outcomes.items() if not is_empty(members & one)} == {followed}
    return followed[0]


ORDER = """table ip a {{
    chain one {{ type filter hook input priority 0; meta mark set 1; }}
}}
table ip b {{
    chain two {{ type filter hook input priority 0; meta mark set 2; }}
    chain judge {{ type filter hook input priority 10; meta mark {mark} drop; }}
}}
"""


def test_of_chains_with_one_priority_the_last_loaded_comes_first() -> None:
    assert verdict(read(ORDER.format(mark=1)), "in", State.NEW) == "drop"
    assert verdict(read(ORDER.format(mark=2)), "in", State.NEW) == "accept"


NAT = """table ip a {{
    chain late {{ type nat hook output priority 300; meta mark set 1; }}
    chain judge {{ type filter hook output priority {priority}; meta mark 1 drop; }}
    chain tracking {{ ct state new; }}
}}
"""


@pytest.mark.parametrize(("priority", "seen"), [(-150, "accept"), (0, "drop")])
def test_nat_chains_stand_where_nat_does_whatever_their_priority(priority: int, seen: str) -> None:
    assert verdict(read(NAT.format(priority=priority)), "out", State.NEW) == seen
    assert verdict(read(NAT.format(priority=priority)), "out", State.ESTABLISHED) == "accept"


LATE = """table ip a {
    chain input {
        type filter hook input priority 0;
        notrack
        ct state untracked drop
    }
}
"""


@pytest.mark.parametrize(
    ("state", "seen"), [(State.NEW, "accept"), (State.ESTABLISHED, "accept"), (State.INVALID, "drop")]
)
def test_a_late_notrack_acts_on_invalid_packets_only(state: State, seen: str) -> None:
    assert verdict(read(LATE), "in", state) == seen


AGAIN = """*raw
-A PREROUTING -j CT --notrack
COMMIT
*filter
-A INPUT -m conntrack --ctstate UNTRACKED -j DROP
COMMIT
"""


@pytest.mark.parametrize(("state", "seen"), [(State.NEW, "accept"), (State.INVALID, "drop")])
def test_on_lo_prerouting_leaves_alone_what_output_found_invalid(state: State, seen: str) -> None:
    assert verdict(read(AGAIN, "iptables-save"), "local", state, "lo", "lo") == seen


TEMPLATE = """*raw
-A PREROUTING -j CT --zone 1
-A PREROUTING -m conntrack --ctstate {state} -j DROP
COMMIT
"""


@pytest.mark.parametrize(("state", "seen"), [("NEW", "drop"), ("INVALID", "accept")])
def test_in_raw_a_packet_with_a_template_is_new(state: str, seen: str) -> None:
    assert verdict(read(TEMPLATE.format(state=state), "iptables-save"), "in", State.ESTABLISHED) == seen


CAME_BY = """table ip a {
    chain post {
        type filter hook postrouting priority 0;
        iifname "eth0" drop
    }
}
"""


@pytest.mark.parametrize(("path", "seen"), [("forward", "drop"), ("out", "accept"), ("local", "accept")])
def test_in_postrouting_forwarded_packets_still_have_come_by_an_interface(path: str, seen: str) -> None:
    assert verdict(read(CAME_BY), path, State.NEW, "eth0", "eth0" if path == "local" else "eth1") == seen


def test_a_syn_with_urg_opens_a_connection_too() -> None:
    space = make_space((read(CAME_BY),), 1 << 16)
    pair = possible_states(space, helpers=False, path="in") & space.in_state(State.NEW) & space.is_(Field.PROTOCOL, 6)
    assert not is_empty(pair & space.flags(0xFF, 0x22))


def test_every_low_type_of_icmpv6_is_an_error_to_conntrack() -> None:
    ruleset = read(CAME_BY.replace("table ip ", "table ip6 "))
    space = make_space((ruleset,), 1 << 16)
    pairs = (
        possible_states(space, helpers=False, path="in") & space.in_state(State.RELATED) & space.is_(Field.PROTOCOL, 58)
    )
    assert [not is_empty(pairs & space.is_(Field.ICMP_TYPE, kind)) for kind in (0, 100, 127, 128)] == [True] * 3 + [
        False
    ]


INPUT = """table inet a {{
    {sets}
    chain input {{
        type filter hook input priority 0;
        {rule}
    }}
}}
"""


@pytest.mark.parametrize(
    ("sets", "rule", "seen"),
    [
        ("", "ct mark set tcp dport map { 443 : 1, 80 : 2 } drop", "drop"),
        ("", "ct mark set tcp dport map { 443 : 1 } drop", "accept"),
        ("synproxy s {\nmss 1460\nwscale 7\n}", "synproxy name ip saddr map { 192.0.2.1 : s }", "accept"),
        ("", "udp dport 80 synproxy mss 1460 wscale 7", "accept"),
        ("", "tcp dport 80 synproxy mss 1460 wscale 7", "drop"),
        ("set s {\ntype inet_service\nelements = { 80 }\n}", "tcp dport @s drop", "drop"),
        ("set s {\ntype inet_service\nlimit rate 1/second\nelements = { 80 limit rate 1/second }\n}",
         "tcp dport @s drop", "accept"),
        ("", "ct expectation set \"e\" drop", "accept"),
    ],
)  # fmt: skip
def test_a_packet_that_finds_no_element_goes_no_further_in_the_rule(sets: str, rule: str, seen: str) -> None:
    """Where a limit or a map decides that nobody can know, the tests answer no."""
    assert verdict(read(INPUT.format(sets=sets, rule=rule)), "in", State.NEW) == seen


def test_a_map_looks_up_once_whatever_the_chain_does_that_it_leads_to() -> None:
    ruleset = read("""table ip a {
    chain classify { meta mark set 1; }
    chain input {
        type filter hook input priority 0; policy drop;
        meta mark vmap { 0 : jump classify, 1 : accept }
    }
}
""")
    assert verdict(ruleset, "in", State.NEW) == "drop"
