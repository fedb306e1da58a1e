"""From text to the model: chains, policies, order, verdicts, and what iptables would refuse, with exact places."""

import pytest

from ruleaudit.diagnostics import Finding, Severity
from ruleaudit.model.condition import ALWAYS, NEVER, Condition, Interface, Masked, Not, Opaque, Scope, Values, any_of
from ruleaudit.model.fields import Family, Field, Hook
from ruleaudit.model.from_iptables import Lowered, lower
from ruleaudit.model.ruleset import Accept, Continue, Drop, Goto, Jump, Rule, Unknown, Verdict
from ruleaudit.source import SourceFile
from ruleaudit.syntax.iptables import read

NOT_TESTED = "the kernel refuses it; iptables-restore --test does not"


def lowered(text: str, family: Family = Family.IPV4) -> Lowered:
    return lower(read(SourceFile("rules", text)), family)


def filtered(*lines: str) -> str:
    return "\n".join(["*filter", *lines, "COMMIT", ""])


def the_rule(line: str, family: Family = Family.IPV4) -> Rule:
    result = lowered(filtered(line), family)
    assert result.findings == ()
    (rule,) = result.ruleset.rules()
    return rule


def said(result: Lowered) -> list[tuple[str, str, str]]:
    """Each finding as severity, the text under its span, and its message."""
    source = result.ruleset.source
    return [(f.severity.value, source.slice(f.span), f.message) for f in result.findings]


def finding(text: str) -> Finding:
    (found,) = lowered(text).findings
    return found


LOW = (0x0A000000, 0x0AFFFFFF)


@pytest.mark.parametrize(
    ("options", "condition"),
    [
        ("-s 10.0.0.0/8", Values(Field.SADDR, (LOW,))),
        ("-s 10/8", Values(Field.SADDR, (LOW,))),
        ("--source 10.0.0.0/255.0.0.0", Values(Field.SADDR, (LOW,))),
        ("! -d 10.0.0.0/8", Not(Values(Field.DADDR, (LOW,)))),
        ("-s 10.1.2.3/8", Values(Field.SADDR, (LOW,))),
        ("-s 0.0.0.0/0", ALWAYS),
        ("-d 10.0.0.1/255.0.0.255", Masked(Field.DADDR, 0xFF0000FF, 0x0A000001)),
        ("-s 10.0.0.0/9,10.128.0.0/9,192.0.2.1", Values(Field.SADDR, (LOW, (0xC0000201, 0xC0000201)))),
        (
            "-s 10.0.0.0/8,10.0.0.1/255.0.0.255",
            any_of([Values(Field.SADDR, (LOW,)), Masked(Field.SADDR, 0xFF0000FF, 0x0A000001)]),
        ),
        ("-i eth+", Interface(Field.IIF, "eth+")),
        ("! -i lo", Not(Interface(Field.IIF, "lo"))),
        ("-i +", ALWAYS),
        ("! -i +", NEVER),
        ("-p tcp", Values(Field.PROTOCOL, ((6, 6),))),
        ("! -p 17", Not(Values(Field.PROTOCOL, ((17, 17),)))),
        ("-p all", ALWAYS),
        ("-f", Values(Field.FRAGMENT, ((2, 2),))),
        ("! -f", Not(Values(Field.FRAGMENT, ((2, 2),)))),
    ],
)
def test_the_general_options(options: str, condition: Condition) -> None:
    rule = the_rule(f"-A INPUT {options} -j DROP")
    assert [m.condition for m in rule.matches] == [condition]
    assert rule.verdict == Drop()
    source = SourceFile("rules", filtered(f"-A INPUT {options} -j DROP"))
    assert source.slice(rule.place_of(rule.matches[0])) == options


def test_ipv6_addresses() -> None:
    rule = the_rule("-A INPUT -s 2001:db8::/32 -j DROP", Family.IPV6)
    low = 0x20010DB8 << 96
    assert rule.condition == Values(Field.SADDR, ((low, low | (1 << 96) - 1),))


