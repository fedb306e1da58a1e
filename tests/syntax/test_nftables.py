"""The document of an nft file: its blocks, commands, variables and includes, and what is said of mistakes."""

from pathlib import Path

import pytest

from ruleaudit import source
from ruleaudit.includes import finder
from ruleaudit.source import SourceFile
from ruleaudit.syntax.nft_definitions import Found, Load
from ruleaudit.syntax.nft_tree import Chain, NftDocument, Table, Verdict, Word
from ruleaudit.syntax.nftables import read


def document(text: str, load: Load | None = None) -> NftDocument:
    found = read(SourceFile("rules.nft", text), load)
    assert str(found) == text
    return found


def clean(text: str) -> NftDocument:
    found = document(text)
    assert found.problems == ()
    assert [rule.unread for t in found.tables for c in t.chains.values() for rule in c.rules if rule.unread] == []
    return found


def only(text: str) -> tuple[Table, Chain]:
    """The first table and its first chain of a text without mistakes."""
    table = clean(text).tables[0]
    return table, next(iter(table.chains.values()))


def mistakes(text: str) -> list[str]:
    """`line:column text-under-the-caret: message` of every problem."""
    found = document(text)
    out = []
    for problem in found.problems:
        place = found.source.position(problem.span.start)
        hint = f" ({problem.hint})" if problem.hint else ""
        out.append(f"{place.line}:{place.column} {found.source.slice(problem.span)!r}: {problem.message}{hint}")
    return out


def in_chain(rule: str, family: str = "inet") -> str:
    return f"table {family} t {{\nchain other {{\n}}\nchain c {{\n{rule}\n}}\n}}\n"


def test_tables_and_chains() -> None:
    table, chain = only(
        'table inet filter {\n\tflags dormant\n\tcomment "of the host"\n\n\tchain input { # handle 1\n'
        '\t\ttype filter hook input priority filter - 10; policy drop;\n\t\tcomment "in"\n'
        '\t\tiifname lo accept comment "loop" # handle 4\n\t\ttcp dport 22 \\\n\t\t\taccept; udp dport 53 drop\n\t}\n}\n'  # noqa: E501
    )
    assert (table.family, table.name, table.dormant) == ("inet", "filter", True)
    assert (chain.kind, chain.hook, chain.priority, chain.policy) == ("filter", "input", -10, "drop")
    assert [(rule.text, rule.normal, rule.comment) for rule in chain.rules] == [
        ('iifname lo accept comment "loop"', "meta iifname lo accept", "loop"),
        ("tcp dport 22 accept", "tcp dport 22 accept", ""),
        ("udp dport 53 drop", "udp dport 53 drop", ""),
    ]


@pytest.mark.parametrize(
    ("family", "hook", "written", "value"),
    [
        ("ip", "prerouting", "raw", -300),
        ("ip6", "input", "mangle", -150),
        ("inet", "prerouting", "dstnat", -100),
        ("inet", "output", "dstnat - 1", -101),
        ("ip", "input", "security + 5", 55),
        ("ip", "postrouting", "srcnat", 100),
        ("bridge", "prerouting", "dstnat", -300),
        ("bridge", "forward", "filter", -200),
        ("bridge", "output", "out", 100),
        ("bridge", "postrouting", "srcnat", 300),
        ("arp", "input", "filter", 0),
        ("ip", "input", "-7", -7),
        ("ip", "input", "0", 0),
    ],
)
def test_priorities(family: str, hook: str, written: str, value: int) -> None:
    _, chain = only(f"table {family} t {{\nchain c {{\ntype filter hook {hook} priority {written};\n}}\n}}\n")
    assert chain.priority == value


def test_devices() -> None:
    text = (
        "define more = { eth1, eth2 }\ntable netdev t {\nchain c {\ntype filter hook ingress devices = { eth0, $more }"
    )
    assert only(f"{text} priority 0;\n}}\n}}\n")[1].devices == ("eth0", "eth1", "eth2")


