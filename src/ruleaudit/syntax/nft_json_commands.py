"""The commands of nft JSON as the words of nft text: libnftables-json(5), COMMAND OBJECTS and RULESET ELEMENTS.

Every word stands where the JSON object stands that it comes from, a word of a rule where the item of `expr` stands.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ruleaudit.source import Span
from ruleaudit.syntax.nft_json_objects import Objects
from ruleaudit.syntax.nft_json_scan import Items
from ruleaudit.syntax.nft_json_selectors import kind
from ruleaudit.syntax.nft_tokens import BRACES, STRING, WORD, Token, tokens
from ruleaudit.syntax.refusal import Refused, did_you_mean

FAMILIES = ("ip", "ip6", "inet", "arp", "bridge", "netdev")
COMMANDS = ("add", "create", "insert", "replace", "delete", "destroy", "flush", "rename", "list", "reset")
SAYING_ONLY = ("list", "reset")
_PLACE = ("family", "table", "name")
_JUNK = "?"
_NO_NAME = re.compile(r"[{}\"\s;]")
#: an element that is one word, whatever stands around it
_NUMERIC = re.compile(r"[0-9]+(?:\.[0-9]+)*")


class Commands(Objects):
    """Writes commands as words; `wrong` holds what is wrong with items of rules and sets, `texts` the text of rules."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[Token] = []
        self.span = Span(0, 0)
        self.wrong: list[tuple[Span, Refused]] = []
        #: of the rule whose first word stands here: its place, its text, why it is not understood
        self.texts: dict[int, tuple[Span, str, str]] = {}

    def command(self, value: Any, span: Span) -> list[Token]:
        """The words of one object of a document. Raises Refused."""
        self.words, self.span = [], span
        if not isinstance(value, dict):
            raise Refused(f"a command must be an object, not {kind(value)}")
        verb = next((name for name in COMMANDS if name in value), "")
        if verb:
            self.keys(value, "a command", (verb,))
            value = value[verb]
            if verb in SAYING_ONLY:
                return []
        if not isinstance(value, dict):
            raise Refused(f'"{verb}" must be an object, not {kind(value)}')
        what = next((name for name in (*self.elements, "ruleset", "meter") if name in value), None)
        if what is None:
            found = next(iter(value), "")
            hint = did_you_mean(found, (*self.elements, *(() if verb else COMMANDS)))
            raise Refused(f'"{verb or "add"}" of something unknown: "{found}"', hint=hint)
        self.keys(value, f'"{verb}"' if verb else "a command", (what,))
        self._verb(verb or "add", what, value[what])
        return self.words

    # -- words

    def say(self, text: str) -> None:
        """Words of nft text."""
        self.words += placed(_words(text), self.span)

    def opening(self) -> None:
        """The brace that opens a block: that of the object."""
        self.words.append(Token("{", "{", self.span.start, self.span.start + 1))

    def closing(self) -> None:
        """The brace that closes it."""
        self.words.append(Token("}", "}", self.span.end - 1, self.span.end))

    def name(self, value: Any, what: str) -> None:
        """A name, whatever it is made of."""
        if not isinstance(value, str) or not value:
            raise Refused(f"{what} must be a name, not {kind(value)}")
        if _NO_NAME.search(value):
            raise Refused(f"{what} cannot be {value!r}")
        self.words.append(Token(WORD, value, self.span.start, self.span.end))

    def quote(self, value: Any, what: str) -> None:
        """A string."""
        self.words.append(Token(STRING, self.string(value, what), self.span.start, self.span.end))

    # -- commands

    @property
    def elements(self) -> tuple[str, ...]:
        """What a command may be about."""
        return ("table", "chain", "rule", "set", "map", "element", *self.objects)

    def _verb(self, verb: str, what: str, value: Any) -> None:
        if what == "ruleset" and verb == "flush":
            self.say("flush ruleset")
            family = value.get("family") if isinstance(value, dict) else None
            if isinstance(family, str):  # whatever else stands there, nft flushes everything
                self.say(self.one_of(family, FAMILIES, "the family"))
            return
        if what == "rule":
            self._rule(verb, value)
        elif verb in ("add", "create") and what not in ("ruleset", "meter"):
            self._add(verb, what, value)
        elif verb in ("delete", "destroy", "flush") and (
            verb != "flush" or what in ("table", "chain", "set", "map", "meter")
        ):
            self._remove(verb, what, value)
        elif (verb, what) == ("rename", "chain"):
            found = self._begin("rename", what, value, (*_PLACE, "newname"), ("handle",))
            self.name(found["newname"], "the new name")
        else:
            raise Refused(f'"{verb}" cannot be said of "{what}"')

    def _begin(
        self, verb: str, what: str, value: Any, needed: Sequence[str], more: Sequence[str] = ()
    ) -> dict[str, Any]:
        """`verb what family table name`, once the keys are known to be right."""
        found = self.keys(value, f'"{what}"', needed, more)
        self.say(verb)
        self.words.append(Token(WORD, what, self.span.start, self.span.end))
        self.say(self.one_of(found["family"], FAMILIES, "the family"))
        for place in ("table", "chain" if what == "rule" else "name"):
            if place in needed:
                self.name(found[place], f'"{place}" of "{what}"')
        return found

    def _add(self, verb: str, what: str, value: Any) -> None:
        match what:
            case "table":
                found = self._begin(verb, what, value, ("family", "name"), ("handle", "flags", "comment"))
                self.opening()
                if "flags" in found:
                    flags = self.several_of(found["flags"], ("dormant", "owner", "persist"), "the flags of a table")
                    self.say(f"flags {','.join(flags)};")
                self.closing()
            case "chain":
                self._chain(verb, value)
            case "set" | "map":
                self._set(verb, what, value)
            case "element":
                found = self._begin(verb, what, value, (*_PLACE, "elem"))
                self._items(found["elem"])
            case _:
                needed, more = self.keys_of(what)
                found = self._begin(verb, what, value, (*_PLACE, *needed), ("handle", "comment", *more))
                self.opening()
                self.say(self.object(what, found))
                self.closing()

    def _remove(self, verb: str, what: str, value: Any) -> None:
        if not isinstance(value, dict) or "name" in value or "handle" not in value:
            needed = ("family", "name") if what == "table" else (*_PLACE, *(("elem",) if what == "element" else ()))
            found = self._begin(verb, what, value, needed, tuple(value) if isinstance(value, dict) else ())
            if what == "element":
                self._items(found["elem"])
            return
        self._begin(verb, what, value, ("family", "handle") if what == "table" else ("family", "table", "handle"))
        self.say(f"handle {self.number(value['handle'], 'a handle')}")

    def _chain(self, verb: str, value: Any) -> None:
        more = ("handle", "type", "hook", "prio", "dev", "policy", "comment", "newname")
        found = self._begin(verb, "chain", value, _PLACE, more)
        hooked = [key for key in ("type", "hook", "prio") if key in found]
        if len(hooked) < 3:
            if hooked:
                missing = next(key for key in ("type", "hook", "prio") if key not in found)
                self.ignored.append(f'"chain" lacks "{missing}", so that nft makes it a chain without a hook')
            return
        self.opening()
        self.say("type")
        self.name(found["type"], "the type of a chain")
        self.say("hook")
        self.name(found["hook"], "the hook of a chain")
        if "dev" in found:
            self.say("devices = {")
            for index, device in enumerate(found["dev"] if isinstance(found["dev"], list) else [found["dev"]]):
                if index:
                    self.say(",")
                self.name(device, "a device")
            self.say("}")
        priority = found["prio"]
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise Refused(f"the priority of a chain must be a number, not {kind(priority)}")
        self.say("priority")
        self.words.append(Token(WORD, str(priority), self.span.start, self.span.end))
        if "policy" in found:
            self.say("; policy")
            self.name(found["policy"], "the policy of a chain")
        self.say(";")
        self.closing()

    def _set(self, verb: str, what: str, value: Any) -> None:
        more = ("handle", "map", "policy", "flags", "elem", "timeout", "gc-interval", "size", "auto-merge", "comment")
        found = self._begin(verb, what, value, (*_PLACE, "type"), (*more, "stmt"))
        if what == "map" and "map" not in found:
            raise Refused('"map" lacks "map": the type of what it gives')
        typeof = isinstance(found["type"], dict)
        self.opening()
        self.say(f"{'typeof' if typeof else 'type'} {self.set_type(found['type'])}")
        if "map" in found:
            self.say(f": {self.set_type(found['map'])}")
        self.say(f"; {self.settings(found)}")
        if "elem" in found:
            self.say("elements =")
            self._items(found["elem"])
        self.say(";")
        self.closing()

    # -- rules and elements

    def _rule(self, verb: str, value: Any) -> None:
        if verb in ("delete", "destroy"):
            found = self._begin("delete", "rule", value, ("family", "table", "chain", "handle"), ("expr", "comment"))
            self.say(f"handle {self.number(found['handle'], 'a handle')}")
            return
        if verb not in ("add", "insert", "replace"):
            raise Refused(f'"{verb}" cannot be said of "rule"')
        needed = ("family", "table", "chain", "expr", *(("handle",) if verb == "replace" else ()))
        found = self._begin(verb, "rule", value, needed, ("handle", "index", "comment"))
        for place in ("handle", "index"):
            if place in found and (place == "index" or verb != "add"):
                self.say(f"{place} {self.number(found[place], place)}")
        items = found["expr"]
        if not isinstance(items, Items):
            raise Refused(f'"expr" must be an array, not {kind(items)}')
        whole, unread = self.span, ""
        texts: list[str] = []
        for item, span in zip(items, items.spans, strict=True):
            self.span = span
            try:
                text = self.statement(item)
                self.words += grouped(_words(text), span)
            except Refused as refused:
                self.wrong.append((span, refused))
                text, unread = "?", unread or refused.message
                self.words.append(Token(_JUNK, text, span.start, span.end))
            if text.startswith("xt "):
                message = "nft lists what iptables-nft put here, and does not read it back"
                self.wrong.append((span, Refused(message, hint="use iptables-nft with this ruleset")))
            texts.append(text)
        self.span = whole
        self.texts[items.spans[0].start if items else whole.start] = (whole, " ".join(texts), unread)
        if "comment" in found or not items:
            self.say("comment")
            self.quote(found.get("comment", ""), "a comment")

    def _items(self, value: Any) -> None:
        """`{ ... }`: elements, each at its place."""
        items: Sequence[Any] = value if isinstance(value, list) else [value]
        if not items:
            raise Refused('"elem" is an empty array, which nft does not take')
        places = value.spans if isinstance(value, Items) else [self.span] * len(items)
        start, end = self.span.start, self.span.end
        if isinstance(value, Items) and value.spans:
            start, end = value.spans[0].start, value.spans[-1].end
        add = self.words.append
        add(Token("{", "{", start, start))
        for index, (item, span) in enumerate(zip(items, places, strict=True)):
            if index:
                add(Token(",", ",", span.start, span.start))
            if type(item) is int or (type(item) is str and _NUMERIC.fullmatch(item)):
                add(Token(WORD, str(item), span.start, span.end))
                continue
            try:
                text = self.item(item, None)
            except Refused as refused:
                self.wrong.append((span, refused))
                add(Token(_JUNK, "?", span.start, span.end))
                continue
            self.words += placed(_words(text), span)
        add(Token("}", "}", max(end - 1, start), end))


@lru_cache(maxsize=1 << 12)
def _words(text: str) -> tuple[Token, ...]:
    """The words of a text; most statements of a ruleset are written often."""
    return tuple(tokens(text))


def placed(words: Sequence[Token], span: Span) -> list[Token]:
    """Words that stand where their JSON stands; what closes stands at its end."""
    start, end = span.start, span.end
    return [Token(word.kind, word.text, start if word.kind != "}" else end - 1, end) for word in words]


def grouped(words: Sequence[Token], span: Span) -> list[Token]:
    """The same, what stands in braces as one word."""
    levels: list[list[Token]] = [[]]
    for word in words:
        if word.kind == "{":
            levels.append([])
        elif word.kind == "}":
            inner = tuple(levels.pop())
            levels[-1].append(Token(BRACES, "", span.start, span.end, inner))
        else:
            levels[-1].append(Token(word.kind, word.text, span.start, span.end))
    return levels[0]
