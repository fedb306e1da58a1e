"""Plans are a short cut: with and without them, a rule means the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ruleaudit.model.fields import Family
from ruleaudit.model.from_iptables_rule import RuleReader
from ruleaudit.model.ruleset import Jump

OPTIONS = st.sampled_from(
    [
        "-s 10.0.0.1",
        "-s 10.0.0.2/8",
        "! -s 10.1.0.0/16",
        "-s example.org",
        "-s 300.1.1.1",
        "-i eth0",
        "-i lo",
        "-i abcdefghijklmnopq",
        "-p tcp",
        "-p udp",
        "-p 6",
        "--protocol icmp",
        "! -p tcp",
        "-m tcp",
        "--dport 80",
        "--dport 90:80",
        "--dport ssh",
        "--sport=53",
        "--tcp-flags SYN,ACK SYN",
        "--tcp-flags SYN BAD",
        "! --syn",
        "-m multiport --dports 80,443",
        "-m multiport --dports 1,x",
        "-m conntrack --ctstate NEW",
        "-m conntrack --ctstate NEWW",
        "-m state --state NEW,RELATED",
        '-m comment --comment "a b"',
        "-m comment --comment x",
        '-m comment --comment "a -b ! -c"',
        '-m comment --comment "a \\" -b"',
        '-m comment --comment a" -b"',
        '-m comment --comment "a"" -b" "c',
        "-m comment --comment -x",
        "-s 10.0.0.1,10.0.0.0/24",
        "-d 10.0.0.1/255.255.255.0",
        "! -d 10.0.0.3  -o eth1",
        "-j WEB-5",
        "-j " + "x" * 29,
        '-j "web"',
        "-j é",
        "--jump ACCEPT",
        "--goto web",
        "-p tcp -m tcp ! --dport 80 ! --sport 53",
        "-m tcp -s 10.0.0.4 --dport 443",
        "!",
        "-m limit --limit 5/min",
        "-m limit --limit bad",
        "-m nosuch --opt 1",
        "-m mark --mark 1/0xff",
        "-m set --match-set web src",
        "-m set --match-set web bad",
        "-j ACCEPT",
        "-j web",
        "-g web",
        "-j LOG --log-prefix x",
        '-j LOG --log-prefix "x y"',
        "-j REJECT --reject-with tcp-reset",
        "-j REJECT --reject-with bad",
        "-jDROP",
        "-d ! 10.0.0.1",
        "-j NOSUCH --x 1",
        "--icmp-type 8",
        "-f",
        "-4",
        "-c 1 2",
        "extra",
    ]
)
COMMANDS = st.sampled_from(
    ["-A INPUT", "-A web", "-A OUTPUT", "--append web", "-I INPUT 2", "-D web 1", "-A INPUT !", " -A web"]
)
RULES = st.tuples(COMMANDS, st.lists(OPTIONS, max_size=5)).map(lambda said: " ".join([said[0], *said[1]]))


@given(st.lists(RULES, min_size=1, max_size=6), st.sampled_from(["filter", "raw"]))
@settings(max_examples=400)
def test_a_plan_reads_as_the_option_loop_does(texts: list[str], table: str) -> None:
    reader = RuleReader(Family.IPV4)
    for text in [*texts, *texts]:
        assert reader.read(table, text) == RuleReader(Family.IPV4).read_slowly(table, text)


def test_a_second_rule_of_a_kind_goes_by_plan() -> None:
    reader = RuleReader(Family.IPV4)
    reader.read("filter", "-A INPUT -s 10.0.0.1 -p tcp -m tcp --dport 80 -j ACCEPT")
    assert len(reader._plans) == 1
    reader.read("filter", "-A INPUT -s 10.0.0.2 -p tcp -m tcp --dport 443 -j ACCEPT")
    assert len(reader._plans) == 1
    reader.read("filter", "-A INPUT -s 10.0.0.2 -p udp -m udp --dport 443 -j ACCEPT")
    assert len(reader._plans) == 2


def test_rules_of_chains_and_of_other_addresses_share_a_plan() -> None:
    reader = RuleReader(Family.IPV4)
    for number in range(20):
        text = f'-A KUBE-SVC-{number} ! -s 10.0.{number}.1/32 -m comment --comment "a -> {number}" -j KUBE-SEP-{number}'
        read = reader.read("nat", text)
        assert read.verdict == Jump(f"KUBE-SEP-{number}") and read == RuleReader(Family.IPV4).read_slowly("nat", text)
    assert len(reader._plans) == 1


def test_equal_matches_are_one_object() -> None:
    reader = RuleReader(Family.IPV4)
    texts = [f"-A INPUT -s 10.0.0.{last} -p tcp -m tcp --dport 80 -j ACCEPT" for last in (1, 2, 3)]
    _, first, second = (reader.read("filter", text).matches for text in texts)
    assert first[1] is second[1] and first[2] is second[2] and first[0] is not second[0]