def test_sets_and_maps() -> None:
    table = clean(
        "table ip t {\nset s {\ntype ipv4_addr . inet_service\nflags interval, timeout\ntimeout 1h\nauto-merge\n"
        'elements = { 10.0.0.0/8 . 22 timeout 5m comment "x",\n 10.1.1.1 . 1-5, }\n}\n'
        "map m {\ntypeof ip saddr : verdict\nelements = { 1.1.1.1 : accept, * : jump c }\n}\nchain c {\n}\n}\n"
    ).tables[0]
    held, given = table.sets["s"], table.sets["m"]
    assert (held.key, held.data, held.flags, held.timeout) == (
        ("ipv4_addr", "inet_service"),
        "",
        ("interval", "timeout"),
        True,
    )
    assert [element.options for element in held.elements] == [("timeout 5m", 'comment "x"'), ()]
    assert (given.key, given.data, given.typeof) == (("ip saddr",), "verdict", True)
    assert [element.data.name for element in given.elements if isinstance(element.data, Verdict)] == ["accept", "jump"]


def test_objects() -> None:
    table = clean(
        "table inet t {\ncounter c {\npackets 1 bytes 2\n}\nquota q {\nover 5 mbytes\n}\nlimit l {\nrate 5/second\n}\n"
        'ct helper h {\ntype "ftp" protocol tcp\nl3proto inet\n}\nsynproxy p {\nmss 1460\nwscale 7\ntimestamp\n}\n'
        'flowtable f {\nhook ingress priority 0\ndevices = { lo }\n}\nchain c {\ncounter name "c" quota name q\n'
        'ct helper set "h"\nflow add @f\n}\n}\n'
    ).tables[0]
    assert [(one.kind, one.name) for one in table.objects] == [
        ("counter", "c"),
        ("quota", "q"),
        ("limit", "l"),
        ("ct helper", "h"),
        ("synproxy", "p"),
        ("flowtable", "f"),
    ]


def test_an_anonymous_chain_is_a_chain() -> None:
    table = clean(in_chain("tcp dport 22 jump {\nip saddr 10.0.0.1 accept; drop\n}")).tables[0]
    assert table.chains["c"].rules[0].statements[-1].span.end
    jump = table.chains["c"].rules[0].statements[1]
    assert isinstance(jump, Verdict) and [rule.normal for rule in table.chains[jump.chain].rules] == [
        "ip saddr 10.0.0.1 accept",
        "drop",
    ]


def test_commands_are_carried_out_in_order() -> None:
    found = clean(
        "table ip t; delete table ip t; flush ruleset\nadd table t\nadd chain ip t c { type filter hook input priority 0; }\n"  # noqa: E501
        "add rule t c tcp dport 2 accept\ninsert rule t c tcp dport 1 accept\nadd rule t c index 0 drop\nt2 = 1\n".replace(  # noqa: E501
            "t2 = 1\n", ""
        )
        + "add set ip t s { type ipv4_addr; }\nadd element ip t s { 1.1.1.1, 2.2.2.2 }\ndelete element t s { 1.1.1.1 }\n"  # noqa: E501
        "add chain t gone\ndelete chain t gone\nrename chain t c input\n"
    )
    (table,) = found.tables
    assert [(rule.normal, rule.command) for rule in table.chains["input"].rules] == [
        ("tcp dport 1 accept", True),
        ("drop", True),
        ("tcp dport 2 accept", True),
    ]
    assert list(table.chains) == ["input"] and table.chains["input"].body is None
    assert [e.key.text for e in table.sets["s"].elements if isinstance(e.key, Word)] == ["2.2.2.2"]
    assert not found.partial


def test_what_is_put_into_foreign_tables_is_a_part() -> None:
    found = clean("add rule ip filter INPUT tcp dport 22 jump elsewhere\n")
    assert found.partial and found.tables[0].chains["INPUT"].rules[0].normal == "tcp dport 22 jump elsewhere"


def test_a_flushed_chain_is_empty() -> None:
    table, chain = only("table ip t {\nchain c {\naccept\n}\n}\nflush chain ip t c\n")
    assert table.chains == {"c": chain} and chain.rules == []