def test_matches_stand_in_the_order_in_which_the_kernel_asks() -> None:
    rule = the_rule("-A INPUT -p tcp -m state --state NEW --dport 8649 -i eth0 -s 10.0.0.1 -j ACCEPT")
    fields = [getattr(m.condition, "field", None) for m in rule.matches]
    assert [m.name for m in rule.matches] == ["", "", "", "state", "tcp"]
    assert fields[:3] == [Field.SADDR, Field.IIF, Field.PROTOCOL]


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("-A INPUT", Continue()),
        ("-A INPUT -j web", Jump("web")),
        ("-A INPUT -g web", Goto("web")),
        ("-A INPUT -j NOSUCH", Jump("NOSUCH")),
        ("-A INPUT -jACCEPT", Accept()),
        ("--append INPUT --jump=ACCEPT", Accept()),
    ],
)
def test_verdicts(line: str, verdict: Verdict) -> None:
    assert the_rule(line).verdict == verdict


def test_options_may_be_shortened_while_they_stay_unambiguous() -> None:
    rule = the_rule("-A INPUT --proto tcp --dest-port ssh --jum ACCEPT".replace("--dest-port", "--destination-p"))
    assert rule.condition == the_rule("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT").condition


def test_chains_their_hooks_and_policies() -> None:
    text = "*nat\n:PREROUTING ACCEPT [0:0]\n:POSTROUTING DROP [0:0]\n:web - [0:0]\nCOMMIT\n" + filtered(
        ":INPUT DROP [5:6]"
    )
    tables = lowered(text).ruleset.tables
    assert list(tables) == ["nat", "filter"]
    nat = tables["nat"].chains
    assert set(nat) == {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING", "web"}
    assert (nat["POSTROUTING"].hook, nat["POSTROUTING"].priority, nat["POSTROUTING"].policy) == (
        Hook.POSTROUTING,
        100,
        Drop(),
    )
    assert (nat["PREROUTING"].nat, nat["web"].nat, nat["web"].hook) == (True, False, None)
    chains = tables["filter"].chains
    assert (chains["INPUT"].policy, chains["INPUT"].line) == (Drop(), 7)
    assert (chains["OUTPUT"].policy, chains["OUTPUT"].line) == (Accept(), None)


def test_commands_are_carried_out_in_order() -> None:
    text = filtered(
        "-N web",
        "-A web -s 10.0.0.1",
        "-A web -s 10.0.0.2",
        "-I web -s 10.0.0.3",
        "-I web 2 -s 10.0.0.4",
        "-D web -s 10.0.0.2",
        "-R web 1 -s 10.0.0.5",
        "-P INPUT DROP",
        "-A INPUT -j DROP",
        "-F INPUT",
    )
    result = lowered(text)
    assert result.findings == ()
    chains = result.ruleset.tables["filter"].chains
    assert [r.text.split()[-1] for r in chains["web"].rules] == ["10.0.0.5", "10.0.0.4", "10.0.0.1"]
    assert chains["INPUT"].rules == ()
    assert chains["INPUT"].policy == Drop()
    assert result.ruleset.partial


@pytest.mark.parametrize(
    ("text", "partial"),
    [
        (filtered("-A INPUT -j ACCEPT"), False),
        ("*raw\nCOMMIT\n", True),
        (filtered("-F"), True),
        (filtered("-D INPUT -j ACCEPT"), True),
        (filtered("-A INPUT -j elsewhere"), True),
        (filtered(":web - [0:0]", "-A INPUT -j web"), False),
    ],
)
def test_a_visible_part_of_a_ruleset_is_partial(text: str, partial: bool) -> None:
    assert lowered(text).ruleset.partial is partial


def test_the_text_of_a_rule_is_without_counters_and_needless_blanks() -> None:
    rule = the_rule('[12:34]  -A  INPUT -m comment --comment "two  blanks"   -j\tDROP  ')
    assert rule.text == '-A INPUT -m comment --comment "two  blanks" -j DROP'
    assert rule.line == 2


def test_equal_conditions_are_one_object() -> None:
    text = filtered("-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT", "-A INPUT -i lo -p 6 -m tcp --dport ssh -j DROP")
    first, second = lowered(text).ruleset.rules()
    assert first.matches[0].condition is second.matches[1].condition
    assert first.matches[1].condition is second.matches[2].condition


@pytest.mark.parametrize(
    ("line", "under", "message", "hint"),
    [
        (
            "-A INPUT -m conntrack --ctstate NEW,ESTBLISHED -j ACCEPT",
            "ESTBLISHED",
            'unknown connection state "ESTBLISHED"',
            "did you mean ESTABLISHED?",
        ),
        ("-A INPUT --dport 22 -j ACCEPT", "--dport", 'unknown option "--dport"', "needs -p tcp or -p udp before it"),
        (
            "-A INPUT -p icmp --dport 22 -j ACCEPT",
            "--dport",
            'unknown option "--dport"',
            "needs -p tcp or -p udp before it",
        ),
        (
            "-A INPUT -p tcp --dports 22 -j ACCEPT",
            "--dports",
            'unknown option "--dports"',
            "needs -m multiport before it",
        ),
        ("-A INPUT -p tcp --dport -j ACCEPT", "--dport", "--dport needs a value", ""),
        ("-A INPUT -p tcp --tcp-flags", "--tcp-flags", "--tcp-flags needs 2 words", ""),
        ("-A INPUT -p tpc -j ACCEPT", "tpc", 'unknown protocol "tpc"', "did you mean tcp?"),
        (
            "-A INPUT ! -s 0/0 -j ACCEPT",
            "0/0",
            "not any address at all: that matches nothing, and iptables-nft refuses it",
            "",
        ),
        ("-A INPUT -s 10.0.0.256 -j ACCEPT", "10.0.0.256", '"10.0.0.256" is not an IPv4 address', ""),
        ("-A INPUT -s 10.0.0.0/33 -j ACCEPT", "33", 'bad prefix length "33": at most 32', ""),
        ("-A INPUT -s ::1 -j ACCEPT", "::1", '"::1" is not an IPv4 address', ""),
        ("-A INPUT ! -s 10.0.0.1,10.0.0.2", "10.0.0.1,10.0.0.2", "! is not allowed with several addresses", ""),
        ("-A INPUT -o eth0 -j DROP", "-o eth0", "-o cannot be used in INPUT: there is no output interface there", ""),
        (
            "-A OUTPUT ! -i eth0 -j DROP",
            "! -i eth0",
            "-i cannot be used in OUTPUT: there is no input interface there",
            "",
        ),
        (
            "-A INPUT -i abcdefghijklmnop -j DROP",
            "abcdefghijklmnop",
            'interface name "abcdefghijklmnop" is too long: at most 15 bytes',
            "",
        ),
        ("-A INPUT -p tcp -p udp", "-p udp", "-p is given twice", ""),
        ("-A INPUT -j DROP -j ACCEPT", "-j ACCEPT", "-j is given twice", ""),
        ("-A INPUT -j DROP -g web", "-g web", "a rule has one target", ""),
        ("-A INPUT -p tcp --dport 22 --dport 23", "--dport 23", "--dport is given twice", ""),
        ("-A INPUT -j", "-j", "-j needs a value", ""),
        ("-A INPUT -s 10.0.0.1, 10.0.0.2 -j DROP", "10.0.0.2", 'unexpected "10.0.0.2"', "lists have no blanks"),
        (
            "-A INPUT -t filter -j DROP",
            "-t filter",
            "-t has no place in a file: the table is that of the *table line",
            "",
        ),
        ("-A INPUT ! -j DROP", "! -j DROP", "-j cannot be negated", ""),
        ("-A INPUT -p tcp -m tcp --dport 80 !", "!", "! with nothing behind it to negate", ""),
        ("-A INPUT -j CT --notrack", "CT", "target CT is allowed only in table raw", NOT_TESTED),
        ("-A INPUT -j MASQUERADE", "MASQUERADE", "target MASQUERADE is allowed only in table nat", NOT_TESTED),
        (
            "-A PREROUTING -j DROP",
            "PREROUTING",
            "table filter has no chain PREROUTING: it has INPUT, FORWARD, OUTPUT",
            "",
        ),
        ("-A IPNUT -j DROP", "IPNUT", 'chain "IPNUT" does not exist in table filter', "did you mean INPUT?"),
        (":INPUT ACEPT [0:0]", "ACEPT", 'unknown policy "ACEPT"', "did you mean ACCEPT?"),
        (
            "-A INPUT -m multiport --dports 80 -j DROP",
            "-m multiport --dports 80",
            "match multiport needs -p tcp or udp or udplite or sctp or dccp",
            "",
        ),
        ("-A INPUT -m icmp6 --icmpv6-type 1", "icmp6", "match icmp6 is for IPv6 only", ""),
    ],
)
def test_what_iptables_would_refuse(line: str, under: str, message: str, hint: str) -> None:
    result = lowered(filtered(line))
    first = result.findings[0]
    assert (first.code, first.name, first.severity) == ("RA001", "syntax", Severity.ERROR)
    assert (result.ruleset.source.slice(first.span), first.message, first.label) == (under, message, hint)
    assert result.ruleset.source.position(first.span.start).line == 2


def test_every_error_in_one_run() -> None:
    result = lowered(filtered("-A INPUT -p tpc", "-A INPUT -j ACCEPT", "bad", "-A INPUT -m state --state OLD", "*nat"))
    assert [under for _, under, _ in said(result)] == ["tpc", "bad", "OLD", "*nat"]
    assert len(result.ruleset.tables["filter"].chains["INPUT"].rules) == 3


def test_an_unknown_match_is_opaque_and_named() -> None:
    result = lowered(filtered("-A INPUT -m geoip --source-country DE -j DROP"))
    assert said(result) == [("warning", "geoip", 'unknown match "geoip"')]
    assert result.findings[0].code == "RA002"
    (rule,) = result.ruleset.rules()
    (match,) = rule.matches
    assert match.condition == Opaque("-m geoip --source-country DE", Scope.MEMORY)
    assert (match.understood, rule.understood, match.reason) == (False, False, 'unknown match "geoip"')
    assert result.ruleset.source.slice(rule.place_of(match)) == "-m geoip --source-country DE"


def test_an_unknown_target_with_options_is_unknown_and_named() -> None:
    result = lowered(filtered("-A INPUT -j TARPIT --tarpit"))
    assert said(result) == [("warning", "TARPIT", 'unknown target "TARPIT"')]
    (rule,) = result.ruleset.rules()
    assert (rule.verdict, rule.understood) == (Unknown("-j TARPIT --tarpit"), False)


def test_a_host_name_is_opaque_and_named() -> None:
    result = lowered(filtered("-A INPUT -s www.example.org -j DROP"))
    assert said(result) == [
        ("warning", "www.example.org", 'host name in "www.example.org": its addresses are not in the file')
    ]
    (rule,) = result.ruleset.rules()
    assert rule.condition == Opaque("address www.example.org", Scope.CONNECTION, (Field.SADDR,))


def test_the_old_form_of_negation_is_refused() -> None:
    result = lowered(filtered("-A INPUT -s ! 10.0.0.0/8 -j DROP"))
    assert said(result) == [("error", "-s ! 10.0.0.0/8", "old form of !: -s ! is refused by iptables 1.8")]


@pytest.mark.parametrize(
    ("line", "place", "message"),
    [
        (
            ":web ACCEPT [0:0]",
            "ACCEPT",
            "chain web is no base chain: it has no policy (-); iptables-legacy refuses it",
        ),
        (":A - [0:0]\n:A - [0:0]", "A", "chain A is there twice (line 2): iptables-legacy refuses the table"),
        (
            ":PREROUTING ACCEPT [0:0]",
            "PREROUTING",
            "table filter has no chain PREROUTING: it has INPUT, FORWARD, OUTPUT; nothing would be sent here",
        ),
        ("[a:b] -A INPUT -j DROP", "[a:b]", "counters should look like [12:3456]"),
        (
            '-A INPUT -m comment --comment "open -j DROP',
            '"open -j DROP',
            "this quote does not close: it goes on to the end of the line",
        ),
    ],
)
def test_what_iptables_nft_loads_though_it_is_hardly_meant(line: str, place: str, message: str) -> None:
    assert said(lowered(filtered(line))) == [("warning", place, message)]


@pytest.mark.parametrize(
    ("lines", "place", "message"),
    [
        ("-A INPUT -m contrack --ctstate NEW", "contrack", 'unknown match "contrack"'),
        ("-A INPUT -j LGO --log-prefix x", "LGO", 'unknown target "LGO"'),
        ("-I INPUT 0 -j DROP", "0", "rule numbers begin with 1"),
        ("-w -A INPUT -j DROP", "-w", "-w has no place in a file"),
        (":A - [0:0]\n-P A DROP", "-P A DROP", "-P needs a base chain and ACCEPT or DROP"),
        (":A - [0:0]\n-A INPUT -j A\n-X A", "-X A", "chain A cannot be deleted: rules jump to it"),
        (" [1:2] -A INPUT -j DROP", "[", "counters must start in the first column"),
    ],
)
def test_more_that_iptables_refuses(lines: str, place: str, message: str) -> None:
    assert said(lowered(filtered(lines))) == [("error", place, message)]


USER_CHAIN = "*nat\n:A - [0:0]\n:B - [0:0]\n{}COMMIT\n"


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        (
            "-A PREROUTING -j A\n-A A -j B\n-A B -j MASQUERADE\n",
            [("-A B -j MASQUERADE", "MASQUERADE is allowed in POSTROUTING only, and PREROUTING leads here")],
        ),
        (
            "-A B -j MASQUERADE\n-A A -j B\n-A OUTPUT -j A\n",
            [
                (
                    "-A OUTPUT -j A",
                    "MASQUERADE in chain B (line 4) is allowed in POSTROUTING only, and OUTPUT leads here",
                )
            ],
        ),
        ("-A B -j MASQUERADE\n-A A -j B\n-A POSTROUTING -j A\n", []),
        ("-A B -j MASQUERADE\n-A PREROUTING -j A\n", []),
    ],
)
def test_a_target_where_another_base_chain_leads_to_it(rules: str, found: list[tuple[str, str]]) -> None:
    result = lowered(USER_CHAIN.format(rules))
    assert said(result) == [("error", under, message) for under, message in found]


