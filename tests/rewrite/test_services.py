"""What services choose: flows in the words of who names them, and never more than the rules accept."""

from collections.abc import Sequence
from ipaddress import ip_network

import pytest

import ruleaudit
from ruleaudit.model.service import Service
from ruleaudit.results.suggestion import Suggestion
from ruleaudit.source import SourceFile

LO = "-A INPUT -i lo -j ACCEPT\n"
STATEFUL = LO + "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
NEW = "-A INPUT {}-p {} -m {} --dport {} -m conntrack --ctstate NEW -j ACCEPT\n"


def _host(*rules: str, coming: str = "DROP", going: str = "ACCEPT") -> str:
    head = f"*filter\n:INPUT {coming} [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT {going} [0:0]\n"
    return head + "".join((STATEFUL, *rules)) + "COMMIT\n"


def _tcp(port: int | str, source: str = "") -> str:
    return NEW.format(source, "tcp", "tcp", port)


def _suggested(rules: str, *services: Service, ports: Sequence[str] = (), **options: object) -> Suggestion:
    return ruleaudit.suggest(SourceFile("rules.v4", rules), services=services, ports=ports, **options)  # type: ignore[arg-type]


def _in(*ports: int, at: Sequence[str] = (), protocol: str = "tcp", **more: object) -> Service:
    return _service("in", protocol, ports, at, more)


def _out(*ports: int, to: Sequence[str] = (), protocol: str = "tcp", **more: object) -> Service:
    return _service("out", protocol, ports, to, more)


def _service(
    direction: str, protocol: str, ports: Sequence[int], addresses: Sequence[str], more: dict[str, object]
) -> Service:
    networks = tuple(map(ip_network, addresses))
    return Service(direction, protocol, tuple((p, p) for p in ports), networks, **more)  # type: ignore[arg-type]


def _freed(suggestion: Suggestion) -> set[str]:
    return {flow.words for flow in suggestion.flows}


def _could(suggestion: Suggestion) -> list[str]:
    return [could.flow.words for could in suggestion.could_leave]


def _refused(suggestion: Suggestion) -> dict[str, str]:
    return {refused.flow.words: refused.reason for refused in suggestion.refused}


# -- what is let in ------------------------------------------------------------------------------------------


def test_a_listener_chooses_what_the_default_leaves() -> None:
    rules = _host(_tcp(9000, "-s 10.0.0.0/8 "), _tcp(80))
    assert _freed(_suggested(rules)) == {"tcp/80"}
    assert _freed(_suggested(rules, _in(9000))) == {"tcp/80", "tcp/9000 from 10.0.0.0/8"}


def test_a_listener_narrows_to_its_address() -> None:
    found = _suggested(_host(_tcp("80:81")), _in(80, at=["192.0.2.1"]))
    assert _freed(found) == {"tcp/81", "tcp/80 at 192.0.2.1"}
    assert found.text is not None
    raw = {line for line in found.text.splitlines() if "--notrack" in line}
    assert raw == {
        "-A PREROUTING ! -i lo -p tcp -m tcp --dport 81 -j CT --notrack",
        "-A OUTPUT ! -o lo -p tcp -m tcp --sport 81 -j CT --notrack",
        "-A PREROUTING ! -i lo -d 192.0.2.1/32 -p tcp -m tcp --dport 80 -j CT --notrack",
        "-A OUTPUT ! -o lo -s 192.0.2.1/32 -p tcp -m tcp --sport 80 -j CT --notrack",
    }


@pytest.mark.parametrize(
    ("addresses", "words"),
    [
        ((["192.0.2.1"], ["192.0.2.9"]), {"tcp/80 at 192.0.2.1, 192.0.2.9"}),
        ((["192.0.2.1"], []), {"tcp/80"}),
        ((["192.0.2.1", "2001:db8::1"],), {"tcp/80 at 192.0.2.1"}),
        ((["2001:db8::1"],), {"tcp/80"}),
        ((["127.0.0.1"],), {"tcp/80"}),
    ],
)
def test_addresses_of_several_listeners(addresses: Sequence[Sequence[str]], words: set[str]) -> None:
    assert _freed(_suggested(_host(_tcp(80)), *(_in(80, at=at) for at in addresses))) == words


