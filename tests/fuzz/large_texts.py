"""Texts of about 10 kB that take long when something is done once for every other thing; each with its name."""

import json
from collections.abc import Iterator
from typing import Any

#: characters of each text
SIZE = 10_000


def _filled(begin: str, part: str, end: str = "") -> str:
    """`part` as often as fits; `%d` in it is the number of the part."""
    out, size, number = [begin], len(begin) + len(end), 0
    while size < SIZE:
        text = part.replace("%d", str(number)).replace("%n", str(number + 1))
        out.append(text)
        size += len(text)
        number += 1
    return "".join(out) + end


def _rule(text: str) -> str:
    return f"table ip t {{\n chain c {{\n  type filter hook input priority 0;\n  {text}\n }}\n}}\n"


def _in_rule(begin: str, part: str, end: str = "") -> str:
    return _rule(_filled(begin, part, end))


def _in_chain(part: str, before: str = "") -> str:
    begin = f"{before}table ip t {{\n chain c {{\n  type filter hook input priority 0;\n"
    return _filled(begin, part, " }\n}\n")


_NUMBER = "9" * 9_000


def nft() -> Iterator[tuple[str, str]]:
    """Texts of nft's language."""
    yield "open braces", _filled("", "{")
    yield "closed braces", _filled("", "}")
    yield "braces in braces", "{" * 5_000 + "}" * 5_000
    yield "tables that are not closed", _filled("", "table t {\n")
    yield "chains that are not closed", _filled("table t {\n", "chain c {\n")
    yield "rules with a brace that is not closed", _in_chain("tcp dport {\n")
    yield "rules with braces of braces", _in_chain("tcp dport { { {\n")
    yield "one rule of braces", _in_rule("tcp dport ", "{")
    yield "sets in sets", _rule("tcp dport " + "{ 1, " * 1_500 + "2" + "}" * 1_500 + " accept")
    yield "chains without a name in each other", _rule("jump { " * 800 + "accept" + "}" * 800)
    yield "chains without a name", _in_chain("jump { accept; }\n")
    yield "parentheses", _rule("meta mark & " + "(" * 4_000 + "1" + ")" * 4_000 + " == 1")
    yield "parentheses that are not closed", _in_rule("meta mark ", "(")
    yield "operators", _in_rule("meta mark & 1", " | 1", " == 1")
    yield "shifts", _rule(f"meta mark & (1 << {_NUMBER}) == 1")
    yield "shifts by much", _rule("meta mark & (1 << 99999999999) == 1")
    yield "shifts of shifts", _in_rule("meta mark & (1", " << 4000000000", ") == 1")
    yield "elements", _in_rule("tcp dport { 1", ", %n", " } accept")
    yield "ranges", _in_rule("tcp dport { 1", ", %n-65535", " } accept")
    yield "ranges of addresses", _in_rule("ip saddr { 1.1.1.1", ", 0.0.0.%n-255.255.255.255", " } accept")
    yield "prefixes", _in_rule("ip6 saddr { ::/0", ", %n::/%n", " } accept")
    yield (
        "ranges of concatenations",
        _in_rule("ip saddr . tcp dport { 1.1.1.1 . 1", ", %n.0.0.0/8 . 1-65535", " } accept"),
    )
    yield "wide concatenations", _in_rule("ip saddr . tcp dport", " . tcp dport", " @s accept")
    yield "verdicts", _in_rule("tcp dport vmap { 1 : accept", ", %n-65535 : drop", " }")
    yield "flags", _in_rule("tcp flags syn", ",ack", " accept")
    yield "states", _in_rule("ct state new", ",established", " accept")
    yield "matches", _in_rule("", "tcp dport != %d ", "accept")
    yield "statements", _in_rule("", "counter ", "accept")
    yield "updates", _in_rule("", "add @s { ip saddr counter } ", "accept")
    yield "one long word", _rule("iifname " + "a" * 9_000)
    yield "one long string", _rule('iifname "' + "a" * 9_000 + '"')
    yield "one long string that is not closed", _rule('iifname "' + "a" * 9_000)
    yield "one long comment", "#" + " x" * 5_000
    yield "many quotes", _filled("", '"')
    yield "one long number", _rule(f"tcp dport {_NUMBER}")
    yield "one long hexadecimal number", _rule("meta mark 0x" + "f" * 9_000)
    yield "one long rate", _rule(f"limit rate {_NUMBER}/second")
    yield "one long prefix", _rule(f"ip saddr 10.0.0.0/{_NUMBER}")
    yield "one long priority", f"table t {{ chain c {{ type filter hook input priority {_NUMBER}; }} }}\n"
    yield "one long index", f"add rule t c index {_NUMBER} accept\n"
    yield "one long raw payload", _rule(f"@th,{_NUMBER},{_NUMBER} 1")
    yield "digits of other alphabets", _rule("tcp dport ٣ . ²\n" * 500)
    yield "colons", _in_rule("ip6 saddr ", ":")
    yield "colons and digits", _in_rule("ip6 saddr ", "1:")
    yield "dots", _in_rule("ip saddr ", "1.")
    yield "letters and dashes", _in_rule("iifname ", "a-")
    yield "minus", _in_rule("tcp dport ", "-")
    yield "stars", _in_rule("iifname ", "*")
    yield "blanks", _filled("", " ")
    yield "line ends", _filled("", "\n")
    yield "carriage returns", _filled("", "\r\n")
    yield "carriage returns alone", _filled("", "\r")
    yield "joined lines", _filled("", "\\\n")
    yield "joined lines in a selector", _rule("tcp " + "\\\n" * 4_500 + "dport 1")
    yield "blanks in a selector", _rule("ct original" + " " * 9_000 + "x")
    yield "half of a selector", _in_rule("", "ct original ")
    yield "fib flags", _in_rule("fib saddr", " . saddr", " type local")
    yield "fib flags without a result", _in_rule("fib saddr", " . saddr")
    yield "semicolons", _filled("", ";")
    yield "comments", _in_chain("# x\n")
    yield "rules that are wrong", _in_chain("tcp dprt 80 accept\n")
    yield "names that are nearly known", _filled("", "tabel x\n")
    yield "verdicts that are nearly known", _in_chain("acept\n")
    yield "empty chains", _filled("table ip t {\n", "chain c%d { }\n", "}\n")
    yield (
        "chains that lead to each other",
        _filled(
            "table ip t {\nchain a { type filter hook input priority 0; jump c0; }\n",
            "chain c%d { jump c%n; jump c%n; }\n",
            "}\n",
        ),
    )
    yield "base chains", _filled("table ip t {\n", "chain c%d { type filter hook input priority %d; accept; }\n", "}\n")
    yield "tables", _filled("", "table t%d { }\n")
    yield (
        "tables of both families",
        _filled("", "table inet t%d { chain c { type filter hook input priority 0; tcp dport %d accept; }; }\n"),
    )
    yield "one table many times", _filled("", "table t { chain c { accept; }; }\n")
    yield "sets of a table", _filled("table ip t {\n", "set s%d { type ipv4_addr; }\n", "}\n")
    yield "one set many times", _filled("", "add element t s { 1, 2 }\n")
    yield "elements taken away", _filled("add set t s { type mark; }\n", "delete element t s { %d }\n")
    yield "rules in front", _filled("add table t\nadd chain t c\n", "insert rule t c accept\n")
    yield "rules at a place", _filled("", "add rule t c position 1 accept\n")
    yield "chains renamed", _filled("add chain t c0\n", "rename chain t c%d c%n\n")
    yield "variables", _filled("", "define a%d = %d\n")
    yield "variables of variables", _filled("define a0 = 1\n", "define a%n = $a%d\n")
    yield "variables that double", _filled("define a0 = { 1, 2 }\n", "define a%n = { $a%d, $a%d }\n")
    yield "variables in braces of variables", _filled("define a0 = { 1 }\n", "define a%n = { $a%d }\n")
    doubled = "define a0 = { 1, 2 }\n" + "".join(f"define a{n + 1} = {{ $a{n}, $a{n} }}\n" for n in range(16))
    yield "a large variable many times", _in_chain("tcp dport $a16\n", doubled)
    lines = "define a0 = 1 | 1\n" + "".join(f"define a{n + 1} = $a{n} | $a{n}\n" for n in range(16))
    yield "a long variable many times", _in_chain("meta mark & $a16 == 1\n", lines)
    yield "variables that nothing defines", _in_chain("tcp dport $b%d\n", "define a = 1\n" * 100)
    yield "a list many times", _in_chain("tcp dport $a\n", _filled("define a = { 1", ", %n", " }\n")[:5_000] + " }\n")
    yield (
        "a list of ranges many times",
        _in_chain("tcp dport $a\n", "define a = { " + ", ".join(f"{2 * n}-{2 * n + 1}" for n in range(450)) + " }\n"),
    )
    yield (
        "a list put into a set many times",
        _filled("define a = { " + ", ".join(map(str, range(1_000))) + " }\n", "add element t s $a\n"),
    )
    yield (
        "names that are nearly those of variables",
        "".join(f"define abcdef{n} = 1\n" for n in range(220)) + _in_chain("tcp dport $abcdef%dx\n")[:6_000],
    )
    yield "includes", _filled("", 'include "x"\n')
    yield "counters", _filled("table t {\n", "counter c%d { packets 0 bytes 0 }\n", "}\n")
    yield "flowtables", _filled("table t {\n", "flowtable f { hook ingress priority 0; }\n", "}\n")
    yield "flags of a set", _filled("table t { set s { type mark; flags interval", ", interval", "; }; }\n")
    yield "a type of many parts", _filled("table t { set s { type mark", " . mark", "; }; }\n")
    yield (
        "devices",
        _filled("table netdev t { chain c { type filter hook ingress devices = { a", ", a%d", " } priority 0; }; }\n"),
    )