def test_lines_for_the_other_family_are_left_out() -> None:
    text = filtered("-4 -A INPUT -j DROP", "-6 -A INPUT -j ACCEPT")
    assert [r.verdict for r in lowered(text).ruleset.rules()] == [Drop()]
    assert [r.verdict for r in lowered(text, Family.IPV6).ruleset.rules()] == [Accept()]


def test_carriage_returns_are_said_once_and_read_over() -> None:
    result = lowered("*filter\r\n:INPUT DROP [0:0]\r\n-A INPUT -j ACCEPT\r\nCOMMIT\r\n")
    assert [f.message for f in result.findings] == [
        "lines end in a carriage return (CRLF); iptables-restore takes it for part of the last word"
    ]
    assert result.ruleset.tables["filter"].chains["INPUT"].rules[0].verdict == Accept()


def test_a_file_that_ends_too_early() -> None:
    result = lowered("*filter\n-A INPUT -j DROP\n-A INPUT -p tc")
    assert [(f.code, result.ruleset.source.position(f.span.start).line) for f in result.findings] == [("RA001", 3)] * 2


def test_a_table_that_comes_twice() -> None:
    text = filtered("-A INPUT -j DROP") + filtered("-A INPUT -j ACCEPT")
    assert [m for _, _, m in said(lowered(text))] == [
        "table filter was there before (line 1): iptables-restore keeps this one only"
    ]
    assert [r.verdict for r in lowered(text).ruleset.rules()] == [Accept()]


