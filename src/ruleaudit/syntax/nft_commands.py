"""The commands of an nft file, carried out in order (nft(8), RULESET to STATEFUL OBJECTS)."""

from ruleaudit.source import SourceFile, Span
from ruleaudit.syntax.nft_blocks import FAMILIES
from ruleaudit.syntax.nft_definitions import Definitions, Load
from ruleaudit.syntax.nft_habits import FIRST_WORDS
from ruleaudit.syntax.nft_set_blocks import OBJECTS
from ruleaudit.syntax.nft_tokens import END, STRING, Token
from ruleaudit.syntax.nft_tree import Chain, Concat, Range, Set, Table, Value
from ruleaudit.syntax.nft_words import Undefined, shown
from ruleaudit.syntax.numbers import decimal
from ruleaudit.syntax.problem import Problem
from ruleaudit.syntax.refusal import did_you_mean

_COMMANDS = ("add", "create", "insert", "delete", "destroy", "replace", "flush", "rename", "reset", "list", "get")
_SAYING_ONLY = ("list", "reset", "get", "monitor", "describe", "export", "import")
_BEGINNINGS = (
    *_COMMANDS,
    "table",
    "chain",
    "rule",
    "set",
    "map",
    "element",
    "define",
    "redefine",
    "undefine",
    "include",
)


