"""A whole connection: its packets and their states, whether it works, and who breaks it. The kernel is asked in
tests/kernel/test_exchange.py.
"""

import pytest

import ruleaudit
from ruleaudit import UsageError
from ruleaudit.results.packet import Exchange
from ruleaudit.source import SourceFile
from tests.analysis.test_expected import BACK, KNOWN, MANGLE, MASQUERADE, RAW, THERE, WEB, filters

WEB_PACKET = "in tcp 198.51.100.7:4242 > 10.9.0.2:443 iif eth0"


def connection(rules: str, packet: str = WEB_PACKET) -> Exchange:
    (found,) = ruleaudit.connections(SourceFile("rules.v4", rules), [packet])
    return found


def states(found: Exchange) -> list[tuple[str, str, str]]:
    return [(p.role, p.state, p.verdict) for p in found.packets]


def breaker(found: Exchange) -> int | str | None:
    return getattr(found.broken_by, "line", None) or getattr(found.broken_by, "name", None)


def test_the_packets_of_a_connection() -> None:
    found = connection(filters(KNOWN, WEB))
    assert (found.works, found.reason) == (True, "every packet of it passes; it is tracked")
    assert [(p.role, p.packet) for p in found.packets] == [
        ("opening", "in tcp 198.51.100.7:4242 > 10.9.0.2:443 flags S iif eth0 state new"),
        ("reply", "out tcp 10.9.0.2:443 > 198.51.100.7:4242 flags SA oif eth0 state established"),
        ("later", "in tcp 198.51.100.7:4242 > 10.9.0.2:443 flags A iif eth0 state established"),
        ("later-reply", "out tcp 10.9.0.2:443 > 198.51.100.7:4242 flags A oif eth0 state established"),
        ("icmp-error", "in icmp 203.0.113.9 > 10.9.0.2 type 3/4 iif eth0 state related"),
    ]


def test_who_breaks_it() -> None:
    found = connection(filters(KNOWN))
    assert (found.works, found.reason) == (False, "the policy of INPUT drops its opening packet")
    assert states(found) == [("opening", "new", "drop")]
    found = connection(filters(KNOWN, WEB, "-A OUTPUT -p tcp -j REJECT"))
    assert (found.works, found.reason, found.broken_by and found.broken_by.line) == (
        False, "line 6 rejects its replies (established)", 6,
    )  # fmt: skip
    assert [p.role for p in found.packets] == ["opening", "reply"]
    found = connection(filters(WEB))
    assert (found.works, found.reason) == (False, "the policy of INPUT drops its later packets (established)")


def test_one_direction_alone_is_left_untracked() -> None:
    found = connection(RAW.format(THERE, "") + filters(KNOWN, "-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT"))
    assert found.works
    assert "half tracked: one direction alone is left untracked, and it still makes an entry" in found.reason
    assert states(found)[:4] == [
        ("opening", "untracked", "accept"),
        ("reply", "invalid", "accept"),
        ("later", "untracked", "accept"),
        ("later-reply", "new", "accept"),
    ]
    found = connection(RAW.format("", BACK) + filters(KNOWN, WEB))
    assert (found.works, found.reason) == (False, "the policy of INPUT drops its later packets (invalid)")


def test_errors_about_what_is_untracked() -> None:
    rules = RAW.format(THERE, BACK) + filters(KNOWN, "-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT")
    found = connection(rules)
    assert (found.works, found.reason) == (
        True, "every packet of it passes; it is not tracked: neither direction makes an entry",
    )  # fmt: skip
    assert found.remarks == (
        "the policy of INPUT drops ICMP errors about it (invalid): large packets may vanish (path MTU)",
    )
    cured = rules.replace(KNOWN, f"-A INPUT -p icmp -m icmp --icmp-type 3/4 -j ACCEPT\n{KNOWN}")
    assert connection(cured).remarks == ()


def test_udp_ping_and_what_is_not_answered() -> None:
    rules = filters(KNOWN, "-A INPUT -p udp -m udp --dport 53 -j ACCEPT", "-A INPUT -p icmp --icmp-type 8 -j ACCEPT")
    assert connection(rules, "in udp > :53").works
    ping = connection(rules, "in icmp > * type 8")
    assert ping.works
    assert [p.packet.split(" type ")[1].split()[0] for p in ping.packets] == ["8/0", "0/0", "8/0", "0/0", "3/4"]
    alone = connection(rules, "in udp > 224.0.0.251:53")
    assert [p.role for p in alone.packets] == ["opening"]


def test_a_connection_of_this_host_to_itself() -> None:
    rules = filters(KNOWN, "-A INPUT -i lo -j ACCEPT")
    found = connection(rules, "in tcp > :80 iif lo")
    assert found.works
    assert [p.role for p in found.packets] == ["opening", "reply", "later", "later-reply"]
    assert found.packets[1].path[0].hook == "input"


def test_a_router_has_errors_in_all_directions() -> None:
    rules = "*filter\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n-A FORWARD -j ACCEPT\nCOMMIT\n"
    found = connection(rules, "forward tcp 198.51.100.7:4242 > 10.9.1.2:80 iif eth0 oif eth1")
    errors = [p.packet for p in found.packets if p.role == "icmp-error"]
    assert [e.split(" state ")[0] for e in errors] == [
        "forward icmp 203.0.113.9 > 10.9.1.2 type 3/4 iif eth0 oif eth1",
        "forward icmp 203.0.113.9 > 198.51.100.7 type 3/4 iif eth1 oif eth0",
        "out icmp 10.9.0.254 > 198.51.100.7 type 3/4 oif eth0",
        "out icmp 10.9.0.254 > 10.9.1.2 type 3/4 oif eth1",
    ]


def test_what_cannot_be_said() -> None:
    listed = filters("-A INPUT -m set --match-set bad src -j DROP", KNOWN, WEB)
    assert (connection(listed).works, connection(listed).reason) == (
        None, "whether its opening packet passes depends on line 4",
    )  # fmt: skip
    nat = "*nat\n-A PREROUTING -p tcp -m tcp --dport 443 -j DNAT --to-destination 10.9.1.2\nCOMMIT\n"
    found = connection(nat + filters(KNOWN, WEB))
    assert (found.works, found.reason) == (None, "line 2 (DNAT) sends it elsewhere, where it is not followed")
    out = "out tcp 10.9.0.2:4242 > 198.51.100.7:80 oif eth0"
    assert connection(MASQUERADE + filters(KNOWN), out).works
    found = connection(MASQUERADE + MANGLE + filters(KNOWN), out)
    assert (found.works, found.reason) == (
        None, "line 2 (MASQUERADE) translates it, and line 5 sees its replies so; that is not followed",
    )  # fmt: skip
    limited = "*raw\n-A PREROUTING -m limit --limit 5/sec -j CT --notrack\nCOMMIT\n"
    found = connection(limited + filters(KNOWN, "-A INPUT -j ACCEPT"))
    assert (found.works, found.reason) == (
        None, "whether its opening packet is left untracked depends on what is not known here",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("packet", "message"),
    [
        ("in tcp > :443 flags A", "this opens no connection"),
        ("in icmp > * type 3/4", "this opens no connection"),
        ("in tcp > :443 state established", "a connection opens with a packet in state new"),
        ("in tcp [2001:db8::1]:80 > *:80", "is for IPv4"),
    ],
)
def test_what_opens_no_connection(packet: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        connection(filters(KNOWN), packet)
