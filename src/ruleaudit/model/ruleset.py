"""The one firewall that both languages mean: tables, chains, rules, verdicts and effects.

Everything is an immutable value. A rule keeps the span of its text, so that every statement can point at a line.
Sources: iptables(8), iptables-extensions(8), nft(8); priorities from linux/netfilter_ipv4.h.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from typing import NamedTuple

from ruleaudit.model.condition import Condition, all_of
from ruleaudit.model.fields import Family, Hook
from ruleaudit.source import SourceFile, Span

# -- verdicts -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Continue:
    """The packet goes on to the next rule."""


@dataclass(frozen=True, slots=True)
class Accept:
    """This base chain is done with the packet; later base chains still see it."""


@dataclass(frozen=True, slots=True)
class Drop:
    """The packet is gone, silently."""


@dataclass(frozen=True, slots=True)
class Reject:
    """The packet is gone and answered; `kind` as in --reject-with (`tcp-reset`, `icmp-port-unreachable`...)."""

    kind: str


@dataclass(frozen=True, slots=True)
class Queue:
    """Userspace decides; `number` with its options names the queue."""

    number: str


@dataclass(frozen=True, slots=True)
class Jump:
    """Go through a user chain and come back."""

    chain: str


@dataclass(frozen=True, slots=True)
class Goto:
    """Go through a user chain and come back to the caller of this chain."""

    chain: str


@dataclass(frozen=True, slots=True)
class Return:
    """Back to the caller; in a base chain: its policy."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A target that is not understood: it may end the packet's way in any fashion, or let it go on.

    `chains` are those that it may lead to: a verdict map that somebody else fills.
    """

    text: str
    chains: tuple[str, ...] = ()


Verdict = Continue | Accept | Drop | Reject | Queue | Jump | Goto | Return | Unknown

# -- effects --------------------------------------------------------------------------------------


class EffectKind(Enum):
    """What a rule does besides deciding (design section 3.3)."""

    MARK = "mark"  #: sets bits of the packet mark, see `mask` and `value`
    NOTRACK = "notrack"  #: tags the packet UNTRACKED, if it carries no tag or entry yet
    TRACK = "track"  #: CT --zone/--helper/--timeout/...: makes a template, so that a later notrack has no effect
    ZONE = "zone"  #: nft's ct zone set before conntrack: the packet is tracked, whatever notrack said (facts section 9)
    NAT = "nat"  #: DNAT, SNAT, MASQUERADE, REDIRECT, NETMAP
    ENTRY = "entry"  #: creates or changes the entry: CONNMARK save, CONNSECMARK, SYNPROXY, CT --helper
    CHANGE = "change"  #: changes the packet: TOS, DSCP, TCPMSS, TTL, HL, TEE, CLASSIFY...
    WRITE = "write"  #: writes a set, list or counter that outlives the packet: SET, recent --set
    LOG = "log"  #: LOG, NFLOG, ULOG, TRACE, AUDIT


@dataclass(frozen=True, slots=True)
class Effect:
    """One effect; `text` is its target with all parameters, normalised.

    MARK: new = (old & ~mask) ^ value; `mask` None means: some value that cannot be known (CONNMARK --restore-mark).
    NAT: `ports` are the port ranges that the translated side may get, empty if NAT keeps or chooses them;
    `addresses` likewise (integers of the family).
    """

    kind: EffectKind
    text: str
    mask: int | None = None
    value: int = 0
    ports: tuple[tuple[int, int], ...] = ()
    addresses: tuple[tuple[int, int], ...] = ()


class Use(Enum):
    """What a consumer does with the conntrack entry (design section 4)."""

    CREATES = "creates"  #: creates or changes it: needed by the connections whose opening role reaches it
    READS = "reads"  #: reads it: needed by those of which any role reaches it


@dataclass(frozen=True, slots=True)
class Consumer:
    """A part of a rule whose effect lives in conntrack: `what` is the administrator's word (`connlimit`,
    `MASQUERADE`).
    """

    use: Use
    what: str


# -- rules ----------------------------------------------------------------------------------------


#: where a match stands that no text holds
NOWHERE = (0, 0)


class Match(NamedTuple):
    """One match of a rule, in the kernel's order of evaluation; rules share the ones that are equal.

    name        the extension (`conntrack`, `tcp`), or `` for the general options
    place       where it stands, counted from the start of the rule: see Rule.place_of
    memory      it counts or remembers what it sees (limit, recent): evaluating it is an effect
    writes      a match that is a list write by itself (recent --set, set via --add): the effect's text, else None
    understood  False: the text could not be interpreted; the condition is an Opaque and the rule is approximate
    text        how it is written, where a rule is a sequence of tests (nft)
    """

    name: str
    place: tuple[int, int]
    condition: Condition
    consumer: Consumer | None = None
    memory: bool = False
    writes: str | None = None
    understood: bool = True
    reason: str = ""
    text: str = ""


@dataclass(eq=False, slots=True)
class Rule:
    """Matches, effects and a verdict; identity is the object, not its text. Nobody changes one.

    path   the file that it stands in, where that is an included one; `line` counts in it
    """

    chain: str
    table: str
    line: int
    span: Span
    text: str
    matches: tuple[Match, ...]
    effects: tuple[Effect, ...]
    verdict: Verdict
    consumers: tuple[Consumer, ...] = ()
    understood: bool = True
    variant: str = ""  #: what else tells it from rules of the same text: the part of a verdict map, what sets hold
    path: str = ""
    _condition: Condition | None = field(default=None, init=False, repr=False)
    _is_seen: bool | None = field(default=None, init=False, repr=False)

    @property
    def where(self) -> str:
        """`line 6`, `line 2 of nftables.d/web.nft`."""
        return f"line {self.line} of {self.path}" if self.path else f"line {self.line}"

    @property
    def key(self) -> tuple[str, str]:
        """Rules with the same key mean the same."""
        return self.text, self.variant

    @property
    def condition(self) -> Condition:
        """The conjunction of all matches."""
        if self._condition is None:
            self._condition = all_of([m.condition for m in self.matches])
        return self._condition

    def place_of(self, match: Match) -> Span:
        """Where one of the matches stands in the text."""
        start, end = match.place
        return Span(self.span.start + start, self.span.start + end)

    @property
    def leads_to(self) -> str:
        """The chain that it sends packets into; empty for rules that send them into none."""
        return self.verdict.chain if isinstance(self.verdict, Jump | Goto) else ""

    @property
    def is_seen(self) -> bool:
        """Whoever is looked at by the matches leaves something behind: a count, an entry of a list, or a conntrack
        entry that is read.
        """
        if self._is_seen is None:
            self._is_seen = any(m.memory or m.consumer or m.writes for m in self.matches)
        return self._is_seen

    @property
    def is_idle(self) -> bool:
        """No packet fares otherwise by the rule, now or later: it logs, or does nothing at all."""
        if not isinstance(self.verdict, Continue) or self.consumers:
            return False
        if any(e.kind is not EffectKind.LOG for e in self.effects):
            return False
        return not any(m.consumer or m.writes or (m.memory and not self.effects) for m in self.matches)


@dataclass(frozen=True, eq=False)
class Chain:
    """A base chain (hook, priority, policy) or a user chain (hook None)."""

    name: str
    table: str
    rules: tuple[Rule, ...]
    hook: Hook | None = None
    priority: int = 0
    policy: Accept | Drop = Accept()
    nat: bool = False
    span: Span | None = None
    line: int | None = None

    @property
    def before_conntrack(self) -> bool:
        """A base chain that packets meet before conntrack looks at them; the later hooks come behind it at any
        priority.
        """
        return self.hook in (Hook.PREROUTING, Hook.OUTPUT) and self.priority < CONNTRACK_PRIORITY


@dataclass(frozen=True, eq=False)
class Table:
    """A table and its chains by name."""

    name: str
    chains: dict[str, Chain]
    span: Span | None = None


@dataclass(frozen=True, eq=False)
class Ruleset:
    """What one file says to the kernel, for one address family."""

    source: SourceFile
    language: str
    family: Family
    tables: dict[str, Table]
    partial: bool = False  #: visibly a fragment (loaded with --noflush, `-t filter` alone...)
    notes: tuple[str, ...] = field(default=())
    tracks: tuple[Span, ...] = ()  #: what switches conntrack on besides the rules: ct helpers, declared (facts, 2)
    known_sets: tuple[str, ...] = ()  #: ipsets whose contents some rule was read with

    @property
    def is_nft(self) -> bool:
        """Written in nft's language or its JSON, not for iptables-restore."""
        return self.language != "iptables-save"

    @cached_property
    def size(self) -> int:
        """The number of rules."""
        return sum(len(chain.rules) for table in self.tables.values() for chain in table.chains.values())

    def chains(self) -> Iterator[Chain]:
        """Every chain, in the order of the text within each table."""
        for table in self.tables.values():
            yield from table.chains.values()

    def rules(self) -> Iterator[Rule]:
        """Every rule, in the order of the text within each chain."""
        for table in self.tables.values():
            for chain in table.chains.values():
                yield from chain.rules

    def base_chains(self, hook: Hook) -> Sequence[Chain]:
        """The base chains at a hook, in the order in which a packet meets them.

        Of two with the same priority the kernel runs the one first that was loaded last. All nat chains of a hook
        stand where NAT does; their own priorities only set their order among each other.
        """
        return self._base_chains.get(hook, ())

    @cached_property
    def _base_chains(self) -> dict[Hook, Sequence[Chain]]:
        found: dict[Hook, list[Chain]] = {}
        for table in reversed(self.tables.values()):
            for chain in reversed(table.chains.values()):
                if chain.hook is not None:
                    found.setdefault(chain.hook, []).append(chain)
        return {hook: _in_order(hook, chains) for hook, chains in found.items()}


