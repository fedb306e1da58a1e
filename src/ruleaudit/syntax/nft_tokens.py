"""The words of an nft ruleset (nft(8), LEXICAL CONVENTIONS) and their kinds; a selector as `tcp dport` is one word.

A line end or `;` ends a statement, `\\` joins lines, `#` begins a comment. The kind of a word is one character, so that
the kinds of a rule's words make up a string, its shape.
"""

import re
from functools import cache
from typing import NamedTuple

#: kinds of words that are no keywords
WORD, STRING, SELECTOR, SET_NAME, BRACES, VARIABLE, END, JUNK = "w", "s", "S", "@", "B", "$", ";", "?"


class Token(NamedTuple):
    """A word and its place; a string's text is without its quotes, a selector's in one spelling."""

    kind: str
    text: str
    start: int
    end: int
    inner: tuple["Token", ...] = ()  #: what stands between braces, for the kind BRACES


META_KEYS = (
    "iif", "iifname", "iiftype", "iifkind", "iifgroup", "oif", "oifname", "oiftype", "oifkind", "oifgroup", "sdif",
    "sdifname", "mark", "skuid", "skgid", "rtclassid", "ibrname", "obrname", "ibriport", "obriport", "ibridgename",
    "obridgename", "pkttype", "l4proto", "nfproto", "protocol", "length", "cpu", "cgroup", "priority", "random",
    "nftrace", "time", "day", "hour", "ibrpvid", "ibrvproto", "ibrhwaddr", "ipsec", "secpath", "secmark", "broute",
)  # fmt: skip
BARE_META_KEYS = (
    "iif", "iifname", "iiftype", "iifkind", "iifgroup", "oif", "oifname", "oiftype", "oifkind", "oifgroup", "mark",
    "skuid", "skgid", "nftrace", "rtclassid", "ibrname", "obrname", "ibriport", "obriport",
    "ibridgename", "obridgename", "pkttype", "cpu",
    "cgroup", "ipsec", "time", "day", "hour",
)  # fmt: skip
FIELDS = {
    "ether": "saddr daddr type",
    "vlan": "id cfi dei pcp type",
    "arp": "htype ptype hlen plen operation",
    "ip": "version hdrlength dscp ecn length id frag-off ttl protocol checksum saddr daddr",
    "ip6": "version dscp ecn flowlabel length nexthdr hoplimit saddr daddr",
    "icmp": "type code checksum id sequence gateway mtu",
    "igmp": "type mrt checksum group",
    "icmpv6": "type code checksum parameter-problem packet-too-big mtu id sequence max-delay taddr daddr",
    "tcp": "sport dport sequence ackseq doff reserved flags window checksum urgptr",
    "udp": "sport dport length checksum",
    "udplite": "sport dport csumcov checksum",
    "sctp": "sport dport vtag checksum",
    "dccp": "sport dport type",
    "ah": "nexthdr hdrlength reserved spi sequence",
    "esp": "spi sequence",
    "comp": "nexthdr flags cpi",
    "th": "sport dport",
    "gre": "flags version protocol",
    "vxlan": "vni flags",
    "geneve": "vni type",
    "rt": "nexthdr hdrlength type seg-left classid nexthop mtu ipsec",
    "rt2": "addr",
    "srh": "flags tag last-entry seg-left",
    "hbh": "nexthdr hdrlength",
    "dst": "nexthdr hdrlength",
    "frag": "nexthdr reserved reserved2 frag-off more-fragments id",
    "mh": "nexthdr hdrlength type reserved checksum",
    "exthdr": "hbh frag rt dst mh srh",
    "socket": "transparent mark wildcard",
    "tunnel": "id path",
}
CT_KEYS = (
    "state", "direction", "status", "mark", "expiration", "helper", "label", "l3proto", "protocol", "saddr", "daddr",
    "proto-src", "proto-dst", "bytes", "packets", "avgpkt", "zone", "event", "secmark", "id", "timeout", "expectation",
)  # fmt: skip
_CT_BOTH_WAYS = (
    "saddr", "daddr", "proto-src", "proto-dst", "l3proto", "protocol", "bytes", "packets", "avgpkt", "zone",
)  # fmt: skip
_TCP_OPTIONS = (
    "eol", "nop", "noop", "maxseg", "mss", "window", "sack-perm", "sack-permitted", "sack0", "sack1", "sack2", "sack3",
    "sack", "timestamp", "echo", "fastopen", "md5sig", "mptcp", "[0-9]+",
)  # fmt: skip
_TCP_OPTION_FIELDS = ("kind", "length", "size", "count", "left", "right", "tsval", "tsecr", "subtype")

