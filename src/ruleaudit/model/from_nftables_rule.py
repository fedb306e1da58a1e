"""One nft rule as rules of the model: its matches, effects and verdict, in the order in which the kernel runs them.

A verdict map is a rule for each of its elements, a large one for each of its verdicts; so is a map that gives a mark,
always for each element. A statement that changes something and stands before another match is a rule of its own,
because it happens whatever that match says (nft(8), STATEMENTS).
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import combinations
from typing import NamedTuple

from ruleaudit.model import from_nftables_values as words
from ruleaudit.model.condition import (
    ALWAYS,
    HAS_ENTRY,
    And,
    Condition,
    Interface,
    Masked,
    Not,
    Opaque,
    Scope,
    States,
    Values,
    all_of,
    any_of,
    joined,
    negate,
    tests,
)
from ruleaudit.model.fields import PORT_PROTOCOLS, TCP, Family, Field, TcpFlag
from ruleaudit.model.from_nftables_below import chains_of, changes, tracks
from ruleaudit.model.from_nftables_conditions import Conditions, guarded, selectors, state_reader
from ruleaudit.model.from_nftables_selectors import Looked, Unknowable, looked_at
from ruleaudit.model.from_nftables_spelling import spelled
from ruleaudit.model.from_nftables_values import Unknown
from ruleaudit.model.ruleset import (
    Accept,
    Consumer,
    Continue,
    Drop,
    Effect,
    EffectKind,
    Goto,
    Jump,
    Queue,
    Reject,
    Return,
    Use,
)
from ruleaudit.model.ruleset import Match as ModelMatch
from ruleaudit.model.ruleset import Unknown as UnknownTarget
from ruleaudit.model.ruleset import Verdict as ModelVerdict
from ruleaudit.source import Span
from ruleaudit.syntax import nft_tree as tree

#: a map of so many elements is a rule for each of them, so that what is wrong with one can be told
MOST_APART = 100

_CONTINUE, _ACCEPT, _DROP = Continue(), Accept(), Drop()


#: an element of a verdict map: its number, itself, the verdict and the packets
Keyed = tuple[int, tree.Element, ModelVerdict, Condition]


class Part(NamedTuple):
    """One rule of the model in the making; `label` tells it from the other parts of the same text."""

    matches: tuple[ModelMatch, ...] = ()
    effects: tuple[Effect, ...] = ()
    verdict: ModelVerdict = _CONTINUE
    consumers: tuple[Consumer, ...] = ()
    understood: bool = True
    label: str = ""


_NOTHING = Part()


class RuleReader:
    """Reads the rules of one table, for one address family."""

    def __init__(
        self, family: Family, conditions: Conditions, written: Callable[[tree.Rule, Span], str], table: tree.Table
    ) -> None:
        """`written` gives the text under a span of a rule, where a part of it stands for itself."""
        self.family, self.conditions, self.written, self.table = family, conditions, written, table

    def parts(self, rule: tree.Rule) -> list[Part]:
        """The rules that one rule amounts to, in order."""
        self._rule, self._start = rule, rule.span.start
        self._done: list[Part] = []
        self._open: list[Part] = [_NOTHING]
        self._row: list[ModelMatch] = []
        taken = _taken_for_one(rule.statements)
        for statement in rule.statements:
            if isinstance(statement, tree.Match) and not (taken and statement in taken):
                self._row.append(self._test(statement))
                continue
            self._matches()
            if isinstance(statement, tree.Match):
                self._both(statement, taken[statement])
            else:
                self._statement(statement)
        self._matches()
        if rule.unread:
            unknown = Opaque(rule.normal, Scope.MEMORY)
            place = self._place(rule.span)
            self._match(ModelMatch("", place, unknown, understood=False, reason=rule.unread))
            self._each(lambda p: p._replace(verdict=UnknownTarget(rule.normal), understood=False))
        out = [*self._done, *self._open]
        # a part that only leads to others says nothing
        return (
            [p for p in out if p.effects or p.consumers or p.verdict != _CONTINUE or p.matches] if len(out) > 1 else out
        )

    # -- building ------------------------------------------------------------------------------

    def _place(self, span: Span) -> tuple[int, int]:
        return span.start - self._start, span.end - self._start

    def _each(self, change: Callable[[Part], Part]) -> None:
        self._open = [change(p) for p in self._open]

    def _match(self, *matches: ModelMatch) -> None:
        going_on = []
        for part in self._open:
            effects, again, consumers = part.effects, part.matches, part.consumers
            if effects and any(e.kind is not EffectKind.LOG for e in effects):
                # these happen before the match is looked at
                self._done.append(part._replace(label=f"{part.label} first {len(self._done)}"))
                effects, again = (), tuple(m._replace(memory=False, writes=None) for m in part.matches)
                consumers = ()
            going_on.append(Part((*again, *matches), effects, part.verdict, consumers, part.understood, part.label))
        self._open = going_on

    def _matches(self) -> None:
        """The tests that stand in a row, all together."""
        if self._row:
            self._match(*self._row)
            self._row.clear()

    def _with_ports(self) -> bool:
        """Only packets of protocols with ports get to the next statement."""
        if any(_names_ports(c) for m in self._row for c in conjuncts(m.condition)):
            return True
        return all(any(_names_ports(c) for m in p.matches for c in conjuncts(m.condition)) for p in self._open)

    def _effect(self, effect: Effect, consumer: Consumer | None = None) -> None:
        more = (consumer,) if consumer else ()
        self._each(lambda p: p._replace(effects=(*p.effects, effect), consumers=(*p.consumers, *more)))

    def _end(self, verdict: ModelVerdict) -> None:
        self._each(lambda p: p._replace(verdict=verdict))

    def _condition(self, name: str, span: Span, condition: Condition, *, memory: bool = False,
                   consumer: Consumer | None = None, writes: str | None = None, reason: str = "") -> None:  # fmt: skip
        self._match(ModelMatch(name, self._place(span), condition, consumer, memory, writes, not reason, reason))

    # -- statements ----------------------------------------------------------------------------

    def _test(self, match: tree.Match) -> ModelMatch:
        condition, consumer, memory, understood, reason = self.conditions.match(match, self._with_ports)
        left = match.left
        name = left.text if isinstance(left, tree.Selector) else next((s.text for s in selectors(left)), "")
        text = self.written(self._rule, match.span) or spelled(match)
        return ModelMatch(
            name, self._place(match.span), condition, consumer, memory, None, understood, reason, text
        )  # fmt: skip

    def _statement(self, statement: tree.Statement) -> None:
        match statement:
            case tree.Verdict():
                self._end(verdict(statement))
            case tree.VerdictMap():
                self._verdict_map(statement)
            case tree.Assignment():
                self._assignment(statement)
            case tree.SetUpdate():
                self._set_update(statement)
            case tree.Nat():
                self._nat(statement)
            case tree.Reject(kind):
                if kind == "tcp reset":
                    self._condition("", statement.span, Values(Field.PROTOCOL, ((TCP, TCP),)))
                self._end(Reject(_reject_kind(kind, self.family)))
            case tree.Action():
                self._action(statement)

    def _both(self, second: tree.Match, first: tree.Match) -> None:
        """nft before 1.0.7 makes one comparison of two: it fails only where neither holds."""
        one, other = (self.conditions.match(m).condition for m in (first, second))
        either = all_of([any_of([one, other]), Opaque(f"{_written(first)} {_written(second)}", Scope.PACKET)])
        reason = "some versions of nft take two != beside each other for one, true where either holds; write != { ... }"
        place = self._place(first.span)
        self._open = [p._replace(matches=tuple(m for m in p.matches if m.place != place)) for p in self._open]
        name = next(s.text for s in selectors(second.left))
        self._condition(name, second.span, any_of([all_of([one, other]), either]), reason=reason)

    def _verdict_map(self, statement: tree.VerdictMap) -> None:
        looked = [looked_at(s.text, self.family) for s in selectors(statement.key)]
        name = next((s.text for s in selectors(statement.key)), "")
        if any(one is None for one in looked):
            self._condition(name, statement.span, Not(all_of(())))
            return
        known = [one for one in looked if one is not None]
        written, with_ports = _written(statement), self._with_ports()
        try:
            elements = self._elements(statement.map)
            keyed = list(_by_verdict(_first_ones([(e, self._key(statement.key, e, elements)) for e in elements])))
            self._looks_once(statement, keyed)
        except Unknown as error:
            by_nature = isinstance(statement.map, tree.SetName) or any(isinstance(o, Unknowable) for o in known)
            asked = (
                self.conditions.unknown_set(statement.map.name, known)
                if isinstance(statement.map, tree.SetName)
                else Opaque(written, Scope.MEMORY if state_reader(known) else Scope.PACKET)
            )
            asked_of = guarded(known, asked, written, with_ports)
            self._condition(name, statement.span, asked_of, reason="" if by_nature else str(error))
            opened, self._done, self._open = self._open, [*self._done, *self._to_unknown(statement, written, known)], []
            if statement is not self._rule.statements[-1]:
                # what stands behind the map is for packets that it lets go on, if it knows such
                self._open = [part._replace(label=f"{part.label} on") for part in opened]
                self._condition(name, statement.span, Opaque(f"{written} says continue", Scope.MEMORY))
            return
        opened = self._open
        self._open = []
        # jumps last: who comes back from one meets no other element
        for number, element, decided, condition in sorted(keyed, key=lambda one: isinstance(one[2], Jump)):
            asked_of = guarded(known, condition, f"{written} {number}", with_ports)
            for part in opened:
                test = ModelMatch(name, self._place(element.span), asked_of)
                added = part._replace(matches=(*part.matches, test), label=f"{part.label} {number}")
                # what stands behind the map is for packets that it lets go on
                into = self._open if decided == _CONTINUE else self._done
                into.append(added._replace(verdict=decided))

    def _to_unknown(self, statement: tree.VerdictMap, written: str, known: Sequence[Looked]) -> list[Part]:
        """The open parts, as what nobody knows ends them; if it asks conntrack, or leads to a chain that does, they
        need it.
        """
        chains = chains_of(self.table, statement.map)
        if isinstance(statement.map, tree.SetName):
            # somebody else may fill it with any
            chains = [chain.name for chain in self.table.chains.values() if not chain.hook]
        led = Consumer(Use.READS, "a chain that the map leads to") if tracks(self.table, chains) else None
        needs = tuple(reader for reader in (state_reader(known), led) if reader is not None)
        unknown = UnknownTarget(written, tuple(chains))
        return [p._replace(verdict=unknown, consumers=(*p.consumers, *needs)) for p in self._open]

    def _looks_once(self, statement: tree.VerdictMap, keyed: list[Keyed]) -> None:
        """As rules, elements are asked one after the other. Raises Unknown where a chain that one jumps to may change
        what another one asks.
        """
        jumps = [v.chain for _, _, v, _ in keyed if isinstance(v, Jump)]
        goes_on = any(v == _CONTINUE for _, _, v, _ in keyed) and statement is not self._rule.statements[-1]
        if len(jumps) + goes_on > 1 and jumps and changes(self.table, jumps, [asked for *_, asked in keyed]):
            raise Unknown("a chain that this map jumps to changes what is looked up; that is not followed")

    def _elements(self, value: tree.Value) -> list[tree.Element]:
        match value:
            case tree.Braces(elements):
                return list(elements)
            case tree.SetName(name):
                return list(self.conditions.contents.elements(name))
        raise Unknown("this map")

    def _key(self, key: tree.Value, element: tree.Element, elements: Iterable[tree.Element]) -> Condition:
        """The packets for which an element of a map is looked up; `*` is for those of no other element."""
        if isinstance(element.key, tree.Word) and element.key.text == "*":
            others = [self.conditions.equal(key, e.key) for e in elements if e is not element]
            return negate(any_of(others))
        return self.conditions.equal(key, element.key)

    def _assignment(self, statement: tree.Assignment) -> None:
        selector, text = statement.selector.text, _written(statement)
        if selector == "meta mark":
            self._mark(statement, text)
            return
        read = [s.text for s in selectors(statement.value)]
        if any(s.startswith("ct ") for s in read):
            consumer = Consumer(Use.READS, next(s for s in read if s.startswith("ct ")))
            self._condition(consumer.what, statement.span, HAS_ENTRY, consumer=consumer)
        self._looked_up(statement.value, text)
        if selector == "ct zone" or selector.startswith(("ct original zone", "ct reply zone")):
            self._effect(Effect(EffectKind.ZONE, text), Consumer(Use.CREATES, f"{selector} set"))
        elif selector.startswith("ct expectation"):
            # only the first packet of a connection, and while there is room for more, goes on
            self._condition(selector, statement.span, Opaque(text, Scope.MEMORY))
            self._effect(Effect(EffectKind.ENTRY, text), Consumer(Use.CREATES, f"{selector} set"))
        elif selector == "ct event":
            self._effect(Effect(EffectKind.LOG, text))
        elif selector.startswith("ct "):
            self._effect(Effect(EffectKind.ENTRY, text), Consumer(Use.CREATES, f"{selector} set"))
        elif selector == "meta nftrace":
            self._effect(Effect(EffectKind.LOG, text))
        else:
            self._effect(Effect(EffectKind.CHANGE, text))
            if selector.endswith(("saddr", "daddr", "sport", "dport")) and not selector.startswith("ether"):
                # the rules behind it see another packet
                self._each(lambda p: p._replace(understood=False))

    def _mark(self, statement: tree.Assignment, text: str) -> None:
        value = statement.value
        try:
            if isinstance(value, tree.Word):
                self._effect(Effect(EffectKind.MARK, text, 0xFFFFFFFF, words.mark(value.text)[0]))
                return
            if isinstance(value, tree.Operation) or (isinstance(value, tree.Selector) and value.text == "meta mark"):
                source, keep, toggle = self.conditions.bit_operations(value)
                if source == "meta mark":
                    mask, turned = ~keep & 0xFFFFFFFF, toggle & 0xFFFFFFFF
                    self._effect(Effect(EffectKind.MARK, text, mask, turned))
                    return
            if isinstance(value, tree.Lookup):
                self._marks_of_map(statement, value, text)
                return
        except Unknown:
            pass
        read = [s.text for s in selectors(value)]
        consumer = None
        if any(s.startswith("ct ") for s in read):
            # the rule ends here for packets without an entry (facts section 3)
            consumer = Consumer(Use.READS, "ct mark")
            self._condition("ct mark", statement.span, HAS_ENTRY, consumer=consumer)
            self._effect(Effect(EffectKind.MARK, text))
        else:
            self._effect(Effect(EffectKind.CHANGE, text))
            self._each(lambda p: p._replace(understood=False))

    def _marks_of_map(self, statement: tree.Assignment, value: tree.Lookup, text: str) -> None:
        """A rule for each element of the map; packets of none of them go no further in the rule."""
        elements = self._elements(value.map)
        known = [one for s in selectors(value.key) if (one := looked_at(s.text, self.family)) is not None]
        opened, made = self._open, []
        for number, element in enumerate(elements):
            if not isinstance(element.data, tree.Word):
                raise Unknown("what the map gives")
            condition = guarded(known, self._key(value.key, element, elements), f"{text} {number}", self._with_ports())
            value_of = words.mark(element.data.text)[0]
            mark = Effect(EffectKind.MARK, f"meta mark set {element.data.text}", 0xFFFFFFFF, value_of)
            name = next((s.text for s in selectors(value.key)), "")
            test = ModelMatch(name, self._place(statement.span), condition)
            made += [
                p._replace(matches=(*p.matches, test), effects=(*p.effects, mark), label=f"{p.label} {number}")
                for p in opened
            ]
        self._open = made

    def _set_update(self, statement: tree.SetUpdate) -> None:
        """A write; limits and counts inside decide whether the rule goes on."""
        text = _written(statement)
        consumer = None
        condition: Condition = all_of(())
        for inner in statement.statements:
            if isinstance(inner, tree.Action) and inner.name in ("limit", "quota", "ct count", "ct"):
                over = " over " in f" {inner.text} "
                condition = negate(Opaque(text.replace(" over ", " ", 1), Scope.MEMORY), over)
                if inner.name.startswith("ct"):
                    consumer = Consumer(Use.READS, "ct count")
        if any(looked_at(s.text, self.family) is None for s in selectors(statement.key)):
            condition = Not(all_of(()))
        known = [one for s in selectors(statement.key) if (one := looked_at(s.text, self.family)) is not None]
        self._condition("set", statement.span, guarded(known, ALWAYS, text, self._with_ports()))
        self._condition("set", statement.span, condition, memory=True, consumer=consumer, writes=text)

    def _nat(self, statement: tree.Nat) -> None:
        text = _written(statement)
        self._looked_up(statement.address, text)
        self._looked_up(statement.port, text)
        bits = self.family.address_bits
        addresses = _intervals(statement.address, words.address(bits))
        ports = _intervals(statement.port, words.port)
        other = words.address(160 - bits)
        if statement.address is not None and not addresses and _intervals(statement.address, other):
            # an address of the other family: nothing is translated, nor tracked, in this one (facts section 2)
            self._condition("", statement.span, Not(all_of(())))
            self._end(_ACCEPT)
            return
        self._effect(
            Effect(EffectKind.NAT, _translation(statement, text), ports=ports or (), addresses=addresses or ()),
            Consumer(Use.CREATES, statement.name),
        )
        self._end(_ACCEPT)

    def _looked_up(self, value: tree.Value | None, text: str) -> None:
        """What a map gives: packets of none of its elements go no further in the rule."""
        if not isinstance(value, tree.Lookup):
            return
        known = [one for s in selectors(value.key) if (one := looked_at(s.text, self.family)) is not None]
        try:
            elements = self._elements(value.map)
            found = any_of([self._key(value.key, element, elements) for element in elements])
        except Unknown:
            found = Opaque(f"{text} finds an element", Scope.PACKET)
        self._condition("map", value.span, guarded(known, found, text, self._with_ports()))

    def _action(self, statement: tree.Action) -> None:
        text, name = _written(statement), statement.name
        if " map " in text:
            self._condition("map", statement.span, Opaque(f"{text} finds an element", Scope.PACKET))
        match name:
            case "counter":
                if "name" in text.split() or '"' in text:
                    self._effect(Effect(EffectKind.WRITE, text))
            case "log" | "last":
                self._effect(Effect(EffectKind.LOG, text))
            case "notrack":
                self._effect(Effect(EffectKind.NOTRACK, text))
            case "limit" | "quota":
                over = " over " in f" {text} "
                test = Opaque(text.replace(" over ", " ", 1), Scope.MEMORY)
                self._condition(name, statement.span, negate(test, over), memory=True)
            case "ct count":
                over = " over " in f" {text} "
                test = Opaque(text.replace(" over ", " ", 1), Scope.MEMORY)
                reader = Consumer(Use.READS, "ct count")
                self._condition(name, statement.span, negate(test, not over), memory=True, consumer=reader)
            case "queue":
                self._end(Queue(text.removeprefix("queue").strip() or "0"))
            case "synproxy":
                self._condition(name, statement.span, Values(Field.PROTOCOL, ((TCP, TCP),)))
                self._condition(name, statement.span, negate(Masked(Field.TCP_FLAGS, TcpFlag.SYN | TcpFlag.ACK, 0)))
                self._effect(Effect(EffectKind.ENTRY, text), Consumer(Use.CREATES, "SYNPROXY"))
                self._end(_DROP)
            case "tproxy":
                self._condition(name, statement.span, Opaque(text, Scope.MEMORY))
                self._effect(Effect(EffectKind.CHANGE, text.replace("tproxy", "TPROXY", 1)))
            case "flow":
                self._effect(Effect(EffectKind.ENTRY, text), Consumer(Use.CREATES, "flow offload"))
            case "fwd":
                self._effect(Effect(EffectKind.CHANGE, text))
                self._end(_DROP)
            case "dup" | "reset" | "tunnel" | "objref":
                self._effect(Effect(EffectKind.CHANGE, text))
            case "meter":
                self._condition(name, statement.span, Opaque(text, Scope.MEMORY), memory=True, writes=text)
            case "xt":
                self._xt(statement, text)
            case _:
                self._condition("", statement.span, Opaque(text, Scope.MEMORY), reason=f"{name} is not understood")

    def _xt(self, statement: tree.Action, text: str) -> None:
        """iptables' own extensions in a listing: their options are gone, so any of them may ask conntrack."""
        reason = "nft does not say what iptables' extension asks for; give the output of iptables-save"
        if "match" in text.split():
            self._condition("xt", statement.span, Opaque(text, Scope.ENTRY), reason=reason)
        else:
            self._condition("xt", statement.span, Opaque(text, Scope.MEMORY), reason=reason)
            needs = Consumer(Use.CREATES, text)
            self._end(UnknownTarget(text))
            self._each(lambda p: p._replace(understood=False, consumers=(*p.consumers, needs)))