def test_the_address_that_the_rule_names_is_enough() -> None:
    rules = _host(_tcp(80, "-d 192.0.2.1/32 "))
    found = _suggested(rules, _in(80, at=["192.0.2.1", "192.0.2.2"]))
    assert found.text == _suggested(rules).text


def test_a_listener_behind_an_open_policy() -> None:
    """No rule names the port, and the policy, or a rule without ports, lets it in."""
    rules = _host("-A INPUT -p udp -j DROP\n", _tcp(80), coming="ACCEPT")
    assert _freed(_suggested(rules)) == {"tcp/80"}
    assert _freed(_suggested(rules, _in(8080))) == {"tcp/80", "tcp/8080"}
    blanket = _host("-A INPUT -s 10.0.0.0/8 -m conntrack --ctstate NEW -j ACCEPT\n")
    found = _suggested(blanket, _in(8080))
    assert _freed(found) == {"tcp/8080 from 10.0.0.0/8"}
    assert found.text is not None
    # the rule that accepts all kinds of things stays as it is
    assert {line for line in found.text.splitlines() if "UNTRACKED" in line} == {
        "-A INPUT -s 10.0.0.0/8 -p tcp -m tcp --dport 8080 -m conntrack --ctstate UNTRACKED -j ACCEPT"
    }


def test_what_nothing_lets_in_is_said() -> None:
    found = _suggested(_host(_tcp(80)), _in(80, 9000), _in(161, protocol="udp"), _in(631, at=["127.0.0.1"]))
    assert _freed(found) == {"tcp/80"}
    assert _refused(found) == {"tcp/9000": "nothing lets it in", "udp/161": "nothing lets it in"}


def test_ssh_is_left_alone_wherever_it_listens() -> None:
    rules = _host(_tcp(22), _tcp(44), _tcp(80))
    ssh = (_in(22, is_ssh=True), _in(44, is_ssh=True), _in(80, origin="sshd-host/ss.txt:4 nginx"))
    found = _suggested(rules, *ssh)
    assert _freed(found) == {"tcp/80"}
    assert set(_could(found)) == {"tcp/22", "tcp/44"}
    assert not found.refused
    assert _freed(_suggested(rules, *ssh, ports=["44"])) == {"tcp/44"}


def test_what_never_leaves_by_default_is_not_chosen_by_a_listener() -> None:
    rules = _host(_tcp(21), NEW.format("", "udp", "udp", 68))
    found = _suggested(rules, _in(21), _in(68, protocol="udp"))
    assert _freed(found) == set()
    assert not found.refused


def test_options_are_stronger_than_services() -> None:
    rules = _host(_tcp(80), _tcp(9000, "-s 10.0.0.0/8 "))
    services = (_in(80), _in(9000), _out(8080, to=["192.0.2.7"]))
    assert _freed(_suggested(rules, *services)) == {
        "tcp/80",
        "tcp/9000 from 10.0.0.0/8",
        "tcp/8080 to 192.0.2.7",
    }
    assert _freed(_suggested(rules, *services, exclude=["9000", "8080"])) == {"tcp/80"}
    assert _freed(_suggested(rules, *services, ports=["8080"])) == {"tcp/8080 to 192.0.2.7"}


def test_forwarded_to_a_host_that_is_named() -> None:
    rules = _host(_tcp(80)).replace(
        "COMMIT",
        "-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
        "-A FORWARD -p tcp -m tcp --dport 8443 -m conntrack --ctstate NEW -j ACCEPT\nCOMMIT",
    )
    assert _freed(_suggested(rules)) == {"tcp/80"}
    named = Service("forward", "tcp", ((8443, 8443),), (ip_network("192.0.2.7"),))
    assert _freed(_suggested(rules, named)) == {"tcp/80", "tcp/8443 with 192.0.2.7"}


# -- what this host opens ------------------------------------------------------------------------------------