_GAP = r"(?:[ \t]|\\\r?\n)++"
_STOP = r"(?![\w-])"


def _any(*words: str) -> str:
    return "(?:" + "|".join(words) + ")"


def _selectors() -> str:
    """One pattern for every selector of nft(8), PAYLOAD EXPRESSIONS to CONNTRACK EXPRESSIONS."""
    g = _GAP
    outer = ("gre", "vxlan", "geneve")
    headers = {header: rf"{header}{g}{_any(*fields.split())}{_STOP}" for header, fields in FIELDS.items()}
    comma, fib_key = r"[ \t]*,[ \t]*", rf"(?:saddr|daddr|mark|iif|oif){_STOP}"
    option_field = rf"(?:{g}{_any(*_TCP_OPTION_FIELDS)}{_STOP})?"
    inner = _any(*(pattern for header, pattern in headers.items() if header not in outer))
    return "|".join(
        (
            rf"ct{g}(?:original|reply){g}(?:ip6?{g}[sd]addr|{_any(*_CT_BOTH_WAYS)}){_STOP}",
            rf"ct{g}{_any(*CT_KEYS)}{_STOP}",
            rf"meta{g}{_any(*META_KEYS)}{_STOP}",
            rf"arp{g}[sd]addr{g}(?:ip|ether){_STOP}",
            rf"ip{g}option{g}[\w-]+(?:{g}(?:type|length|ptr|value|addr){_STOP})?",
            rf"tcp{g}option{g}(?:@[0-9]+{comma}[0-9]+{comma}[0-9]+|{_any(*_TCP_OPTIONS)}{_STOP}{option_field})",
            rf"dccp{g}option{g}[0-9]+{_STOP}",
            rf"sctp{g}chunk{g}[\w-]+(?:{g}(?!exists|missing|set{_STOP})[a-z][\w-]*)?",
            rf"rt{g}ip6?{g}nexthop{_STOP}",
            rf"rt0{g}addr[ \t]*\[[ \t]*[0-9]+[ \t]*\]",
            rf"srh{g}sid[ \t]*\[[ \t]*[0-9]+[ \t]*\]",
            rf"(?:{_any('gretap', *outer)}{g})?{inner}",
            *(headers[header] for header in outer),
            rf"socket{g}cgroupv2{g}level{g}[0-9]+",
            rf"fib{g}{fib_key}(?:(?:{g})?\.(?:{g})?{fib_key})*{g}(?:oifname|oif|type|check){_STOP}",
            rf"ipsec{g}(?:in|out){g}(?:spnum{g}[0-9]+{g})?(?:reqid|spi|ip6?{g}[sd]addr){_STOP}",
            rf"osf{g}(?:ttl{g}(?:loose|skip){g})?(?:name|version){_STOP}",
            rf"numgen{g}(?:inc|random){g}mod{g}[0-9]+(?:{g}offset{g}[0-9]+)?",
            rf"symhash{g}mod{g}[0-9]+(?:{g}offset{g}[0-9]+)?",
            r"@(?:ll|nh|th|ih)[ \t]*,[ \t]*\w+[ \t]*,[ \t]*\w+",
            rf"{_any(*BARE_META_KEYS)}(?![\w/.*-])",
        )
    )


