"""Documents of libnftables-json, some of them with a value in it that cannot stand there."""

import json
import re
from typing import Any

from hypothesis import strategies as st

from ruleaudit.syntax.nft_tokens import CT_KEYS, FIELDS, META_KEYS
from tests.fuzz.nft_texts import NAMES, WORDS

_FAMILIES = ("ip", "ip6", "inet", "arp", "bridge", "netdev")
_STRANGE = (
    None, True, False, 0, -1, 1, 80, 65536, 2**32, 2**64, 10**30, 0.5, 1e300, "", "a b", "@s", "*", '"', "²", "\n",
    "\ud800", [], {}, [[]], [1], ["tcp"], {"a": 1}, {"": None}, [None], {"range": [1]}, {"set": []}, {"accept": None},
    "accept",
)  # fmt: skip
_KEYS = (
    "family", "table", "name", "chain", "handle", "expr", "elem", "type", "hook", "prio", "policy", "dev", "flags",
    "left", "right", "op", "key", "data", "val", "addr", "len", "rate", "per", "burst", "map", "set", "comment", "x",
    "", "target",
)  # fmt: skip
_VERDICTS = (
    {"accept": None}, {"drop": None}, {"continue": None}, {"return": None}, {"jump": {"target": "c"}},
    {"goto": {"target": "nowhere"}}, {"jump": {"target": None}}, {"jump": None},
)  # fmt: skip


def _several(text: str) -> tuple[Any, ...]:
    """JSON values, one behind the other."""
    return tuple(json.loads("[" + re.sub(r"\}\s+\{", "}, {", text.strip()) + "]"))


_SELECTORS: tuple[Any, ...] = (
    *({"payload": {"protocol": header, "field": field}} for header in FIELDS for field in FIELDS[header].split()),
    *({"meta": {"key": key}} for key in META_KEYS),
    *({"ct": {"key": key}} for key in CT_KEYS),
    *_several("""
{"ct": {"key": "ip saddr", "dir": "original"}} {"ct": {"key": "bytes", "dir": "reply"}}
{"payload": {"base": "th", "offset": 16, "len": 16}}
{"payload": {"tunnel": "vxlan", "protocol": "ip", "field": "saddr"}} {"exthdr": {"name": "frag"}}
{"exthdr": {"name": "frag", "field": "id"}} {"exthdr": {"name": "rt0", "field": "addr[1]"}}
{"tcp option": {"name": "maxseg", "field": "size"}} {"tcp option": {"base": 1, "offset": 2, "len": 3}}
{"ip option": {"name": "rr", "field": "ptr"}} {"sctp chunk": {"name": "data", "field": "type"}}
{"dccp option": {"type": 1}} {"rt": {"key": "nexthop", "family": "ip"}} {"rt": {"key": "ipsec"}}
{"fib": {"result": "type", "flags": "daddr"}} {"fib": {"result": "oif", "flags": ["saddr", "iif"]}}
{"socket": {"key": "mark"}} {"osf": {"key": "name", "ttl": "loose"}}
{"ipsec": {"key": "saddr", "family": "ip", "dir": "in", "spnum": 1}}
{"numgen": {"mode": "inc", "mod": 2, "offset": 1}} {"symhash": {"mod": 2}}
{"jhash": {"mod": 2, "expr": {"payload": {"protocol": "ip", "field": "saddr"}}, "seed": 1}}
{"tunnel": {"key": "id"}}
"""),
)
_STATEMENTS = (
    *_VERDICTS,
    *_several("""
{"counter": null} {"counter": {"packets": 1, "bytes": 2}} {"counter": "c"} {"limit": "c"}
{"limit": {"rate": 5, "per": "second", "burst": 3, "inv": true}}
{"quota": {"val": 5, "val_unit": "mbytes", "used": 1}}
{"limit": {"rate": 5, "per": "minute", "rate_unit": "mbytes", "burst": 3, "burst_unit": "kbytes"}}
{"ct count": {"val": 5, "inv": true}} {"last": null} {"last": {"used": 5}} {"log": null} {"notrack": null}
{"log": {"prefix": "x", "level": "warn", "group": 1, "snaplen": 5, "queue-threshold": 2, "flags": ["all"]}}
{"reject": null} {"reject": {"type": "tcp reset"}} {"reject": {"type": "icmp", "expr": "host-unreachable"}}
{"masquerade": null} {"masquerade": {"port": 5, "flags": ["random"]}} {"redirect": {"port": 80}}
{"snat": {"addr": "1.2.3.4", "port": {"range": [1, 2]}, "family": "ip", "flags": "persistent"}}
{"dnat": {"addr": "::1"}}
{"dnat": {"addr": {"map": {"key": {"numgen": {"mode": "inc", "mod": 2}}, "data": {"set": [[0, "1.1.1.1"]]}}}}}
{"queue": {"num": 1, "flags": ["bypass"]}} {"queue": {"num": {"range": [1, 3]}}} {"tproxy": {"port": 80}}
{"dup": {"addr": "1.1.1.1", "dev": "eth0"}} {"fwd": {"dev": "eth0", "family": "ip", "addr": "1.1.1.1"}}
{"synproxy": {"mss": 1460, "wscale": 7, "flags": ["timestamp", "sack-perm"]}} {"synproxy": "c"}
{"flow": {"op": "add", "flowtable": "@f"}} {"xt": {"type": "target", "name": "MARK"}} {"xt": null} {"tunnel": "c"}
{"mangle": {"key": {"meta": {"key": "mark"}}, "value": 1}} {"mangle": {"key": {"ct": {"key": "zone"}}, "value": 1}}
{"ct helper": "c"} {"ct timeout": "c"} {"ct expectation": "c"} {"secmark": "c"}
{"reset": {"tcp option": {"name": "mss"}}}
{"set": {"op": "add", "elem": {"payload": {"protocol": "ip", "field": "saddr"}}, "set": "@s"}}
{"set": {"op": "update", "elem": {"elem": {"val": {"meta": {"key": "iif"}}, "timeout": 5}}, "set": "@s",
 "stmt": [{"counter": null}]}}
{"map": {"op": "update", "elem": {"meta": {"key": "iif"}}, "data": 1, "map": "@m"}}
{"meter": {"key": {"elem": {"val": {"payload": {"protocol": "ip", "field": "saddr"}}}}, "name": "x",
 "stmt": {"ct count": {"val": 5}}}}
{"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["new", {"accept": null}], ["invalid", {"drop": null}]]}}}
{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
{"match": {"op": "==", "left": {"&": [{"payload": {"protocol": "tcp", "field": "flags"}}, ["syn", "ack"]]},
 "right": "syn"}}
"""),
)