def _in_order(hook: Hook, chains: list[Chain]) -> list[Chain]:
    """The chains of a hook, by their priorities."""
    chains.sort(key=lambda c: c.priority)
    return sorted(chains, key=lambda c: NAT_PRIORITIES[hook] if c.nat and hook in NAT_PRIORITIES else c.priority)


#: priority of each iptables table at each of its hooks, and whether its chains are nat chains
IPTABLES_HOOKS: dict[str, dict[str, tuple[Hook, int]]] = {
    "raw": {"PREROUTING": (Hook.PREROUTING, -300), "OUTPUT": (Hook.OUTPUT, -300)},
    "mangle": {
        "PREROUTING": (Hook.PREROUTING, -150),
        "INPUT": (Hook.INPUT, -150),
        "FORWARD": (Hook.FORWARD, -150),
        "OUTPUT": (Hook.OUTPUT, -150),
        "POSTROUTING": (Hook.POSTROUTING, -150),
    },
    "nat": {
        "PREROUTING": (Hook.PREROUTING, -100),
        "INPUT": (Hook.INPUT, 100),
        "OUTPUT": (Hook.OUTPUT, -100),
        "POSTROUTING": (Hook.POSTROUTING, 100),
    },
    "filter": {"INPUT": (Hook.INPUT, 0), "FORWARD": (Hook.FORWARD, 0), "OUTPUT": (Hook.OUTPUT, 0)},
    "security": {"INPUT": (Hook.INPUT, 50), "FORWARD": (Hook.FORWARD, 50), "OUTPUT": (Hook.OUTPUT, 50)},
}

#: where the chains of type nat run, whatever priority they name
NAT_PRIORITIES = {Hook.PREROUTING: -100, Hook.OUTPUT: -100, Hook.INPUT: 100, Hook.POSTROUTING: 100}

#: conntrack looks packets up here, in prerouting and output
CONNTRACK_PRIORITY = -200