def test_an_unknown_table() -> None:
    found = finding("*fliter\nCOMMIT\n")
    assert (found.message, found.label) == ('unknown table "fliter"', "did you mean filter?")


def test_a_refused_rule_may_or_may_not_match() -> None:
    (rule,) = lowered(filtered("-A INPUT -s 10.0.0.256 -j DROP")).ruleset.rules()
    assert [m.understood for m in rule.matches] == [False]
    assert isinstance(rule.condition, Opaque)
    assert not rule.understood


LISTING = """\
-P INPUT DROP
-P FORWARD DROP
-P OUTPUT ACCEPT
-N WEB
-A INPUT -j WEB
-P PREROUTING ACCEPT
-P INPUT ACCEPT
-P OUTPUT ACCEPT
-P POSTROUTING ACCEPT
-A POSTROUTING -o eth0 -j MASQUERADE
-t raw -A PREROUTING -p tcp -m tcp --dport 80 -j CT --notrack
"""


def test_the_tables_of_a_listing_are_known_by_their_policies_and_by_t() -> None:
    result = lowered(LISTING)
    assert [f.severity for f in result.findings] == [Severity.WARNING]
    tables = result.ruleset.tables
    assert list(tables) == ["filter", "nat", "raw"]
    assert [c.policy for c in tables["filter"].chains.values()][:2] == [Drop(), Drop()]
    (rule,) = tables["raw"].chains["PREROUTING"].rules
    assert rule.text == "-A PREROUTING -p tcp -m tcp --dport 80 -j CT --notrack"
    assert LISTING[rule.span.start : rule.span.end] == rule.text
    assert [r.text for r in tables["nat"].chains["POSTROUTING"].rules] == ["-A POSTROUTING -o eth0 -j MASQUERADE"]


