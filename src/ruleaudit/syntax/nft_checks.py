"""What nft refuses of a rule or a set that is written well: values that do not fit, protocols that exclude each other.

Only what is certain is said; what depends on the host (names of users, devices, hosts) or on newer versions is not.
"""

import re
from collections.abc import Sequence

from ruleaudit.source import Span
from ruleaudit.syntax.iptables import Problem
from ruleaudit.syntax.nft_selector_types import type_of
from ruleaudit.syntax.nft_tree import (
    Action,
    Assignment,
    Braces,
    Concat,
    Lookup,
    Match,
    Nat,
    Operation,
    Range,
    Reject,
    Rule,
    Selector,
    SetName,
    SetUpdate,
    Several,
    Statement,
    Table,
    Value,
    Verdict,
    VerdictMap,
    Word,
)
from ruleaudit.syntax.nft_types import TYPES, number, wrong
from ruleaudit.syntax.nft_value_checks import ValueCheck
from ruleaudit.syntax.refusal import did_you_mean

_TRANSPORTS = ("tcp", "udp", "udplite", "sctp", "dccp", "ah", "esp", "comp", "icmp", "icmpv6", "igmp")
_NUMBERS = {
    "1": "icmp", "2": "igmp", "6": "tcp", "17": "udp", "33": "dccp", "50": "esp", "51": "ah", "58": "icmpv6",
    "ipv6-icmp": "icmpv6", "132": "sctp", "136": "udplite",
}  # fmt: skip
_PROTOCOL_KEYS = ("meta l4proto", "ip protocol", "ip6 nexthdr")
_BRIDGE_KEYS = ("meta ibrname", "meta obrname", "meta ibridgename", "meta obridgename")
_TUNNELS = ("gre ", "gretap ", "vxlan ", "geneve ")
_NAMED = re.compile('(counter|quota|limit|synproxy|tunnel) name "?([^" ]+)"?')
_RATE = re.compile(
    "limit rate (?:over |until )?[0-9]+ ?(?P<unit>[a-z]*)/(?P<per>[a-z]+)(?: burst [0-9]+(?: (?P<burst>[a-z]+))?)?"
)


