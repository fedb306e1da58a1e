"""What all blocks have in common: items up to the brace that closes, each read whatever was wrong with the last."""

from collections.abc import Callable, Sequence

from ruleaudit.source import Span
from ruleaudit.syntax.nft_tokens import END, Token
from ruleaudit.syntax.nft_tree import Chain
from ruleaudit.syntax.nft_values import Unreadable
from ruleaudit.syntax.nft_words import SyntaxProblem, Undefined, WordReader, quoted, shown
from ruleaudit.syntax.problem import Problem
from ruleaudit.syntax.refusal import did_you_mean

#: words that are never names, by every version of nft
RESERVED = frozenset(
    (
        "accept", "drop", "continue", "return", "jump", "goto", "table", "chain", "rule", "set", "map", "element",
        "add", "delete", "insert", "flush", "list", "create", "replace", "rename", "reset", "include", "define", "ip",
        "ip6", "inet", "arp", "bridge", "netdev", "tcp", "udp", "icmp", "icmpv6", "meta", "ct", "log", "counter",
        "limit", "quota", "reject", "queue", "snat", "dnat", "masquerade", "redirect", "type", "hook", "policy",
        "flags",
    )
)  # fmt: skip


class Block:
    """Reads the insides of braces."""

    def __init__(self, words: WordReader, general: Callable[[], bool]) -> None:
        self.words = words
        self.general = general  #: reads a define or an include, if one stands here
        self.unknown_variables = False  #: an include could not be read: any variable may be defined in it
        self.anonymous = 0
        self.left = False  #: a block was not closed: what stands here belongs outside of it
        self.closed = False  #: what was read may stand right before the brace that closes
        self.said: set[tuple[int, str]] = set()
        self.types: dict[int, Span] = {}  #: where the type of a set stands, by the set
        self.reserved = RESERVED
        self.typed = False  #: whether the set or chain that is read has said its type, well or not
        self.policies: list[Token] = []  #: the policies of the chain that is read
        self.header: tuple[str, str, int] | None = None  #: type, hook and priority of the chain that is read
        self.headers: dict[int, tuple[Chain, tuple[str, str, int] | None]] = {}  #: those of the chains before

    # -- names and braces

    def new_name(self, what: str) -> Token:
        """The name of something that is made here."""
        name = self.words.name(what)
        if name.text in self.reserved:
            message = f'"{name.text}" is a word of the language, and cannot be the name of a {what}'
            self.words.problems.append(Problem(Span(name.start, name.end), message, f"such as my_{name.text}"))
        return name

    def opening(self) -> Token:
        """The brace that opens a block; one that stands on the next line is named, and read."""
        words = self.words
        here, at = words.peek(), words.at
        if here is None or here.kind != END or here.text != "\n":
            return words.expect("{")
        words.skip_ends()
        if words.text() != "{":
            words.at = at
            return words.expect("{")
        message = 'the line ends: "{" is missing before it'
        words.problems.append(Problem(Span(here.start, here.end), message, "it must be on this line"))
        return words.expect("{")

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
                if self.left:
                    self.left = False
                    return Span(opening.end, max(words.words[words.at].start, opening.end))
        finally:
            words.scopes.pop()

    def guarded(self, item: Callable[[], None]) -> None:
        """Read something; go behind the statement if that fails."""
        words = self.words
        before = words.at
        self.closed = False
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

    def leave(self, word: Token, inside: str) -> None:
        """Something stands here that cannot be in this block: it was not closed."""
        words = self.words
        place = Span(word.start, word.end)
        message = f'unexpected "{word.text}": a brace is missing before it'
        words.problems.append(Problem(place, message, f"{inside} is not closed"))
        words.at = next(i for i in range(min(words.at, len(words.words) - 1), -1, -1) if words.words[i] is word)
        if words.at and words.kinds[words.at - 1] == END:
            words.at -= 1
            self.left = True
        else:
            words.skip_statement()

    def ended(self) -> None:
        """A statement ends at a line end, `;` or `}`."""
        here = self.words.peek()
        if here is not None and here.kind == "}" and not self.closed:
            message = 'unexpected "}": a line end or ";" is missing before it'
            self.words.problems.append(Problem(Span(here.start, here.end), message))
        elif here is not None and here.kind not in (END, "}"):
            self.words.fail(here, shown(here), "a statement ends with its line or with ;")

    def flags(self) -> list[Token]:
        """`a,b` or `a, b`."""
        words = self.words
        out = [words.take()]
        while words.text() == ",":
            words.take()
            out.append(words.take())
        return out

    def bad_word(self, word: Token, what: str, known: Sequence[str]) -> None:
        hint = did_you_mean(word.text, known) or f"one of {', '.join(known)}"
        self.words.problems.append(Problem(Span(word.start, word.end), f"{quoted(word.text)} is no {what}", hint))
