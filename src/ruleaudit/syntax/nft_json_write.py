"""Statements of the tree as nft JSON, and rules that a JSON document can take in (libnftables-json(5), STATEMENTS)."""

import re
from collections.abc import Sequence
from typing import Any

from ruleaudit.syntax.nft_json_values import (
    Unwritable,
    comparison,
    element,
    seconds,
    selector,
    value,
    verdict,
    verdict_map,
    whole,
)
from ruleaudit.syntax.nft_tree import (
    Action,
    Assignment,
    Element,
    Match,
    Nat,
    Reject,
    Rule,
    SetUpdate,
    Statement,
    Verdict,
    VerdictMap,
)

_SIZES = r"(?:k|m)?bytes"
_LIMIT = re.compile(
    rf"limit rate (?P<over>over |until )?(?P<rate>\d+) ?(?P<unit>{_SIZES})? ?/ ?"
    r"(?:meta )?(?P<per>second|minute|hour|day|week)"
    rf"(?: burst (?P<burst>\d+) ?(?P<burst_unit>packets|{_SIZES}))?"
)
_QUOTA = re.compile(
    rf"quota (?P<over>over |until )?(?P<val>\d+) ?(?P<unit>{_SIZES})(?: used (?P<used>\d+) ?(?P<used_unit>{_SIZES}))?"
)
_COUNTER = re.compile(r"counter(?: packets (?P<packets>\d+) bytes (?P<bytes>\d+))?")
_COUNT = re.compile(r"ct count (?P<over>over |until )?(?P<val>\d+)")
_NAMED = re.compile(r'(counter|limit|quota|synproxy) name "?([^" ]+)"?')
_LOG = re.compile(
    r'prefix "(?P<prefix>[^"]*)"|level (?P<level>\w+)|(?P<name>group|snaplen|queue-threshold) (?P<number>\d+)'
    r"|flags (?P<flags>tcp [a-z, ]*?|ip options|\w+)(?= |$)"
)
_QUEUE = re.compile(
    r"queue(?: flags (?P<flags>[a-z, ]+?))?(?: (?:to|num) (?P<low>\d+)(?: ?- ?(?P<high>\d+))?)?"
    r"(?P<old>(?:[ ,]+(?:bypass|fanout))*)"
)
_SYNPROXY = re.compile(r"synproxy(?: mss (?P<mss>\d+))?(?: wscale (?P<wscale>\d+))?(?P<flags>( timestamp| sack-perm)*)")
_NAT_FLAGS = ("random", "fully-random", "persistent")


def expr(statements: Sequence[Statement]) -> list[Any]:
    """The `expr` of a rule; Unwritable if a statement has no JSON of ours."""
    return [statement(each) for each in statements]


def rule(family: str, table: str, chain: str, made: Rule) -> dict[str, Any]:
    """RULE: an object to put into a document, as nft lists it; it is added at the end of its chain."""
    if made.unread:
        raise Unwritable(made.text)
    found: dict[str, Any] = {"family": family, "table": table, "chain": chain}
    if made.comment:
        found["comment"] = made.comment
    return {"rule": found | {"expr": expr(made.statements)}}


def statement(node: Statement) -> Any:
    """Any statement."""
    match node:
        case Match():
            return comparison(node)
        case Verdict():
            return verdict(node)
        case VerdictMap():
            return verdict_map(node)
        case Assignment():
            return assignment(node)
        case SetUpdate():
            return set_update(node)
        case Nat():
            return nat(node)
        case Reject():
            return reject(node)
        case Action():
            return action(node)


def assignment(node: Assignment) -> Any:
    """MANGLE; helpers, timeouts and security marks have statements of their own."""
    given = value(node.value)
    kind = node.selector.text
    if kind in ("ct helper", "ct timeout", "ct expectation"):
        return {kind: given}
    if kind == "meta secmark":
        return {"secmark": given}
    return {"mangle": {"key": selector(kind), "value": given}}


def set_update(node: SetUpdate) -> Any:
    """SET, and the like for maps; a meter is not written."""
    if node.operation not in ("add", "update", "delete") or isinstance(node.data, Verdict):
        raise Unwritable(node.text)
    times = dict(re.findall(r"\b(timeout|expires) ([0-9dhms]+)", node.text))
    options = tuple(f"{name} {time}" for name, time in times.items())
    key = element(Element(node.key, None, options, node.span))
    found: dict[str, Any] = {"op": node.operation, "elem": key}
    if node.statements:
        found["stmt"] = expr(node.statements)
    if node.data is None:
        return {"set": found | {"set": f"@{node.name}"}}
    return {"map": found | {"data": value(node.data), "map": f"@{node.name}"}}