def test_variables_are_written_out() -> None:
    table, chain = only(
        "define lan = 10.0.0.0/8\ndefine nets = { $lan, 192.168.0.0/16 }\ndefine web = 80-81\ndefine bits = 0x1 | 0x2\n"
        "define to = other\nredefine web = 90\ntable ip t {\ndefine wan = eth0\nchain c {\ndefine pri = -5\n"
        "type filter hook input priority $pri;\n"
        "iifname $wan ip saddr { $nets, 1.1.1.1 } tcp dport $web jump $to\nmeta mark & $bits == 1 accept\n}\nchain other {\n}\n}\n"  # noqa: E501
    )
    assert chain.priority == -5
    assert [rule.normal for rule in chain.rules] == [
        "meta iifname eth0 ip saddr { { 10.0.0.0/8, 192.168.0.0/16 }, 1.1.1.1 } tcp dport 90 jump other",
        "meta mark & (0x1 | 0x2) == 1 accept",
    ]
    assert chain.rules[0].text == "iifname $wan ip saddr { $nets, 1.1.1.1 } tcp dport $web jump $to"
    assert "other" in table.chains


def test_includes_share_one_space_of_offsets() -> None:
    texts = {"a.nft": "define x = 22\n", "b.nft": "tcp dport $x accept\ntcp dprt 1 accept\n"}

    def load(pattern: str, by: str) -> Found:
        return Found((SourceFile(pattern, texts[pattern]),))

    text = 'include "a.nft"\ntable ip t {\nchain c {\ninclude "b.nft"\naccept\n}\n}\n'
    found = document(text, load)
    rules = found.tables[0].chains["c"].rules
    assert [found.source.slice(rule.span) for rule in rules] == [
        "tcp dport $x accept",
        "tcp dprt 1 accept",
        "accept",
    ]
    (problem,) = found.problems
    place = found.source.position(problem.span.start)
    assert (place.path, place.line, place.column) == ("b.nft", 2, 5)
    assert found.source.line(place.line, problem.span.start) == "tcp dprt 1 accept"
    assert found.source.slice(problem.span) == "dprt" and not found.partial


def test_includes_from_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "2.nft").write_text("add rule t c counter\n")
    (tmp_path / "sub" / "1.nft").write_text('include "sub/own.inc"\n')
    (tmp_path / "sub" / "own.inc").write_text("add rule t c accept\n")
    main = tmp_path / "main.nft"
    main.write_text('add table t\nadd chain t c\ninclude "sub/*.nft"\n')
    found = read(source.read(str(main)), finder(str(main)))
    assert found.problems == () and not found.partial
    assert [rule.normal for rule in found.tables[0].chains["c"].rules] == ["accept", "counter"]
    assert [Path(file.path).name for file in found.source.included] == ["1.nft", "2.nft", "own.inc"]


def test_an_include_that_includes_itself_comes_to_an_end(tmp_path: Path) -> None:
    main = tmp_path / "main.nft"
    main.write_text('include "main.nft"\n')
    found = read(source.read(str(main)), finder(str(main)))
    assert [problem.message for problem in found.problems] == [f"{main} includes itself"]


def test_files_that_include_each_other_are_not_read_in_every_order() -> None:
    files = dict.fromkeys((f"{number}.nft" for number in range(10)), 'include "*"\n' * 2)

    def load(pattern: str, by: str) -> Found:
        return Found(tuple(SourceFile(name, text) for name, text in files.items()))

    found = document('include "*"\n', load)
    assert len(found.source.included) <= 1000
    assert any("more than 1000 files are included" in problem.message for problem in found.problems)


def test_a_table_that_breaks_off_at_the_next() -> None:
    assert mistakes("table ip t {\ntable") == [
        "2:1 'table': unexpected \"table\": a brace is missing before it (table t is not closed)",
        "2:1 'table': the file ends here, and something is not closed",
    ]


def test_variables_that_stand_for_ever_more_are_an_error() -> None:
    doubled = "".join(f"define a{n + 1} = {{ $a{n}, $a{n} }}\n" for n in range(30))
    found = document(f"define a0 = {{ 1, 2 }}\n{doubled}table t {{\nchain c {{\ntcp dport $a30\n}}\n}}\n")
    assert {problem.message for problem in found.problems if problem.refused} == {
        "what the variables up to here stand for is too much to be read",
        *(f'"$a{n}" is defined nowhere before this line' for n in range(15, 31)),
    }


def test_a_list_that_many_rules_use_is_not_too_much() -> None:
    hosts = ", ".join(f"10.0.{n // 250}.{n % 250}" for n in range(500))
    rules = "".join(f"ip saddr $hosts tcp dport {n} accept\n" for n in range(200))
    clean(f"define hosts = {{ {hosts} }}\ntable ip t {{\nchain c {{\n{rules}}}\n}}\n")


