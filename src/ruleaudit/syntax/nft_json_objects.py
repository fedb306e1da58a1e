"""Named objects and the settings of sets of nft JSON as nft text: libnftables-json(5), RULESET ELEMENTS."""

from typing import Any

from ruleaudit.syntax.nft_json_selectors import kind, only, quoted
from ruleaudit.syntax.nft_json_statements import Statements
from ruleaudit.syntax.nft_json_text import duration
from ruleaudit.syntax.refusal import Refused

_RATE = ("rate", "per")
#: the keys that an object needs besides its family, table and name, and those that it may have
_KEYS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "counter": ((), ("packets", "bytes")),
    "quota": ((), ("bytes", "used", "inv")),
    "limit": (_RATE, ("rate_unit", "burst", "burst_unit", "unit", "inv")),
    "secmark": ((), ("context",)),
    "synproxy": (("mss", "wscale"), ("flags",)),
    "ct helper": ((), ("type", "protocol", "l3proto")),
    "ct timeout": ((), ("protocol", "l3proto", "policy", "state", "value")),
    "ct expectation": ((), ("l3proto", "protocol", "dport", "timeout", "size")),
    "flowtable": (("hook", "prio"), ("dev", "flags", "counter")),
    "tunnel": (
        ("id",),
        ("src-ipv4", "src-ipv6", "dst-ipv4", "dst-ipv6", "sport", "dport", "tos", "ttl", "type", "tunnel"),
    ),
}
_SET_FLAGS = ("constant", "interval", "timeout", "dynamic")


class Objects(Statements):
    """Writes what stands between the braces of objects and sets."""

    objects = tuple(_KEYS)

    def keys_of(self, what: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The keys that an object needs, and may have."""
        return _KEYS[what]

    def object(self, what: str, found: dict[str, Any]) -> str:
        """The inside of a named object."""
        comment = [f"comment {quoted(self.string(found['comment'], 'a comment'))}"] if "comment" in found else []
        own = {name: value for name, value in found.items() if name in (*_KEYS[what][0], *_KEYS[what][1])}
        return " ; ".join((*self._parts(what, own), *comment, ""))

    def _parts(self, what: str, own: dict[str, Any]) -> list[str]:
        match what:
            case "counter":
                return [f"packets {self._count(own, 'packets')} bytes {self._count(own, 'bytes')}"]
            case "quota":
                over = "over " if self.flag(own.get("inv", False), "inv") else ""
                return [f"{over}{self._count(own, 'bytes')} bytes used {self._count(own, 'used')} bytes"]
            case "limit":
                return [self.rate({name: value for name, value in own.items() if name != "unit"})]
            case "secmark":
                return [quoted(self.string(own.get("context", ""), "the context of a secmark"))]
            case "synproxy":
                flags = self.several_of(own.get("flags", []), ("timestamp", "sack-perm"), "flags")
                return [" ".join((f"mss {self._count(own, 'mss')} wscale {self._count(own, 'wscale')}", *flags))]
            case "flowtable":
                return self._flowtable(own)
            case "ct helper":
                return [f"type {quoted(self.string(own.get('type', ''), 'the type'))} protocol {self._protocol(own)}"]
            case _:
                return [f"{name} {self._setting(value)}" for name, value in own.items()]

    def _count(self, found: dict[str, Any], name: str) -> int:
        return self.number(found.get(name, 0), name)

    def _protocol(self, found: dict[str, Any]) -> str:
        return self.one_of(found.get("protocol", "tcp"), ("tcp", "udp"), "the protocol")

    def _setting(self, value: Any) -> str:
        if isinstance(value, dict):
            return "{ " + ", ".join(f"{name} : {self._setting(inner)}" for name, inner in value.items()) + " }"
        if isinstance(value, list):
            return "{ " + ", ".join(self._setting(inner) for inner in value) + " }"
        if value is None or isinstance(value, float):
            raise Refused(f"a setting must be a number or a name, not {kind(value)}")
        return self.expression(value)

    def _flowtable(self, own: dict[str, Any]) -> list[str]:
        if isinstance(own["prio"], bool) or not isinstance(own["prio"], int):
            raise Refused(f"the priority of a flowtable must be a number, not {kind(own['prio'])}")
        parts = [f"hook {self.word(own['hook'], 'the hook')} priority {own['prio']}"]
        devices = own.get("dev", [])
        devices = [
            quoted(self.string(each, "a device")) for each in (devices if isinstance(devices, list) else [devices])
        ]
        return parts + ([f"devices = {{ {', '.join(devices)} }}"] if devices else [])

    # -- sets

    def set_type(self, value: Any) -> str:
        """SET_TYPE: a name, an array of names, or `typeof`."""
        if isinstance(value, dict):
            name, inner = only(value, "the type of a set")
            self.one_of(name, ("typeof",), "the type of a set")
            return self.expression(inner)
        names = value if isinstance(value, list) else [value]
        if isinstance(value, list) and len(value) < 2:
            raise Refused("an array of types has at least two")
        return " . ".join(self.set_type(each) if isinstance(each, dict) else self._type(each) for each in names)

    def _type(self, value: Any) -> str:
        """One type; several may stand in one string, and a map may give objects."""
        if value in ("ct helper", "ct timeout", "ct expectation"):
            return str(value)
        return " . ".join(self.word(part, "a type") for part in self.string(value, "a type").split(" . "))

    def settings(self, found: dict[str, Any]) -> str:
        """Flags, timeouts and sizes."""
        parts: list[str] = []
        if "flags" in found:
            flags = found["flags"]
            parts += [f"flags {','.join(self.several_of(flags, _SET_FLAGS, 'the flags of a set'))}"] if flags else []
        for name in ("timeout", "gc-interval"):
            if name in found:
                parts.append(f"{name} {duration(self.number(found[name], name))}")
        if "size" in found:
            parts.append(f"size {self.number(found['size'], 'size')}")
        if "policy" in found:
            parts.append(f"policy {self.one_of(found['policy'], ('performance', 'memory'), 'the policy of a set')}")
        if "auto-merge" in found and self.flag(found["auto-merge"], "auto-merge"):
            parts.append("auto-merge")
        if "comment" in found:
            parts.append(f"comment {quoted(self.string(found['comment'], 'a comment'))}")
        parts += (self.statement(each) for each in self.array(found.get("stmt", []), '"stmt"'))
        return "".join(f"{part} ; " for part in parts)