_TCP_LOGGED = r"(?:sequence|options)(?:[ \t]*,[ \t]*(?:sequence|options))*"
_LOG_FLAGS = rf"flags{_GAP}(?:tcp{_GAP}{_TCP_LOGGED}|ip{_GAP}options|skuid|ether|all){_STOP}"
_H = "[0-9a-fA-F]{1,4}"
_IPV4 = r"[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+"
_IPV6 = (
    rf"(?:(?:{_H}:){{6}}{_IPV4}|(?:{_H}(?::{_H}){{0,5}})?::(?:{_H}:){{0,5}}{_IPV4}"
    rf"|(?:{_H}:){{7}}{_H}|(?:{_H}(?::{_H}){{0,6}})?::(?:{_H}(?::{_H}){{0,6}})?)"
)
_HARDWARE = r"(?:[0-9a-fA-F]{1,2}:){5,19}[0-9a-fA-F]{1,2}"
_TOKEN = re.compile(
    rf"""(?:[ \t\r\f\ufeff]++|\\\r?\n|\#[^\n]*+)*+
    (?:(?P<end>[\n;])
      |(?P<mark>[,{{}}])
      |(?P<number>[0-9]+(?![\w.:]))
      |(?P<string>"[^"\n]*")
      |(?P<address>{_IPV4}(?:/[0-9]+)?(?!\w)
        |(?=[0-9a-fA-F]{{0,4}}:[0-9a-fA-F:])(?:(?:{_IPV6}(?:/[0-9]+)?|{_HARDWARE})(?!\w)
          |[0-9a-fA-F]{{1,4}}:[0-9a-fA-F]{{1,4}}(?=[ \t\r\n:}},-]))
        |\[[0-9a-fA-F:.]*:[0-9a-fA-F:.]*\])
      |(?P<variable>\$[A-Za-z_.][\w./-]*)
      |(?P<log_flags>{_LOG_FLAGS})
      |(?P<ct_count>ct{_GAP}count{_STOP})
      |(?P<selector>{_selectors()})
      |(?P<set_name>@[A-Za-z_.][\w./-]*)
      |(?P<word>[kmg]?bytes(?=/[ \t])|[A-Za-z_][\w./-]*(?:\\?\*)?|\.[A-Za-z_/][\w./-]*|[0-9]+(?=[kmg]?bytes)|[0-9][\w.]*
        |\\?\*)
      |(?P<op><<|>>|==|!=|<=|>=|[()\[\]=!<>&|^:.+/$@-])
      |(?P<junk>[^\s])
      |\Z)
    """,
    re.X | re.ASCII,
)

#: the words of statements, each a kind of its own; `-` becomes `_` in the grammar
KEYWORDS = (
    "accept", "drop", "continue", "return", "jump", "goto", "counter", "packets", "bytes", "name", "limit", "rate",
    "over", "until", "burst", "quota", "used", "log", "prefix", "level", "group", "snaplen", "queue-threshold",
    "reject", "with", "type", "reset", "snat", "dnat", "masquerade", "redirect", "to", "random", "fully-random",
    "persistent",
    "queue", "num", "bypass", "fanout", "flags", "tproxy", "dup", "fwd", "device", "synproxy", "mss", "wscale",
    "timestamp", "sack-perm", "flow", "offload", "notrack", "last", "never", "xt", "match", "target", "add", "update",
    "delete", "set", "meter", "size", "table", "map", "vmap", "comment", "jhash", "mod", "seed", "offset", "timeout",
    "expires", "tunnel", "interval", "addr", "port",
)  # fmt: skip
_OPERATORS = {
    "and": "&", "or": "|", "xor": "^", "lshift": "<<", "rshift": ">>", "eq": "==", "ne": "!=", "neq": "!=", "lt": "<",
    "gt": ">", "le": "<=", "ge": ">=", "==": "==", "!=": "!=",
}  # fmt: skip
#: operators of more than one character, and comparisons, have a kind of one character
_COMPARISON, _SHIFT = "=", "»"
_OPERATOR_KINDS = {
    "==": _COMPARISON, "!=": _COMPARISON, "<": _COMPARISON, ">": _COMPARISON, "<=": _COMPARISON, ">=": _COMPARISON,
    "!": "!", "<<": _SHIFT, ">>": _SHIFT, "=": "a",
}  # fmt: skip
_PUNCTUATION = {
    "(": "LPAR", ")": "RPAR", ",": "COMMA", ":": "COLON", ".": "DOT", "-": "DASH", "/": "SLASH", "&": "AND", "|": "OR",
    "^": "XOR", "!": "NOT", "=": "COMPARISON", "»": "SHIFT", "{": "LBRACE", "}": "RBRACE", "[": "LSQB", "]": "RSQB",
    "+": "PLUS", "a": "ASSIGN", "$": "DOLLAR", "#": "LOG_FLAGS", "%": "CT_COUNT", "w": "WORD", "s": "STRING",
    "S": "SELECTOR", "@": "SET_NAME", "B": "BRACES", ";": "END", "?": "JUNK",
}  # fmt: skip
_KEYWORD_KINDS = {keyword: chr(0x100 + index) for index, keyword in enumerate(KEYWORDS)}
#: the terminal of the grammar for every kind
TERMINALS = _PUNCTUATION | {kind: word.upper().replace("-", "_") for word, kind in _KEYWORD_KINDS.items()}


