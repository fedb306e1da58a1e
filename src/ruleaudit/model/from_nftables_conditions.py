"""Matches of nft rules as conditions: selector, operator and value (nft(8), EXPRESSIONS).

What cannot be said exactly becomes an opaque test with the text as its name. The spelling traps of bit fields are in
`_of_bits`: without an operator `a,b` asks for one of the bits, with `!=` for the whole value (facts section 3).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from ruleaudit.model.condition import (
    ALWAYS,
    NEVER,
    Always,
    And,
    Condition,
    Direction,
    Interface,
    Interval,
    Masked,
    Not,
    Opaque,
    Or,
    Scope,
    States,
    Values,
    all_of,
    any_of,
    joined,
    merged,
    negate,
    tests,
)
from ruleaudit.model.fields import Family, Field, State
from ruleaudit.model.from_nftables_selectors import (
    IS_FRAGMENT,
    IS_LATER,
    Constant,
    CtState,
    Exact,
    InterfaceName,
    Looked,
    Unknowable,
    looked_at,
)
from ruleaudit.model.from_nftables_spelling import spelled
from ruleaudit.model.from_nftables_values import STATES, Unknown, number
from ruleaudit.model.ruleset import Consumer, Use
from ruleaudit.source import Span
from ruleaudit.syntax.nft_tree import (
    Braces,
    Concat,
    Element,
    Lookup,
    Match,
    Operation,
    Range,
    Selector,
    Set,
    SetName,
    Several,
    Value,
    Word,
)

_EMPTY_TRANSFORM = -1
#: bits of the widest field, an IPv6 address
_WIDEST = 128


class Tested(NamedTuple):
    """The condition of a match, and what else there is to say of it (model.ruleset.Match)."""

    condition: Condition
    consumer: Consumer | None = None
    memory: bool = False
    understood: bool = True
    reason: str = ""


class Contents:
    """The named sets of a table that hold the same at any time: those that no rule and no clock changes."""

    def __init__(self, table: str, sets: dict[str, Set], written: set[str]) -> None:
        self.table, self.sets, self.written = table, sets, written

    def elements(self, name: str) -> Sequence[Element]:
        """The elements of a set. Raises Unknown when they may change."""
        found = self.sets.get(name)
        if found is None:
            raise Unknown(f"set {name} is not in this file")
        if self.changes(name):
            raise Unknown(f"what set {name} holds changes by itself")
        if not found.elements and "constant" not in found.flags:
            raise Unknown(f"set {name} is filled by somebody else")
        return found.elements

    def changes(self, name: str) -> bool:
        """Its contents depend on time, or on packets."""
        found = self.sets.get(name)
        if found is None or found.timeout or found.limited or name in self.written:
            return True
        return "dynamic" in found.flags or "timeout" in found.flags


class Conditions:
    """Reads the matches of one table, for one address family."""

    def __init__(self, family: Family, contents: Contents) -> None:
        self.family, self.contents = family, contents
        self._members: dict[tuple[str, str], Condition] = {}
        self._compared: dict[str, Exact | None] = {}
        self._values: dict[tuple[str, str], Condition] = {}

    def match(self, match: Match, with_ports: Callable[[], bool] = lambda: False) -> Tested:
        """The condition of `left operator right`; `with_ports`: whether only packets with ports get here."""
        left, right = match.left, match.right
        if isinstance(left, Selector) and isinstance(right, Word):
            told = _words_of(self.family)(left.text, match.operator, right.text, right.quoted)
            if told is not None:
                return told
        return self.tested(match, with_ports)

    def tested(self, match: Match, with_ports: Callable[[], bool]) -> Tested:
        """The same, remembered by nobody."""
        looked = [looked_at(s.text, self.family) for s in selectors(match.left)]
        known = [one for one in looked if one is not None]
        if len(known) < len(looked):
            return Tested(NEVER)
        consumer = next((o.consumer for o in known if isinstance(o, Unknowable) and o.consumer), None)
        # a number generator counts what asks it
        memory = any(s.text.startswith("numgen") for s in selectors(match.left))
        by_nature, reason = True, ""
        try:
            condition = self._exact(match)
        except Unknown as error:
            # what is unknown by nature is understood; so is a set that somebody else fills
            by_nature = isinstance(match.right, SetName) or any(isinstance(o, Unknowable) for o in known)
            condition = negate(self._opaque(match, known, spelled(match)), match.operator == "!=")
            consumer = consumer or state_reader(known)
            reason = "" if by_nature else str(error)
        if any(isinstance(one, Exact) and one.elsewhere is not None for one in known):
            here = guarded(known, condition, spelled(match), with_ports())
        else:
            here = guarded(known, condition, "")
        return Tested(here, consumer, memory, by_nature, reason)

    # -- exact ---------------------------------------------------------------------------------

    def _exact(self, match: Match) -> Condition:
        """The condition without its guard. Raises Unknown."""
        left, operator, right = match.left, match.operator, match.right
        if isinstance(left, Selector) and isinstance(right, Word) and right.text in ("exists", "missing"):
            return self._exists(left.text, right.text == "exists")
        if isinstance(left, Concat):
            if operator not in ("", "==", "!="):
                raise Unknown("a concatenation is compared with sets only")
            return negate(self.member(left, right), operator == "!=")
        selector, keep, toggle = self._transformed(left)
        looked = looked_at(selector, self.family)
        match looked:
            case CtState():
                listed = self._listed(right)
                return _of_states(_bit_test(operator, listed, keep, toggle, self._bits(lambda w: _state_bit(w))))
            case Exact(flags=True, field=name, read=read):
                holds = _bit_test(operator, self._listed(right), keep, toggle, self._bits(lambda w: read(w)[0]))
                found = merged((v, v) for v in range(256) if holds(v))
                return Values(name, found) if found else NEVER
            case Exact() | Constant() | InterfaceName():
                return self._of_value(looked, selector, operator, right, keep, toggle)
            case Unknowable() if selector == "ct direction" and isinstance(right, Word):
                original = {"original": True, "0": True, "reply": False, "1": False}.get(right.text)
                if original is not None and operator in ("", "==", "!="):
                    return negate(Direction(original), operator == "!=")
            case _:
                pass
        if selector == "ip frag-off" and self.family is Family.IPV4:
            return _of_fragments(operator, right, keep)
        raise Unknown(f"{selector} is not in the ruleset")

    def _listed(self, right: Value) -> Value:
        """A named set as the one in place that it stands for. Raises Unknown when it may change."""
        return Braces(tuple(self.contents.elements(right.name)), right.span) if isinstance(right, SetName) else right

    def _exists(self, selector: str, wanted: bool) -> Condition:
        if selector in ("exthdr frag", "frag") and self.family is Family.IPV6:
            return negate(IS_FRAGMENT, not wanted)
        raise Unknown(f"{selector} is not in the ruleset")

    def _of_value(
        self,
        looked: Exact | Constant | InterfaceName,
        selector: str,
        operator: str,
        right: Value,
        keep: int,
        toggle: int,
    ) -> Condition:
        """A test of one number, or of a name."""
        if operator in ("<", "<=", ">", ">="):
            if keep != _EMPTY_TRANSFORM or not isinstance(looked, Exact) or not isinstance(right, Word):
                raise Unknown("this comparison")
            low, high = looked.read(right.text)
            top = (1 << looked.bits) - 1
            found = {"<": (0, low - 1), "<=": (0, high), ">": (high + 1, top), ">=": (low, top)}[operator]
            return Values(looked.field, (found,)) if found[0] <= found[1] else NEVER
        if operator == "!":
            raise Unknown("this comparison")
        if keep == _EMPTY_TRANSFORM:
            return negate(self.member(Selector(selector, right.span), right), operator == "!=")
        if not isinstance(looked, Exact):
            raise Unknown("bits of it")
        values = [looked.read(w) for w in _words(right)]
        wanted = [low ^ toggle for low, high in values if low == high]
        if len(wanted) != len(values):
            raise Unknown("bits of it")
        tests = [Masked(looked.field, keep, v) for v in wanted if not v & ~keep]
        return negate(any_of(tests), operator == "!=")

    def _transformed(self, left: Value) -> tuple[str, int, int]:
        """A selector behind bit operations: which bits are kept, and which are turned over then."""
        if isinstance(left, Selector):
            return left.text, _EMPTY_TRANSFORM, 0
        selector, keep, toggle = self.bit_operations(left)
        looked = looked_at(selector, self.family)
        every = (1 << looked.bits) - 1 if isinstance(looked, Exact | Constant) else 0xFFFFFFFF
        return selector, keep & every, toggle & every

    def bit_operations(self, value: Value) -> tuple[str, int, int]:
        """`selector & a ^ b` as (selector, kept bits, turned bits); kept is -1 for all. Raises Unknown."""
        if isinstance(value, Selector):
            return value.text, -1, 0
        if not isinstance(value, Operation):
            raise Unknown("this expression")
        selector, keep, toggle = self.bit_operations(value.left)
        mask = self._mask_of(selector, value.right)
        match value.operator:
            case "&":
                return selector, keep & mask, toggle & mask
            case "|":
                return selector, keep & ~mask, toggle & ~mask | mask
            case "^":
                return selector, keep, toggle ^ mask
            case _:
                raise Unknown(f"{value.operator} of a field")

    def _mask_of(self, selector: str, value: Value) -> int:
        looked = looked_at(selector, self.family)
        if isinstance(looked, CtState):
            return self._bits(_state_bit)(value)
        if isinstance(looked, Exact):
            return self._bits(lambda w: _single(looked.read(w)))(value)
        return self._bits(number)(value)

    def _bits(self, read: Callable[[str], int]) -> Callable[[Value], int]:
        """A reader of bit masks: words joined by `|`, `,` or other operations."""

        def bits(value: Value) -> int:
            match value:
                case Word(text):
                    return read(text)
                case Several(parts):
                    out = 0
                    for part in parts:
                        out |= bits(part)
                    return out
                case Operation("|", left, right):
                    return bits(left) | bits(right)
                case Operation("&", left, right):
                    return bits(left) & bits(right)
                case Operation("^", left, right):
                    return bits(left) ^ bits(right)
                case Operation("<<" | ">>" as sign, left, right):
                    moved, by = bits(left), bits(right)
                    if by <= _WIDEST:
                        return moved << by if sign == "<<" else moved >> by
            raise Unknown("this expression")

        return bits

    # -- membership ----------------------------------------------------------------------------

    def member(self, key: Value, value: Value) -> Condition:
        """The packets whose key is the value, or in the set. Raises Unknown."""
        match value:
            case SetName(name):
                memo = (_text_of(key), name)
                if memo not in self._members:
                    self._members[memo] = self._among(key, self.contents.elements(name))
                return self._members[memo]
            case Braces(elements):
                return self._among(key, elements)
            case _:
                return self.equal(key, value)

    def _among(self, key: Value, elements: Iterable[Element]) -> Condition:
        elements = [e for e in elements if not (isinstance(e.key, Word) and e.key.text == "*" and not e.key.quoted)]
        looked = looked_at(key.text, self.family) if isinstance(key, Selector) else None
        if isinstance(looked, Exact) and not looked.flags:
            return (
                Values(looked.field, merged(self._interval(looked.read, e.key) for e in elements))
                if elements
                else NEVER
            )
        return joined([self.equal(key, e.key) for e in elements])

    def equal(self, key: Value, value: Value) -> Condition:
        """The packets whose key is this value, without the guards of its selectors. Raises Unknown."""
        if isinstance(key, Selector) and isinstance(value, Word):
            known = self._values.get((key.text, value.text))
            if known is not None:
                return known
            field = self.compared(key.text)
            if field is not None:
                found = self._values[key.text, value.text] = Values(field.field, (field.read(value.text),))
                return found
        if isinstance(key, Concat):
            if not isinstance(value, Concat) or len(value.parts) != len(key.parts):
                raise Unknown("a concatenation of another length")
            return all_of([self.equal(k, v) for k, v in zip(key.parts, value.parts, strict=True)])
        if isinstance(value, Braces | SetName):
            return self.member(key, value)
        selector, keep, toggle = self._transformed(key)
        looked = looked_at(selector, self.family)
        match looked:
            case None:
                return NEVER
            case Exact(flags=True, field=name, read=read):
                # in a set the whole value is compared
                whole = self._bits(lambda w: _single(read(w)))(value)
                return Values(name, ((whole, whole),))
            case Exact(field=name, read=read) if keep == _EMPTY_TRANSFORM:
                return Values(name, (self._interval(read, value),))
            case Exact(field=name, read=read):
                kept = _single(self._interval(read, value)) ^ toggle
                return Masked(name, keep, kept) if not kept & ~keep else NEVER
            case Constant(own, read):
                low, high = self._interval(read, value)
                return ALWAYS if low <= own <= high else NEVER
            case InterfaceName(name, numbers) if isinstance(value, Word):
                return _interface(name, value.text, numbers and not value.quoted)
            case CtState():
                wanted = self._bits(_state_bit)(value)
                return _of_states(lambda bit: bit == wanted)
            case _:
                raise Unknown(f"{selector} is not in the ruleset")

    def compared(self, selector: str) -> Exact | None:
        """The field of a selector, where a word that it is compared with is one number or interval of it."""
        if selector not in self._compared:
            looked = looked_at(selector, self.family)
            self._compared[selector] = looked if isinstance(looked, Exact) and not looked.flags else None
        return self._compared[selector]

    def _interval(self, read: Callable[[str], Interval], value: Value) -> Interval:
        match value:
            case Word(text):
                return read(text)
            case Range(low, high):
                found = read(low.text)[0], read(high.text)[1]
                if found[0] > found[1]:
                    raise Unknown("a range that ends before it begins")
                return found
            case Operation():
                bits = self._bits(lambda w: _single(read(w)))(value)
                return bits, bits
        raise Unknown("this expression")

    # -- opaque --------------------------------------------------------------------------------

    def _opaque(self, match: Match, known: Sequence[Looked], text: str) -> Condition:
        """A boolean for a test, negations left out so that opposites are seen as such."""
        name = text.replace(" != ", " ", 1) if match.operator == "!=" else text
        unknowable = [o for o in known if isinstance(o, Unknowable)]
        if state_reader(known) is not None:
            return Opaque(name, Scope.MEMORY)
        for scope in (Scope.MEMORY, Scope.PACKET, Scope.ENTRY):
            if any(o.scope is scope for o in unknowable):
                return Opaque(name, scope)
        if isinstance(match.right, SetName):
            return self.unknown_set(match.right.name, known)
        reads = tuple(_field_of(o) for o in known)
        if all(f in _OF_CONNECTION for f in reads):
            return Opaque(name, Scope.CONNECTION, tuple(f for f in reads if f is not None))
        return Opaque(name, Scope.PACKET)

    def unknown_set(self, name: str, known: Sequence[Looked]) -> Opaque:
        """Membership in a set of unknown contents: one boolean for the set and the fields that are looked up in it."""
        reads = [_field_of(o) for o in known]
        whole = f"set {self.contents.table} {name}"
        if self.contents.changes(name) or state_reader(known) is not None:
            return Opaque(f"{whole} {' '.join(f.value if f else '?' for f in reads)}", Scope.MEMORY)
        if all(f in _OF_CONNECTION for f in reads):
            return Opaque(whole, Scope.CONNECTION, tuple(f for f in reads if f is not None))
        return Opaque(f"{whole} {' '.join(f.value if f else '?' for f in reads)}", Scope.PACKET)


def state_reader(known: Sequence[Looked]) -> Consumer | None:
    """Who asks for the state of a packet, in a test of which the answer is not known: it takes an entry to answer, and
    the answer is another one at another place.
    """
    return Consumer(Use.READS, "ct state") if any(isinstance(one, CtState) for one in known) else None


@cache
def _words_of(family: Family) -> Callable[[str, str, str, bool], Tested | None]:
    """The condition of a selector and one word, which is the same in every rule and in every table.

    None where it depends on what stands before it in the rule.
    """
    conditions = Conditions(family, Contents("", {}, set()))
    nowhere = Span(0, 0)

    @lru_cache(maxsize=1 << 18)
    def of_words(selector: str, operator: str, word: str, quoted: bool) -> Tested | None:
        looked = looked_at(selector, family)
        if isinstance(looked, Exact) and looked.elsewhere is not None:
            return None
        field = conditions.compared(selector)
        if field is not None and operator in _EQUALITY and word not in _EXISTENCE:
            try:
                here = negate(Values(field.field, (field.read(word),)), operator == "!=")
            except Unknown:
                pass  # the reason is told below
            else:
                return Tested(all_of([field.guard, here]))
        match = Match(Selector(selector, nowhere), operator, Word(word, nowhere, quoted), nowhere)
        return conditions.tested(match, lambda: False)

    return of_words


_EQUALITY, _EXISTENCE = ("", "==", "!="), ("exists", "missing")


def guarded(known: Sequence[Looked], condition: Condition, text: str, with_ports: bool = False) -> Condition:
    """A condition on what selectors read, for the packets that have it; and for those that have something else there.

    `with_ports`: only packets with ports get here.
    """
    guards = [one.guard for one in known if isinstance(one, Exact | Constant | Unknowable)]
    here = all_of([*guards, condition])
    elsewhere = [one.elsewhere for one in known if isinstance(one, Exact) and one.elsewhere is not None]
    if not elsewhere or (with_ports and all(not e.numbers for e in elsewhere)):
        return here
    numbers = elsewhere[0].numbers if len(known) == 1 else ()
    known_here = not any(isinstance(test, Opaque) for test in tests(condition))
    answers = {_of_number(condition, number) for number in numbers} if known_here else set()
    unknown = Opaque(text, Scope.PACKET)
    there = ALWAYS if answers == {True} else NEVER if answers == {False} else unknown
    return any_of([here, all_of([any_of(e.packets for e in elsewhere), there])])


def _of_number(condition: Condition, number: int) -> bool:
    """A condition on one field, asked of a number."""
    match condition:
        case Values(intervals=intervals):
            return any(low <= number <= high for low, high in intervals)
        case Masked(mask=mask, value=value):
            return number & mask == value
        case Not(item):
            return not _of_number(item, number)
        case Or(items):
            return any(_of_number(item, number) for item in items)
        case And(items):
            return all(_of_number(item, number) for item in items)
        case _:
            return isinstance(condition, Always)


_OF_CONNECTION = (Field.SADDR, Field.DADDR, Field.SPORT, Field.DPORT, Field.PROTOCOL)


def _field_of(looked: Looked) -> Field | None:
    match looked:
        case Exact(field=name) | InterfaceName(name):
            return name
        case Unknowable(reads=(name,)):
            return name
        case _:
            return None


def selectors(value: Value) -> Iterable[Selector]:
    match value:
        case Selector():
            yield value
        case Concat(parts) | Several(parts):
            for part in parts:
                yield from selectors(part)
        case Operation(left=left, right=right):
            yield from selectors(left)
            yield from selectors(right)
        case Lookup(key=key):
            yield from selectors(key)
        case _:
            pass


def _text_of(key: Value) -> str:
    match key:
        case Selector(text):
            return text
        case Concat(parts):
            return " . ".join(_text_of(p) for p in parts)
        case Operation(operator, left, right):
            return f"{_text_of(left)} {operator} {_text_of(right)}"
        case Word(text):
            return text
        case _:
            return repr(key)


def _words(value: Value) -> list[str]:
    match value:
        case Word(text):
            return [text]
        case Braces(elements):
            return [w for e in elements for w in _words(e.key)]
        case _:
            raise Unknown("this expression")


def _single(interval: Interval) -> int:
    if interval[0] != interval[1]:
        raise Unknown("a range of values")
    return interval[0]


def _interface(name: Field, word: str, numbers: bool) -> Condition:
    """An interface by its name, or by its number; the loopback interface is always the first."""
    if numbers and word.isdigit():
        if number(word) != 1:
            raise Unknown(f"interface {word} is not named in this file")
        return Interface(name, "lo")
    if word.endswith("*") and not word.endswith("\\*"):
        return ALWAYS if word == "*" else Interface(name, f"{word[:-1]}+")
    if word.endswith("+"):
        raise Unknown(f'"{word}" is a name with a plus sign')
    return Interface(name, word.replace("\\*", "*"))


# -- bit fields -------------------------------------------------------------------------------


def _state_bit(word: str) -> int:
    bit = STATES.get(word)
    return bit if bit is not None else number(word)


def _of_states(holds: Callable[[int], bool]) -> Condition:
    return _states(frozenset(state for state in State if holds(STATES[state.value])))


def _states(states: frozenset[State]) -> Condition:
    return States(states) if 0 < len(states) < len(State) else ALWAYS if states else NEVER


def _bit_test(
    operator: str, right: Value, keep: int, toggle: int, bits: Callable[[Value], int]
) -> Callable[[int], bool]:
    """Whether a value of a bit field passes; `keep` and `toggle` are what is done to it before."""

    def seen(value: int) -> int:
        return value & keep ^ toggle if keep != _EMPTY_TRANSFORM else value

    match right:
        case Braces(elements):
            if operator not in ("", "==", "!="):
                raise Unknown("this comparison")
            members = {bits(e.key) for e in elements}
            return (lambda v: seen(v) not in members) if operator == "!=" else lambda v: seen(v) in members
        case Operation("/", value, mask):
            wanted, of = bits(value), bits(mask)
            if operator not in ("", "==", "!="):
                raise Unknown("this comparison")
            return lambda v: (seen(v) & of == wanted) is (operator != "!=")
    wanted = bits(right)
    match operator:
        case "" if keep == _EMPTY_TRANSFORM:
            return lambda v: bool(seen(v) & wanted)
        case "" | "==":
            return lambda v: seen(v) == wanted
        case "!=":
            return lambda v: seen(v) != wanted
        case "!":
            return lambda v: not seen(v) & wanted
        case "<":
            return lambda v: seen(v) < wanted
        case ">":
            return lambda v: seen(v) > wanted
        case "<=":
            return lambda v: seen(v) <= wanted
        case _:
            return lambda v: seen(v) >= wanted


def _of_fragments(operator: str, right: Value, keep: int) -> Condition:
    """`ip frag-off & 0x1fff != 0`: later fragments; `& 0x3fff`: every fragment (RFC 791; 0x2000: more fragments)."""
    zero = isinstance(right, Word) and right.text in ("0", "0x0", "0x00")
    if zero and operator in ("", "==", "!=", ">"):
        test = IS_LATER if keep == 0x1FFF else IS_FRAGMENT if keep & 0x3FFF == 0x3FFF and not keep & 0x4000 else None
        if test is not None:
            return negate(test, operator in ("", "=="))
    raise Unknown("these bits of the fragment field")