def _first_ones(keyed: list[tuple[tree.Element, Condition]]) -> list[tuple[tree.Element, Condition]]:
    """Concatenations with ranges may overlap: the element that comes first is found (nft_set_pipapo.c)."""
    if not any(isinstance(element.key, tree.Concat) for element, _ in keyed):
        return keyed
    conditions = [condition for _, condition in keyed]
    earlier: list[list[int]] = [[] for _ in keyed]
    for one, other in _meeting(conditions):
        first, second = min(one, other), max(one, other)
        if isinstance(keyed[second][0].key, tree.Concat) and not _disjoint(conditions[first], conditions[second]):
            earlier[second].append(first)
    return [
        (element, all_of([condition, *(negate(conditions[i]) for i in sorted(before))]) if before else condition)
        for (element, condition), before in zip(keyed, earlier, strict=True)
    ]


def _meeting(conditions: list[Condition]) -> Iterator[tuple[int, int]]:
    """The pairs that may hold for one packet, as far as the one field tells that leaves the fewest.

    Where each names one value of the same fields, those that are equal.
    """
    singles = list(map(_single_values, conditions))
    if None not in singles and len({tuple(map(id, fields)) for fields, _ in filter(None, singles)}) == 1:
        equal: dict[object, list[int]] = {}
        for number, single in enumerate(singles):
            equal.setdefault(single and single[1], []).append(number)
        for alike in equal.values():
            yield from combinations(alike, 2)
        return
    names: dict[str, int] = {}
    spans: dict[Field, dict[int, tuple[int, int]]] = {}
    for number, condition in enumerate(conditions):
        for test in conjuncts(condition):
            match test:
                case Values(about, ((_, _), *_) as intervals):
                    spans.setdefault(about, {}).setdefault(number, (intervals[0][0], intervals[-1][1]))
                case Interface(about, name) if not name.endswith("+"):
                    known = names.setdefault(name, len(names))
                    spans.setdefault(about, {}).setdefault(number, (known, known))
    best: list[tuple[tuple[int, int], int]] = []
    fewest = len(conditions) ** 2
    for said in [*spans.values(), {}]:
        # what says nothing of the field may meet everything
        ordered = sorted((said.get(number, (0, 1 << 128)), number) for number in range(len(conditions)))
        lows = [low for (low, _), _ in ordered]
        pairs = sum(bisect_right(lows, high) - at - 1 for at, ((_, high), _) in enumerate(ordered))
        if pairs < fewest:
            best, fewest = ordered, pairs
    lows = [low for (low, _), _ in best]
    for at, ((_, high), number) in enumerate(best):
        for _, other in best[at + 1 : bisect_right(lows, high)]:
            yield number, other


