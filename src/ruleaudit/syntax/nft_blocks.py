"""What stands between the braces of a table or a chain (nft(8), TABLES, CHAINS, RULES)."""

from collections.abc import Sequence

from ruleaudit.source import Span
from ruleaudit.syntax import nft_rule
from ruleaudit.syntax.nft_hooks import CHAIN_TYPES, POLICIES, hook_problem, priority
from ruleaudit.syntax.nft_set_blocks import OBJECTS, SetBlocks
from ruleaudit.syntax.nft_tokens import BRACES, STRING, VARIABLE, Token
from ruleaudit.syntax.nft_tree import Chain, Rule, Table
from ruleaudit.syntax.nft_values import Unreadable
from ruleaudit.syntax.nft_words import DEEPEST, SyntaxProblem, Undefined, WordReader, quoted, shown
from ruleaudit.syntax.problem import Problem
from ruleaudit.syntax.refusal import did_you_mean

FAMILIES = ("ip", "ip6", "inet", "arp", "bridge", "netdev")
_IN_TABLE = ("chain", "set", "map", "flags", "comment", "define", "redefine", "undefine", "include", *OBJECTS)
_TABLE_FLAGS = ("dormant", "owner", "persist")


class BlockReader(SetBlocks):
    """Reads the inside of a table."""

    # -- tables

    def table_body(self, table: Table) -> None:
        """`{ ... }` of a table."""
        body = self.block(self.opening(), f"table {table.name}", lambda: self._in_table(table))
        if table.body is None or not self.words.source.number_at(body.start):
            table.body = body

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
                        self.bad_word(flag, "flag of a table", _TABLE_FLAGS)
                    table.dormant = table.dormant or flag.text == "dormant"
            case "comment":
                words.take()
            case "table":
                self.leave(here, f"table {table.name}")
            case "ct helper" | "ct timeout" | "ct expectation":
                self.object(table, here.text, here)
            case text if text in OBJECTS:
                self.object(table, text, here)
            case text:
                words.fail(here, shown(here), did_you_mean(text, _IN_TABLE) or "rules stand in chains")

    # -- chains

    def chain(self, table: Table) -> None:
        """`chain name { ... }`, behind the word chain."""
        name = self.new_name("chain")
        chain = self.declared(table, name)
        chain.body = self.chain_body(table, chain, name)

    def chain_body(self, table: Table, chain: Chain, name: Token) -> Span:
        """`{ ... }` of a chain: what is said of its hook must be what was said before."""
        opening = self.opening()
        self.said.clear()
        self.policies.clear()
        self.header, self.typed = None, False
        body = self.block(opening, f"chain {chain.name}", lambda: self.in_chain(table, chain))
        if not chain.hook and not self.typed:
            for word in self.policies:
                message = f"chain {chain.name} has no hook, so it can have no policy"
                self.words.problems.append(Problem(Span(word.start, word.end), message))
        self._same_header(chain, name)
        return body

    def _same_header(self, chain: Chain, name: Token) -> None:
        """The kernel changes neither the type nor the hook nor the priority of a chain that is there."""
        kept, before = self.headers.get(id(chain), (None, None))
        if kept is chain and self.header is not None and self.header != before:
            known = f"of type {before[0]} at hook {before[1]} with priority {before[2]}" if before else "without a hook"
            place = Span(name.start, name.end)
            self.words.problems.append(Problem(place, f"chain {chain.name} is there already, {known}"))
        elif self.header is not None or not chain.hook:
            self.headers[id(chain)] = (chain, self.header)

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
                self._once(chain, here, "comment")
                words.at += 2
            case "chain" | "set" | "map" | "table" if _begins_block(words):
                self.leave(here, f"chain {chain.name}")
            case _:
                chain.rules.append(self.rule(table))
                self.closed = True

    def _once(self, chain: Chain, word: Token, what: str) -> None:
        if (id(chain), what) in self.said:
            message = f"the {what} of chain {chain.name} is said twice"
            self.words.problems.append(Problem(Span(word.start, word.end), message))
        self.said.add((id(chain), what))

    def _hook(self, table: Table, chain: Chain) -> None:
        words = self.words
        words.take()
        self.typed = True
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
        before = len(words.problems)
        chain.priority = priority(table.family, hook.text, kind.text, value, word, words.problems)
        if problem is None and len(words.problems) == before:
            self.header = (kind.text, hook.text, chain.priority)

    def _policy(self, chain: Chain) -> None:
        words = self.words
        self._once(chain, words.take(), "policy")
        policy = words.statement()
        if len(policy) != 1:
            hint = 'a line end or ";" is missing before it' if policy else ""
            words.fail(policy[1] if policy else words.peek(), "a policy is accept or drop", hint)
        word = policy[0]
        if word.text not in POLICIES:
            words.fail(word, f"{quoted(word.text)} is no policy", did_you_mean(word.text, POLICIES) or "accept or drop")
        self.policies.append(word)
        chain.policy = word.text

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
        if isinstance(error, Unreadable) and words.unbalanced:
            words.back_to_line_end(problems[0].span.end)
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
        if len(words.scopes) > DEEPEST:
            words.fail(opening, "too many braces in each other")
        name = f"__chain{self.anonymous}"
        self.anonymous += 1
        chain = table.chains[name] = Chain(name, Span(opening.start, opening.end))
        words.take()
        chain.body = self.block(opening, "this chain", lambda: self.in_chain(table, chain))
        return name


def _names(inner: Sequence[Token]) -> tuple[str, ...]:
    out: list[str] = []
    for word in inner:
        if word.kind == BRACES:
            out += _names(word.inner)
        elif word.kind != ",":
            out.append(word.text)
    return tuple(out)


def _begins_block(words: WordReader) -> bool:
    """Whether `chain name {`, `table ip name {` or the like stands here."""
    return "{" in (words.text(2), words.text(3)) and words.text(1) not in ("add", "update", "delete", "{")
