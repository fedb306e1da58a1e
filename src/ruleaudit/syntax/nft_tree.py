"""The tree of an nft ruleset: tables, chains, rules and what they are made of; every node knows where it stands.

Text and JSON give the same tree. It is what the commands of a file amount to, carried out in order; the text itself is
kept by the source file, and edits are made by spans.
"""

from dataclasses import dataclass, field

from ruleaudit.source import SourceFile, Span
from ruleaudit.syntax.problem import Problem


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a string, an operator or a line end; `text` is as written, without the quotes of a string."""

    kind: str  #: word, string, op, end
    text: str
    span: Span


# -- values ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Word:
    """A number, name, address, prefix (`10.0.0.0/8`) or `*`, as written; or a string. A define is written out."""

    text: str
    span: Span
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    """`low-high`."""

    low: Word
    high: Word
    span: Span


@dataclass(frozen=True, slots=True)
class SetName:
    """`@name`: a named set, map, or in few places another object."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Concat:
    """`a . b`."""

    parts: tuple["Value", ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Several:
    """`a, b` without braces: flags, states."""

    parts: tuple["Value", ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Operation:
    """`left | right`, with `|`, `&`, `^`, `<<`, `>>`, and `/` for a value and its mask (`syn / fin,syn`)."""

    operator: str
    left: "Value"
    right: "Value"
    span: Span


@dataclass(frozen=True, slots=True)
class Element:
    """An element of a set, and what a map gives for it; `options` are its timeout, comment, counter... as text."""

    key: "Value"
    data: "Value | Verdict | None"
    options: tuple[str, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Braces:
    """`{ ... }`: a set or map in place; its span holds the braces."""

    elements: tuple[Element, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Selector:
    """What is looked at, in one spelling: blanks collapsed, `meta` in front of its keys (`meta iifname`, `ct state`,
    `ip saddr`, `fib daddr . iif type`, `tcp option maxseg size`, `@th,16,16`).
    """

    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Lookup:
    """`key map { ... }` or `key map @name`: a value that a map gives."""

    key: "Value"
    map: "Value"
    span: Span


Value = Word | Range | SetName | Concat | Several | Operation | Braces | Selector | Lookup

# -- statements -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """accept, drop, continue, return; jump and goto with their chain."""

    name: str
    chain: str
    span: Span


@dataclass(frozen=True, slots=True)
class Match:
    """`tcp dport != 80`: what is looked at (a Selector, a Concat, an Operation on one), the operator and the value.

    `operator` is ==, !=, <, >, <=, >= or ! (none of these bits); `` where none is written, which is == for most values
    and "has one of these bits" for flags. `exists` and `missing` are words.
    """

    left: Value
    operator: str
    right: Value
    span: Span


@dataclass(frozen=True, slots=True)
class VerdictMap:
    """`ct state vmap { ... }` or `... vmap @name`."""

    key: Value
    map: Value
    span: Span


@dataclass(frozen=True, slots=True)
class Assignment:
    """`meta mark set 1`, `ct mark set meta mark`, `ip dscp set cs1`, `ct helper set "ftp"`."""

    selector: Selector
    value: Value
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class SetUpdate:
    """`add|update|delete @set { key statements }`, and the older `meter name { key statements }` (operation `meter`).

    `statements` decide whether the rule goes on (limit, ct count, quota); `data` is what a map is to give for the key.
    """

    operation: str
    name: str
    key: Value
    statements: tuple["Statement", ...]
    text: str
    span: Span
    data: "Value | Verdict | None" = None


@dataclass(frozen=True, slots=True)
class Nat:
    """snat, dnat, masquerade, redirect: where to; `address` and `port` are None where the statement names none."""

    name: str
    address: Value | None
    port: Value | None
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Reject:
    """`reject with icmpx port-unreachable`: kind is `tcp reset`, `icmp host-unreachable`..., `` where none is said."""

    kind: str
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Action:
    """Every other statement by its keyword: counter, log, limit, quota, ct count, notrack, queue, synproxy, tproxy,
    dup, fwd, flow, last, xt, tunnel, reset...; `text` is normalised (one blank between words, defines written out).
    """

    name: str
    text: str
    span: Span


Statement = Verdict | Match | VerdictMap | Assignment | SetUpdate | Nat | Reject | Action

# -- structure ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    text      as written, without what stands around it, on one line
    normal    the same with blanks collapsed, defines written out, the comment left out: equal texts mean the same
    unread    why it could not be understood as a whole; `statements` are those that were, "" if all
    command   written as a command of its own (`add rule ...`) instead of inside its chain's braces
    """

    statements: tuple[Statement, ...]
    text: str
    normal: str
    span: Span
    comment: str = ""
    unread: str = ""
    command: bool = False


@dataclass(slots=True)
class Chain:
    """A chain; `hook` is empty for one that is only called.

    span      the name, where the chain is declared
    body      what stands between its braces (the last ones, if it is opened several times); None for a command
    """

    name: str
    span: Span
    kind: str = ""
    hook: str = ""
    priority: int = 0
    policy: str = ""
    devices: tuple[str, ...] = ()
    rules: list[Rule] = field(default_factory=list)
    body: Span | None = None


@dataclass(slots=True)
class Set:
    """A named set or map.

    key       the types of its key, a name each (`ipv4_addr`, `inet_service`); for typeof the selectors' texts
    data      the type of what a map gives (`verdict`, `mark`, `ipv4_addr . inet_service`), "" for a set
    merging   overlapping intervals are put together (auto-merge)
    braces    where its elements stand, braces included, if they do
    body      what stands between the braces of the set itself
    limited   each element has a limit, quota or count of its own: who is over it finds no element
    """

    name: str
    span: Span
    key: tuple[str, ...] = ()
    data: str = ""
    typeof: bool = False
    flags: tuple[str, ...] = ()
    timeout: bool = False
    merging: bool = False
    limited: bool = False
    elements: list[Element] = field(default_factory=list)
    braces: Span | None = None
    body: Span | None = None


@dataclass(frozen=True, slots=True)
class Object:
    """A named counter, quota, limit, `ct helper`, `ct timeout`, `ct expectation`, synproxy, secmark, flowtable..."""

    kind: str
    name: str
    text: str
    span: Span


@dataclass(slots=True)
class Table:
    """A table of a family (ip, ip6, inet, arp, bridge, netdev)."""

    family: str
    name: str
    span: Span
    chains: dict[str, Chain] = field(default_factory=dict)
    sets: dict[str, Set] = field(default_factory=dict)
    objects: list[Object] = field(default_factory=list)
    dormant: bool = False
    body: Span | None = None


@dataclass(frozen=True)
class NftDocument:
    """A whole file and what it includes, its commands carried out in order; `str(document)` is its text.

    partial   it is visibly a part: rules for tables or chains that it does not make, an include that is not here
    json      it is written in JSON
    unread    what it includes and could not be looked at
    """

    source: SourceFile
    tables: tuple[Table, ...]
    problems: tuple[Problem, ...] = ()
    partial: bool = False
    json: bool = False
    unread: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.source.text