def _single_values(condition: Condition) -> tuple[tuple[Field, ...], tuple[int, ...]] | None:
    """The one value that a condition has for each of some fields."""
    fields, values = [], []
    for test in conjuncts(condition):
        if not isinstance(test, Values) or len(test.intervals) != 1 or test.intervals[0][0] != test.intervals[0][1]:
            return None
        fields.append(test.field)
        values.append(test.intervals[0][0])
    return tuple(fields), tuple(values)


def _by_verdict(
    keyed: list[tuple[tree.Element, Condition]],
) -> Iterator[Keyed]:
    """The elements of a large map with the same verdict as one, under the number of the first; those that name states,
    or what cannot be known, stay apart.
    """
    alike: dict[object, list[Keyed]] = {}
    few = len(keyed) <= MOST_APART
    for number, (element, condition) in enumerate(keyed):
        data = element.data
        decided = _verdict(data.name, data.chain) if isinstance(data, tree.Verdict) else _CONTINUE
        if few or any(type(test) in (States, Opaque) for test in tests(condition)):
            alike[number] = [(number, element, decided, condition)]
        else:
            alike.setdefault(decided, []).append((number, element, decided, condition))
    for some in alike.values():
        number, element, decided, condition = some[0]
        yield number, element, decided, joined([one for *_, one in some]) if len(some) > 1 else condition


