"""What a rule of nft JSON looks at, as nft text: headers, meta, ct, routes (libnftables-json(5), EXPRESSIONS)."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from ruleaudit.syntax.refusal import Refused, did_you_mean

_NAME = re.compile(r"[A-Za-z_.][A-Za-z0-9_./-]*")
#: `sid[1]`: one of several
_FIELD = re.compile(r"[a-z0-9-]+(\[[0-9]+\])?")
_FAMILIES = ("ip", "ip6")


def only(value: Any, what: str) -> tuple[str, Any]:
    """The one key of an object and its value."""
    if not isinstance(value, dict):
        raise Refused(f"{what} must be an object, not {kind(value)}")
    if len(value) != 1:
        raise Refused(f"{what} must have one key, not {len(value)}" + (f": {', '.join(value)}" if value else ""))
    return next(iter(value.items()))


def kind(value: Any) -> str:
    """What a JSON value is called in messages."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "a number"}
    found = next((name for known, name in names.items() if isinstance(value, known)), "a fraction")
    return "null" if value is None else found


def quoted(text: str) -> str:
    """A string of nft text, which has no escapes."""
    if '"' in text or "\n" in text:
        raise Refused(f"nft has no way to write the string {text!r}")
    return f'"{text}"'


class Parts:
    """Objects, words and numbers, once they are known to be right.

    `ignored` collects what is said of keys that nft reads over.
    """

    def __init__(self) -> None:
        self.ignored: list[str] = []

    def keys(self, value: Any, what: str, needed: Iterable[str] = (), more: Iterable[str] = ()) -> dict[str, Any]:
        """The object, with all the keys that it needs."""
        if not isinstance(value, dict):
            raise Refused(f"{what} must be an object, not {kind(value)}")
        needed = tuple(needed)
        for name in needed:
            if name not in value:
                raise Refused(f'{what} lacks "{name}"')
        if len(value) > len(needed):
            known = (*needed, *more)
            for name in value:
                if name not in known:
                    hint = did_you_mean(name, known)
                    self.ignored.append(f'{what} has no "{name}"; nft reads over it' + (f" ({hint})" if hint else ""))
        return value

    def word(self, value: Any, what: str) -> str:
        """A keyword or the name of an object."""
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            raise Refused(f"{what} must be a name, not {_shown(value)}")
        return value

    def string(self, value: Any, what: str) -> str:
        """Any string."""
        if not isinstance(value, str):
            raise Refused(f"{what} must be a string, not {kind(value)}")
        return value

    def one_of(self, value: Any, known: Iterable[str], what: str) -> str:
        """One of the known words."""
        known = tuple(known)
        if value not in known:
            hint = did_you_mean(value, known) if isinstance(value, str) else ""
            raise Refused(f"{what} must be one of {', '.join(known)}, not {_shown(value)}", hint=hint)
        return str(value)

    def several_of(self, value: Any, known: Iterable[str], what: str) -> list[str]:
        """One of the known words or an array of them."""
        known = tuple(known)
        return [self.one_of(each, known, what) for each in (value if isinstance(value, list) else [value])]

    def array(self, value: Any, what: str) -> list[Any]:
        """An array."""
        if not isinstance(value, list):
            raise Refused(f"{what} must be an array, not {kind(value)}")
        return value

    def number(self, value: Any, what: str) -> int:
        """An integer that is not negative."""
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise Refused(f"{what} must be a number, not {_shown(value)}")
        return value

    def flag(self, value: Any, what: str) -> bool:
        """A boolean."""
        if not isinstance(value, bool):
            raise Refused(f"{what} must be true or false, not {_shown(value)}")
        return value


