"""What nft refuses of statements that change, translate or refuse packets, or put them into sets."""

import re

from ruleaudit.source import Span
from ruleaudit.syntax.nft_protocol_checks import ProtocolCheck
from ruleaudit.syntax.nft_selector_types import type_of
from ruleaudit.syntax.nft_tree import (
    Assignment,
    Braces,
    Concat,
    Lookup,
    Nat,
    Operation,
    Range,
    Reject,
    Selector,
    SetName,
    SetUpdate,
    Several,
    Value,
    Word,
)
from ruleaudit.syntax.nft_types import TYPES, wrong
from ruleaudit.syntax.nft_value_checks import alike, key_types, names
from ruleaudit.syntax.refusal import did_you_mean

#: what a rule can give another value to; of the other headers, fields of the packet
_SETTABLE = {
    "meta": ("mark", "priority", "pkttype", "nftrace", "secmark", "broute"),
    "ct": ("mark", "label", "event", "zone", "helper", "timeout", "expectation", "secmark"),
    "rt": (), "socket": (), "fib": (), "osf": (), "exthdr": (), "numgen": (), "symhash": (), "ipsec": (),
}  # fmt: skip
_TUNNELS = ("gre ", "gretap ", "vxlan ", "geneve ")
_TIMEOUT = re.compile(r"\btimeout [0-9]")


