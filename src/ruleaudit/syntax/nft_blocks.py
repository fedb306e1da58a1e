"""What stands between the braces of a table, a chain, a set or an object (nft(8), TABLES to STATEFUL OBJECTS)."""

from collections.abc import Callable, Sequence

from ruleaudit.source import Span
from ruleaudit.syntax import nft_rule
from ruleaudit.syntax.iptables import Problem
from ruleaudit.syntax.nft_hooks import CHAIN_TYPES, POLICIES, hook_problem, priority
from ruleaudit.syntax.nft_rule import Unreadable
from ruleaudit.syntax.nft_tokens import BRACES, END, STRING, VARIABLE, Token
from ruleaudit.syntax.nft_tree import Chain, Element, Object, Rule, Set, Table
from ruleaudit.syntax.nft_words import SyntaxProblem, Undefined, WordReader, quoted, shown
from ruleaudit.syntax.refusal import did_you_mean

FAMILIES = ("ip", "ip6", "inet", "arp", "bridge", "netdev")
OBJECTS = (
    "counter", "quota", "limit", "secmark", "synproxy", "flowtable", "tunnel", "ct", "ct helper", "ct timeout",
    "ct expectation",
)  # fmt: skip
CT_OBJECTS = ("helper", "timeout", "expectation")
_IN_TABLE = ("chain", "set", "map", "flags", "comment", "define", "redefine", "undefine", "include", *OBJECTS)
_TABLE_FLAGS = ("dormant", "owner", "persist")
_SET_FLAGS = ("constant", "dynamic", "interval", "timeout")
_IN_SET = (
    "type", "typeof", "flags", "timeout", "gc-interval", "size", "policy", "auto-merge", "elements", "comment",
    "counter", "limit", "quota", "last", "ct count",
)  # fmt: skip