class Selectors(Parts):
    """Writes what is looked at."""

    def selectors(self) -> dict[str, Callable[[Any], str]]:
        """How each kind is written."""
        return {
            "payload": self.payload,
            "exthdr": self.exthdr,
            "tcp option": self.tcp_option,
            "ip option": lambda value: self._named(value, "ip option"),
            "sctp chunk": lambda value: self._named(value, "sctp chunk"),
            "dccp option": self.dccp_option,
            "meta": self.meta,
            "rt": self.route,
            "ct": self.ct,
            "fib": self.fib,
            "socket": self.socket,
            "osf": self.osf,
            "ipsec": self.ipsec,
            "numgen": self.numgen,
            "symhash": self.symhash,
            "tunnel": self.tunnel,
        }

    def payload(self, value: Any) -> str:
        """PAYLOAD: `ip saddr`, or `@th,16,16` for bits without a name."""
        if isinstance(value, dict) and "base" in value:
            found = self.keys(value, '"payload"', ("base", "offset", "len"))
            base = self.one_of(found["base"], ("ll", "nh", "th", "ih"), "the base of a payload")
            length = self.number(found["len"], "the length of a payload")
            if not 0 < length <= 512:
                raise Refused(f"the length of a payload is from 1 to 512 bits, not {length}")
            return f"@{base},{self.number(found['offset'], 'the offset of a payload')},{length}"
        found = self.keys(value, '"payload"', ("protocol", "field"), ("tunnel",))
        words = [self.word(found[name], f"the {name} of a payload") for name in ("protocol", "field")]
        if "tunnel" in found:
            words.insert(0, self.word(found["tunnel"], "the tunnel of a payload"))
        return " ".join(words)

    def exthdr(self, value: Any) -> str:
        """EXTHDR: `frag more-fragments`, `rt0 addr[1]`, or the header as a whole."""
        found = self.keys(value, '"exthdr"', ("name",), ("field", "offset"))
        name = self.word(found["name"], "the name of a header")
        if "field" not in found:
            return f"exthdr {name}"
        field = self.string(found["field"], "the field of a header")
        if not _FIELD.fullmatch(field):
            raise Refused(f"the field of a header must be a name, not {_shown(field)}")
        if name == "rt0" and "[" not in field:
            if "offset" not in found:
                raise Refused('"exthdr" of rt0 lacks "offset"')
            return f"{name} {field}[{self.number(found['offset'], 'an offset')}]"
        return f"{name} {field}"

    def tcp_option(self, value: Any) -> str:
        """TCP OPTION: by name, or `@kind,offset,length`; without bits it is the option as a whole."""
        if isinstance(value, dict) and "base" in value:
            found = self.keys(value, '"tcp option"', ("base", "offset", "len"))
            at, offset, length = (self.number(found[key], f"{key} of an option") for key in ("base", "offset", "len"))
            if at > 255 or length > 512:
                raise Refused("a tcp option has a kind up to 255 and a length up to 512 bits")
            return f"tcp option {at}" if offset == 0 and length in (0, 8) else f"tcp option @{at},{offset},{length}"
        return self._named(value, "tcp option")

    def _named(self, value: Any, what: str) -> str:
        found = self.keys(value, f'"{what}"', ("name",), ("field",))
        text = f"{what} {self.word(found['name'], f'the name of {what}')}"
        return f"{text} {self.word(found['field'], f'the field of {what}')}" if "field" in found else text

    def dccp_option(self, value: Any) -> str:
        """`dccp option 20`."""
        found = self.keys(value, '"dccp option"', ("type",))
        return f"dccp option {self.number(found['type'], 'the type of a dccp option')}"

    def meta(self, value: Any) -> str:
        """META."""
        found = self.keys(value, '"meta"', ("key",))
        return f"meta {self.word(found['key'], 'the key of meta')}"

    def route(self, value: Any) -> str:
        """RT."""
        found = self.keys(value, '"rt"', ("key",), ("family",))
        return f"rt {self._family(found)}{self.word(found['key'], 'the key of rt')}"

    def _family(self, found: dict[str, Any]) -> str:
        return self.one_of(found["family"], _FAMILIES, "the family") + " " if "family" in found else ""

    def ct(self, value: Any) -> str:
        """CT: `ct state`, `ct original ip saddr`; the key may hold the family, too."""
        found = self.keys(value, '"ct"', ("key",), ("family", "dir"))
        side = self.one_of(found["dir"], ("original", "reply"), "the direction of ct") + " " if "dir" in found else ""
        key = " ".join(self.word(part, "the key of ct") for part in str(found["key"]).split(" "))
        return f"ct {side}{self._family(found)}{key}"

    def fib(self, value: Any) -> str:
        """FIB: `fib saddr . iif oif`."""
        found = self.keys(value, '"fib"', ("result", "flags"))
        result = self.one_of(found["result"], ("oif", "oifname", "type", "check"), "the result of fib")
        flags = self.several_of(found["flags"], ("saddr", "daddr", "mark", "iif", "oif"), "the flags of fib")
        if ("saddr" in flags) == ("daddr" in flags):
            raise Refused("fib needs saddr or daddr, and not both")
        if "iif" in flags and "oif" in flags:
            raise Refused("fib takes iif or oif, not both")
        return f"fib {' . '.join(flags)} {result}"

    def socket(self, value: Any) -> str:
        """SOCKET."""
        found = self.keys(value, '"socket"', ("key",), ("level",))
        key = self.word(found["key"], "the key of socket")
        return f"socket {key} level {self.number(found['level'], 'the level')}" if "level" in found else f"socket {key}"

    def osf(self, value: Any) -> str:
        """OSF."""
        found = self.keys(value, '"osf"', ("key",), ("ttl",))
        key = self.one_of(found["key"], ("name", "version"), "the key of osf")
        ttl = "ttl " + self.one_of(found["ttl"], ("loose", "skip"), "the ttl of osf") + " " if "ttl" in found else ""
        return f"osf {ttl}{key}"

    def ipsec(self, value: Any) -> str:
        """`ipsec in spnum 1 ip saddr`: the end of a policy."""
        found = self.keys(value, '"ipsec"', ("key",), ("family", "dir", "spnum"))
        words = ["ipsec"]
        if "dir" in found:
            words.append(self.one_of(found["dir"], ("in", "out"), "the direction of ipsec"))
        if found.get("spnum"):
            words.append(f"spnum {self.number(found['spnum'], 'spnum')}")
        return f"{' '.join(words)} {self._family(found)}{self.word(found['key'], 'the key of ipsec')}"

    def numgen(self, value: Any) -> str:
        """NUMGEN."""
        found = self.keys(value, '"numgen"', ("mode", "mod"), ("offset",))
        mode = self.one_of(found["mode"], ("inc", "random"), "the mode of numgen")
        return f"numgen {mode} mod {self.number(found['mod'], 'mod')}{self.offset(found)}"

    def symhash(self, value: Any) -> str:
        """HASH: `symhash mod 2`."""
        found = self.keys(value, '"symhash"', ("mod",), ("offset",))
        return f"symhash mod {self.number(found['mod'], 'mod')}{self.offset(found)}"

    def offset(self, found: dict[str, Any]) -> str:
        """` offset 100`, where it is not 0."""
        return f" offset {self.number(found['offset'], 'offset')}" if found.get("offset") else ""

    def tunnel(self, value: Any) -> str:
        """`tunnel path`, `tunnel id`."""
        found = self.keys(value, '"tunnel"', ("key",))
        return f"tunnel {self.word(found['key'], 'the key of tunnel')}"


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value) if type(value) is int else kind(value)