class StatementCheck(ProtocolCheck):
    """Checks the statements that have a node of their own."""

    def assignment(self, statement: Assignment) -> None:
        """`meta mark set 1`."""
        selector, value = statement.selector, statement.value
        self.selectors(selector)
        header, _, rest = selector.text.partition(" ")
        changed = rest.split(" ")[-1]
        if changed not in _SETTABLE.get(header, (changed,)):
            known = ", ".join(f"{header} {each}" for each in _SETTABLE[header])
            self.say(selector.span, f"{selector.text} cannot be changed", f"of {header}: {known}" if known else "")
            return
        types = (type_of(selector.text),)
        if selector.text == "ct helper":
            types = (TYPES["string"],)  # the name of an object
        match value:
            case Braces(_, span) | SetName(_, span):
                self.say(span, f"a set cannot be given to {selector.text}")
            case Lookup(key, target, _):
                self.selectors(key)
                self.map(key, target, given=types)
            case Word() | Several():
                self.value(value, types)
            case Operation() if not _looks(value):
                self.value(value, types)
            case _:
                self.selectors(value)
                if _innermost(value) == selector.text:
                    self.types(value)
        if selector.text.startswith(_TUNNELS) and selector.text.count(" ") > 1:
            self.say(selector.span, "what is in a tunnel cannot be changed")
        if selector.text in ("ct helper", "ct timeout", "ct expectation") and isinstance(value, Word):
            self.object(selector.text, value.text, value.span)
        if selector.text in ("ct label",) and isinstance(value, Several):
            self.say(value.span, "one label can be set at a time")

    def set_update(self, statement: SetUpdate) -> None:
        """`add @s { ip saddr }`."""
        self.selectors(statement.key)
        if statement.operation == "meter":
            return
        start = statement.span.start + len(statement.operation) + 1
        place = Span(start, start + len(statement.name) + 1)
        known = self.table.sets.get(statement.name)
        if known is None:
            self.missing("set", statement.name, place, self.table.sets)
            return
        wanted, has = names(key_types(known)), names(self.types(statement.key))
        if len(wanted) != len(has) or any(a and b and not alike(a, b) for a, b in zip(wanted, has, strict=True)):
            if all(wanted) and all(has):
                held, given = " . ".join(known.key), " . ".join(has)
                self.say(statement.key.span, f"set {known.name} holds {held}, and this is {given}")
        elif "interval" in known.flags:
            self.say(place, f"set {known.name} has the flag interval: rules cannot change it", "flags dynamic")
        elif known.key and not known.timeout and "timeout" not in known.flags and _TIMEOUT.search(statement.text):
            self.say(place, f"set {known.name} has not the flag timeout", "add: flags timeout")

    def nat(self, nat: Nat) -> None:
        """`dnat to 10.0.0.1:80`."""
        words = nat.text.split(" ")
        named = words[1] if len(words) > 1 and words[1] in ("ip", "ip6") else ""
        family = named or self.network
        place = Span(nat.span.start, nat.span.start + len(nat.name))
        if self.table.family not in ("ip", "ip6", "inet"):
            self.say(place, f"{nat.name} cannot be in a table of family {self.table.family}", "write inet, ip or ip6")
            return
        if nat.address is not None:
            if not family and self.table.family == "inet":
                self.say(
                    place, f"a table of family inet needs to know the family: {nat.name} ip to or {nat.name} ip6 to"
                )
            elif named and self.network and named != self.network:
                self.say(place, f"{nat.name} {named} in a rule about {self.network}")
            self._nat_address(nat.address, family)
        if nat.port is not None:
            self._nat_port(nat.name, nat.port)

    def _nat_port(self, name: str, port: Value) -> None:
        if isinstance(port, Word) and wrong(TYPES["ipv4_addr"], port.text) is None and "." in port.text:
            hint = f"snat to {port.text}" if name == "masquerade" else f"dnat to {port.text}"
            self.say(port.span, f"{name} takes the address of the device, and no other", hint)
            return
        self.value(port, (TYPES["inet_service"],))
        if isinstance(port, Lookup):
            self.selectors(port.key)
        if not self.ported:
            self._needs_protocol(port.span)

    def _needs_protocol(self, span: Span) -> None:
        self.say(span, "a port needs a test of the protocol before it", "such as meta l4proto tcp")

    def _nat_address(self, address: Value, family: str) -> None:
        type_ = {"ip": TYPES["ipv4_addr"], "ip6": TYPES["ipv6_addr"]}.get(family)
        match address:
            case Lookup(key, target, span):
                self.selectors(key)
                self.map(key, target, given=(type_,))
                if not self.ported and self._gives_port(target):
                    self._needs_protocol(span)
            case Word() | Range():
                self.value(address, (type_,))
            case Selector() | Operation() | Concat():
                self.selectors(address)
            case _:
                pass

    def _gives_port(self, target: Value) -> bool:
        """Whether a map gives addresses with ports."""
        match target:
            case Braces(elements, _):
                return any(isinstance(element.data, Concat) for element in elements)
            case SetName(name, _) if name in self.table.sets:
                return self.table.sets[name].data.endswith(" . inet_service")
            case _:
                return False

    def reject(self, reject: Reject) -> None:
        """`reject with tcp reset`."""
        network = self.family or self.network
        if network == "arp" and self.table.family != "inet":
            self.say(Span(reject.span.start, reject.span.start + 6), "arp cannot be rejected", "write drop")
            return
        kind, _, code = reject.kind.partition(" ")
        if not kind:
            return
        place = Span(reject.span.end - len(code.strip('"')), reject.span.end) if code else reject.span
        if kind == "tcp":
            if code != "reset":
                self.say(place, f'tcp {code}: only "tcp reset" is known')
            elif self.transport and "tcp" not in self.transport:
                self.say(reject.span, f"a reset answers TCP, and the rule is about {' and '.join(self.transport)}")
            return
        known = {"icmp": "icmp_code", "icmpv6": "icmpv6_code", "icmpx": "icmpx_code"}.get(kind)
        if known is None:
            self.say(reject.span, f'reject with "{kind}"', did_you_mean(kind, ("icmp", "icmpv6", "icmpx", "tcp")))
            return
        found = wrong(TYPES[known], code)
        if found is not None:
            self.say(place, found.message, found.hint)
        needs = {"icmp": "ip", "icmpv6": "ip6"}.get(kind)
        if needs and network and network != needs:
            self.say(reject.span, f"reject with {kind} in a rule about {network}")

    def object(self, kind: str, name: str, span: Span) -> None:
        """The name of a counter, quota, helper... that must be in the table."""
        known = [one.name for one in self.table.objects if one.kind == kind]
        if self.complete and name not in known:
            where = f"{self.table.family} {self.table.name}"
            self.say(span, f"there is no {kind} {name} in table {where}", did_you_mean(name, known))


def _looks(value: Value) -> bool:
    """Whether something of the packet is in a value."""
    match value:
        case Operation(_, left, right, _):
            return _looks(left) or _looks(right)
        case Word():
            return False
        case _:
            return True


def _innermost(value: Value) -> str:
    while isinstance(value, Operation):
        value = value.left
    return value.text if isinstance(value, Selector) else ""
