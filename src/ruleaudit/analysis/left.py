"""What the rules of each chain are left with: every packet that could be, sent through each base chain by itself.

Nothing is taken for granted of the packets: every header, in every state, with every mark, whether there is such a
packet or not. So a rule of which no packet is left here has none on any host. Chains that somebody else may call are
looked at in the same way, with every packet at their start.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

from ruleaudit.analysis.ends import End, ends
from ruleaudit.analysis.named_sets import named_sets, without_sets
from ruleaudit.analysis.pair import may_match
from ruleaudit.analysis.row import Row, union
from ruleaudit.analysis.scouts import OutOfSteps, Scouts
from ruleaudit.analysis.space import TRACKED_STATES, Frame, Space
from ruleaudit.analysis.stretch import Block, Matched, is_by_header
from ruleaudit.analysis.tracking import called_from_outside
from ruleaudit.analysis.walk import ABSENT, Identities, Walk, chains_from, is_tracking
from ruleaudit.model.condition import Masked, Never, Opaque, Values, tests
from ruleaudit.model.fields import Field, Hook
from ruleaudit.model.ruleset import (
    CONNTRACK_PRIORITY,
    Chain,
    Continue,
    EffectKind,
    Goto,
    Jump,
    Return,
    Rule,
    Ruleset,
    Unknown,
)
from ruleaudit.packets.diagram import PacketSet, is_empty
from ruleaudit.source import Span

#: a rule that takes more than so many others to leave nothing to it is not told
MOST_TAKERS = 256


@dataclass(frozen=True)
class Void:
    """A rule of the text of which no packet is left; in the model it is several where it holds a verdict map.

    takers  the rules that take what it would match, each with packets of it; none where nothing that gets into its
            chain can match it
    """

    parts: tuple[Rule, ...]
    takers: tuple[tuple[Rule, PacketSet], ...]
    walk: Walk

    @property
    def rule(self) -> Rule:
        return self.parts[0]

    @property
    def by_sets(self) -> tuple[Rule, ...]:
        """The takers that take by what a named set holds now, and that the rule itself does not ask for."""
        return tuple(by for by, _ in self.takers if named_sets(by) - named_sets(self.rule))


@dataclass(frozen=True)
class _Entry:
    """A chain into which packets come from outside of the rules, and the walk of those that are asked about."""

    chain: Chain
    frame: Frame
    walk: Walk
    refused: Mapping[Rule, Sequence["_InBlock"]]  #: the rules of blocks

    def matched(self, rule: Rule) -> PacketSet:
        """The packets that a rule matches."""
        blocks = self.refused.get(rule)
        if blocks is None:
            return self.walk.matched.get(rule, self.walk.none)
        return union([one.matched for one in blocks], self.walk.none)


@dataclass(frozen=True)
class _InBlock:
    """A rule of a block: its place, what each of them matches, and the packets about which the block decides."""

    place: int
    row: Row
    packets: PacketSet

    @property
    def matched(self) -> PacketSet:
        return self.packets & self.row.without(self.row.sets[self.place], 0, self.place)


class Left:
    """One ruleset, with all packets sent through it; the answers are computed when asked for.

    Most rules are met by a packet that a scout shows. Only what the others may match is sent through as a set.
    """

    def __init__(self, space: Space, ruleset: Ruleset) -> None:
        self.space, self.ruleset = space, ruleset
        self.scouts = Scouts(ruleset)
        self._rows: dict[tuple[int, str, str], Row] = {}
        self._written: dict[tuple[str, str], bool] = {}
        self._comers: dict[tuple[str, str], Sequence[tuple[_Entry, PacketSet]]] = {}

    def _entries(self) -> Iterator[tuple[Chain, Frame]]:
        """The base chains, and the chains that others call."""
        for chain in self.ruleset.chains():
            if chain.rules and (chain.hook or self.is_called_elsewhere(chain)):
                yield chain, Frame("any", absent=ABSENT[chain.hook] if chain.hook else frozenset())

    @cached_property
    def _shown(self) -> frozenset[Rule]:
        """The rules that a scout shows to be met, and those of which that cannot be told."""
        found: set[Rule] = set()
        for chain, frame in self._entries():
            below = list(self._below(chain))
            if any(rule.effects and _makes_another(rule) for rule in below):
                found.update(below)
                continue
            found.update(rule for rule in below if not rule.understood)
            if self._is_written(chain):
                # a test of what was written may be answered in another way the second time
                found.update(rule for rule in below if _asks(rule))
            early = chain.hook is Hook.OUTPUT and chain.priority < CONNTRACK_PRIORITY
            with suppress(OutOfSteps):
                self.scouts.meet(chain, below, frame.absent, early, found)
        return frozenset(found)

    @cached_property
    def _doubtful(self) -> Mapping[Rule, Rule]:
        """The other rules to which packets may get, each with what it would be if it asked for no named set."""
        below = (rule for chain, _ in self._entries() for rule in self._below(chain))
        rules = (rule for rule in below if rule not in self._shown and not isinstance(rule.condition, Never))
        return {rule: without_sets(rule) if named_sets(rule) else rule for rule in rules}

    @cached_property
    def entries(self) -> tuple[_Entry, ...]:
        """Where packets come in from outside, and what becomes there of those that the doubtful rules may match."""
        # whether a packet is untracked when it comes is a question of its own
        tag = self.space.diagrams.bit(self.space.diagrams.add(1)[0])
        numbers, active, near = Identities.of(self.ruleset), is_tracking(self.ruleset), self._near
        states = {state: self.space.in_state(state) for state in TRACKED_STATES}
        original = self.space.diagrams.bit(self.space.direction_bit)
        found = []
        for chain, frame in self._entries():
            below = set(self._below(chain)) if self._doubtful else set()
            asked = [wide for rule, wide in self._doubtful.items() if rule in below]
            frames = {frame, Frame("any")}
            packets = union([may_match(self.space, rule, f) for rule in asked for f in frames], self.space.none)
            walk = Walk(self.space, near, numbers, frame, states, original, active)
            walk.alone(near.tables[chain.table].chains[chain.name], tag, packets)
            found.append(_Entry(chain, frame, walk, self._refused(walk, frame)))
        return tuple(found)

    @cached_property
    def _near(self) -> Ruleset:
        """The ruleset without the rules that match nothing of what the doubtful rules may match."""
        wide = [rule.condition for rule in self._doubtful.values()]

        def reduced(chain: Chain) -> Chain:
            near = self.scouts.near(chain, wide)
            rules = tuple(rule for rule in chain.rules if rule in near)
            return chain if len(rules) == len(chain.rules) else replace(chain, rules=rules)

        tables = {
            name: replace(table, chains={chain.name: reduced(chain) for chain in table.chains.values()})
            for name, table in self.ruleset.tables.items()
        }
        return replace(self.ruleset, tables=tables)

    def _refused(self, walk: Walk, frame: Frame) -> Mapping[Rule, Sequence[_InBlock]]:
        """The rules of the blocks that decide about packets that are asked about."""
        found: dict[Rule, list[_InBlock]] = {}
        for block, packets in walk.decided.by(Block, None):
            row = Row(Matched(self.space, block.rules, frame))
            for place, rule in enumerate(block.rules):
                found.setdefault(rule, []).append(_InBlock(place, row, packets))
        return found

    @cached_property
    def _near_rules(self) -> frozenset[Rule]:
        return frozenset(self._near.rules())

    def is_called_elsewhere(self, chain: Chain) -> bool:
        """Rules that are not in this file may lead to a user chain."""
        return called_from_outside(chain.name) or self.ruleset.partial or chain.table in self._open_tables

    @cached_property
    def _open_tables(self) -> frozenset[str]:
        """The tables with a verdict map that is filled elsewhere, or with a rule that is not understood."""
        rules = self.ruleset.rules()
        return frozenset(r.table for r in rules if isinstance(r.verdict, Unknown) or "vmap @" in r.text)

    @cached_property
    def met(self) -> frozenset[Rule]:
        """The rules that some packet matches, or of which that cannot be told."""
        doubtful = self._doubtful
        entries = self.entries if doubtful else ()
        return self._shown | {r for r in doubtful if any(not is_empty(entry.matched(r)) for entry in entries)}

    def _is_written(self, chain: Chain) -> bool:
        """Some rule that packets of an entry may meet changes what a later test may read."""
        key = (chain.table, chain.name)
        if key not in self._written:
            self._written[key] = any(_writes(rule) for rule in self._below(chain) if rule.effects or rule.is_seen)
        return self._written[key]

    def _may_match(self, rule: Rule, packets: PacketSet) -> bool:
        return not is_empty(packets & may_match(self.space, rule, Frame("any")))

    def _below(self, chain: Chain) -> Iterator[Rule]:
        chains = self.ruleset.tables[chain.table].chains
        for _, name in sorted(chains_from(self.ruleset, (chain,))):
            yield from chains[name].rules

    @cached_property
    def entered(self) -> frozenset[tuple[str, str]]:
        """(table, chain) of every chain that some packet gets into."""
        found = {(c.table, c.name) for c in self.ruleset.chains() if c.hook or self.is_called_elsewhere(c)}
        return frozenset(found | {(r.table, r.leads_to) for r in self.met if r.leads_to})

    @cached_property
    def alive(self) -> frozenset[Span]:
        """The rules of the text that some packet matches."""
        return frozenset(rule.span for rule in self.met)

    # -- the ends of chains --------------------------------------------------------------------------

    @cached_property
    def ends(self) -> tuple[End, ...]:
        """For each chain that holds rules behind a verdict for every packet: that verdict."""
        return ends(self.ruleset)

    @cached_property
    def behind(self) -> frozenset[Rule]:
        """The rules behind such a verdict."""
        return frozenset(rule for end in self.ends for rule in end.behind)

    # -- rules without packets -----------------------------------------------------------------------

    @cached_property
    def void(self) -> tuple[Void, ...]:
        """The rules of the text of which no packet is left, except those behind the end of their chain."""
        found: dict[Span, list[Rule]] = {}
        for rule in self.ruleset.rules():
            if rule not in self.met and (rule.table, rule.chain) in self.entered:
                found.setdefault(rule.span, []).append(rule)
        told = (self._void(parts) for span, parts in found.items() if span not in self.alive)
        return tuple(one for one in told if one is not None)

    def _void(self, parts: list[Rule]) -> Void | None:
        rule = parts[0]
        if rule in self.behind or all(isinstance(part.condition, Never) for part in parts):
            return None
        chain = self.ruleset.tables[rule.table].chains[rule.chain]
        if chain.span == rule.span:
            return None  # the reader's own, that stands for an ingress chain
        found = self._taken(parts, chain, parts)
        asked = named_sets(rule)
        if found is not None and not asked <= {name for by, _ in found.takers for name in named_sets(by)}:
            # a set is named so that it can be changed: what the rule asks of it must not matter
            found = self._taken(parts, chain, [without_sets(part) for part in parts])
        return found

    def _taken(self, parts: Sequence[Rule], chain: Chain, alike: Sequence[Rule]) -> Void | None:
        """A rule without packets and its takers; `alike` are rules that match all that it matches, or more."""
        rule = parts[0]
        taken: list[tuple[Rule, PacketSet]] = []
        walk = None
        for entry, coming in self._into(chain):
            wanted = coming & self._would_match(entry, alike)
            if is_empty(wanted):
                continue
            walk = entry.walk
            rest = self._taking(entry, chain, self.places[rule], wanted, taken, ())
            if not is_empty(rest) or len(taken) > MOST_TAKERS:
                return None
            written = self._is_written(entry.chain)
            if sum(_asks(by) and (written or not by.understood) for by, _ in taken) > 1:
                return None  # opposite tests need not have opposite answers where something is written between them
        if walk is not None:
            return Void(tuple(parts), tuple(self._needed(chain, taken)), walk)
        # no test of a state or a mark is the reason: these look otherwise in the middle of a chain than at its start
        if chain.hook is not None or any(self._could_come(chain, part) for part in alike):
            return None
        possible = any(not is_empty(self._would_match(entry, alike)) for entry in self.entries)
        return Void(tuple(parts), (), self.entries[0].walk) if possible else None

    def _needed(self, chain: Chain, taken: list[tuple[Rule, PacketSet]]) -> list[tuple[Rule, PacketSet]]:
        """The takers without those whose packets the others would take as well: the last ones say it best."""
        rest = self.space.none
        for _, hit in taken:
            rest = rest | hit
        needed = []
        for by, hit in reversed(taken):
            if is_empty(rest):
                break
            wide = hit
            if by.chain == chain.name and not isinstance(by.verdict, Goto):
                for entry, _ in self._into(chain):
                    wide = wide | self._would_match(entry, (by,))
            if not is_empty(rest & wide):
                needed.append((by, hit))
                rest = rest & ~wide
        return needed[::-1]

    def _could_come(self, chain: Chain, rule: Rule) -> bool:
        return any(self._may_match(rule, coming) for _, coming in self._into(chain))

    def _would_match(self, entry: _Entry, parts: Iterable[Rule]) -> PacketSet:
        """What a rule matches wherever it stands."""
        out, view, numbers = self.space.none, entry.walk.view(), entry.walk.identities.numbers
        for rule in parts:
            number = numbers.get(rule, 0)
            out = out | self.space.condition(rule.condition, entry.frame, view, number, rule.understood)
        return out

    def _into(self, chain: Chain) -> Sequence[tuple[_Entry, PacketSet]]:
        """The entries of which packets get into a chain, and these packets."""
        key = (chain.table, chain.name)
        if key not in self._comers:
            coming = {place: self.space.all for place, entry in enumerate(self.entries) if entry.chain is chain}
            for rule in self._callers.get(key, ()):
                for place in self._sending.get(rule, ()):
                    coming[place] = coming.get(place, self.space.none) | self.entries[place].matched(rule)
            self._comers[key] = [(self.entries[place], coming[place]) for place in sorted(coming)]
        return self._comers[key]

    @cached_property
    def _sending(self) -> Mapping[Rule, Collection[int]]:
        """The places of the entries of which each rule sends packets to another chain."""
        found: dict[Rule, list[int]] = {}
        for place, entry in enumerate(self.entries):
            for rule, _ in entry.walk.matched.of(lambda rule: bool(rule.leads_to)):
                found.setdefault(rule, []).append(place)
        return found

    @cached_property
    def places(self) -> Mapping[Rule, int]:
        """The place of each rule in its chain."""
        return {rule: place for chain in self.ruleset.chains() for place, rule in enumerate(chain.rules)}

    @cached_property
    def _callers(self) -> Mapping[tuple[str, str], Collection[Rule]]:
        found: dict[tuple[str, str], list[Rule]] = {}
        for rule in self.ruleset.rules():
            if isinstance(rule.verdict, Jump | Goto):
                found.setdefault((rule.table, rule.verdict.chain), []).append(rule)
        return found

    def callers(self, chain: Chain) -> tuple[Rule, ...]:
        """The rules that lead to a chain."""
        return tuple(self._callers.get((chain.table, chain.name), ()))

    def _taking(
        self,
        entry: _Entry,
        chain: Chain,
        end: int,
        wanted: PacketSet,
        taken: list[tuple[Rule, PacketSet]],
        stack: tuple[str, ...],
    ) -> PacketSet:
        """Name the rules before a place that take packets; returns those that nobody takes."""
        row = self._row(entry, chain)
        table = self.ruleset.tables[chain.table]
        back = self.space.none
        at = row.first(wanted, 0, end)
        while at is not None and len(taken) <= MOST_TAKERS:
            rule, hit = chain.rules[at], wanted & row.sets[at]
            wanted = wanted & ~hit
            match rule.verdict:
                case Jump(name) | Goto(name):
                    called = table.chains.get(name)
                    rest = hit
                    if called is not None and name not in stack:
                        rest = self._taking(entry, called, len(called.rules), hit, taken, (*stack, chain.name))
                    if isinstance(rule.verdict, Jump):
                        wanted = wanted | rest
                    elif stack:
                        back = back | rest
                    elif not is_empty(rest):
                        taken.append((rule, rest))
                case Return() if stack:
                    back = back | hit
                case _:
                    taken.append((rule, hit))
            at = row.first(wanted, at + 1, end)
        return wanted | back

    def _row(self, entry: _Entry, chain: Chain) -> "Row":
        key = (id(entry), chain.table, chain.name)
        if key not in self._rows:
            self._rows[key] = Row(_Takers(self.space, entry, chain, self._near_rules))
        return self._rows[key]


class _Takers:
    """What each rule of a chain takes of packets that are asked about and that no earlier one took."""

    def __init__(self, space: Space, entry: _Entry, chain: Chain, near: Collection[Rule]) -> None:
        self._none, self._entry, self._rules, self._near = space.none, entry, chain.rules, near
        self._headers = Matched(space, chain.rules, entry.frame)

    def __getitem__(self, place: int) -> PacketSet:
        rule = self._rules[place]
        if isinstance(rule.verdict, Continue | Unknown) or rule not in self._near:
            return self._none
        return self._headers[place] if is_by_header(rule) else self._entry.matched(rule)

    def __len__(self) -> int:
        return len(self._rules)


def _makes_another(rule: Rule) -> bool:
    """Behind the rule another packet is seen than before it: its header was written, or its mark to an open value."""
    changes = [e.text for e in rule.effects if e.kind is EffectKind.CHANGE]
    return bool(changes) and (not rule.understood or any("pkttype" in text for text in changes))


_WRITING = (EffectKind.WRITE, EffectKind.ENTRY, EffectKind.CHANGE, EffectKind.ZONE, EffectKind.TRACK)


def _writes(rule: Rule) -> bool:
    """The rule changes what a later test may read besides the header: a set, the entry, the packet, an open mark."""
    if any(m.writes is not None for m in rule.matches):
        return True
    return any(e.kind in _WRITING or (e.kind is EffectKind.MARK and e.mask is None) for e in rule.effects)


def _asks(rule: Rule) -> bool:
    """The rule reads something that is neither in the header nor a state that is known."""
    return any(isinstance(t, Opaque | Masked | Values) and _is_open(t) for t in tests(rule.condition))


def _is_open(test: Opaque | Masked | Values) -> bool:
    return isinstance(test, Opaque) or test.field is Field.MARK
