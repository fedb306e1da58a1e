"""Texts of nft made of the language's own words, many of them in places where they cannot be."""

from hypothesis import strategies as st

from ruleaudit.syntax.nft_blocks import FAMILIES
from ruleaudit.syntax.nft_set_blocks import OBJECTS
from ruleaudit.syntax.nft_tokens import CT_KEYS, FIELDS, KEYWORDS, META_KEYS
from ruleaudit.syntax.nft_types import TYPES

NAMES = ("a", "b", "c", "input", "a-b", "ip", "length", "tcp", "accept", "filter", "type", "set", "x/y", ".z", "_", "é")
WORDS = (
    "80", "ssh", "0", "1", "0x50", "010", "08", "65535", "65536", "4294967296", "99999999999999999999", "1h30m", "5s",
    "10.0.0.1", "10.0.0.0/8", "10.0.0.1/33", "1.2.3", "::", "2001:db8::/32", "::ffff:1.2.3.4", "[::1]", "fe80::1/129",
    "aa:bb:cc:dd:ee:ff", "eth0", "eth*", "*", "\\*", "lo", "new", "established", "related", "invalid", "untracked",
    "syn", "ack", "fin", "tcp", "udp", "icmp", "ipv6-icmp", "ipv4", "ip", "arp", "exists", "missing", "true", "local",
    "echo-request", "host-unreachable", "none", "memory", "original", "reply", "snat", "dnat", "confirmed", "ftp",
    "50", "5/minute", "10", "kbytes", "mbytes", "second", "day", "monday", '"eth0"', '"a b"', '""', '"', "é", "²",
)  # fmt: skip
_OPERATORS = ("==", "!=", "<", ">", "<=", ">=", "!", "=", "eq", "ne", "&", "|", "^", "<<", ">>", "and", "or", "lshift")
_MARKS = ("{", "}", "(", ")", ",", ":", ".", "-", "/", ";", "\n", "\\\n", "$", "@", "#", "#x\n", "[", "]", "+", "\r\n")
SELECTORS = (
    *(f"{header} {field}" for header, fields in FIELDS.items() for field in fields.split()),
    *(f"meta {key}" for key in META_KEYS), *META_KEYS, *(f"ct {key}" for key in CT_KEYS),
    "ct original ip saddr", "ct reply proto-dst", "ct original bytes", "fib daddr type", "fib saddr . iif oif",
    "fib daddr . iif check", "tcp option maxseg size", "tcp option sack0 left", "tcp option @1,2,3", "ip option rr ptr",
    "sctp chunk data type", "dccp option 1", "rt nexthop", "rt ip nexthop", "rt0 addr[1]", "srh sid[0]",
    "gre ip saddr", "vxlan ip daddr", "geneve tcp dport", "exthdr frag", "socket cgroupv2 level 1",
    "osf ttl loose name",
    "ipsec in spnum 1 ip saddr", "ipsec out reqid", "numgen inc mod 2", "numgen random mod 10 offset 3",
    "symhash mod 2 offset 1", "jhash ip saddr . tcp dport mod 2 seed 1", "jhash ip saddr mod 0", "@th,16,16",
    "@nh,0,99999999999999999999", "@ll,0x1,1", "@ih,1,1",
)  # fmt: skip
STATEMENTS = (
    "accept", "drop", "continue", "return", "jump c", "goto c", "jump { accept; }", "goto { ct state new drop\n }",
    "jump nowhere", "counter", "counter packets 1 bytes 2", "counter name c", 'counter name "c"', "limit rate 5/second",
    "limit rate over 10 mbytes/minute burst 5 kbytes", "limit name c", "quota over 5 mbytes", "quota name c", "last",
    "quota until 1 bytes used 2 bytes", "ct count 5", "ct count over 5", "last used never", "log", "notrack",
    'log prefix "x" level warn group 1 snaplen 5 queue-threshold 2', "log flags all", "log flags tcp sequence,options",
    "reject", "reject with tcp reset", "reject with icmp type host-unreachable", "reject with icmpx 1", "masquerade",
    "masquerade to :1-2 random,persistent", "redirect to :80", "redirect", "snat to 1.2.3.4", "snat ip to 1.2.3.4:1-5",
    "dnat to [::1]:80", "dnat ip addr . port to tcp dport map { 1 : 1.1.1.1 . 2 }", "snat ip prefix to 10.0.0.0/8",
    "dnat to numgen inc mod 2 map { 0 : 1.1.1.1, 1 : 2.2.2.2 }", "queue", "queue num 1-3 bypass,fanout",
    "queue flags bypass to symhash mod 2", "tproxy to :80", "tproxy ip to 1.1.1.1:80", "dup to 1.1.1.1 device eth0",
    "fwd to eth0", "fwd ip to 1.1.1.1 device eth0", "synproxy mss 1460 wscale 7 timestamp sack-perm", "synproxy name c",
    "flow add @f", "flow offload @f", "flow table t { ip saddr counter }", "xt target MARK", "xt match comment",
    "meta mark set 1", "meta mark set ct mark", "meta mark set meta mark and 1 or 2", "ct mark set 0x1",
    "ct zone set 1",
    "ct zone set iif map { 1 : 2 }", "ct original zone set 5", 'ct helper set "c"', 'ct timeout set "c"',
    'ct expectation set "c"', "ct event set new", "ct label set 1", "ip dscp set cs1",
    "tcp option maxseg size set rt mtu",
    "reset tcp option maxseg", "tunnel name c", "meta nftrace set 1", "meta priority set 1:2", "ip ttl set 1",
    "add @s { ip saddr }", "update @s { ip saddr timeout 5s limit rate 5/second }", "delete @s { tcp dport }",
    "update @m { tcp dport : 1 }", "meter x { ip saddr ct count over 5 }", "set add ip saddr @s",
    "meter x size 5 { ip saddr . tcp dport limit rate 5/second }", "ip saddr vmap @m", "ct state vmap { new : accept }",
    'comment "x"', "ct state established,related", "ct state { new, established }", "ct state != invalid",
    "ct state & (established | related) != 0", "tcp flags syn / syn,ack", "tcp flags & (fin|syn) == syn",
    "tcp flags ! syn", "ct status dnat", "ct direction original", "ip frag-off & 0x1fff != 0", "tcp dport 1-65535",
    "ip saddr . tcp dport { 10.0.0.0/8 . 1-65535, 0.0.0.0/0 . 0 }", "th dport 53", "meta l4proto { tcp, udp }",
    "fib daddr type local", "fib saddr . iif oif missing", "udp dport vmap { 53 : notrack, 54 : jump c }",
)  # fmt: skip
_ITEMS = (
    "type filter hook input priority 0; policy drop;", "type filter hook prerouting priority raw",
    "type nat hook postrouting priority srcnat - 10", "type route hook output priority mangle + 5; policy accept",
    "type filter hook ingress device eth0 priority -500", "type filter hook ingress devices = { a, $x } priority 0",
    "type filter hook egress device lo priority filter", "type nat hook prerouting priority -300", "policy drop",
    "policy accept;", "type filter", "type filter hook", "type filter hook input priority", "flags offload",
    "hook input", "priority 5", "devices = { eth0 }", "type filter hook input priority $x", "policy $x",
)  # fmt: skip
_SET_ITEMS = (
    "type ipv4_addr", "type ipv4_addr . inet_service", "type ipv4_addr : verdict", "typeof ip saddr . tcp dport",
    "typeof ip saddr : meta mark", "type mark : ipv4_addr . inet_service", "type inet_service : interval ipv4_addr",
    "flags interval", "flags interval, timeout", "flags dynamic", "flags constant", "flags wrong", "timeout 1h",
    "gc-interval 5s", "size 5", "policy memory", "auto-merge", "counter", "elements = { 1, 2 }", "elements = $x",
    "elements = { 10.0.0.1 timeout 5s expires 1s, 10.0.0.2 counter packets 1 bytes 2 }", 'comment "x"',
    "elements = { 1 : accept, * : jump c }", "elements = { 1.1.1.1 . 1-65535, 2.2.2.0/24 . ssh }", "elements =",
    "elements = { 1-5 : 1.1.1.1 . 2, 5-1 : 2.2.2.2 . 3 }", "type", "typeof", "type verdict", "type a . b : c", "size x",
)  # fmt: skip
_OBJECT_BODIES = (
    "packets 1 bytes 2", "over 5 mbytes used 3 bytes", "rate 5/second burst 3 packets", 'type "ftp" protocol tcp',
    "protocol tcp; l3proto ip; policy = { established : 5, close : 3s }", "mss 1460 wscale 7 timestamp sack-perm",
    "protocol udp; dport 5; timeout 5m; size 8", "hook ingress priority filter; devices = { eth0 }; flags offload",
    '"system_u:object_r:x:s0"', "id 1; ip saddr 1.1.1.1; ip daddr 2.2.2.2", "", "counter", 'comment "x"', "$x",
)  # fmt: skip