def _json(*commands: Any) -> str:
    return json.dumps({"nftables": list(commands)})


def _rule_of(*statements: Any) -> str:
    place = {"family": "ip", "table": "t"}
    return _json(
        {"table": {"family": "ip", "name": "t"}},
        {"chain": place | {"name": "c", "type": "filter", "hook": "input", "prio": 0, "policy": "accept"}},
        {"rule": place | {"chain": "c", "expr": list(statements)}},
    )


_MARK = {"meta": {"key": "mark"}}
_PORT = {"payload": {"protocol": "tcp", "field": "dport"}}


def _match(left: Any, right: Any) -> Any:
    return {"match": {"op": "==", "left": left, "right": right}}


def _nested(begin: str, end: str) -> str:
    """What stands in itself as often as json reads it, on the right of a match."""
    return _rule_of(_match(_MARK, "x")).replace('"x"', begin * 450 + "1" + end * 450)


def nft_json() -> Iterator[tuple[str, str]]:
    """Texts of libnftables-json."""
    yield "operators in each other", _nested('{"|": [', ", 1]}")
    yield "operators", _rule_of(_match({"&": [_MARK, {"|": [1] * 3_000}]}, 1))
    yield "shifts by much", _rule_of(_match({"&": [_MARK, {"<<": [1, 99999999999]}]}, 1))
    yield "one large number", _rule_of(_match(_MARK, 10**4_000))
    yield "one long number in a text", _rule_of(_match(_MARK, _NUMBER))
    yield "one number that is too long", f'{{"nftables": [{{"rule": {_NUMBER}}}]}}'
    yield "infinity", '{"nftables": [{"rule": {"handle": 1e999, "expr": [1e999, -1e999, NaN]}}]}'
    yield "arrays in each other", '{"nftables": ' + "[" * 9_000 + "]" * 900
    yield "objects in each other", '{"nftables": [' + '{"add":' * 1_200 + "{}" + "}" * 1_200 + "]}"
    yield "sets in each other", _nested('{"set": [', "]}")
    yield "maps in each other", _nested('{"map": {"key": 1, "data": ', "}}")
    yield "elements", _rule_of(_match(_PORT, {"set": list(range(1_900))}))
    yield "ranges", _rule_of(_match(_PORT, {"set": [{"range": [n, 65535]} for n in range(400)]}))
    both = {"concat": [{"payload": {"protocol": "ip", "field": "saddr"}}, _PORT]}
    wide = [{"concat": [{"prefix": {"addr": f"{n}.0.0.0", "len": 8}}, {"range": [1, 65535]}]} for n in range(120)]
    yield "ranges of concatenations", _rule_of(_match(both, {"set": wide}))
    yield "matches", _rule_of(*(_match(_PORT, n) for n in range(90)))
    yield "statements", _rule_of(*({"counter": None} for _ in range(500)), {"accept": None})
    yield "statements that nobody knows", _rule_of(*({"acept": None} for _ in range(500)))
    yield "tables", _json(*({"table": {"family": "ip", "name": f"t{n}"}} for n in range(220)))
    yield "commands that nobody knows", _json(*({"tabel": {}} for _ in range(600)))
    yield "a long name", _json({"table": {"family": "ip", "name": "a" * 9_000}})
    yield "blanks", '{"nftables": [' + " " * 9_000 + "]}"
    yield "quotes", '{"nftables": ["' + '\\"' * 4_500
    yield "one object many times", _json(*({"flush": {"ruleset": None}} for _ in range(250)))


