"""Statements of nft JSON as nft text: libnftables-json(5), STATEMENTS."""

from collections.abc import Callable
from typing import Any

from ruleaudit.syntax.nft_json_selectors import only, quoted
from ruleaudit.syntax.nft_json_text import NAMES, STATEFUL, VERDICTS, Expressions, duration, is_flags
from ruleaudit.syntax.refusal import Refused, did_you_mean

_OPERATORS = ("==", "!=", "<", ">", "<=", ">=", "in", "!")
_SIZES = ("bytes", "kbytes", "mbytes")
_NAT_FLAGS = ("random", "fully-random", "persistent", "netmap")
_LOG_FLAGS = ("tcp sequence", "tcp options", "ip options", "skuid", "ether", "all")
_LOG_LEVELS = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit")


def expression(value: Any) -> str:
    """One expression as nft text.

    >>> expression({"payload": {"protocol": "ip", "field": "saddr"}})
    'ip saddr'
    """
    return Statements().expression(value)


def statements(values: list[Any]) -> str:
    """The statements of a rule as nft text.

    >>> statements([{"counter": None}, {"drop": None}])
    'counter drop'
    """
    write = Statements()
    return " ".join(write.statement(value) for value in values)


class Statements(Expressions):
    """Writes statements."""

    def __init__(self) -> None:
        super().__init__()
        self._statements: dict[str, Callable[[Any], str]] = {
            "match": self.match,
            "vmap": self.vmap,
            "counter": self.counter,
            "mangle": self.mangle,
            "quota": self.quota,
            "limit": self.limit,
            "fwd": self.forward,
            "notrack": lambda value: "notrack",
            "dup": self.dup,
            "snat": lambda value: self.nat("snat", value),
            "dnat": lambda value: self.nat("dnat", value),
            "masquerade": lambda value: self.nat("masquerade", value),
            "redirect": lambda value: self.nat("redirect", value),
            "reject": self.reject,
            "set": self.set_statement,
            "map": self.map_statement,
            "log": self.log,
            "ct helper": lambda value: f"ct helper set {self.expression(value, NAMES)}",
            "ct timeout": lambda value: f"ct timeout set {self.expression(value, NAMES)}",
            "ct expectation": lambda value: f"ct expectation set {self.expression(value, NAMES)}",
            "ct count": self.ct_count,
            "meter": self.meter,
            "queue": self.queue,
            "flow": self.flow,
            "tproxy": lambda value: self.nat("tproxy", value),
            "synproxy": self.synproxy,
            "reset": lambda value: f"reset {self.expression(value)}",
            "secmark": lambda value: f"meta secmark set {self.expression(value, NAMES)}",
            "last": self.last,
            "tunnel": lambda value: f"tunnel name {self.expression(value, NAMES)}",
            "xt": self.xt,
        }

    def statement(self, value: Any) -> str:
        """Any statement."""
        name, inner = only(value, "a statement")
        if name in VERDICTS:
            return self.verdict(name, inner)
        write = self._statements.get(name)
        if write is None:
            hint = did_you_mean(name, (*self._statements, *VERDICTS))
            raise Refused(f'unknown statement "{name}"', hint=hint)
        return write(inner)

    def stateful(self, value: dict[str, Any]) -> list[str]:
        return [self._statements[name](value[name]) for name in STATEFUL if name in value]

    def match(self, value: Any) -> str:
        """MATCH; `in` is what nft text means by no operator."""
        found = self.keys(value, '"match"', ("op", "left", "right"))
        left, right = found["left"], found["right"]
        sign = self.one_of(found["op"], _OPERATORS, "the operator")
        if sign == "in" or (sign == "==" and not _needs_equals(left, right)):
            sign = ""
        return " ".join(part for part in (self.expression(left), sign, self.expression(right, left)) if part)

    def vmap(self, value: Any) -> str:
        """VERDICT MAP."""
        found = self.keys(value, '"vmap"', ("key", "data"))
        return f"{self.expression(found['key'])} vmap {self.mapping(found['key'], found['data'])}"

    def counter(self, value: Any) -> str:
        """COUNTER: in place, or a named one."""
        if value is None:
            return "counter"
        if not isinstance(value, dict) or "map" in value:
            return f"counter name {self.expression(value, NAMES)}"
        found = self.keys(value, '"counter"', ("packets", "bytes"))
        return (
            f"counter packets {self.number(found['packets'], 'packets')} bytes {self.number(found['bytes'], 'bytes')}"
        )

    def mangle(self, value: Any) -> str:
        """MANGLE."""
        found = self.keys(value, '"mangle"', ("key", "value"))
        name, _ = only(found["key"], "what is set")
        self.one_of(name, ("payload", "exthdr", "tcp option", "ip option", "sctp chunk", "meta", "ct"), "what is set")
        return f"{self.expression(found['key'])} set {self.expression(found['value'], found['key'])}"

    def quota(self, value: Any) -> str:
        """QUOTA: in place, or a named one."""
        if not isinstance(value, dict) or "map" in value:
            return f"quota name {self.expression(value, NAMES)}"
        found = self.keys(value, '"quota"', ("val",), ("val_unit", "used", "used_unit", "inv"))
        text = "quota over " if self.flag(found.get("inv", False), "inv") else "quota "
        text += f"{self.number(found['val'], 'val')} {self.one_of(found.get('val_unit', 'bytes'), _SIZES, 'val_unit')}"
        if found.get("used"):
            unit = self.one_of(found.get("used_unit", "bytes"), _SIZES, "used_unit")
            text += f" used {self.number(found['used'], 'used')} {unit}"
        return text

    def limit(self, value: Any) -> str:
        """LIMIT: in place, or a named one."""
        if not isinstance(value, dict) or "map" in value:
            return f"limit name {self.expression(value, NAMES)}"
        return f"limit {self.rate(value)}"

    def rate(self, value: Any, more: tuple[str, ...] = ()) -> str:
        """`rate over 10/second burst 5 packets`."""
        found = self.keys(value, '"limit"', ("rate", "per"), ("rate_unit", "burst", "burst_unit", "inv", *more))
        unit = self.one_of(found.get("rate_unit", "packets"), ("packets", *_SIZES), "rate_unit")
        per = self.one_of(found["per"], ("second", "minute", "hour", "day", "week"), "per")
        text = "rate over " if self.flag(found.get("inv", False), "inv") else "rate "
        text += f"{self.number(found['rate'], 'rate')}{'' if unit == 'packets' else f' {unit}'}/{per}"
        burst = self.number(found.get("burst", 0), "burst")
        size = self.one_of(found.get("burst_unit", "bytes"), ("packets", *_SIZES), "burst_unit")
        if burst:
            text += f" burst {burst} {'packets' if unit == 'packets' else size}"
        return text

    def last(self, value: Any) -> str:
        """`last`, and how long ago it was."""
        found = self.keys(value, '"last"', (), ("used",)) if value is not None else {}
        return f"last used {duration(self.number(found['used'], 'used') // 1000)}" if "used" in found else "last"

    def forward(self, value: Any) -> str:
        """FWD."""
        found = self.keys(value, '"fwd"', ("dev",), ("family", "addr"))
        device = self.expression(found["dev"], NAMES)
        if ("family" in found) != ("addr" in found):
            raise Refused('"fwd" takes "family" and "addr" together')
        if "addr" not in found:
            return f"fwd to {device}"
        family = self.one_of(found["family"], ("ip", "ip6"), "the family")
        return f"fwd {family} to {self.expression(found['addr'])} device {device}"

    def dup(self, value: Any) -> str:
        """DUP: to an address, or in a netdev table to a device."""
        found = self.keys(value, '"dup"', ("addr",), ("dev",))
        text = f"dup to {self.expression(found['addr'])}"
        return f"{text} device {self.expression(found['dev'], NAMES)}" if "dev" in found else text

    def nat(self, name: str, value: Any) -> str:
        """NETWORK ADDRESS TRANSLATION, and tproxy."""
        found = self.keys(value, f'"{name}"', (), ("addr", "family", "port", "flags", "type_flags")) if value else {}
        words = [name]
        if "family" in found and name in ("snat", "dnat", "tproxy"):
            words.append(self.one_of(found["family"], ("ip", "ip6"), "the family"))
        flags = self.several_of(found.get("flags", []), _NAT_FLAGS, "flags")
        kinds = self.several_of(found.get("type_flags", []), ("interval", "prefix", "concat"), "type_flags")
        if "netmap" in flags or "prefix" in kinds:
            words.append("prefix")
        if "addr" in found or "port" in found:
            words.append(f"to {self.target(found)}")
        shown = [flag for flag in flags if flag != "netmap"]
        return " ".join((*words, ",".join(shown))) if shown else " ".join(words)

    def target(self, found: dict[str, Any]) -> str:
        """`address:port`; IPv6 addresses beside a port stand in brackets."""
        address = self.expression(found["addr"]) if "addr" in found else ""
        if "port" not in found:
            return address
        if ":" in address and isinstance(found["addr"], str):
            address = f"[{address}]"
        elif ":" in address and isinstance(found["addr"], dict) and "range" in found["addr"]:
            address = "-".join(f"[{end}]" for end in address.split("-"))
        return f"{address}:{self.expression(found['port'])}"

    def reject(self, value: Any) -> str:
        """REJECT."""
        found = self.keys(value, '"reject"', (), ("type", "expr")) if value else {}
        if "type" not in found:
            return "reject"
        sort = self.one_of(found["type"], ("tcp reset", "icmpx", "icmp", "icmpv6"), "the type of reject")
        if "expr" not in found:
            return f"reject with {sort}" if sort == "tcp reset" else "reject"
        return f"reject with {sort} {self.expression(found['expr'])}"

    def set_statement(self, value: Any) -> str:
        """SET: `add @seen { ip saddr timeout 1m limit rate 1/second }`."""
        found = self.keys(value, '"set"', ("op", "elem", "set"), ("stmt",))
        return self._update(found, found["set"], "")

    def map_statement(self, value: Any) -> str:
        """`add @seen { ip saddr : meta mark }`."""
        found = self.keys(value, '"map"', ("op", "elem", "data", "map"), ("stmt",))
        return self._update(found, found["map"], f" : {self.expression(found['data'])}")

    def _update(self, found: dict[str, Any], name: Any, data: str) -> str:
        operation = self.one_of(found["op"], ("add", "update", "delete"), "op")
        if not isinstance(name, str) or name[:1] != "@":
            raise Refused("the set that is changed must be a string that begins with @")
        inside = [self.key_with_options(found["elem"])]
        inside += (self.statement(each) for each in self.array(found.get("stmt", []), '"stmt"'))
        return f"{operation} {self.immediate(name, None)} {{ {' '.join(inside)}{data} }}"

    def key_with_options(self, value: Any) -> str:
        """The key of a set statement; its options stand before its statements."""
        if not isinstance(value, dict) or "elem" not in value:
            return self.expression(value)
        found = self.keys(value["elem"], '"elem"', ("val",), ("timeout", "expires", "comment", *STATEFUL))
        return " ".join((self.expression(found["val"]), *self.options(found), *self.stateful(found)))

    def log(self, value: Any) -> str:
        """LOG."""
        known = ("prefix", "group", "snaplen", "queue-threshold", "level", "flags")
        found = self.keys(value, '"log"', (), known) if value else {}
        words = ["log"]
        if "prefix" in found:
            words.append(f"prefix {quoted(self.string(found['prefix'], 'the prefix'))}")
        words += (f"{name} {self.number(found[name], name)}" for name in known[1:4] if name in found)
        if "level" in found:
            words.append(f"level {self.one_of(found['level'], _LOG_LEVELS, 'the level')}")
        flags = self.several_of(found.get("flags", []), _LOG_FLAGS, "flags")
        tcp = ",".join(flag.removeprefix("tcp ") for flag in flags if flag.startswith("tcp "))
        if tcp:
            words.append(f"flags tcp {tcp}")
        words += (f"flags {flag}" for flag in flags if not flag.startswith("tcp "))
        return " ".join(words)

    def ct_count(self, value: Any) -> str:
        """CT COUNT."""
        found = self.keys(value, '"ct count"', ("val",), ("inv",))
        over = "over " if self.flag(found.get("inv", False), "inv") else ""
        return f"ct count {over}{self.number(found['val'], 'val')}"

    def meter(self, value: Any) -> str:
        """METER."""
        found = self.keys(value, '"meter"', ("name", "key", "stmt"), ("size",))
        size = f" size {self.number(found['size'], 'size')}" if "size" in found else ""
        name = self.word(found["name"], "the name of a meter")
        return f"meter {name}{size} {{ {self.key_with_options(found['key'])} {self.statement(found['stmt'])} }}"

    def queue(self, value: Any) -> str:
        """QUEUE."""
        found = self.keys(value, '"queue"', (), ("num", "flags")) if value else {}
        flags = self.several_of(found.get("flags", []), ("bypass", "fanout"), "flags")
        words = ["queue"]
        if flags:
            words.append(f"flags {','.join(flags)}")
        if flags or "num" in found:
            words.append(f"to {self.expression(found.get('num', 0))}")
        return " ".join(words)

    def flow(self, value: Any) -> str:
        """`flow add @table`."""
        found = self.keys(value, '"flow"', ("op", "flowtable"))
        self.one_of(found["op"], ("add",), "op")
        return f"flow add {self.immediate(self.string(found['flowtable'], 'the flowtable'), None)}"

    def synproxy(self, value: Any) -> str:
        """`synproxy mss 1460 wscale 7 timestamp sack-perm`, or a named one."""
        if isinstance(value, str) or (isinstance(value, dict) and "map" in value):
            return f"synproxy name {self.expression(value, NAMES)}"
        found = self.keys(value, '"synproxy"', (), ("mss", "wscale", "flags")) if value is not None else {}
        words = [f"{name} {self.number(found[name], name)}" for name in ("mss", "wscale") if name in found]
        words += self.several_of(found.get("flags", []), ("timestamp", "sack-perm"), "flags")
        return " ".join(("synproxy", *words))

    def xt(self, value: Any) -> str:
        """XT: a match or target of iptables-nft; nft lists it and refuses it."""
        found = self.keys(value, '"xt"', ("type", "name"))
        return f"xt {self.word(found['type'], 'the type')} {quoted(self.string(found['name'], 'the name'))}"


def _needs_equals(left: Any, right: Any) -> bool:
    """Whether `==` must be written: flags would be tested bit by bit, and an operation runs into its value."""
    if isinstance(left, dict) and next(iter(left), "") in ("&", "|", "^", "<<", ">>"):
        return True
    if (isinstance(right, dict) and "set" in right) or (isinstance(right, str) and right[:1] == "@"):
        return False
    return is_flags(left)