def _some(*of: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(of)


_NAMES = _some(*NAMES)
_LEAVES = st.one_of(
    _some(*WORDS), st.integers(-5, 70_000), st.booleans(), _NAMES.map(lambda name: f"@{name}"), _some(*_SELECTORS)
)
_PAIR = st.tuples


def _around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    two = _PAIR(inner, inner).map(list)
    return st.one_of(
        st.lists(inner, max_size=3),
        st.builds(lambda sign, both: {sign: both}, _some("|", "&", "^", "<<", ">>"), two),
        st.lists(st.one_of(inner, two, _PAIR(inner, _some(*_VERDICTS)).map(list)), max_size=4).map(
            lambda all_: {"set": all_}
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"concat": parts}),
        two.map(lambda ends: {"range": ends}),
        st.builds(lambda addr, length: {"prefix": {"addr": addr, "len": length}}, inner, st.integers(-1, 130)),
        st.builds(lambda key, data: {"map": {"key": key, "data": data}}, inner, inner),
        st.builds(lambda val: {"elem": {"val": val, "timeout": 5, "comment": "x", "counter": None}}, inner),
    )


_VALUES = st.recursive(_LEAVES, _around, max_leaves=5)
_MATCHES = st.builds(
    lambda sign, left, right: {"match": {"op": sign, "left": left, "right": right}},
    _some("==", "!=", "<", ">=", "in", "!", "x"), st.one_of(_some(*_SELECTORS), _VALUES), _VALUES,
)  # fmt: skip
_RULE_PARTS = st.one_of(_MATCHES, _MATCHES, _some(*_STATEMENTS))
_PLACE = st.fixed_dictionaries({"family": _some("ip", "ip", *_FAMILIES), "table": _some("t", "t", *NAMES)})


