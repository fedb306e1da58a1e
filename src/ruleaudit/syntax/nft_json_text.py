"""Expressions of nft JSON as nft text: libnftables-json(5), EXPRESSIONS.

JSON is written out as the text that means the same, and read by the reader of nft text: there is one meaning.
"""

import re
from collections.abc import Callable
from typing import Any

from ruleaudit.syntax.nft_json_selectors import Selectors, only, quoted
from ruleaudit.syntax.refusal import Refused, did_you_mean

#: what stands for itself in nft text: names, numbers, addresses of all kinds
_BARE = re.compile(
    r"[A-Za-z_.][A-Za-z0-9_./-]*|[0-9][0-9A-Za-z]*|[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]+)?"
    r"|[0-9a-fA-F]{0,4}:[0-9a-fA-F]{0,4}:[0-9a-fA-F:]*(?:[0-9]+(?:\.[0-9]+){3})?(?:/[0-9]+)?"
)
_SET_NAME = re.compile(r"@[A-Za-z_.][A-Za-z0-9_./-]*")
#: values of these are names of interfaces and moments: nft lists them in quotes
_QUOTED_META = (
    "iif", "oif", "iifname", "oifname", "ibrname", "obrname", "ibridgename", "obridgename", "ibriport", "obriport",
    "sdif", "sdifname", "iifkind", "oifkind", "time", "hour", "day",
)  # fmt: skip
#: what nft compares bit by bit where no operator is written
_FLAGS_OF_CT = ("state", "status", "label", "event")
_BINDS = {"<<": 4, ">>": 4, "&": 3, "^": 2, "|": 1}
VERDICTS = ("accept", "drop", "continue", "return", "jump", "goto")
#: the counters and limits that an element may have
STATEFUL = ("counter", "quota", "limit", "last", "ct count")
#: `about` of values that are names
NAMES = {"meta": {"key": "iifname"}}


def duration(seconds: int) -> str:
    """Seconds as nft lists them.

    >>> duration(5400)
    '1h30m'
    """
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def is_flags(left: Any) -> bool:
    """Whether nft compares this bit by bit where no operator is written."""
    if not isinstance(left, dict) or len(left) != 1:
        return False
    name, value = next(iter(left.items()))
    if not isinstance(value, dict):
        return False
    if name == "payload":
        return (value.get("protocol"), value.get("field")) == ("tcp", "flags")
    return name == "ct" and value.get("key") in _FLAGS_OF_CT