@cache
def _word_kind(word: str) -> str:
    operator = _OPERATORS.get(word)
    if operator is not None:
        return _OPERATOR_KINDS.get(operator, operator)
    return _KEYWORD_KINDS.get(word, WORD)


@cache
def selector_text(written: str) -> str:
    """A selector in one spelling.

    >>> selector_text("fib daddr.iif  type"), selector_text("iifname"), selector_text("@th, 16,16")
    ('fib daddr . iif type', 'meta iifname', '@th,16,16')
    """
    text = re.sub(r"\\\r?\n", " ", written)
    text = re.sub(r"[ \t]*([,\[\]])[ \t]*", r"\1", text)
    if text.startswith("fib"):
        text = text.replace(".", " . ")
    words = text.split()
    if words[0] in BARE_META_KEYS and (len(words) == 1):
        words.insert(0, "meta")
    return " ".join(words)


#: `ip protocol gre ip saddr` is no test of what is in the tunnel
_TUNNELS, _BEFORE_VALUES = ("gre ", "gretap ", "vxlan ", "geneve "), frozenset((SELECTOR, _COMPARISON, ",", "!", "-"))


def tokens(text: str, base: int = 0) -> list[Token]:
    """The words of a text without blanks and comments; `base` is the offset at which the text begins."""
    out: list[Token] = []
    add = out.append
    for found in _TOKEN.finditer(text):
        group = found.lastgroup
        if group is None:
            continue
        start, end = found.span(group)
        word = text[start:end]
        if base:
            start, end = start + base, end + base
        if group == "mark":
            kind = word
        elif group == "number":
            kind = WORD
        elif group == "word":
            kind = _word_kind(word)
            if kind in "&|^=»" and kind != WORD:
                word = _OPERATORS[word]
        elif group == "op":
            kind = _OPERATOR_KINDS.get(word, word)
        elif group == "selector":
            if out and out[-1].kind == "/":  # 5/hour
                add(Token(WORD, word, start, end))
                continue
            kind, word = SELECTOR, selector_text(word)
            if word.startswith(_TUNNELS) and out and out[-1].kind in _BEFORE_VALUES and word.count(" ") > 1:
                tunnel, _, word = word.partition(" ")
                add(Token(WORD, tunnel, start, start + len(tunnel)))
                start += len(tunnel) + 1
        elif group == "end":
            kind = END
        elif group == "address":
            kind = WORD
            if word[0] == "[":
                word, start, end = word[1:-1], start + 1, end - 1
        elif group == "string":
            kind, word = STRING, word[1:-1]
        elif group == "variable":
            kind, word = VARIABLE, word[1:]
        elif group == "set_name":
            kind, word = SET_NAME, word[1:]
        elif group == "log_flags":
            kind, word = "#", " ".join(word.split())
        elif group == "ct_count":
            kind, word = "%", "ct count"
        else:
            kind = JUNK
        add(Token(kind, word, start, end))
    return out
