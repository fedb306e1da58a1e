"""What nft refuses of named sets and maps: unknown types, elements of other types, intervals where there are none."""

from ruleaudit.source import Span
from ruleaudit.syntax.nft_interval_checks import check_doubles, check_overlaps, is_interval
from ruleaudit.syntax.nft_tree import Concat, Element, Set, Value, Verdict
from ruleaudit.syntax.nft_types import OTHER_TYPES, TYPES, UNQUALIFIED, Type
from ruleaudit.syntax.nft_value_checks import Types, ValueCheck, key_types
from ruleaudit.syntax.refusal import did_you_mean

_TIMED = ("timeout ", "expires ")


class SetCheck(ValueCheck):
    """The checks of the sets and maps of one table."""

    def set(self, made: Set, place: Span) -> None:
        """Everything about one set; `place` is where its type stands."""
        if not made.typeof and not self._types_are_known(made, place):
            return
        types = key_types(made)
        if "interval" not in made.flags:
            for element in made.elements:
                wide = _interval(element.key, types)
                if wide is not None:
                    message = "a range or prefix in a set that has not the flag interval"
                    self.say(wide, message, "add: flags interval")
                    return
        for element in made.elements:
            if any(types):
                self.value(element.key, types)
            if made.key and not self._element(made, element):
                return
        if made.data:
            check_doubles(made.elements, types, self.problems.append)
        if "interval" in made.flags and (not made.merging or made.data) and len(types) == 1 and types[0] is not None:
            check_overlaps(made.elements, types[0], self.problems.append)

    def _types_are_known(self, made: Set, place: Span) -> bool:
        for part in (*made.key, *made.data.split(" . ")):
            known = part in TYPES and not part.isdigit() and part != "presence"
            if part and not known and part not in OTHER_TYPES and " " not in part:
                hint = did_you_mean(part, [name for name in TYPES if not name.isdigit()])
                self.say(place, f'"{part}" is no type', hint)
                return False
        for part in made.key:
            if part in UNQUALIFIED:
                self.say(place, f'the type "{part}" does not say how long it is', "write typeof, as in typeof ip saddr")
                return False
        return True

    def _element(self, made: Set, element: Element) -> bool:
        """Check what an element says besides its key; False if that is enough."""
        timed = any(option.startswith(_TIMED) for option in element.options)
        if timed and not made.timeout and "timeout" not in made.flags:
            self.say(element.span, f"{made.name} has not the flag timeout", "add: flags timeout")
            return False
        if element.data is None:
            if made.data:
                self.say(element.span, f"{made.name} is a map, and this element gives nothing")
            return not made.data
        if not made.data:
            self.say(element.span, f"{made.name} is a set, no map: it gives nothing")
            return False
        if isinstance(element.data, Verdict):
            if made.data != "verdict":
                self.say(element.span, f"a verdict, and {made.name} gives {made.data}")
                return False
            self.jump(element.data.name, element.data.chain, element.data.span)
        elif made.data == "verdict":
            self.say(element.data.span, "no verdict", f"{made.name} gives accept, drop, jump...")
            return False
        elif not made.typeof:
            self.value(element.data, _data_types(made.data))
        return True


def _data_types(data: str) -> Types:
    return tuple(TYPES.get(part) for part in data.split(" . "))


def _interval(key: Value, types: Types) -> Span | None:
    if isinstance(key, Concat):
        parts: tuple[Type | None, ...] = types if len(types) == len(key.parts) else (None,) * len(key.parts)
        found = (_interval(part, (type_,)) for part, type_ in zip(key.parts, parts, strict=True))
        return next((span for span in found if span is not None), None)
    return key.span if is_interval(key, types[0] if len(types) == 1 else None) else None