class Expressions(Selectors):
    """Writes expressions. `about` is always what a value is compared with or put into: it decides on quotes."""

    def __init__(self) -> None:
        super().__init__()
        self._selectors = {**self.selectors(), "jhash": self.jhash}
        self._values: dict[str, Callable[[Any, Any], str]] = {
            "concat": self.concat,
            "set": self.braces,
            "map": self.map,
            "prefix": self.prefix,
            "range": self.range,
            "elem": self.element,
        }

    def stateful(self, value: dict[str, Any]) -> list[str]:
        """The counters and limits of an element, which are statements."""
        raise NotImplementedError

    def expression(self, value: Any, about: Any = None, binds: int = 0) -> str:
        """Any expression; `binds` says how closely the operator around it binds."""
        if isinstance(value, str):
            return self.immediate(value, about)
        if isinstance(value, bool):
            return ("missing", "exists")[value] if _is_existence(about) else str(int(value))
        if isinstance(value, int):
            return str(value)
        if isinstance(value, list):
            return self.several(value, about, binds)
        name, inner = only(value, "an expression")
        if name in self._selectors:
            return self._selectors[name](inner)
        if name in self._values:
            return self._values[name](inner, about)
        if name in _BINDS:
            return self.operation(name, inner, about, binds)
        if name in VERDICTS:
            return self.verdict(name, inner)
        known = (*self._selectors, *self._values, *_BINDS, *VERDICTS)
        raise Refused(f'unknown expression "{name}"', hint=did_you_mean(name, known))

    def immediate(self, value: str, about: Any) -> str:
        """IMMEDIATES: a set's name, the wildcard, or a value as nft text would have it."""
        if value == "*" or _SET_NAME.fullmatch(value):
            return value
        if value.isdigit() or (not _is_quoted(about) and _BARE.fullmatch(value)):
            return value
        return quoted(value)

    def several(self, value: list[Any], about: Any, binds: int) -> str:
        """LISTS: flags; inside an operation they are joined by `|`."""
        if not value:
            raise Refused("an empty list of values")
        if binds and len(value) > 1:
            return self.operation("|", value, about, binds)
        return ", ".join(self.expression(each, about) for each in value)

    def operation(self, sign: str, value: Any, about: Any, binds: int) -> str:
        """BINARY OPERATION, in brackets where the operator around it binds closer."""
        if not isinstance(value, list) or len(value) < 2:
            raise Refused(f'"{sign}" must be an array of two expressions')
        mine = _BINDS[sign]
        first, *rest = value
        beside = first if isinstance(first, dict) else about
        parts = [self.expression(first, about, mine), *(self.expression(each, beside, mine + 1) for each in rest)]
        text = f" {sign} ".join(parts)
        return f"({text})" if mine < binds else text

    def concat(self, value: Any, about: Any) -> str:
        """CONCAT."""
        if not isinstance(value, list) or len(value) < 2:
            raise Refused('"concat" must be an array of at least two expressions')
        beside: list[Any] = [None] * len(value)
        if isinstance(about, dict) and isinstance(about.get("concat"), list) and len(about["concat"]) == len(value):
            beside = about["concat"]
        return " . ".join(self.expression(each, other) for each, other in zip(value, beside, strict=True))

    def braces(self, value: Any, about: Any) -> str:
        """SET: an anonymous set or map, or a named one."""
        if isinstance(value, str) and value[:1] == "@":
            return self.immediate(value, None)
        items = value if isinstance(value, list) else [value]
        if not items:
            raise Refused("an empty set")
        return "{ " + ", ".join(self.item(each, about) for each in items) + " }"

    def item(self, value: Any, about: Any, data: Any = None) -> str:
        """An element of a set, or key and data of a map."""
        if isinstance(value, list):
            if len(value) != 2:
                raise Refused(f"an element of a map is an array of two, not of {len(value)}")
            return f"{self.expression(value[0], about)} : {self.expression(value[1], data)}"
        return self.expression(value, about)

    def map(self, value: Any, about: Any) -> str:
        """MAP: `key map data`; what it gives is put where `about` says."""
        found = self.keys(value, '"map"', ("key", "data"))
        return f"{self.expression(found['key'])} map {self.mapping(found['key'], found['data'], about)}"

    def mapping(self, key: Any, data: Any, about: Any = None) -> str:
        """The data of a map or verdict map: pairs, or a name."""
        if isinstance(data, dict) and isinstance(data.get("set"), list) and len(data) == 1:
            if not data["set"]:
                raise Refused("an empty map")
            return "{ " + ", ".join(self.item(each, key, about) for each in data["set"]) + " }"
        return self.expression(data)

    def prefix(self, value: Any, about: Any) -> str:
        """PREFIX."""
        found = self.keys(value, '"prefix"', ("addr", "len"))
        return f"{self.expression(found['addr'], about)}/{self.number(found['len'], 'the length of a prefix')}"

    def range(self, value: Any, about: Any) -> str:
        """RANGE."""
        if not isinstance(value, list) or len(value) != 2:
            raise Refused('"range" must be an array of two expressions')
        return "-".join(self.expression(each, about) for each in value)

    def element(self, value: Any, about: Any) -> str:
        """ELEM: a value with its counters and limits, then its timeout and comment."""
        found = self.keys(value, '"elem"', ("val",), ("timeout", "expires", "comment", *STATEFUL))
        return " ".join((self.expression(found["val"], about), *self.stateful(found), *self.options(found)))

    def options(self, value: dict[str, Any]) -> list[str]:
        """The timeout and comment of an element."""
        times = [name for name in ("timeout", "expires") if name in value]
        parts = [f"{name} {duration(self.number(value[name], name))}" for name in times]
        if "comment" in value:
            parts.append(f"comment {quoted(self.string(value['comment'], 'a comment'))}")
        return parts

    def jhash(self, value: Any) -> str:
        """HASH: `jhash ip saddr mod 2 seed 1 offset 100`."""
        found = self.keys(value, '"jhash"', ("mod", "expr"), ("offset", "seed"))
        seed = f" seed {self.number(found['seed'], 'seed')}" if "seed" in found else ""
        mod = self.number(found["mod"], "mod")
        return f"jhash {self.expression(found['expr'])} mod {mod}{seed}{self.offset(found)}"

    def verdict(self, name: str, value: Any) -> str:
        """VERDICT."""
        if name not in ("jump", "goto"):
            return name
        return f"{name} {self.word(self.keys(value, name, ('target',))['target'], 'the target')}"


def _is_quoted(about: Any) -> bool:
    if not isinstance(about, dict):
        return False
    meta, ct, fib = about.get("meta"), about.get("ct"), about.get("fib")
    if isinstance(meta, dict):
        return meta.get("key") in _QUOTED_META
    if isinstance(fib, dict):
        return fib.get("result") in ("oif", "oifname")
    return "osf" in about or (isinstance(ct, dict) and ct.get("key") in ("helper", "label"))


def _is_existence(about: Any) -> bool:
    """Whether a header or option as a whole, or a route, is looked for: there or not."""
    if not isinstance(about, dict) or len(about) != 1:
        return True
    name, value = next(iter(about.items()))
    if name in ("exthdr", "tcp option", "ip option", "sctp chunk"):
        return isinstance(value, dict) and "field" not in value
    return name in ("fib", "dccp option") or (name == "rt" and value == {"key": "ipsec"})