def _some(*of: str) -> st.SearchStrategy[str]:
    return st.sampled_from(of)


_NAMES, _SELECTORS, _FAMILY = _some(*NAMES), _some(*SELECTORS), _some("", "", *FAMILIES)


@st.composite
def values(draw: st.DrawFn, depth: int = 3) -> str:
    """What may stand on the right of a match, or in a set."""
    forms = ("word", "word", "range", "variable", "set", "list", "concat", "braces", "operation", "map", "selector")
    form = draw(_some(*(forms if depth else forms[:5])))
    match form:
        case "word":
            return draw(_some(*WORDS))
        case "range":
            return f"{draw(_some(*WORDS))}{draw(_some('-', ' - '))}{draw(_some(*WORDS))}"
        case "variable":
            return draw(_some("$x", "$y", "$z", "${x}", "$", "$x.y"))
        case "set":
            return f"@{draw(_NAMES)}"
        case "selector":
            return draw(_SELECTORS)
        case "operation":
            inner = f"{draw(values(depth - 1))} {draw(_some(*_OPERATORS))} {draw(values(depth - 1))}"
            return draw(_some(inner, f"({inner})", f"({inner}", f"-{inner}"))
        case "map":
            return f"{draw(_SELECTORS)} map {draw(values(depth - 1))}"
        case "braces":
            parts = draw(st.lists(_elements(depth - 1), max_size=4))
            return (
                draw(_some("{ ", "{", "{\n"))
                + draw(_some(", ", ",", ",\n", " ")).join(parts)
                + draw(_some(" }", "}", ""))
            )
        case _:
            parts = draw(st.lists(values(depth - 1), min_size=1, max_size=3))
            return (" . " if form == "concat" else ",").join(parts)