def _object(of: dict[str, Any], more: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    own = st.fixed_dictionaries(of, optional=more)
    return st.builds(lambda place, rest: place | rest, _PLACE, own)


_HOOKED = {
    "type": _some("filter", "nat", "route"), "hook": _some("prerouting", "input", "output", "postrouting", "ingress"),
    "prio": st.integers(-400, 300), "policy": _some("accept", "drop"), "dev": _some("eth0", ["a", "b"]),
}  # fmt: skip
_TYPES: st.SearchStrategy[Any] = _some(
    "ipv4_addr", "mark", ["ipv4_addr", "inet_service"], {"typeof": _SELECTORS[0]}, "ifname"
)
_SETTINGS = {
    "flags": _some("interval", ["interval", "timeout"], ["dynamic"], "constant"), "timeout": _some(5, "5s"),
    "size": _some(5),
    "gc-interval": _some(5), "policy": _some("memory"), "auto-merge": _some(True), "comment": _some("x"),
    "handle": _some(1),
    "elem": st.lists(st.one_of(_VALUES, _PAIR(_VALUES, _VALUES).map(list)), max_size=4),
    "stmt": _some([{"counter": None}]),
}  # fmt: skip
_WHATS: dict[str, st.SearchStrategy[Any]] = {
    "table": st.builds(lambda f, n: {"family": f, "name": n}, _some(*_FAMILIES), _some("t", "t", *NAMES)),
    "chain": _object({"name": _some("c", "c", *NAMES)}, _HOOKED | {"handle": _some(1), "newname": _NAMES}),
    "rule": _object({"chain": _some("c", "c", *NAMES), "expr": st.lists(_RULE_PARTS, max_size=4)},
                    {"index": _some(0, 5), "handle": _some(1), "comment": _some("x", '"')}),
    "set": _object({"name": _NAMES, "type": _TYPES}, _SETTINGS),
    "map": _object({"name": _NAMES, "type": _TYPES, "map": _some("verdict", "mark", {"typeof": _SELECTORS[1]})},
    _SETTINGS),
    "element": _object({"name": _NAMES, "elem": st.lists(_VALUES, max_size=3)}, {}),
    "counter": _object({"name": _NAMES}, {"packets": _some(1, -1), "bytes": _some(2)}),
    "quota": _object({"name": _NAMES}, {"bytes": _some(1), "used": _some(0), "inv": _some(True)}),
    "limit": _object({"name": _NAMES}, {"rate": _some(1), "per": _some("second"), "burst": _some(5),
    "unit": _some("bytes")}),
    "secmark": _object({"name": _NAMES}, {"context": _some("x")}),
    "synproxy": _object({"name": _NAMES}, {"mss": _some(1), "wscale": _some(2), "flags": _some(["timestamp"])}),
    "ct helper": _object({"name": _NAMES}, {"type": _some("ftp"), "protocol": _some("tcp"), "l3proto": _some("ip")}),
    "ct timeout": _object({"name": _NAMES}, {"protocol": _some("tcp"), "policy": _some({"established": 5}, [],
    {"x": "y"})}),
    "ct expectation": _object({"name": _NAMES}, {"protocol": _some("udp"), "dport": _some(5), "timeout": _some(5),
    "size": _some(1)}),
    "flowtable": _object({"name": _NAMES}, {"hook": _some("ingress"), "prio": _some(0), "dev": _some("eth0", ["a"]),
    "flags": _some("offload")}),
    "tunnel": _object({"name": _NAMES}, {"id": _some(1), "src-ipv4": _some("1.1.1.1"), "type": _some("vxlan"),
    "tunnel": _some({}, 1)}),
    "ruleset": _some(None, {}, {"family": "ip"}, {"family": "x"}, "ip", []),
    "meter": _object({"name": _NAMES}, {}),
    "metainfo": _some({"version": "1", "json_schema_version": 1}, {"json_schema_version": 2}, None),
}  # fmt: skip
_VERBS = ("", "", "", "add", "create", "insert", "replace", "delete", "destroy", "flush", "rename", "list", "reset")


@st.composite
def _commands(draw: st.DrawFn) -> Any:
    what = draw(_some("table", "chain", "rule", "rule", "set", "map", *_WHATS))
    verb = draw(_some(*_VERBS))
    found = {what: draw(_WHATS[what])}
    return {verb: found} if verb else found


def _places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(place for key, each in inside for place in _places(each, (*here, key)))]


def _damaged(draw: st.DrawFn, value: Any) -> Any:
    """The value with another one in some place of it, or without what was there."""
    *way, last = draw(st.sampled_from(_places(value)[1:] or [("nftables",)]))
    value = json.loads(json.dumps(value))
    inside = value
    for key in way:
        inside = inside[key]
    match draw(_some("other", "other", "gone", "key", "wrapped")):
        case "other":
            inside[last] = draw(st.one_of(_some(*_STRANGE), _VALUES, _some(*_STATEMENTS)))
        case "gone":
            del inside[last]
        case "key" if isinstance(inside, dict):
            inside[draw(st.one_of(_some(*_KEYS), _some(*_VERBS)))] = inside.pop(last)
        case _:
            inside[last] = draw(st.one_of(st.just([inside[last]]), _some(*_KEYS).map(lambda key: {key: inside[last]})))
    return value


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A document as text."""
    begin = [{"table": {"family": "ip", "name": "t"}}, {"chain": {"family": "ip", "table": "t", "name": "c"} | {
        "type": "filter", "hook": "input", "prio": 0, "policy": "accept"}}]  # fmt: skip
    value: Any = {
        "nftables": [*(begin if draw(st.booleans()) else ()), *draw(st.lists(_commands(), min_size=1, max_size=4))]
    }
    for _ in range(draw(_some(0, 1, 1, 2, 3))):
        if isinstance(value, dict) and value:
            value = _damaged(draw, value)
    text = json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(_some(None, None, 2)))
    if draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(_some("", ",", "}", "]", "{", '"', "\\", "1e999", "NaN", "null", " ")) + text[at + 1 :]
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")  # as a file is read