def _disjoint(one: Condition, other: Condition) -> bool:
    """No packet satisfies both, as far as one field or interface tells."""
    for a in conjuncts(one):
        for b in conjuncts(other):
            match a, b:
                case Values(x, here), Values(y, there) if x is y:
                    if not any(low <= high2 and low2 <= high for low, high in here for low2, high2 in there):
                        return True
                case Interface(x, name), Interface(y, name2) if x is y:
                    if name != name2 and not name.endswith("+") and not name2.endswith("+"):
                        return True
    return False


#: where fields stand in the transport, IPv4 and IPv6 headers (first byte, byte behind the last)
_BYTES = {
    "th": {"sport": (0, 2), "dport": (2, 4), "type": (0, 1), "code": (1, 2), "length": (4, 6), "checksum": (6, 8)},
    "ip": {
        "length": (2, 4),
        "id": (4, 6),
        "frag-off": (6, 8),
        "ttl": (8, 9),
        "protocol": (9, 10),
        "checksum": (10, 12),
    },
    "ip6": {"length": (4, 6), "nexthdr": (6, 7), "hoplimit": (7, 8)},
}


def _bytes_of(selector: str) -> tuple[str, int, int] | None:
    """The header and the bytes that a selector reads."""
    header, _, name = selector.partition(" ")
    base = header if header in ("ip", "ip6") else "th" if header in _TRANSPORT_HEADERS else ""
    found = _BYTES[base].get(name) if base else None
    return (base, *found) if found else None


