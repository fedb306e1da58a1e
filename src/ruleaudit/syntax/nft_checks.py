"""What nft refuses of a rule or a set that is written well: values that do not fit, protocols that exclude each other.

Only what is certain is said; what depends on the host (names of users, devices, hosts) or on newer versions is not.
"""

from collections.abc import Callable, Sequence

from ruleaudit.source import Span
from ruleaudit.syntax.iptables import Problem
from ruleaudit.syntax.nft_tree import (
    Action,
    Assignment,
    Braces,
    Concat,
    Element,
    Lookup,
    Match,
    Nat,
    Operation,
    Range,
    Reject,
    Rule,
    Selector,
    Set,
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
from ruleaudit.syntax.nft_types import OTHER_TYPES, TYPES, Type, number, type_of, wrong
from ruleaudit.syntax.refusal import did_you_mean

_TRANSPORTS = ("tcp", "udp", "udplite", "sctp", "dccp", "ah", "esp", "comp")
_WITH_PORTS = ("tcp", "udp", "udplite", "sctp", "dccp", "th")
_PROTOCOL_KEYS = ("meta l4proto", "ip protocol", "ip6 nexthdr")
Types = tuple[Type | None, ...]


class RuleCheck:
    """The checks of the rules of one table; `complete` says whether everything that they name is in the file."""

    def __init__(self, table: Table, problems: list[Problem], complete: bool) -> None:
        self.table, self.problems, self.complete = table, problems, complete
        self.network = table.family if table.family in ("ip", "ip6") else ""
        self.transport: frozenset[str] = frozenset()
        self.ported = False
        self.addressed = ""
        self.ended: Statement | None = None

    def say(self, span: Span, message: str, hint: str = "") -> None:
        """One more problem."""
        self.problems.append(Problem(span, message, hint))

    def rule(self, rule: Rule) -> None:
        """Everything about one rule."""
        self.network = self.table.family if self.table.family in ("ip", "ip6") else ""
        self.addressed = self.network
        self.transport, self.ported, self.ended = frozenset(), False, None
        for statement in rule.statements:
            if self.ended is not None:
                self.say(statement.span, "this comes after the end of the rule and has no effect", "move it to the front")
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
                self._map(key, target, verdict=True)
            case Assignment(selector, value, _, _):
                self._selectors(selector)
                self._assignment(selector, value)
            case SetUpdate():
                self._set_update(statement)
            case Verdict(name, chain, span):
                self._jump(name, chain, span)
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
        elif header in _TRANSPORTS:
            if self.transport and header not in self.transport or len(self.transport) > 1:
                known = " and ".join(sorted(self.transport))
                self.say(span, f"{text} cannot be looked at: the rule is about {known} before it")
            self.transport = frozenset((header,))
        if header in _WITH_PORTS or text in _PROTOCOL_KEYS:
            self.ported = True
        elif header == "meta" and rest == "nfproto" and self.table.family in ("ip", "ip6", "arp"):
            self.say(span, f"meta nfproto says nothing new in a table of family {self.table.family}")
        elif header == "fib":
            self._fib(text, span)

    def _fib(self, text: str, span: Span) -> None:
        keys = text.split(" ")[1:-1:2]
        if sum(key in ("saddr", "daddr") for key in keys) != 1:
            self.say(span, "fib needs saddr or daddr, one of them")
        elif "iif" in keys and "oif" in keys:
            self.say(span, "fib takes iif or oif, not both")

    def _network(self, header: str, span: Span) -> None:
        if self.network and self.network != header:
            where = f"a table of family {self.network}" if self.network == self.table.family else f"a rule about {self.network}"
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
        elif left.text in ("meta nfproto", "ether type", "meta protocol") and operator in ("", "=="):
            known = {"ipv4": "ip", "ipv6": "ip6", "ip": "ip", "ip6": "ip6"}
            words = _constants(right)
            if len(words) == 1 and words[0] in known and not self.network:
                self.network = known[words[0]]

    # -- values

    def types(self, value: Value) -> Types:
        """The types of what is looked at, one for each part of a concatenation."""
        match value:
            case Selector(text, _):
                return (type_of(text),)
            case Concat(parts, _):
                return tuple(types[0] for part in parts for types in [self.types(part)])
            case Operation(operator, left, right, _) if operator not in ("<<", ">>"):
                types = self.types(left)
                self.value(right, types)
                return types
            case _:
                return (None,)

    def value(self, value: Value, types: Types) -> None:
        """A value must be of some types."""
        match value:
            case Word(text, span, quoted):
                if len(types) == 1 and types[0] is not None:
                    self._word(text, span, quoted, types[0])
            case Range(low, high, span):
                self._range(low, high, span, types)
            case Several(parts, _):
                for part in parts:
                    self.value(part, types)
            case Concat(parts, _):
                if len(parts) == len(types):
                    for part, type_ in zip(parts, types, strict=True):
                        self.value(part, (type_,))
            case Operation(_, left, right, _):
                self.value(left, types)
                self.value(right, types)
            case Braces(elements, span):
                self._anonymous(elements, span, types)
            case SetName(name, span):
                self._set_reference(name, span, types)
            case _:
                pass

    def _word(self, text: str, span: Span, quoted: bool, type_: Type) -> None:
        if text == "*":
            return
        found = wrong(type_, text, quoted)
        if found is not None:
            self.say(span, found.message, found.hint)

    def _range(self, low: Word, high: Word, span: Span, types: Types) -> None:
        before = len(self.problems)
        self.value(low, types)
        self.value(high, types)
        first, last = _order(low.text), _order(high.text)
        if len(self.problems) == before and first is not None and last is not None and type(first) is type(last):
            if first > last:  # type: ignore[operator]
                self.say(span, f"the range {low.text}-{high.text} is empty: its end comes before its beginning")

    def _anonymous(self, elements: Sequence[Element], span: Span, types: Types) -> None:
        if not elements:
            self.say(span, "an empty set")
        for element in elements:
            self.value(element.key, types)
            if element.data is not None:
                self.say(element.span, "this gives a value: a map, where a set is needed", "is vmap or map missing?")

    def _set_reference(self, name: str, span: Span, types: Types) -> None:
        known = self.table.sets.get(name)
        if known is None:
            self._missing("set", name, span, self.table.sets)
            return
        wanted, has = _names(types), _names(key_types(known))
        if "" in wanted or "" in has or wanted == has:
            return
        if len(wanted) != len(has) or any(not _alike(a, b) for a, b in zip(wanted, has, strict=True)):
            message = f"set {name} holds {' . '.join(known.key)}, and {' . '.join(wanted)} is looked for"
            self.say(span, message)

    def _missing(self, what: str, name: str, span: Span, known: Sequence[str] | dict[str, Set]) -> None:
        if self.complete:
            hint = did_you_mean(name, known)
            self.say(span, f"there is no {what} {name} in table {self.table.family} {self.table.name}", hint)

    def _map(self, key: Value, target: Value, verdict: bool = False, given: Types = (None,)) -> None:
        types = self.types(key)
        match target:
            case Braces(elements, span):
                if not elements:
                    self.say(span, "an empty map")
                for element in elements:
                    self.value(element.key, types)
                    self._data(element, verdict, given)
            case SetName(name, span):
                known = self.table.sets.get(name)
                if known is None:
                    self._missing("map", name, span, self.table.sets)
                elif known.key and not known.data:
                    self.say(span, f"{name} is a set, and a map is needed")
            case _:
                pass

    def _data(self, element: Element, verdict: bool, given: Types) -> None:
        if element.data is None:
            self.say(element.span, "this element of a map gives nothing", 'as in "22 : accept"' if verdict else "")
        elif isinstance(element.data, Verdict):
            if not verdict:
                self.say(element.data.span, "a verdict, where a value is needed", "vmap gives verdicts")
            self._jump(element.data.name, element.data.chain, element.data.span)
        elif verdict:
            self.say(element.data.span, "no verdict", "vmap gives accept, drop, jump...")
        else:
            self.value(element.data, given)

    # -- statements

    def _assignment(self, selector: Selector, value: Value) -> None:
        types = (type_of(selector.text),)
        match value:
            case Braces(_, span) | SetName(_, span):
                self.say(span, f"a set cannot be given to {selector.text}")
            case Lookup(key, target, _):
                self._selectors(key)
                self._map(key, target, given=types)
            case Word() | Several():
                self.value(value, types)
            case _:
                self._selectors(value)
        if selector.text in ("ct label",) and isinstance(value, Several):
            self.say(value.span, "one label can be set at a time")

    def _set_update(self, statement: SetUpdate) -> None:
        self._selectors(statement.key)
        if statement.operation == "meter":
            return
        known = self.table.sets.get(statement.name)
        if known is None:
            start = statement.span.start + len(statement.operation) + 1
            self._missing("set", statement.name, Span(start, start + len(statement.name) + 1), self.table.sets)

    def _jump(self, name: str, chain: str, span: Span) -> None:
        if name in ("jump", "goto") and chain not in self.table.chains and self.complete:
            at = Span(max(span.end - len(chain), span.start), span.end)
            hint = did_you_mean(chain, self.table.chains)
            self.say(at, f"there is no chain {chain} in table {self.table.family} {self.table.name}", hint)

    def _nat(self, nat: Nat) -> None:
        words = nat.text.split(" ")
        named = words[1] if len(words) > 1 and words[1] in ("ip", "ip6") else ""
        family = named or self.network
        place = Span(nat.span.start, nat.span.start + len(nat.name))
        if nat.address is not None:
            if not family and self.table.family == "inet":
                self.say(place, f"a table of family inet needs to know the family: {nat.name} ip to or {nat.name} ip6 to")
            elif named and self.network and named != self.network:
                self.say(place, f"{nat.name} {named} in a rule about {self.network}")
            self._nat_address(nat.address, family)
        if nat.port is not None:
            self.value(nat.port, (TYPES["inet_service"],))
            if not self.ported:
                at = nat.port.span
                self.say(at, "a port needs a test of the protocol before it", "such as meta l4proto tcp")

    def _nat_address(self, address: Value, family: str) -> None:
        type_ = {"ip": TYPES["ipv4_addr"], "ip6": TYPES["ipv6_addr"]}.get(family)
        match address:
            case Lookup(key, target, _):
                self._selectors(key)
                self._map(key, target)
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

    def _action(self, action: Action) -> None:
        words = action.text.split(" ")
        match action.name:
            case "queue":
                self.ended = action
            case "tproxy":
                if not self.ported:
                    self.say(action.span, "tproxy needs a test of the protocol before it", "such as meta l4proto tcp")
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


def _constants(value: Value) -> list[str]:
    """The words that a value may be."""
    match value:
        case Word(text, _, _):
            return [{"6": "tcp", "17": "udp", "132": "sctp"}.get(text, text)]
        case Braces(elements, _):
            return [word for element in elements for word in _constants(element.key)]
        case _:
            return [""]


def _order(text: str) -> int | tuple[int, ...] | None:
    """What ranges are ordered by."""
    if text.count(".") == 3 and text.replace(".", "").isdigit():
        return tuple(int(part) for part in text.split("."))
    return number(text)


def _names(types: Types) -> tuple[str, ...]:
    return tuple(type_.name if type_ is not None else "" for type_ in types)


def _alike(one: str, other: str) -> bool:
    """Types whose values nft compares: numbers are numbers, devices devices."""
    groups = (
        {"ifname", "string"},
        {"ether_addr", "ll_addr"},
        {"iface_index", "mark", "realm", "classid", "uid", "gid", "devgroup"},
    )
    if one == other or one.isdigit() or other.isdigit():
        return True
    return any(one in group and other in group for group in groups)


def key_types(made: Set) -> Types:
    """The types of the keys of a set."""
    if made.typeof:
        return tuple(type_of(part) for part in made.key)
    return tuple(TYPES.get(part) for part in made.key)


def check_set(made: Set, say: Callable[[Problem], None], place: Span) -> None:
    """The elements of a set must be of its type, and ranges need the flag interval."""
    if not made.typeof:
        for part in (*made.key, *made.data.split(" . ")):
            known = part in TYPES and not part.isdigit()
            if part and not known and part not in OTHER_TYPES and " " not in part:
                hint = did_you_mean(part, [name for name in TYPES if not name.isdigit()])
                say(Problem(place, f'"{part}" is no type', hint))
                return
    types = key_types(made)
    found: list[Problem] = []
    check = RuleCheck(Table("inet", "", place), found, False)
    interval = "interval" in made.flags
    for element in made.elements:
        if not interval:
            wide = _interval(element.key)
            if wide is not None:
                hint = "add: flags interval"
                say(Problem(wide, "a range or prefix in a set that has not the flag interval", hint))
                return
        if types != (None,) * len(types):
            check.value(element.key, types)
        if element.data is not None and not made.data and made.key:
            say(Problem(element.span, f"{made.name} is a set, no map: it gives nothing"))
            return
    for problem in found:
        say(problem)


def _interval(key: Value) -> Span | None:
    match key:
        case Range(_, _, span):
            return span
        case Word(text, span, quoted) if "/" in text and not quoted and text.split("/")[-1].isdigit():
            return span
        case Concat(parts, _):
            return next((span for part in parts for span in [_interval(part)] if span is not None), None)
        case _:
            return None