def nat(node: Nat) -> Any:
    """NETWORK ADDRESS TRANSLATION."""
    found: dict[str, Any] = {}
    words = node.text.split()
    if words[1:2] and words[1] in ("ip", "ip6"):
        found["family"] = words[1]
    if node.address is not None:
        found["addr"] = value(node.address)
    if node.port is not None:
        found["port"] = value(node.port)
    if "prefix" in words[1:3]:
        found["type_flags"] = ["interval", "prefix"]
    ends = ["netmap"] if "type_flags" in found else []
    ends += [word for word in re.split(r"[ ,]+", node.text) if word in _NAT_FLAGS]
    if ends:
        found["flags"] = ends
    return {node.name: found or None}


def reject(node: Reject) -> Any:
    """REJECT."""
    if not node.kind:
        return {"reject": None}
    if node.kind == "tcp reset":
        return {"reject": {"type": node.kind}}
    sort, _, code = node.kind.partition(" ")
    return {"reject": {"type": sort, "expr": code}}


def action(node: Action) -> Any:
    """Statements that the tree keeps as text."""
    named = _NAMED.fullmatch(node.text)
    if named is not None:
        return {named[1]: named[2]}
    match node.name:
        case "notrack":
            return {"notrack": None}
        case "counter":
            found = _of(_COUNTER, node)
            return {"counter": {name: whole(count) for name, count in found.items()} or None}
        case "limit":
            return {"limit": _limit(_of(_LIMIT, node))}
        case "quota":
            found = _of(_QUOTA, node)
            made: dict[str, Any] = {"val": whole(found["val"]), "val_unit": found["unit"]}
            if "used" in found:
                made |= {"used": whole(found["used"]), "used_unit": found["used_unit"]}
            return {"quota": made | _inverted(found)}
        case "ct count":
            found = _of(_COUNT, node)
            return {"ct count": {"val": whole(found["val"])} | _inverted(found)}
        case "log":
            return {"log": _log(node.text) or None}
        case "queue":
            return {"queue": _queue(_of(_QUEUE, node)) or None}
        case "synproxy":
            found = _of(_SYNPROXY, node)
            numbers: dict[str, Any] = {name: whole(found[name]) for name in ("mss", "wscale") if name in found}
            return {"synproxy": numbers | ({"flags": found["flags"].split()} if found["flags"] else {}) or None}
        case "last":
            used = node.text.removeprefix("last").removeprefix(" used ")
            return {"last": {"used": seconds(used) * 1000} if used and used != "never" else None}
        case "flow":
            return {"flow": {"op": "add", "flowtable": node.text.split()[-1]}}
        case "reset":
            return {"reset": selector(node.text.removeprefix("reset "))}
    raise Unwritable(node.text)


def _of(pattern: re.Pattern[str], node: Action) -> dict[str, str]:
    found = pattern.fullmatch(node.text)
    if found is None:
        raise Unwritable(node.text)
    return {name: text for name, text in found.groupdict().items() if text is not None}


def _inverted(found: dict[str, str]) -> dict[str, Any]:
    return {"inv": True} if found.get("over") == "over " else {}


def _limit(found: dict[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {"rate": whole(found["rate"]), "per": found["per"]}
    if "unit" in found:
        made["rate_unit"] = found["unit"]
    if "burst" in found:
        made["burst"] = whole(found["burst"])
        if found["burst_unit"] != "packets":
            made["burst_unit"] = found["burst_unit"]
    return made | _inverted(found)


def _log(text: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    flags: list[str] = []
    rest = text.removeprefix("log").strip()
    while rest:
        found = _LOG.match(rest)
        if found is None:
            raise Unwritable(text)
        if found["prefix"] is not None:
            made["prefix"] = found["prefix"]
        elif found["level"]:
            made["level"] = found["level"]
        elif found["name"]:
            made[found["name"]] = whole(found["number"])
        elif found["flags"].startswith("tcp "):
            flags += (f"tcp {each.strip()}" for each in found["flags"][4:].split(","))
        else:
            flags.append(found["flags"])
        rest = rest[found.end() :].strip()
    return made | ({"flags": flags} if flags else {})


def _queue(found: dict[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if "low" in found:
        low = whole(found["low"])
        made["num"] = {"range": [low, whole(found["high"])]} if "high" in found else low
    flags = re.findall(r"bypass|fanout", found.get("flags", "") + found.get("old", ""))
    return made | ({"flags": flags} if flags else {})