_TRANSPORT_HEADERS = ("th", "tcp", "udp", "udplite", "sctp", "dccp", "icmp", "icmpv6")


def _taken_for_one(statements: Sequence[tree.Statement]) -> dict[tree.Match, tree.Match]:
    """Tests that nft 1.0.6 compares together with the one before: != on single values of neighbouring fields."""
    if len([s for s in statements if type(s) is tree.Match and s.operator == "!="]) < 2:
        return {}
    found: dict[tree.Match, tree.Match] = {}
    before: tuple[tuple[str, int, int], tree.Match] | None = None
    for statement in statements:
        match statement:
            case tree.Match(tree.Selector(text), "!=", tree.Word()) if (place := _bytes_of(text)) is not None:
                if before is not None:
                    (base, start, end), earlier = before
                    if base == place[0] and (end == place[1] or start == place[2]):
                        found[statement] = earlier
                before = place, statement
            case tree.Match():
                before = None
    return found


def conjuncts(condition: Condition) -> tuple[Condition, ...]:
    """The conditions that all have to hold."""
    return condition.items if isinstance(condition, And) else (condition,)


def _names_ports(condition: Condition) -> bool:
    return (
        isinstance(condition, Values)
        and condition.field is Field.PROTOCOL
        and all(low == high and low in PORT_PROTOCOLS for low, high in condition.intervals)
    )