def test_what_an_include_defines_may_be_anything_if_it_is_not_read() -> None:
    found = document('include "more.nft"\ntable ip t {\nchain c {\ntcp dport $ports jump elsewhere\naccept\n}\n}\n')
    assert found.problems == () and found.partial
    assert [rule.unread for rule in found.tables[0].chains["c"].rules] == ["$ports is defined nowhere in this file", ""]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tabel ip t {\n}\n", "1:1 'tabel': unexpected \"tabel\" (did you mean table?)"),
        ("table ip t {\nchian c {\n}\n}\n", "2:1 'chian': unexpected \"chian\" (did you mean chain?)"),
        (
            "table ip t {\nchain c {\naccept\nchain d {\n}\n}\n",
            "4:1 'chain': unexpected \"chain\": a brace is missing before it (chain c is not closed)",
        ),
        ("table ip t {\nchain c {\n}\n}\n}\n", "5:1 '}': unexpected \"}\": no brace is open"),
        ("table ip t { chain c { } }\n", '1:26 \'}\': unexpected "}": a line end or ";" is missing before it'),
        (
            "table ip t {\nchain c {\ntype filter hook inptu priority 0;\n}\n}\n",
            "3:18 'inptu': \"inptu\" is no hook (did you mean input?)",
        ),
        (
            "table ip t {\nchain c {\ntype nat hook forward priority 0;\n}\n}\n",
            "3:15 'forward': a chain of type nat cannot be at hook forward (one of prerouting, input, output, postrouting)",  # noqa: E501
        ),
        (
            "table ip t {\nchain c {\npolicy drop;\n}\n}\n",
            "3:8 'drop': chain c has no hook, so it can have no policy",
        ),
        (
            "table ip t {\nchain c {\ntype filter hook input priority filtr;\n}\n}\n",
            "3:33 'filtr': \"filtr\" is no priority of family ip (did you mean filter?)",
        ),
        (
            "add table ip t\ncreate table ip t\n",
            "2:17 't': table ip t is there already",
        ),
        (
            "table ip t {\nset s {\ntype ipv4_adr\n}\n}\n",
            "3:6 'ipv4_adr': \"ipv4_adr\" is no type (did you mean ipv4_addr?)",
        ),
        (
            "table ip t {\nset s {\ntype ipv4_addr\nelements = { 10.0.0.0/8 }\n}\n}\n",
            "4:14 '10.0.0.0/8': a range or prefix in a set that has not the flag interval (add: flags interval)",
        ),
        (
            "table ip t {\nset s {\ntype inet_service\nelements = { 22, 70000 }\n}\n}\n",
            "4:18 '70000': 70000 is too great: a port or service is at most 65535",
        ),
        ("define a = $b\n", "1:13 'b': \"$b\" is defined nowhere before this line"),
        ("define a = 1\ndefine a = 2\n", "2:8 'a': \"a\" is defined already (redefine changes it)"),
        (
            "table ip t {\r\n}\r\n",
            "1:13 '\\r': lines end in a carriage return (CRLF), which nft does not take (convert the file with dos2unix)",  # noqa: E501
        ),
        ("\ufefftable ip t {\n}\n", "1:1 '\\ufeff': a byte order mark, which nft does not take"),
        (
            "table ip t {\n}\n# end",
            "3:1 '# end': the file ends in a comment, and its last line has no line end: nft does not take it (add an empty line)",  # noqa: E501
        ),
        (
            "table ip t {\nchain c {\ntype filter hook input priority filter + ²;\n}\n}\n",
            "3:40 '+ ²': \"filter + ²\" is no priority",
        ),
        (
            "add table t\nadd chain t c\nadd rule t c index ² accept\n",
            "3:20 '²': unexpected \"²\": a number is missing before it",
        ),
        ("define a = 1", "1:13 '': the file ends here, and this line needs a line end"),
    ],
)
def test_mistakes_of_the_structure(text: str, said: str) -> None:
    assert mistakes(text) == [said]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("tcp dprt 22 accept", '5:5 \'dprt\': "tcp" has no field "dprt" (did you mean dport?)'),
        ("tcp dport 22 acept", "5:14 'acept': unexpected \"acept\" (did you mean accept?)"),
        ("tcp dport", "5:1 'tcp dport': a value for \"tcp dport\" is missing (what must it be?)"),
        ("tcp dport 70000 accept", "5:11 '70000': 70000 is too great: a port or service is at most 65535"),
        ("tcp dport { 22, 80 accept", "5:20 'accept': unexpected \"accept\""),
        ("tcp dport 80-70", "5:11 '80-70': the range 80-70 is empty: its end comes before its beginning"),
        ("tcp dport 22,80", "5:11 '22,80': several values need braces around them ({ a, b })"),
        ('tcp dport "htpp"', '5:11 \'"htpp"\': "htpp" is no port or service (did you mean http?)'),
        ("ip saddr 10.0.0.300", "5:10 '10.0.0.300': \"10.0.0.300\" is no IPv4 address"),
        ("ip saddr fe80::1", "5:10 'fe80::1': \"fe80::1\" is an IPv6 address, no IPv4 address"),
        ("ip saddr 10.0.0.0/33", "5:10 '10.0.0.0/33': a prefix of 33 bits is too long for an IPv4 address"),
        (
            "ct state establishd",
            "5:10 'establishd': \"establishd\" is no state of a connection (did you mean established?)",
        ),
        ("ip saddr $net", "5:11 'net': \"$net\" is defined nowhere before this line"),
        ("jump othr", "5:6 'othr': there is no chain othr in table inet t (did you mean other?)"),
        ("ip saddr @s", "5:10 '@s': there is no set s in table inet t"),
        ("ip saddr 1.1.1.1 ip6 daddr ::1", "5:18 'ip6 daddr': ip6 cannot be looked at in a rule about ip"),
        (
            "tcp dport 22 udp sport 1",
            "5:14 'udp sport': udp sport cannot be looked at: the rule is about tcp before it",
        ),
        (
            "accept counter",
            "5:8 'counter': this comes after the end of the rule and has no effect (move it to the front)",
        ),
        ("dnat to 10.0.0.1", "5:1 'dnat': a table of family inet needs to know the family: dnat ip to or dnat ip6 to"),
        ("redirect to :80", "5:14 '80': a port needs a test of the protocol before it (such as meta l4proto tcp)"),
        ("tcp dport vmap { 22 : 1 }", "5:23 '1': no verdict (vmap gives accept, drop, jump...)"),
        ("meta mark set { 1, 2 }", "5:15 '{ 1, 2 }': a set cannot be given to meta mark"),
        ("limit rate 5/secnd", "5:14 'secnd': \"secnd\" is no unit of time (did you mean second?)"),
        ("reject with icmp foo", "5:18 'foo': \"foo\" is no ICMP code"),
        ("counter name nosuch", "5:14 'nosuch': there is no counter nosuch in table inet t"),
        ("meta mark " + "(" * 41, "5:51 '(': too many parentheses in each other"),
        ("log level warning", "5:11 'warning': \"warning\" is no level (did you mean warn?)"),
    ],
)
def test_mistakes_in_rules(rule: str, said: str) -> None:
    assert mistakes(in_chain(rule)) == [said]


def test_ip6_in_a_table_of_ip() -> None:
    assert mistakes(in_chain("ip6 saddr ::1 accept", "ip")) == [
        "5:1 'ip6 saddr': ip6 cannot be looked at in a table of family ip"
    ]


def test_all_mistakes_are_said_and_the_rest_is_read() -> None:
    text = in_chain("tcp dprt 1\naccept\nudp dport { 1 2 }\nct state nw\ndrop")
    found = document(text)
    rules = found.tables[0].chains["c"].rules
    assert [found.source.position(problem.span.start).line for problem in found.problems] == [5, 7, 8]
    assert [(rule.normal, bool(rule.unread)) for rule in rules] == [
        ("tcp dprt 1", True),
        ("accept", False),
        ("udp dport { 1 2 }", True),
        ("ct state nw", False),
        ("drop", False),
    ]


def test_syntax_that_is_newer_is_good() -> None:
    clean(
        in_chain(
            "meta nfproto ipv4 ct mark set ip dscp << 2 | 0x10\nfib saddr . iif check missing drop\nlast used never"
        )
    )
    clean("destroy table ip t\nreset rules\ntable ip x {\ntunnel u {\nid 10\n}\n}\n")