def test_servers_on_one_port_are_one_flow() -> None:
    servers = [_out(8080, to=[f"192.0.2.{n}"]) for n in (8, 9, 10, 11, 20)]
    found = _suggested(_host(_tcp(80)), *servers, _out(9090, to=["192.0.2.20", "2001:db8::1"]))
    assert _freed(found) == {"tcp/80", "tcp/8080 to 192.0.2.8/30, 192.0.2.20", "tcp/9090 to 192.0.2.20"}
    assert found.text is not None
    assert {line for line in found.text.splitlines() if line.startswith("-A OUTPUT") and " -d " in line} == {
        "-A OUTPUT ! -o lo -d 192.0.2.8/30 -p tcp -m tcp --dport 8080 -j CT --notrack",
        "-A OUTPUT ! -o lo -d 192.0.2.20/32 -p tcp -m tcp --dport 8080 -j CT --notrack",
        "-A OUTPUT ! -o lo -d 192.0.2.20/32 -p tcp -m tcp --dport 9090 -j CT --notrack",
    }


def test_what_the_rules_do_not_let_this_host_open() -> None:
    accept = "-A OUTPUT -d 192.0.2.0/29 -p tcp -m tcp --dport 8080 -m conntrack --ctstate NEW -j ACCEPT\n"
    established = "-A OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
    rules = _host(_tcp(80), established, accept, going="DROP")
    found = _suggested(rules, _out(8080, to=["192.0.2.1", "192.0.2.9"]), _out(9090, to=["192.0.2.1"]))
    assert _freed(found) == {"tcp/80", "tcp/8080 to 192.0.2.1"}
    reason = "the rules do not let this host open it"
    assert _refused(found) == {"tcp/8080 to 192.0.2.9": reason, "tcp/9090 to 192.0.2.1": reason}


def test_a_file_that_ends_without_a_line_break() -> None:
    rules = _host(_tcp(80))
    whole, bare = (_suggested(text, _out(8080, to=["192.0.2.7"])).text for text in (rules, rules.rstrip("\n")))
    assert whole is not None
    assert bare == whole.rstrip("\n")


def test_two_chains_that_accept_replies() -> None:
    chain = (
        "chain {0} {{ type filter hook input priority {1}; policy drop;\n"
        "ct state established,related accept\ntcp dport {{ {2} }} accept\n}}\n"
    )
    rules = f"table inet one {{\n{chain.format('a', 0, 22)}{chain.format('b', 1, '22, 80')}}}\n"
    source = SourceFile("rules.nft", rules)
    services = (_out(8080, to=["192.0.2.7"]),)
    found = ruleaudit.suggest(source, services=services)
    assert _freed(found) == {"tcp/8080 to 192.0.2.7"}
    assert found.text is not None
    assert found.text.count("ct state untracked accept") == 2


def test_servers_on_this_host_itself_are_asked_over_lo() -> None:
    rules = _host(_tcp(80))
    assert _suggested(rules, _out(8080, to=["127.0.0.1"])).text == _suggested(rules).text


def test_a_count_for_each_host_keeps_what_it_counts() -> None:
    """Connections from the servers' port to a limited service stay tracked too: the usual client ports leave alone."""
    limited = "-A INPUT -p tcp --dport 80 -m connlimit --connlimit-above 20 -j REJECT --reject-with tcp-reset\n"
    found = _suggested(_host(limited, _tcp(80)), _out(8080, to=["192.0.2.7"]))
    assert _freed(found) == {"tcp/8080 to 192.0.2.7"}
    assert "ephemeral-ports" in dict(found.assumptions)


# -- counted entries -----------------------------------------------------------------------------------------


def test_entries_are_passed_on_and_sort_what_could_leave() -> None:
    rules = _host(_tcp(80), _tcp(22), _tcp(21), _tcp(25))
    services = (
        _in(80, entries=7),
        _in(80, at=["192.0.2.1"], entries=5),
        _in(21, entries=900),
        _out(8080, to=["192.0.2.7"], entries=3),
        _out(8080, to=["192.0.2.8"], entries=4),
    )
    found = _suggested(rules, *services)
    assert {flow.words: flow.entries for flow in found.flows} == {
        "tcp/80": 12,
        "tcp/25": None,
        "tcp/8080 to 192.0.2.7, 192.0.2.8": 7,
    }
    assert [(could.flow.words, could.flow.entries) for could in found.could_leave] == [
        ("tcp/21", 900),
        ("tcp/22", None),
    ]


def test_strays_from_the_servers_are_told_apart() -> None:
    found = _suggested(_host(_tcp(80)), _out(8080, to=["192.0.2.7"]))
    told = {difference.description.partition(": ")[0] for difference in found.strays}
    assert {"tcp to 80", "tcp from 8080 from 192.0.2.7"} <= told