@pytest.mark.parametrize(
    ("lines", "place", "message"),
    [
        (":RETURN - [0:0]", "RETURN", 'a chain cannot be called "RETURN"'),
        (":-x - [0:0]", "-x", 'a chain cannot be called "-x"'),
        ("-A INPUT -j OUTPUT", "OUTPUT", "OUTPUT is a base chain: no rule can jump to it"),
        (":A - [0:0]\n-A A -g INPUT", "INPUT", "INPUT is a base chain: no rule can jump to it"),
    ],
)
def test_chains_that_the_kernel_would_refuse(lines: str, place: str, message: str) -> None:
    text = filtered(lines)
    (found,) = lowered(text).findings
    assert (found.severity, text[found.span.start : found.span.end]) == (Severity.ERROR, place)
    assert found.message == message


@pytest.mark.parametrize("line", ["-I INPUT 3 -j ACCEPT", "-D INPUT 2", "-R INPUT 2 -j DROP", "-X NOPE"])
def test_what_needs_rules_that_are_not_here_is_a_fragment(line: str) -> None:
    result = lowered(filtered(":INPUT ACCEPT [0:0]", "-A INPUT -s 192.0.2.1 -j DROP", line))
    (found,) = result.findings
    assert found.severity is Severity.WARNING
    assert "unless it is loaded with --noflush" in found.message
    assert result.ruleset.partial