@st.composite
def _elements(draw: st.DrawFn, depth: int) -> str:
    key = draw(values(depth))
    return key + draw(
        st.one_of(
            _some(
                "", "", "", " : accept", " : jump c", " : drop", " timeout 5s", " counter", ' comment "x"', " :", " : *"
            ),
            values(depth).map(lambda data: f" : {data}"),
        )
    )


@st.composite
def rules(draw: st.DrawFn) -> str:
    """The statements of a rule."""
    parts: list[str] = []
    for kind in draw(st.lists(_some("match", "match", "statement", "statement", "words"), min_size=1, max_size=4)):
        match kind:
            case "match":
                operator = draw(st.one_of(_some("", "", "== ", "!= ", "vmap ", "map ", "& 1 == "), _some(*_OPERATORS)))
                parts.append(f"{draw(_SELECTORS)} {operator} {draw(values())}")
            case "statement":
                parts.append(draw(_some(*STATEMENTS)))
            case _:
                parts.append(" ".join(draw(st.lists(_WORDS, max_size=4))))
    return " ".join(parts)


_WORDS = st.one_of(
    *map(st.sampled_from, (WORDS, NAMES, KEYWORDS, SELECTORS, _OPERATORS, _MARKS, STATEMENTS, tuple(TYPES))),
    st.text(max_size=4),
)