class RuleCheck(ValueCheck):
    """The checks of the rules of one table."""

    def __init__(self, table: Table, problems: list[Problem], complete: bool) -> None:
        super().__init__(table, problems, complete)
        self.network = table.family if table.family in ("ip", "ip6") else ""
        self.transport: frozenset[str] = frozenset()
        self.ported = False
        self.addressed = ""
        self.ended: Statement | None = None

    def rule(self, rule: Rule) -> None:
        """Everything about one rule."""
        self.network = self.table.family if self.table.family in ("ip", "ip6") else ""
        self.addressed = self.network
        self.transport, self.ported, self.ended = frozenset(), False, None
        for statement in rule.statements:
            if self.ended is not None:
                self.say(
                    statement.span, "this comes after the end of the rule and has no effect", "move it to the front"
                )
                return
            self._statement(statement)

    def _statement(self, statement: Statement) -> None:
        match statement:
            case Match(left, operator, right, _):
                types = self.types(left)
                self._selectors(left)
                self.value(right, types)
                self._depend(left, operator, right)
            case VerdictMap(key, target, _):
                self._selectors(key)
                self.map(key, target, verdict=True)
            case Assignment(selector, value, _, _):
                self._selectors(selector)
                self._assignment(selector, value)
            case SetUpdate():
                self._set_update(statement)
            case Verdict(name, chain, span):
                self.jump(name, chain, span)
                if name != "continue":
                    self.ended = statement
            case Nat():
                self._nat(statement)
                self.ended = statement
            case Reject():
                self._reject(statement)
                self.ended = statement
            case Action():
                self._action(statement)

    # -- what a rule looks at

    def _selectors(self, value: Value) -> None:
        match value:
            case Selector(text, span):
                self._selector(text, span)
            case Concat(parts) | Several(parts):
                for part in parts:
                    self._selectors(part)
            case Operation(_, left, right, _):
                self._selectors(left)
                self._selectors(right)
            case Lookup(key, _, _):
                self._selectors(key)
            case _:
                pass

    def _selector(self, text: str, span: Span) -> None:
        header, _, rest = text.partition(" ")
        if header in ("ip", "ip6"):
            self._network(header, span)
        elif header in _TRANSPORTS and not rest.startswith("option"):
            if (self.transport and header not in self.transport) or len(self.transport) > 1:
                known = " and ".join(sorted(self.transport))
                self.say(span, f"{text} cannot be looked at: the rule is about {known} before it")
            self.transport = frozenset((header,))
            if header in ("icmp", "icmpv6", "igmp") and not self.network:
                self.network = "ip6" if header == "icmpv6" else "ip"
        if header in _TRANSPORTS or text in _PROTOCOL_KEYS:
            self.ported = True
        elif header == "meta" and rest == "nfproto" and self.table.family in ("ip", "ip6", "arp"):
            self.say(span, f"meta nfproto says nothing new in a table of family {self.table.family}")
        elif header == "fib":
            self._fib(text, span)
        elif text in _BRIDGE_KEYS and self.table.family not in ("bridge", "netdev"):
            self.say(span, f"{text} is of tables of family bridge")
        elif text == "rt nexthop" and not self.network:
            self.say(span, "rt nexthop needs to know the family", "write rt ip nexthop or rt ip6 nexthop")
        elif text.startswith("tcp option ") and (number(rest.split(" ")[1].split(",")[0].strip("@")) or 0) > 255:
            self.say(span, "the number of an option is at most 255")

    def _fib(self, text: str, span: Span) -> None:
        keys = text.split(" ")[1:-1:2]
        if sum(key in ("saddr", "daddr") for key in keys) != 1:
            self.say(span, "fib needs saddr or daddr, one of them")
        elif "iif" in keys and "oif" in keys:
            self.say(span, "fib takes iif or oif, not both")

    def _network(self, header: str, span: Span) -> None:
        if self.network and self.network != header:
            where = (
                f"a table of family {self.network}"
                if self.network == self.table.family
                else f"a rule about {self.network}"
            )
            self.say(span, f"{header} cannot be looked at in {where}")
            return
        self.network = header

    def _depend(self, left: Value, operator: str, right: Value) -> None:
        """What follows from a test for those behind it."""
        if not isinstance(left, Selector):
            return
        if left.text in _PROTOCOL_KEYS and operator in ("", "=="):
            words = _constants(right)
            if words and all(word in _TRANSPORTS for word in words) and not self.transport:
                self.transport = frozenset(words)
        elif left.text in ("meta nfproto", "ether type") and operator in ("", "=="):
            known = {"ipv4": "ip", "ipv6": "ip6", "ip": "ip", "ip6": "ip6"}
            words = _constants(right)
            if len(words) == 1 and words[0] in known and not self.network:
                self.network = known[words[0]]

    # -- statements

    def _assignment(self, selector: Selector, value: Value) -> None:
        types = (type_of(selector.text),)
        match value:
            case Braces(_, span) | SetName(_, span):
                self.say(span, f"a set cannot be given to {selector.text}")
            case Lookup(key, target, _):
                self._selectors(key)
                self.map(key, target, given=types)
            case Word() | Several():
                self.value(value, types)
            case _:
                self._selectors(value)
                if _innermost(value) == selector.text:
                    self.types(value)
        if selector.text.startswith(_TUNNELS) and selector.text.count(" ") > 1:
            self.say(selector.span, "what is in a tunnel cannot be changed")
        if selector.text in ("ct helper", "ct timeout", "ct expectation") and isinstance(value, Word):
            self._object(selector.text, value.text, value.span)
        if selector.text in ("ct label",) and isinstance(value, Several):
            self.say(value.span, "one label can be set at a time")

    def _set_update(self, statement: SetUpdate) -> None:
        self._selectors(statement.key)
        if statement.operation == "meter":
            return
        known = self.table.sets.get(statement.name)
        if known is None:
            start = statement.span.start + len(statement.operation) + 1
            self.missing("set", statement.name, Span(start, start + len(statement.name) + 1), self.table.sets)

    def _nat(self, nat: Nat) -> None:
        words = nat.text.split(" ")
        named = words[1] if len(words) > 1 and words[1] in ("ip", "ip6") else ""
        family = named or self.network
        place = Span(nat.span.start, nat.span.start + len(nat.name))
        if nat.address is not None:
            if not family and self.table.family == "inet":
                self.say(
                    place, f"a table of family inet needs to know the family: {nat.name} ip to or {nat.name} ip6 to"
                )
            elif named and self.network and named != self.network:
                self.say(place, f"{nat.name} {named} in a rule about {self.network}")
            self._nat_address(nat.address, family)
        if nat.port is not None:
            self.value(nat.port, (TYPES["inet_service"],))
            if isinstance(nat.port, Lookup):
                self._selectors(nat.port.key)
            if not self.ported:
                at = nat.port.span
                self.say(at, "a port needs a test of the protocol before it", "such as meta l4proto tcp")

    def _nat_address(self, address: Value, family: str) -> None:
        type_ = {"ip": TYPES["ipv4_addr"], "ip6": TYPES["ipv6_addr"]}.get(family)
        match address:
            case Lookup(key, target, _):
                self._selectors(key)
                self.map(key, target, given=(type_,))
            case Word() | Range():
                self.value(address, (type_,))
            case Selector() | Operation() | Concat():
                self._selectors(address)
            case _:
                pass

    def _reject(self, reject: Reject) -> None:
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
        if needs and self.network and self.network != needs:
            self.say(reject.span, f"reject with {kind} in a rule about {self.network}")

    def _object(self, kind: str, name: str, span: Span) -> None:
        known = [one.name for one in self.table.objects if one.kind == kind]
        if self.complete and name not in known:
            where = f"{self.table.family} {self.table.name}"
            self.say(span, f"there is no {kind} {name} in table {where}", did_you_mean(name, known))

    def _tproxy(self, action: Action, words: Sequence[str]) -> None:
        if not self.ported:
            self.say(action.span, "tproxy needs a test of the protocol before it", "such as meta l4proto tcp")
        family = words[1] if words[1] in ("ip", "ip6") else ""
        if family and self.network and family != self.network:
            self.say(action.span, f"tproxy {family} in a rule about {self.network}")
        elif not family and self.table.family == "inet" and not self.network and not words[-1].startswith(":"):
            message = "a table of family inet needs to know the family: tproxy ip to or tproxy ip6 to"
            self.say(Span(action.span.start, action.span.start + 6), message)

    def _limit(self, action: Action) -> None:
        found = _RATE.fullmatch(action.text)
        if found is None:
            return
        if found["per"] not in ("second", "minute", "hour", "day", "week"):
            units = ("second", "minute", "hour", "day", "week")
            self.say(action.span, f'"{found["per"]}" is no unit of time', did_you_mean(found["per"], units))
        unit, burst = found["unit"], found["burst"] or ""
        if unit not in ("", "packets", "bytes", "kbytes", "mbytes") or burst not in (
            "", "packets", "bytes", "kbytes", "mbytes",
        ):  # fmt: skip
            self.say(action.span, f'"{unit}" is no unit of a rate: bytes, kbytes or mbytes')
        elif burst and _limit_unit(unit) != _limit_unit(burst):
            self.say(action.span, f"the rate counts {_limit_unit(unit)}, its burst {_limit_unit(burst)}")

    def _action(self, action: Action) -> None:
        words = action.text.split(" ")
        named = _NAMED.fullmatch(action.text)
        if named:
            self._object(named[1], named[2], Span(action.span.end - len(words[-1]), action.span.end))
        match action.name:
            case "queue":
                self.ended = action
                last = words[2].split("-")[-1] if words[1:2] == ["num"] else ""
                if (number(last) or 0) > 65535:
                    self.say(action.span, "the number of a queue is at most 65535")
            case "tproxy":
                self._tproxy(action, words)
            case "limit":
                self._limit(action)
            case "log":
                if "level" in words and "group" in words:
                    self.say(Span(action.span.start, action.span.start + 3), "log takes a level or a group, not both")
                if "level" in words:
                    level = words[words.index("level") + 1]
                    known = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit")
                    if level not in known and '"' not in action.text[: action.text.index("level")].replace('"', "", 2):
                        self.say(action.span, f'"{level}" is no level', did_you_mean(level, known))
            case _:
                pass


def _innermost(value: Value) -> str:
    while isinstance(value, Operation):
        value = value.left
    return value.text if isinstance(value, Selector) else ""


def _limit_unit(word: str) -> str:
    return "bytes" if word.endswith("bytes") else "packets"


def _constants(value: Value) -> list[str]:
    """The words that a value may be."""
    match value:
        case Word(text, _, _):
            return [_NUMBERS.get(text, text)]
        case Braces(elements, _):
            return [word for element in elements for word in _constants(element.key)]
        case _:
            return [""]