def iptables() -> Iterator[tuple[str, str]]:
    """Texts of iptables-save."""
    head = "*filter\n:INPUT ACCEPT [0:0]\n"
    yield "rules", _filled(head, "-A INPUT -p tcp --dport %d -j ACCEPT\n", "COMMIT\n")
    yield "options", _filled(head + "-A INPUT", " -m tcp", "\nCOMMIT\n")
    yield "options that are nearly known", _filled(head + "-A INPUT", " --dprot", "\nCOMMIT\n")
    yield "ports", _filled(head + "-A INPUT -p tcp -m multiport --dports 1", ",%n:65535", " -j ACCEPT\nCOMMIT\n")
    yield "one long number", f"{head}-A INPUT -p tcp --dport {_NUMBER} -j ACCEPT\nCOMMIT\n"
    yield "one long mark", f"{head}-A INPUT -m mark --mark {_NUMBER}/{_NUMBER} -j ACCEPT\nCOMMIT\n"
    yield "one long rate", f"{head}-A INPUT -m limit --limit {_NUMBER}/sec -j ACCEPT\nCOMMIT\n"
    yield "one long counter", f"*filter\n:INPUT ACCEPT [{_NUMBER}:0]\n[0:{_NUMBER}] -A INPUT -j ACCEPT\nCOMMIT\n"
    yield "one long place", f"{head}-I INPUT {_NUMBER} -j ACCEPT\nCOMMIT\n"
    yield "one long prefix", f"{head}-A INPUT -s 10.0.0.0/{_NUMBER} -j ACCEPT\nCOMMIT\n"
    yield "one long string", f'{head}-A INPUT -m comment --comment "{"a" * 9_000}\nCOMMIT\n'
    yield "backslashes", f'{head}-A INPUT -m comment --comment "{chr(92) * 9_000}"\nCOMMIT\n'
    yield "quotes", _filled(head, '"')
    yield "addresses", _filled(head + "-A INPUT -s 1.1.1.1", ",%n.0.0.0/8", " -j ACCEPT\nCOMMIT\n")
    yield (
        "addresses of both sides",
        (
            f"{head}-A INPUT -s {','.join(f'{n}.0.0.0/8' for n in range(250))}"
            f" -d {','.join(f'{n}.0.0.0/8' for n in range(250))} -j ACCEPT\nCOMMIT\n"
        ),
    )
    yield "chains", _filled(head, ":C%d - [0:0]\n", "COMMIT\n")
    yield (
        "chains that lead to each other",
        (
            f"{head}{''.join(f':C{n} - [0:0]{chr(10)}' for n in range(161))}-A INPUT -j C0\n"
            + "".join(f"-A C{n} -j C{n + 1}\n" * 2 for n in range(160))
            + "COMMIT\n"
        ),
    )
    yield "tables", _filled("", "*filter\nCOMMIT\n")
    yield "tables that are not closed", _filled("", "*filter\n")
    yield "exclamation marks", _filled(head + "-A INPUT", " !", "\nCOMMIT\n")
    yield "colons", _filled(head + "-A INPUT -s ", ":", "\nCOMMIT\n")
    yield "carriage returns", _filled("", "\r\n")
    yield "bpf", _filled(head + '-A INPUT -m bpf --bytecode "', "6 0 0 1,", '" -j ACCEPT\nCOMMIT\n')
    yield "u32", _filled(head + '-A INPUT -m u32 --u32 "', "0&1=1&&", '" -j ACCEPT\nCOMMIT\n')