class CommandReader(Definitions):
    """Carries out the commands of a file; `tables` are what is there then."""

    def __init__(self, source: SourceFile, load: Load | None) -> None:
        super().__init__(source, load)
        self.tables: dict[tuple[str, str], Table] = {}
        self.implied: set[tuple[str, str]] = set()  #: tables that the file does not make itself

    def run(self) -> None:
        """Everything in the file."""
        words = self.words
        while True:
            words.skip_ends()
            if words.peek() is None:
                return
            here = words.words[words.at]
            if here.kind == "}":
                words.problems.append(Problem(Span(here.start, here.end), 'unexpected "}": no brace is open'))
                words.at += 1
            elif not self.general():
                self.blocks.guarded(self._command)

    def _command(self) -> None:
        words = self.words
        here = words.take()
        text = here.text if here.kind != STRING else ""
        if text in _SAYING_ONLY:
            words.skip_statement()
        elif text in _COMMANDS:
            self._verb(here)
        elif text in ("table", "chain", "rule", "set", "map", "element", *OBJECTS):
            self._add(here, here)
        else:
            words.fail(here, shown(here), FIRST_WORDS.get(text) or did_you_mean(text, _BEGINNINGS))

    def _verb(self, verb: Token) -> None:
        words = self.words
        what = words.take()
        match verb.text:
            case "add" | "create" | "insert" | "replace":
                self._add(verb, what)
            case "delete" | "destroy":
                self._delete(what)
            case "flush":
                self._flush(what)
            case "rename":
                table = self._table()
                old, new = words.name("chain"), words.name("chain")
                chain = table.chains.pop(old.text, None)
                if chain is not None:
                    chain.name = new.text
                    table.chains[new.text] = chain
            case _:
                words.skip_statement()

    def _family(self) -> str:
        words = self.words
        here = words.peek()
        if words.text() in FAMILIES:
            words.at += 1
            return words.words[words.at - 1].text
        if here is not None and here.text.split(" ")[0] in FAMILIES and " " in here.text and here.kind == "S":
            words._split(here)
            words.at += 1
            return words.words[words.at - 1].text
        return "ip"

    def _table(self) -> Table:
        """The table that a command names; one that the file does not make is implied."""
        family = self._family()
        name = self.words.name("table")
        key = (family, name.text)
        if key not in self.tables:
            self.tables[key] = Table(family, name.text, Span(name.start, name.end))
            self.implied.add(key)
            self.partial = True
        return self.tables[key]

    def _add(self, verb: Token, what: Token) -> None:
        words = self.words
        match what.text:
            case "table":
                self._add_table(verb)
            case "chain":
                self._add_chain(self._table(), verb)
            case "rule":
                self._add_rule(self._table(), verb)
            case "set" | "map":
                table = self._table()
                known = table.sets.get(words.text())
                if verb.text == "create" and known is not None:
                    words.fail(words.peek(), f"{what.text} {words.text()} is there already")
                self.blocks.set(table, what.text)
            case "element":
                self._add_elements(self._table())
            case text if text in OBJECTS:
                self._object(text, what)
            case _ if verb.text in ("add", "insert"):
                words.at -= 1
                self._add_rule(self._table(), verb)
            case text:
                words.fail(what, shown(what), did_you_mean(text, _BEGINNINGS))

    def _object(self, kind: str, first: Token) -> None:
        table = self._table()
        self.blocks.object(table, kind, first)

    def _add_table(self, verb: Token) -> None:
        words = self.words
        family = self._family()
        name = self.blocks.new_name("table")
        key = (family, name.text)
        if key in self.tables and verb.text == "create":
            words.fail(name, f"table {family} {name.text} is there already")
        behind = words.peek()
        if behind is not None and behind.kind not in (END, "{", "}"):
            words.fail(behind, shown(behind), did_you_mean(name.text, FAMILIES) or "a table has a family and a name")
        self.implied.discard(key)
        table = self.tables.setdefault(key, Table(family, name.text, Span(name.start, name.end)))
        if words.text() == "{" or (words.text() == "\n" and words.text(1) == "{"):
            self.blocks.table_body(table)

    def _add_chain(self, table: Table, verb: Token) -> None:
        words = self.words
        name = self.blocks.new_name("chain")
        if verb.text == "create" and name.text in table.chains:
            words.fail(name, f"chain {name.text} is there already")
        chain = self.blocks.declared(table, name)
        if words.text() == "{":
            self.blocks.chain_body(table, chain, name)
        elif not chain.hook:
            self.blocks.headers[id(chain)] = (chain, None)

    def _chain(self, table: Table, name: Token) -> Chain:
        if name.text not in table.chains:
            table.chains[name.text] = Chain(name.text, Span(name.start, name.end))
            self.partial = True
        return table.chains[name.text]

    def _add_rule(self, table: Table, verb: Token) -> None:
        words = self.words
        chain = self._chain(table, words.name("chain"))
        place = len(chain.rules) if verb.text != "insert" else 0
        while words.text() in ("handle", "position", "index"):
            how = words.take()
            number = words.take()
            index = decimal(number.text)
            if index is None:
                words.fail(number, f"{shown(number)}: a number is missing before it")
            if how.text == "index":
                place = index + (verb.text != "insert")
                if index >= len(chain.rules):
                    words.fail(number, f"chain {chain.name} has no rule {number.text}", "the first is 0")
            else:
                self.partial = True
        here = words.peek()
        if here is None or here.kind in (END, "}"):
            words.fail(here or words.words[-1], "the rule is missing")
        rule = self.blocks.rule(table, command=True)
        chain.rules.insert(place, rule)

    def _add_elements(self, table: Table) -> None:
        words = self.words
        name = words.name("set")
        made = table.sets.get(name.text)
        if made is None:
            made = table.sets[name.text] = Set(name.text, Span(name.start, name.end))
            self.partial = True
        braces = made.braces
        self.blocks.elements(made)
        made.braces = braces

    def _delete(self, what: Token) -> None:
        words = self.words
        if what.text == "table":
            family = self._family()
            if words.text() == "handle":
                words.skip_statement()
                return
            self.tables.pop((family, words.name("table").text), None)
            return
        if what.text not in ("chain", "set", "map", "element", "rule", "flowtable", *OBJECTS):
            words.fail(what, shown(what), did_you_mean(what.text, ("table", "chain", "rule", "set", "map", "element")))
        table = self._table()
        match what.text:
            case "chain":
                table.chains.pop(words.text(), None)
            case "set" | "map":
                table.sets.pop(words.text(), None)
            case "element":
                self._delete_elements(table)
            case "rule":
                self.partial = True
            case _:
                pass
        words.skip_statement()

    def _delete_elements(self, table: Table) -> None:
        words = self.words
        made = table.sets.get(words.name("set").text)
        if made is None:
            return
        gone = Set("", made.span)
        try:
            self.blocks.elements(gone)
        except Undefined:
            return
        keys = {_key(element.key) for element in gone.elements}
        made.elements[:] = [element for element in made.elements if _key(element.key) not in keys]

    def _flush(self, what: Token) -> None:
        words = self.words
        match what.text:
            case "ruleset":
                family = words.text() if words.text() in FAMILIES else ""
                if family:
                    words.at += 1
                for key in [k for k in self.tables if not family or k[0] == family]:
                    del self.tables[key]
            case "table":
                family = self._family()
                table = self.tables.get((family, words.name("table").text))
                for chain in table.chains.values() if table else ():
                    chain.rules.clear()
            case "chain":
                table = self._table()
                name = words.name("chain").text
                if name in table.chains:
                    table.chains[name].rules.clear()
            case "set" | "map" | "meter":
                table = self._table()
                name = words.name("set").text
                if name in table.sets:
                    table.sets[name].elements.clear()
            case text:
                known = ("ruleset", "table", "chain", "set", "map", "meter")
                words.fail(what, shown(what), did_you_mean(text, known))


def _key(value: Value) -> str:
    """A key of a set as text, whatever its place."""
    match value:
        case Range(low, high, _):
            return f"{low.text}-{high.text}"
        case Concat(parts, _):
            return " . ".join(map(_key, parts))
        case _:
            return getattr(value, "text", "") or repr(value)