def _block(head: str, items: list[str], end: str) -> str:
    return "\n".join((f"{head} {{", *items, "}")) + end


@st.composite
def _defines(draw: st.DrawFn) -> str:
    how = draw(_some("define", "define", "redefine", "undefine"))
    name = draw(_some("x", "y", "z", "x.y", "input", ""))
    return f"{how} {name}" + (f" = {draw(st.one_of(values(), rules()))}" if how != "undefine" else "")


_INCLUDES = _some(
    'include "0"', 'include "1"', 'include "*"', 'include "fuzz.nft"', 'include "none"', "include 0", 'include ""'
)


@st.composite
def _chains(draw: st.DrawFn) -> str:
    item = st.one_of(rules(), rules(), _some(*_ITEMS), _defines(), _INCLUDES, _some("", "#x", "}", "{", "chain b {"))
    return _block(f"chain {draw(_NAMES)}", draw(st.lists(item, max_size=5)), draw(_some("", "\n", ";")))


@st.composite
def _sets(draw: st.DrawFn) -> str:
    item = st.one_of(_some(*_SET_ITEMS), values().map(lambda value: f"elements = {value}"))
    return _block(f"{draw(_some('set', 'map'))} {draw(_NAMES)}", draw(st.lists(item, max_size=4)), "")


@st.composite
def _objects(draw: st.DrawFn) -> str:
    return f"{draw(_some(*OBJECTS))} {draw(_NAMES)} {{ {draw(_some(*_OBJECT_BODIES))} }}"


@st.composite
def _tables(draw: st.DrawFn) -> str:
    item = st.one_of(
        _chains(),
        _chains(),
        _sets(),
        _objects(),
        _defines(),
        _INCLUDES,
        _some("flags dormant", "flags x", "comment", "", "table t {", "}"),
    )
    return _block(f"table {draw(_FAMILY)} {draw(_NAMES)}", draw(st.lists(item, max_size=4)), "")


@st.composite
def _commands(draw: st.DrawFn) -> str:
    verb = draw(
        _some("add", "create", "insert", "replace", "delete", "destroy", "flush", "rename", "list", "reset", "")
    )
    what = draw(_some("table", "chain", "rule", "set", "map", "element", "ruleset", "meter", "handle", "", *OBJECTS))
    place = f"{draw(_FAMILY)} {draw(_NAMES)} {draw(_NAMES)}"
    rest = draw(
        st.one_of(
            rules(), values(), _NAMES, _some("", "{ }", "{", "handle 1", "index 0", "position 5", "index ²",
            "{ type mark; }"),
            rules().map(lambda rule: f"index 1 {rule}"), _some(*_ITEMS).map(lambda item: f"{{ {item} }}"),
        )
    )  # fmt: skip
    return f"{verb} {what} {place} {rest}"


@st.composite
def files(draw: st.DrawFn) -> str:
    """A file, sometimes with something in it taken out or put in."""
    item = st.one_of(
        _tables(), _tables(), _commands(), _commands(), _defines(), _INCLUDES, _some("flush ruleset", "", "}")
    )
    text = draw(_some("\n", "\n", ";", "\r\n")).join(draw(st.lists(item, max_size=4))) + draw(_some("\n", ""))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        gone = draw(st.integers(0, 8))
        text = text[:at] + draw(st.one_of(st.just(""), _WORDS)) + text[at + gone :]
    return text