class BlockReader:
    """Reads the insides of blocks into a table."""

    def __init__(self, words: WordReader, general: Callable[[], bool]) -> None:
        self.words = words
        self.general = general  #: reads a define or an include, if one stands here
        self.unknown_variables = False  #: an include could not be read: any variable may be defined in it
        self.anonymous = 0
        self.types: dict[int, Span] = {}  #: where the type of a set stands, by the set

    # -- blocks

    def block(self, opening: Token, what: str, item: Callable[[], None]) -> Span:
        """The items up to the brace that closes; what is wrong with one is a problem, and the next is read."""
        words = self.words
        words.scopes.append({})
        try:
            while True:
                words.skip_ends()
                here = words.peek()
                if here is None:
                    last = words.words[-1]
                    message = f"the file ends inside of {what}: a brace is missing"
                    words.problems.append(Problem(Span(last.start, last.end), message, "truncated?"))
                    return Span(opening.end, last.end)
                if here.kind == "}":
                    words.at += 1
                    return Span(opening.end, here.start)
                if self.general():
                    continue
                self.guarded(item)
        finally:
            words.scopes.pop()

    def guarded(self, item: Callable[[], None]) -> None:
        """Read something; go behind the statement if that fails."""
        words = self.words
        before = words.at
        try:
            item()
            self.ended()
        except SyntaxProblem as error:
            words.problems.append(error.problem)
            words.skip_statement()
        except Unreadable as error:
            words.problems += error.problems
            words.skip_statement()
        except Undefined as error:
            if not self.unknown_variables:
                words.problems.append(words.undefined(error.word))
            words.skip_statement()
        if words.at == before:
            words.at += 1

    def ended(self) -> None:
        """A statement ends at a line end, `;` or `}`."""
        here = self.words.peek()
        if here is not None and here.kind not in (END, "}"):
            self.words.fail(here, shown(here), "a statement ends with its line or with ;")

    # -- tables

    def table_body(self, table: Table) -> None:
        """`{ ... }` of a table."""
        opening = self.words.expect("{")
        table.body = self.block(opening, f"table {table.name}", lambda: self._in_table(table))

    def _in_table(self, table: Table) -> None:
        words = self.words
        here = words.take()
        match here.text if here.kind != STRING else "":
            case "chain":
                self.chain(table)
            case "set" | "map":
                self.set(table, here.text)
            case "flags":
                for flag in self.flags():
                    if flag.text not in _TABLE_FLAGS:
                        self._bad_word(flag, "flag of a table", _TABLE_FLAGS)
                    table.dormant = table.dormant or flag.text == "dormant"
            case "comment":
                words.take()
            case "ct helper" | "ct timeout" | "ct expectation":
                self.object(table, here.text, here)
            case text if text in OBJECTS:
                self.object(table, text, here)
            case text:
                words.fail(here, shown(here), did_you_mean(text, _IN_TABLE) or "rules stand in chains")

    def flags(self) -> list[Token]:
        """`a,b` or `a, b`."""
        words = self.words
        out = [words.take()]
        while words.text() == ",":
            words.take()
            out.append(words.take())
        return out

    def _bad_word(self, word: Token, what: str, known: Sequence[str]) -> None:
        hint = did_you_mean(word.text, known) or f"one of {', '.join(known)}"
        self.words.problems.append(Problem(Span(word.start, word.end), f"{quoted(word.text)} is no {what}", hint))

    # -- chains

    def chain(self, table: Table) -> None:
        """`chain name { ... }`, behind the word chain."""
        words = self.words
        chain = self.declared(table, words.name("chain"))
        opening = words.expect("{")
        body = self.block(opening, f"chain {chain.name}", lambda: self.in_chain(table, chain))
        chain.body = body

    def declared(self, table: Table, name: Token) -> Chain:
        """The chain of this name, made if it is not there."""
        chain = table.chains.get(name.text)
        if chain is None:
            chain = table.chains[name.text] = Chain(name.text, Span(name.start, name.end))
            if len(name.text) > 127:
                message = f"the name of a chain has at most 127 characters, this one has {len(name.text)}"
                words = self.words
                words.problems.append(Problem(Span(name.start, name.end), message))
        return chain

    def in_chain(self, table: Table, chain: Chain) -> None:
        """One line of a chain."""
        words = self.words
        here = words.peek()
        assert here is not None
        following = words.text(1)
        match here.text if here.kind != STRING else "":
            case "type":
                self._hook(table, chain)
            case "policy":
                self._policy(chain)
            case "device" | "devices":
                chain.devices += self._devices()
            case "flags" if words.text(1) == "offload":
                words.at += 2
            case "comment" if words.peek(1) is not None:
                words.at += 2
            case "chain" | "set" | "map" | "table" if following not in ("update", "add") and words.text(2) in (
                "{",
                following,
            ):
                words.fail(
                    here, f'unexpected "{here.text}": a brace is missing before it', f"chain {chain.name} is not closed"
                )
            case _:
                chain.rules.append(self.rule(table))

    def _hook(self, table: Table, chain: Chain) -> None:
        words = self.words
        words.take()
        kind = words.name("type")
        if kind.text not in CHAIN_TYPES:
            words.fail(
                kind,
                f"{quoted(kind.text)} is no type of a chain",
                did_you_mean(kind.text, CHAIN_TYPES) or "filter, nat or route",
            )
        words.expect("hook")
        hook = words.name("hook")
        chain.kind, chain.hook = kind.text, hook.text
        problem = hook_problem(table.family, kind, hook)
        if problem is not None:
            words.problems.append(problem)
        if words.text() in ("device", "devices"):
            chain.devices += self._devices()
        word = words.expect("priority")
        value = words.statement()
        chain.priority = priority(table.family, hook.text, kind.text, value, word, words.problems)

    def _policy(self, chain: Chain) -> None:
        words = self.words
        words.take()
        policy = words.statement()
        if len(policy) != 1:
            words.fail(policy[1] if policy else words.peek(), "a policy is accept or drop")
        word = policy[0]
        if word.text not in POLICIES:
            words.fail(word, f"{quoted(word.text)} is no policy", did_you_mean(word.text, POLICIES) or "accept or drop")
        if not chain.hook:
            words.fail(word, f"chain {chain.name} has no hook, so it can have no policy")
        chain.policy, chain.policy_span = word.text, Span(word.start, word.end)

    def _devices(self) -> tuple[str, ...]:
        """`device eth0`, `devices = { eth0, $lan }`."""
        words = self.words
        words.take()
        if words.text() == "=":
            words.take()
        here = words.peek()
        if here is not None and here.kind == "{":
            inner = words.braces().inner
        elif here is not None and here.kind == VARIABLE:
            words.at += 1
            inner = words.variable(here)
        else:
            inner = (words.take(),)
        return _names(inner)

    # -- rules

    def rule(self, table: Table, command: bool = False) -> Rule:
        """The rule that stands here; what cannot be read of it is a problem, and makes it unread."""
        words = self.words
        first = words.peek()
        assert first is not None
        words.anonymous = lambda opening: self._anonymous_chain(table, opening)
        try:
            inside = words.statement()
            read = nft_rule.rule(inside)
        except (SyntaxProblem, Unreadable, Undefined) as error:
            return self._unread(first, error, command)
        finally:
            words.anonymous = None
        span = Span(first.start, inside[-1].end)
        return Rule(read.statements, self.one_line(span), read.normal, span, read.comment, "", command)

    def _unread(self, first: Token, error: Exception, command: bool) -> Rule:
        words = self.words
        problems: tuple[Problem, ...] = ()
        match error:
            case SyntaxProblem():
                problems = (error.problem,)
            case Unreadable():
                problems = error.problems
            case Undefined() if not self.unknown_variables:
                problems = (words.undefined(error.word),)
            case _:
                pass
        words.problems += problems
        words.skip_statement()
        last = words.words[max(words.at - 1, 0)]
        span = Span(first.start, max(last.end, first.end))
        text = self.one_line(span)
        return Rule(
            (), text, " ".join(text.split()), span, "", problems[0].message if problems else str(error), command
        )

    def one_line(self, span: Span) -> str:
        """The text under a span without line ends and the comments between."""
        text = self.words.source.slice(span)
        if "\n" not in text:
            return text
        lines = [line.split("#")[0].rstrip(" \t\r\\").strip() for line in text.split("\n")]
        return " ".join(line for line in lines if line)

    def _anonymous_chain(self, table: Table, opening: Token) -> str:
        """`jump { ... }`: a chain without a name; it gets that of the kernel."""
        words = self.words
        name = f"__chain{self.anonymous}"
        self.anonymous += 1
        chain = table.chains[name] = Chain(name, Span(opening.start, opening.end))
        words.take()
        chain.body = self.block(opening, "this chain", lambda: self.in_chain(table, chain))
        return name

    # -- sets

    def set(self, table: Table, kind: str) -> None:
        """`set name { ... }` or `map name { ... }`, behind the first word."""
        words = self.words
        name = words.name(kind)
        made = table.sets.get(name.text)
        if made is None:
            made = table.sets[name.text] = Set(name.text, Span(name.start, name.end))
        opening = words.expect("{")
        body = self.block(opening, f"{kind} {name.text}", lambda: self._in_set(made, kind))
        made.body = body
        if not made.key:
            at = Span(name.start, name.end)
            words.problems.append(Problem(at, f"{kind} {name.text} does not say what type its elements have"))

    def _in_set(self, made: Set, kind: str) -> None:
        words = self.words
        here = words.take()
        match here.text if here.kind != STRING else "":
            case "type" | "typeof":
                self._set_type(made, here, kind)
            case "flags":
                for flag in self.flags():
                    if flag.text not in _SET_FLAGS:
                        self._bad_word(flag, "flag of a set", _SET_FLAGS)
                    made.flags += (flag.text,)
            case "timeout":
                made.timeout = True
                words.statement()
            case "gc-interval" | "size" | "policy" | "counter" | "limit" | "quota" | "last" | "ct count" | "comment":
                words.statement()
            case "auto-merge":
                pass
            case "elements":
                words.expect("=")
                self.elements(made)
            case text:
                words.fail(here, shown(here), did_you_mean(text, _IN_SET))

    def elements(self, made: Set) -> None:
        """`{ ... }` or `$variable`: elements of a set."""
        words = self.words
        here = words.peek()
        if here is not None and here.kind == VARIABLE:
            words.at += 1
            group = _group(words.variable(here), here)
        elif here is None or here.kind != "{":
            words.fail(here, f'{shown(here)}: "{{" is missing before it')
        else:
            group = words.braces()
            made.braces = Span(group.start, group.end)
        made.elements += self._read_elements(group)

    def _read_elements(self, group: Token) -> Sequence[Element]:
        return nft_rule.elements(group.inner)

    def _set_type(self, made: Set, word: Token, kind: str) -> None:
        words = self.words
        inside = words.statement()
        if not inside:
            words.fail(words.peek(), f"{shown(words.peek())}: a type is missing before it")
        made.typeof = word.text == "typeof"
        self.types[id(made)] = Span(inside[0].start, inside[-1].end)
        colon = next((i for i, part in enumerate(inside) if part.kind == ":"), len(inside))
        if kind == "map" and colon == len(inside):
            words.fail(inside[-1], f"map {made.name} does not say what it gives", 'as in "type ipv4_addr : verdict"')
        made.key = tuple(nft_rule.written(part, 0, len(part) - 1) for part in _split(inside[:colon], "."))
        data = [part for part in inside[colon + 1 :] if part.text != "interval"]
        made.data = " . ".join(nft_rule.written(part, 0, len(part) - 1) for part in _split(data, ".")) if data else ""

    # -- objects

    def object(self, table: Table, kind: str, first: Token) -> None:
        """A named counter, quota, limit..., behind its first word."""
        words = self.words
        if kind == "ct":
            which = words.take()
            words.fail(which, shown(which), did_you_mean(which.text, CT_OBJECTS))
        name = words.name(kind)
        start = words.at
        if words.text() == "{":
            words.skip_statement()
        else:
            words.statement()
        last = words.words[words.at - 1]
        span = Span(first.start, last.end)
        inside = words.words[start : words.at]
        text = " ".join(word.text for word in inside if word.kind != END)
        table.objects.append(Object(kind, name.text, text, span))


def _names(inner: Sequence[Token]) -> tuple[str, ...]:
    out: list[str] = []
    for word in inner:
        if word.kind == BRACES:
            out += _names(word.inner)
        elif word.kind != ",":
            out.append(word.text)
    return tuple(out)


def _split(words: Sequence[Token], separator: str) -> list[list[Token]]:
    out: list[list[Token]] = [[]]
    for word in words:
        if word.kind == separator:
            out.append([])
        else:
            out[-1].append(word)
    return [part for part in out if part]


def _group(stands_for: tuple[Token, ...], place: Token) -> Token:
    """What a variable stands for, as braces at its place."""
    inner = stands_for[0].inner if len(stands_for) == 1 and stands_for[0].kind == BRACES else stands_for
    return Token(BRACES, "", place.start, place.end, inner)