_TO = {"snat": "--to-source", "dnat": "--to-destination", "masquerade": "--to-ports", "redirect": "--to-ports"}
_NAT_FLAGS = {"random": "--random", "fully-random": "--random-fully", "persistent": "--persistent"}


def _translation(statement: tree.Nat, text: str) -> str:
    """The statement in the words of iptables' target, so that the same translation has one name in both languages."""
    address, port = spelled(statement.address), spelled(statement.port)
    to = address + (f":{port}" if port and address else port)
    flags = [_NAT_FLAGS[w] for w in text.replace(",", " ").split() if w in _NAT_FLAGS]
    return " ".join([statement.name.upper(), *([_TO[statement.name], to] if to else []), *flags])


def verdict(given: tree.Verdict) -> ModelVerdict:
    """A verdict statement."""
    return _verdict(given.name, given.chain)


@cache
def _verdict(name: str, chain: str) -> ModelVerdict:
    match name:
        case "accept":
            return _ACCEPT
        case "drop":
            return _DROP
        case "jump":
            return Jump(chain)
        case "goto":
            return Goto(chain)
        case "return":
            return Return()
        case "queue":
            return Queue("0")
        case _:
            return _CONTINUE


_REJECTS = {
    "net-unreachable": "icmp-net-unreachable", "host-unreachable": "icmp-host-unreachable",
    "prot-unreachable": "icmp-proto-unreachable", "port-unreachable": "icmp-port-unreachable",
    "net-prohibited": "icmp-net-prohibited", "host-prohibited": "icmp-host-prohibited",
    "admin-prohibited": "icmp-admin-prohibited", "no-route": "icmp-net-unreachable",
}  # fmt: skip
_REJECTS6 = {
    "no-route": "icmp6-no-route", "admin-prohibited": "icmp6-adm-prohibited",
    "addr-unreachable": "icmp6-addr-unreachable", "host-unreachable": "icmp6-addr-unreachable",
    "port-unreachable": "icmp6-port-unreachable", "policy-fail": "icmp6-policy-fail",
    "reject-route": "icmp6-reject-route", "net-unreachable": "icmp6-no-route",
}  # fmt: skip


def _reject_kind(kind: str, family: Family) -> str:
    """The kind in iptables' words, port unreachable where none is said."""
    if kind == "tcp reset":
        return "tcp-reset"
    name = kind.split()[-1] if kind else "port-unreachable"
    return (_REJECTS if family is Family.IPV4 else _REJECTS6).get(name, kind)


def _intervals(value: tree.Value | None, read: words.Read) -> tuple[tuple[int, int], ...] | None:
    """The numbers that a value stands for; None where it names none, or they are not known."""
    try:
        match value:
            case tree.Word(text):
                return (read(text.strip("[]")),)
            case tree.Range(low, high):
                return ((read(low.text.strip("[]"))[0], read(high.text.strip("[]"))[1]),)
    except Unknown:
        pass
    return None


def _written(node: tree.Statement) -> str:
    """The text of a statement in one spelling."""
    match node:
        case tree.Match() | tree.VerdictMap():
            return spelled(node)
        case _:
            return node.text if hasattr(node, "text") else spelled(node)
