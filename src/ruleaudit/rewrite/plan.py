"""From facts to a proved rewrite: choose flows, make their bundle, prove it, mend it, or refuse (design section 6).

The proof leads: a bundle starts with the two raw rules; every difference that the comparison then finds names the edit
that is missing. What no edit cures is refused with the packet that shows why. Nothing leaves this module unproved.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from ruleaudit.analysis.alignment import align
from ruleaudit.analysis.compare import compare_in
from ruleaudit.analysis.space import Space
from ruleaudit.analysis.walk import chains_from, mentions_state
from ruleaudit.diagnostics import FixClass
from ruleaudit.model.condition import And, States
from ruleaudit.model.fields import CLIENT_PORTS, Family, State
from ruleaudit.model.ruleset import Goto, Jump, Rule, Ruleset
from ruleaudit.results import Comparison, Difference, DifferenceKind
from ruleaudit.results.suggestion import Change, Refused
from ruleaudit.rewrite.bundle import Bundle, Group, by_place, grouped
from ruleaudit.rewrite.flows import Candidate
from ruleaudit.rewrite.written_out import rewritten
from ruleaudit.source import SourceFile, Span

#: from strict to loose; a plan takes the loosest of its differences
STRICTNESS = (
    FixClass.EXACT,
    FixClass.SAME_CONNECTIONS,
    FixClass.ASSUMING,
    FixClass.REVERSED,
    FixClass.RELAXING,
)
ROUNDS = 12
_RANGE = f"{CLIENT_PORTS[0]}-{CLIENT_PORTS[1]} (net.ipv4.ip_local_port_range)"
#: what is assumed where only connections from the usual ports leave; from another port they work too
OWN_PORTS = ("ephemeral-ports", f"this host opens these connections from ports {_RANGE}; others stay tracked")

#: reads a text again: the rewritten ruleset of each family, or None when it does not read without an error
Reader = Callable[[str], tuple[Ruleset, ...] | None]


class Editor(Protocol):
    """What a plan asks of a language; each edit says its topic and the reason for it."""

    changes: list[Change]

    def leave_untracked(self, groups: Sequence[Group], topic: str, reason: str) -> None: ...
    def untracked_too(self, rule: Rule, topic: str, reason: str) -> bool: ...
    def syn_only(self, rule: Rule, topic: str, reason: str) -> bool: ...
    def accept_untracked(
        self, place: Rule, flows: Sequence[Candidate], topic: str, reason: str, *, reply: bool, not_syn: bool
    ) -> None: ...
    def accept_resets(self, place: Rule, flows: Sequence[Candidate], topic: str, reason: str) -> None: ...
    def accept_errors(
        self, place: Rule, family: Family, kind: int, code: int | None, topic: str, reason: str
    ) -> None: ...


@dataclass(frozen=True)
class Side:
    """The rules of one address family in a space of their own."""

    ruleset: Ruleset
    space: Space


@dataclass(frozen=True)
class Proved:
    """A rewrite that was read again and compared."""

    editor: Editor
    text: str
    comparisons: tuple[Comparison, ...]
    kind: FixClass
    flows: tuple[Candidate, ...]
    assumptions: tuple[tuple[str, str], ...] = ()  #: (id, text) of what the rewrite takes for granted by itself

    def frees(self, flow: Candidate) -> Candidate:
        """The flow on those of its ports that are untracked now; another rule may have had conntrack look again."""
        found = [
            ports
            for comparison in self.comparisons
            for d in comparison.differences
            if d.kind is DifferenceKind.UNTRACKED and d.path == flow.kind.there
            for ports in d.ports
            if ports.protocol == flow.protocol
        ]
        return flow.only(*(interval for ports in found for interval in ports.target))


@dataclass
class Planner:
    """Makes and proves rewrites of one text, for each address family that it speaks of.

    read    reads a text again: a ruleset for each side, or None when it does not read without an error
    edit    a new editor of the text
    """

    source: SourceFile
    sides: tuple[Side, ...]
    read: Reader
    edit: Callable[[], Editor]
    allowed: frozenset[FixClass]

    def prove(self, flows: Sequence[Candidate]) -> tuple[Proved | None, list[Refused]]:
        """A rewrite that frees as many of the flows as can be proved, and the others with the reason."""
        if not flows:
            return None, []
        proved, bundles = self._try(flows)
        if proved is not None:
            freed = [(flow, proved.frees(flow)) for flow in flows]
            if all(flow is mine for flow, mine in freed):
                return proved, []
            again, refused = self.prove([mine for _, mine in freed if mine.ports])
            return again, [*refused, *(_tracked_again(flow, mine) for flow, mine in freed if mine is not flow)]
        hopeless = bundles if len(flows) == 1 else [b for b in bundles if b.is_hopeless]
        if hopeless:
            # what a rule forbids on some ports may be free on the others
            others = [b.split[1] for b in hopeless if b.split]
            again, refused = self.prove([*(b.flow for b in bundles if b not in hopeless), *others])
            return again, [b.refusal for b in hopeless] + refused
        stuck = [b.flow for b in bundles if b.stuck is not None]
        rest = [b.flow for b in bundles if b.stuck is None]
        if not stuck or not rest:
            # nobody in particular is to blame: halve, and see whether the halves go together
            rest, stuck = list(flows[: len(flows) // 2]), list(flows[len(flows) // 2 :])
        first, refused = self.prove(rest)
        second, more = self.prove(stuck)
        refused = refused + more
        if first is None or second is None:
            return first or second, refused
        together, _ = self._try([*first.flows, *second.flows])
        if together is None:
            reason = "it can be freed, but not together with the others"
            refused += [Refused(f.flow, f.rule, reason, None) for f in second.flows]
        return together or first, refused

    def _try(self, flows: Sequence[Candidate]) -> tuple[Proved | None, list[Bundle]]:
        bundles = [Bundle(flow) for flow in flows]
        mends = _Mends(bundles, self.sides, self.same)
        for _ in range(ROUNDS):
            editor = self._edited(bundles, mends)
            text = rewritten(self.source, [c.edit for c in editor.changes])
            rulesets = self.read(text)
            if rulesets is None:
                return None, bundles
            comparisons = []
            for side, new in zip(self.sides, rulesets, strict=True):
                alignment = align(side.ruleset, new)
                mends.ancestors |= alignment.ancestors
                comparisons.append(compare_in(side.space, side.ruleset, new, alignment, only_worst=True))
            differences = [d for c in comparisons for d in c.differences]
            wrong = [d for d in differences if d.loosens not in self.allowed]
            undecided = any(c.undecided for c in comparisons)
            if not wrong and mends.avoid(differences, undecided):
                continue
            if not wrong and not undecided:
                if not any(d.kind is DifferenceKind.UNTRACKED for d in differences):
                    return None, bundles  # right, and of no use
                kinds = [d.loosens or FixClass.RELAXING for d in differences]
                # what was proved with the contents of sets holds while they stay
                kinds += [FixClass.ASSUMING for side in self.sides if side.ruleset.known_sets]
                narrowed = any(b.flow.narrowed.clients for b in bundles)
                kinds += [FixClass.ASSUMING] if narrowed else []
                kind = max(kinds, key=STRICTNESS.index)
                assumed = (OWN_PORTS,) if narrowed else ()
                return Proved(editor, text, tuple(comparisons), kind, tuple(flows), assumed), bundles
            if not wrong or not mends.mend(wrong):
                return None, bundles
        return None, bundles

    @cached_property
    def same(self) -> Mapping[Rule, Rule]:
        """One rule for all that were read from the same text: by the families, or by the parts of a verdict map."""
        first: dict[Span, Rule] = {}
        return {r: first.setdefault(r.span, r) for side in self.sides for r in side.ruleset.rules()}

    # -- edits -------------------------------------------------------------------------------------

    def _edited(self, bundles: Iterable[Bundle], mends: "_Mends") -> Editor:
        editor = self.edit()
        groups = grouped(bundles)
        editor.leave_untracked(groups, "PREROUTING + OUTPUT", "both directions; one alone saves nothing (RA201)")
        for group in groups:
            self._accepts(group.bundles, editor)
        mends.write(editor)
        return editor

    def _accepts(self, group: Sequence[Bundle], editor: Editor) -> None:
        beside: list[tuple[Rule | None, Bundle]] = []
        for bundle in group:
            rule = bundle.flow.rule
            if rule is None or not bundle.accept:
                continue
            if bundle.accept in ("own", "twin"):
                why = "untracked packets are never NEW; without it, these connections would be refused (RA202)"
                editor.untracked_too(rule, "UNTRACKED added", why)
            if bundle.accept == "twin":
                editor.syn_only(rule, "--syn", "the limit counts connections, as it did: opening packets only")
            if bundle.accept in ("new", "twin"):
                beside.append((self._place(rule), bundle))
        why = "accepts exactly the traffic that is no longer tracked"
        for place, members in by_place(beside).items():
            for twin in (True, False):
                flows = [b.flow for b in members if (b.accept == "twin") is twin]
                editor.accept_untracked(place, flows, "UNTRACKED accept", why, reply=False, not_syn=twin)
        why = "later packets were ESTABLISHED and met no other rule"
        for place, members in by_place((b.later_at, b) for b in group).items():
            flows = [b.flow for b in members]
            editor.accept_untracked(place, flows, "! --syn accept", why, reply=False, not_syn=True)
        why = "the replies were ESTABLISHED; untracked ones need a rule"
        for place, members in by_place((place, b) for b in group for place in b.reply_at).items():
            flows = [b.flow for b in members]
            editor.accept_untracked(place, flows, "reply accept", why, reply=True, not_syn=True)

    def _place(self, rule: Rule) -> Rule:
        """Where a new accept beside a rule has to stand: before the outermost jump with a state test that leads
        to it.
        """
        place, chain, seen = rule, rule.chain, {rule.chain}
        while True:
            callers = {
                self.same[r]
                for side in self.sides
                if rule.table in side.ruleset.tables
                for c in side.ruleset.tables[rule.table].chains.values()
                for r in c.rules
                if isinstance(r.verdict, Jump | Goto) and r.verdict.chain == chain and c.name not in seen
            }
            if len(callers) != 1:
                return place
            caller = callers.pop()
            if _tests_state(caller):
                place = caller
            chain = caller.chain
            seen.add(chain)


@dataclass
class _Mends:
    """What the differences of a comparison ask for beyond the accepts of the flows themselves."""

    bundles: list[Bundle]
    sides: tuple[Side, ...]
    same: Mapping[Rule, Rule]
    #: family, ICMP type and code of each accept, by its place and path
    errors: dict[tuple[Rule, str, Family, int], tuple[Family, int, int | None]] = field(default_factory=dict)
    early: set[Family] = field(default_factory=set)  #: whose errors are accepted before the rule that accepted them
    late: set[Family] = field(default_factory=set)  #: whose errors are accepted before the rule that refuses them
    refusing: set[Rule] = field(default_factory=set)  #: rules that have to refuse UNTRACKED too
    moved: set[Bundle] = field(default_factory=set)  #: by this round, as are
    fresh: set[tuple[Rule, str, Family, int]] = field(default_factory=set)  #: these errors
    ancestors: dict[Rule, Rule] = field(default_factory=dict)  #: the original of each rule of the rewrite

    def _place(self, difference: Difference) -> Rule | None:
        """Where an accept has to stand: before what refuses now, or, where a policy does, before what accepted."""
        refusing = self.ancestors.get(difference.new.rule) if difference.new.rule else None
        return self.same[refusing] if refusing else self._accepting(difference)

    def _accepting(self, difference: Difference) -> Rule | None:
        """The rule of the original that decided."""
        return self.same[difference.old.rule] if difference.old.rule else None

    def mend(self, wrong: Sequence[Difference]) -> bool:
        """Move the plan on; False when some difference has no cure (its flow is marked as stuck)."""
        self.moved = set()
        self.fresh = set()
        # what a connection meets on its way comes after what becomes of it, what is said about it comes last:
        # mending a flow takes most of that away
        said = [d for d in wrong if d.role in ("error", "refusal")]
        met = [d for d in wrong if d.kind is DifferenceKind.EFFECT]
        now = [d for d in wrong if d not in said and d not in met] or met or said
        cured = True
        for difference in sorted(now, key=lambda d: (d.path == "looped", d.role != "opening")):
            if not self._one(difference):
                cured = False
                for bundle in self._concerned(difference):
                    if bundle.stuck is None:
                        bundle.stuck, bundle.stuck_at = difference, difference.forbidding or self._place(difference)
        return cured

    def _concerned(self, difference: Difference) -> list[Bundle]:
        found = [b for b in self.bundles if b.concerns(difference)]
        found = found or [b for b in self.bundles if b.is_passed_by(difference)]
        # a narrowed flow has nothing to do with what happens to other hosts' packets, nor the reverse
        own = ("forward",) if difference.path == "forward" else ("in", "out")
        to_blame = [b for b in found if b.flow.kind.name in own or not b.local]
        found = to_blame or found or (self.bundles if len(self.bundles) == 1 else [])
        if any(b.flow.kind.name == "out" for b in found):
            # those whose ports these are, and of them first those whose connections these are
            found = [b for b in found if b.covers(difference, found)] or found
            found = [b for b in found if b.flow.kind.name == _direction(difference)] or found
        return found

    def _one(self, difference: Difference) -> bool:
        return self._cured(difference) or self._from_servers(difference)

    def _from_servers(self, difference: Difference) -> bool:
        """What comes from the ports of servers is left alone, except to the ports that this host opens its own from."""
        if _direction(difference) not in ("in", "looped") or difference.role in ("error", "refusal"):
            return False
        mine = [b for b in self.bundles if b.flow.kind.name == "out" and b.concerns(difference)]
        fresh = [b for b in mine if b.flow.narrowed.clients is None]
        for bundle in fresh:
            bundle.narrow_clients()
            self.moved.add(bundle)
        return bool(fresh) or not self.moved.isdisjoint(mine)

    def avoid(self, differences: Sequence[Difference], undecided: bool) -> bool:
        """What need not be assumed of servers, or decided, since narrower rules do as well, is not; True if rules
        changed.
        """
        self.moved = {
            b for b in self.bundles if undecided and b.flow.kind.name == "out" and not b.flow.narrowed.clients
        }
        for bundle in self.moved:
            bundle.narrow_clients()
        for difference in differences:
            if difference.assumption and difference.kind is not DifferenceKind.REVERSED:
                self._from_servers(difference)
        return bool(self.moved)

    def _cured(self, difference: Difference) -> bool:
        match difference.kind:
            case DifferenceKind.ICMP_ERRORS:
                return self._error(difference)
            case DifferenceKind.REFUSAL if difference.role == "refusal":
                return self._reset(difference)
            case DifferenceKind.REFUSAL | DifferenceKind.OPENS | DifferenceKind.EFFECT if (
                difference.role == "opening" and difference.old.rule and _tests_new(difference.old.rule)
            ):
                if difference.old.rule in self.refusing:
                    return False
                self.refusing.add(difference.old.rule)
                return True
            case DifferenceKind.HALF_TRACKED | DifferenceKind.BREAKS | DifferenceKind.OPENS | DifferenceKind.STRAY:
                return self._flow(difference)
            case DifferenceKind.EFFECT:
                return self._too_early(difference) or self._effect(difference)
            case _:
                return False

    def _flow(self, difference: Difference) -> bool:
        concerned = self._concerned(difference)
        for bundle in concerned:
            if bundle in self.moved:
                continue  # one step a round: the next comparison shows whether it was enough
            if not self._advance(bundle, difference):
                return False
            self.moved.add(bundle)
        return bool(concerned)

    def _advance(self, bundle: Bundle, difference: Difference) -> bool:
        name = bundle.flow.kind.name
        if name == "out" and difference.path in ("in", "out") and _direction(difference) != name:
            return False
        if difference.forbidding is not None:
            # the rule may only concern packets to other hosts
            if name != "forward" and not bundle.local:
                bundle.local = True
                return True
            return False
        elsewhere = difference.path != "forward" if name == "forward" else difference.path not in ("in", "out")
        if elsewhere or difference.kind is DifferenceKind.HALF_TRACKED:
            if name == "out" and difference.path == "looped":
                return False
            if name == "in" and difference.path == "looped" and not bundle.unicast:
                bundle.unicast = True
                return True
            if not bundle.local:
                bundle.local = True
                return True
            return False
        if difference.kind is not DifferenceKind.BREAKS:
            return False
        if difference.role == "reply" and difference.path != {"in": "in", "out": "out"}.get(name, ""):
            place = self._accepting(difference)
            if place is None or place in bundle.reply_at or (bundle.reply_at and name != "out"):
                return False
            bundle.reply_at.append(place)
            return True
        if bundle.flow.rule is None:
            return False
        settled = bundle.accept or not _tests_new(bundle.flow.rule)
        later = difference.role == "later" and bundle.flow.protocol == "tcp" and bundle.later_at is None
        if later and settled and difference.old.rule is not None:
            bundle.later_at = self._accepting(difference)
            return True
        ways: list[str]
        if any(m.memory for m in bundle.flow.rule.matches):
            ways = ["twin"] if bundle.flow.protocol == "tcp" else []
        elif bundle.flow.blanket or not _tests_new(bundle.flow.rule):
            ways = ["new"]
        else:
            ways = ["own", "new"]
        at = ways.index(bundle.accept) + 1 if bundle.accept in ways else 0
        if at >= len(ways):
            return False
        bundle.accept = ways[at]
        return True

    def _effect(self, difference: Difference) -> bool:
        for bundle in self._concerned(difference):
            rule = bundle.flow.rule
            if (
                rule
                and bundle.flow.protocol == "tcp"
                and any(m.memory for m in rule.matches)
                and bundle.accept != "twin"
            ):
                bundle.accept = "twin"
                return True
        return False

    def _error(self, difference: Difference) -> bool:
        kind = _icmp_type(difference.witness.packet)
        place, accepting = self._place(difference), self._accepting(difference)
        if place and accepting and kind[0] not in self.late and self._leads_to(accepting, place):
            # what refuses now is a chain that others call too
            place = accepting
            self.early.add(kind[0])
        if place is None:
            return False
        key = (place, difference.path, kind[0], kind[1])
        if key in self.errors and key not in self.fresh:
            return False
        self.errors[key] = kind
        self.fresh.add(key)
        return True

    def _too_early(self, difference: Difference) -> bool:
        """Accepts of ICMP errors passed by a limit or a log: they have to stand where errors are refused."""
        words = difference.witness.packet.split()
        if words[1] not in ("icmp", "icmpv6"):
            return False
        family = Family.IPV6 if words[1] == "icmpv6" else Family.IPV4
        if family not in self.early or family in self.late:
            return False
        self.late.add(family)
        self.errors = {key: kind for key, kind in self.errors.items() if kind[0] is not family}
        return True

    def _leads_to(self, one: Rule, other: Rule) -> bool:
        """A rule behind the one, in its own chain, leads into the chain of the other."""
        for side in self.sides:
            if one.table != other.table or one.table not in side.ruleset.tables:
                continue
            chains = side.ruleset.tables[one.table].chains
            behind = False
            for rule in chains[one.chain].rules:
                called = chains.get(rule.verdict.chain) if behind and isinstance(rule.verdict, Jump | Goto) else None
                if called and (other.table, other.chain) in chains_from(side.ruleset, [called]):
                    return True
                behind = behind or rule.span == one.span
        return False

    def _reset(self, difference: Difference) -> bool:
        place = self._place(difference)
        moved = False
        for bundle in self._concerned(difference):
            if place is not None and place not in bundle.resets:
                bundle.resets.add(place)
                moved = True
        return moved

    def write(self, editor: Editor) -> None:
        """The edits that belong to no single flow."""
        for rule in sorted(self.refusing, key=lambda rule: rule.span):
            editor.untracked_too(rule, "UNTRACKED refused too", "what was refused as NEW stays refused")
        for (place, path, family, _), (_, kind, code) in sorted(
            self.errors.items(), key=lambda item: (item[1][0].value, item[1][1])
        ):
            why = (
                "errors that this host sends about untracked flows count as INVALID"
                if path == "out"
                else "else path-MTU messages about untracked flows count as INVALID and are refused (RA203)"
            )
            editor.accept_errors(place, family, kind, code if path == "out" else None, f"icmp {kind}", why)
        why = "the RST of a REJECT is INVALID about untracked flows"
        for place, members in by_place((place, b) for b in self.bundles for place in b.resets).items():
            for group in grouped(members):
                editor.accept_resets(place, group.flows, "RST accept", why)


def _tracked_again(flow: Candidate, freed: Candidate) -> Refused:
    left = flow.without(freed.ports)
    return Refused(left.flow, left.rule, "another rule has conntrack look at it in spite of notrack", None)


def _direction(difference: Difference) -> str:
    """The kind of connection that a difference is about: to this host, opened by it, or through it."""
    if difference.path not in ("in", "out"):
        return difference.path
    back = difference.role in ("reply", "refusal")
    return {"in": "out", "out": "in"}[difference.path] if back else difference.path


def _tests_state(rule: Rule) -> bool:
    return any(m.consumer is None and mentions_state(m.condition) for m in rule.matches)


def _tests_new(rule: Rule) -> bool:
    """The rule asks for NEW; `! --ctstate ESTABLISHED` does not."""
    items = [m.condition.items if isinstance(m.condition, And) else (m.condition,) for m in rule.matches]
    return any(isinstance(c, States) and State.NEW in c.states for some in items for c in some)


def _icmp_type(packet: str) -> tuple[Family, int, int | None]:
    words = packet.split()
    family = Family.IPV6 if words[1] == "icmpv6" else Family.IPV4
    kind, _, code = words[words.index("type") + 1].partition("/")
    return family, int(kind), int(code) if code else None
