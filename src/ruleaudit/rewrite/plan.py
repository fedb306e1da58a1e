"""From facts to a proved rewrite: choose flows, make their bundle, prove it, mend it, or refuse (design section 6).

The proof leads: a bundle starts with the two raw rules; every difference that the comparison then finds names the edit
that is missing. What no edit cures is refused with the packet that shows why. Nothing leaves this module unproved.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ruleaudit.analysis.alignment import align
from ruleaudit.analysis.compare import compare_in
from ruleaudit.analysis.space import Space
from ruleaudit.diagnostics import FixClass
from ruleaudit.model.ruleset import Goto, Jump, Rule, Ruleset
from ruleaudit.results import Comparison, Difference, DifferenceKind, Refused
from ruleaudit.rewrite.flows import Candidate, mirrored
from ruleaudit.rewrite.iptables import Editor
from ruleaudit.source import apply
from ruleaudit.syntax.iptables import Document

#: from strict to loose; a plan takes the loosest of its differences
STRICTNESS = (
    FixClass.EXACT,
    FixClass.SAME_CONNECTIONS,
    FixClass.ASSUMING,
    FixClass.REVERSED,
    FixClass.RELAXING,
)
ROUNDS = 12

#: reads a text again: the rewritten ruleset, or None when it does not read without an error
Reader = Callable[[str], Ruleset | None]


@dataclass
class _Bundle:
    """What is done for one flow; each round of mending moves one of these on."""

    flow: Candidate
    accept: str = ""  #: how untracked openings are accepted: not at all, own, new, twin
    later_at: Rule | None = None  #: an accept for later TCP packets stands before this rule
    reply_at: Rule | None = None  #: an accept for the replies stands before this rule
    local: bool = False  #: narrowed to this host's own addresses; a forwarded flow: to those of other hosts
    unicast: bool = False  #: the replies narrowed to unicast, so that no looped multicast copy is among them
    resets: set[Rule] = field(default_factory=set)
    stuck: Difference | None = None
    stuck_at: Rule | None = None  #: the rule of the original that is in the way

    @property
    def is_hopeless(self) -> bool:
        """A rule forbids this very flow, whatever happens to the others."""
        return self.stuck is not None and self.stuck.forbidding is not None and self.stuck.path in ("in", "out")


@dataclass(frozen=True)
class Proved:
    """A rewrite that was read again and compared."""

    editor: Editor
    text: str
    comparison: Comparison
    kind: FixClass
    flows: tuple[Candidate, ...]


@dataclass
class Planner:
    """Makes and proves rewrites of one ruleset."""

    document: Document
    ruleset: Ruleset
    space: Space
    read: Reader
    allowed: frozenset[FixClass]

    def prove(self, flows: Sequence[Candidate]) -> tuple[Proved | None, list[Refused]]:
        """A rewrite that frees as many of the flows as can be proved, and the others with the reason."""
        if not flows:
            return None, []
        proved, bundles = self._try(flows)
        if proved is not None:
            return proved, []
        if len(flows) == 1:
            return None, [refusal(bundles[0])]
        hopeless = [b for b in bundles if b.is_hopeless]
        if hopeless:
            again, refused = self.prove([b.flow for b in bundles if not b.is_hopeless])
            return again, [refusal(b) for b in hopeless] + refused
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

    def _try(self, flows: Sequence[Candidate]) -> tuple[Proved | None, list[_Bundle]]:
        bundles = [_Bundle(flow) for flow in flows]
        mends = _Mends(bundles)
        for _ in range(ROUNDS):
            editor = self._edit(bundles, mends)
            text = apply(self.document.source.text, [c.edit for c in editor.changes])
            new = self.read(text)
            if new is None:
                return None, bundles
            alignment = align(self.ruleset, new)
            comparison = compare_in(self.space, self.ruleset, new, alignment, only_worst=True)
            mends.ancestors = alignment.ancestors
            wrong = [d for d in comparison.differences if d.loosens not in self.allowed]
            if not wrong and not comparison.undecided:
                if not any(d.kind is DifferenceKind.UNTRACKED for d in comparison.differences):
                    return None, bundles  # right, and of no use
                kinds = [d.loosens or FixClass.RELAXING for d in comparison.differences]
                # what was proved with the contents of sets holds while they stay
                kinds += [FixClass.ASSUMING] if self.ruleset.known_sets else []
                kind = max(kinds, key=STRICTNESS.index)
                return Proved(editor, text, comparison, kind, tuple(flows)), bundles
            if not wrong or not mends.mend(wrong):
                return None, bundles
        return None, bundles

    # -- edits -------------------------------------------------------------------------------------

    def _edit(self, bundles: Iterable[_Bundle], mends: "_Mends") -> Editor:
        editor = Editor(self.document, self.ruleset.family)
        groups = _grouped(bundles)
        raw: list[tuple[str, str]] = []
        for group in groups:
            raw += _raw_rules(group, editor)
        editor.raw(raw, "PREROUTING + OUTPUT", "both directions; one alone saves nothing (RA201)")
        for group in groups:
            self._accepts(group, editor)
        mends.write(editor)
        return editor

    def _accepts(self, group: list[_Bundle], editor: Editor) -> None:
        ways: dict[tuple[str, Rule | None], list[_Bundle]] = {}
        for bundle in group:
            if bundle.accept:
                ways.setdefault((bundle.accept, bundle.flow.rule), []).append(bundle)
        merged: dict[Rule, list[_Bundle]] = {}
        for (way, rule), members in ways.items():
            if rule is None:
                continue
            why = "untracked packets are never NEW; without it, these connections would be refused (RA202)"
            if way == "own":
                editor.untracked_too(rule, "UNTRACKED added", why)
            elif way == "twin":
                editor.untracked_too(rule, "UNTRACKED added", why)
                editor.syn_only(rule, "--syn", "the limit counts connections, as it did: opening packets only")
                merged.setdefault(self._place(rule), []).extend(members)
            else:
                merged.setdefault(self._place(rule), []).extend(members)
        for place, members in merged.items():
            why = "accepts exactly the traffic that is no longer tracked"
            twins, others = ([b for b in members if (b.accept == "twin") is twin] for twin in (True, False))
            self._accept(editor, place, twins, "UNTRACKED accept", why, flags="! --syn ")
            self._accept(editor, place, others, "UNTRACKED accept", why)
        for place, members in _by_place((b.later_at, b) for b in group).items():
            why = "later packets were ESTABLISHED and met no other rule"
            self._accept(editor, place, members, "! --syn accept", why, flags="! --syn ")
        for place, members in _by_place((b.reply_at, b) for b in group).items():
            why = "the replies were ESTABLISHED; untracked ones need a rule"
            self._accept(editor, place, members, "reply accept", why, flags="! --syn ", reply=True)

    def _accept(
        self, editor: Editor, place: Rule, members: list[_Bundle], topic: str, why: str, *, flags: str = "",
        reply: bool = False,
    ) -> None:  # fmt: skip
        for text in _matches([b.flow for b in members], reply=reply, narrow=False, flags=flags):
            editor.before(place, f"{text} {editor.state('UNTRACKED')} -j ACCEPT", topic, why)

    def _place(self, rule: Rule) -> Rule:
        """Where a new accept beside a rule has to stand: before the outermost jump with a state test that leads
        to it.
        """
        table = self.ruleset.tables[rule.table]
        place, chain, seen = rule, rule.chain, {rule.chain}
        while True:
            callers = [
                r
                for c in table.chains.values()
                for r in c.rules
                if isinstance(r.verdict, Jump | Goto) and r.verdict.chain == chain and c.name not in seen
            ]
            if len(callers) != 1:
                return place
            caller = callers[0]
            if _tests_state(caller):
                place = caller
            chain = caller.chain
            seen.add(chain)


@dataclass
class _Mends:
    """What the differences of a comparison ask for beyond the accepts of the flows themselves."""

    bundles: list[_Bundle]
    #: ICMP type and code of each accept, by its place and path
    errors: dict[tuple[Rule, str, int], tuple[int, int | None]] = field(default_factory=dict)
    refusing: set[Rule] = field(default_factory=set)  #: rules that have to refuse UNTRACKED too
    moved: list[_Bundle] = field(default_factory=list)  #: by this round, as are
    fresh: set[tuple[Rule, str, int]] = field(default_factory=set)  #: these errors
    ancestors: Mapping[Rule, Rule] = field(default_factory=dict)  #: the original of each rule of the rewrite

    def _place(self, difference: Difference) -> Rule | None:
        """Where an accept has to stand: before what refuses now, or, where a policy does, before what accepted."""
        refusing = self.ancestors.get(difference.new.rule) if difference.new.rule else None
        return refusing or difference.old.rule

    def mend(self, wrong: Sequence[Difference]) -> bool:
        """Move the plan on; False when some difference has no cure (its flow is marked as stuck)."""
        self.moved = []
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

    def _concerned(self, difference: Difference) -> list[_Bundle]:
        found = [b for b in self.bundles if _meets(b.flow, difference)]
        # a narrowed flow has nothing to do with what happens to other hosts' packets, nor the reverse
        own = "forward" if difference.path == "forward" else "in"
        to_blame = [b for b in found if b.flow.kind.name == own or not b.local]
        return to_blame or found or (self.bundles if len(self.bundles) == 1 else [])

    def _one(self, difference: Difference) -> bool:
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
                return self._effect(difference)
            case _:
                return False

    def _flow(self, difference: Difference) -> bool:
        concerned = self._concerned(difference)
        for bundle in concerned:
            if any(b is bundle for b in self.moved):
                continue  # one step a round: the next comparison shows whether it was enough
            if not self._advance(bundle, difference):
                return False
            self.moved.append(bundle)
        return bool(concerned)

    def _advance(self, bundle: _Bundle, difference: Difference) -> bool:
        inbound = bundle.flow.kind.name == "in"
        if difference.forbidding is not None:
            # the rule may only concern packets to other hosts
            if inbound and not bundle.local:
                bundle.local = True
                return True
            return False
        elsewhere = difference.path not in ("in", "out") if inbound else difference.path != "forward"
        if elsewhere or difference.kind is DifferenceKind.HALF_TRACKED:
            if inbound and difference.path == "looped" and not bundle.unicast:
                bundle.unicast = True
                return True
            if not bundle.local:
                bundle.local = True
                return True
            return False
        if difference.kind is not DifferenceKind.BREAKS:
            return False
        if difference.role == "reply" and difference.path != ("in" if inbound else ""):
            if bundle.reply_at is not None or difference.old.rule is None:
                return False
            bundle.reply_at = difference.old.rule
            return True
        if bundle.flow.rule is None:
            return False
        settled = bundle.accept or not _tests_new(bundle.flow.rule)
        later = difference.role == "later" and bundle.flow.protocol == "tcp" and bundle.later_at is None
        if later and settled and difference.old.rule is not None:
            bundle.later_at = difference.old.rule
            return True
        ways: list[str]
        if any(m.memory for m in bundle.flow.rule.matches):
            ways = ["twin"] if bundle.flow.protocol == "tcp" else []
        elif not _tests_new(bundle.flow.rule):
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
        place = self._place(difference)
        if place is None:
            return False
        kind = _icmp_type(difference.witness.packet)
        key = (place, difference.path, kind[0])
        if key in self.errors and key not in self.fresh:
            return False
        self.errors[key] = kind
        self.fresh.add(key)
        return True

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
        for rule in self.refusing:
            editor.untracked_too(rule, "UNTRACKED refused too", "what was refused as NEW stays refused")
        for (place, path, _), (kind, code) in sorted(self.errors.items(), key=lambda item: item[1][0]):
            text = f"{editor.icmp(kind, code if path == 'out' else None)} -j ACCEPT"
            why = (
                "errors that this host sends about untracked flows count as INVALID"
                if path == "out"
                else "else path-MTU messages about untracked flows count as INVALID and are refused (RA203)"
            )
            editor.before(place, text, f"icmp {kind}", why)
        resets = _by_place((place, bundle) for bundle in self.bundles for place in bundle.resets)
        for place, members in resets.items():
            for text in _matches([b.flow for b in members], reply=True, narrow=False, flags="--tcp-flags RST RST "):
                editor.before(
                    place, f"{text} -j ACCEPT", "RST accept", "the RST of a REJECT is INVALID about untracked flows"
                )


def _by_place(places: Iterable[tuple[Rule | None, _Bundle]]) -> dict[Rule, list[_Bundle]]:
    found: dict[Rule, list[_Bundle]] = {}
    for place, bundle in places:
        if place is not None:
            found.setdefault(place, []).append(bundle)
    return found


def refusal(bundle: _Bundle) -> Refused:
    """Why a flow may not leave."""
    flow, difference = bundle.flow.flow, bundle.stuck
    if difference is None:
        return Refused(flow, bundle.flow.rule, "no rewrite of it could be proved", None)
    return Refused(flow, bundle.stuck_at or bundle.flow.rule, difference.description, difference.witness)


def _meets(flow: Candidate, difference: Difference) -> bool:
    """The packets of a difference have a port of the flow, on the side where the service is."""
    leaving = difference.path in ("out", "local", "looped")
    back = leaving or (difference.path == "forward" and difference.role == "reply")
    for ports in difference.ports:
        side = ports.source if back else ports.target
        if difference.forbidding is not None and difference.role == "reply":
            # a translated reply looks like a packet of the flow on the side where its ports are few
            side = min(ports.source, ports.target, key=lambda i: sum(high - low + 1 for low, high in i))
        if flow.protocol == ports.protocol and any(low <= b and a <= high for low, high in side for a, b in flow.ports):
            return True
    return False


# -- the words of rules --------------------------------------------------------------------------------


def _grouped(bundles: Iterable[_Bundle]) -> list[list[_Bundle]]:
    """Flows whose raw rules differ in nothing but the ports, together."""
    groups: dict[tuple[object, ...], list[_Bundle]] = {}
    for b in bundles:
        f = b.flow
        key = (f.kind.name, f.protocol, f.source, f.target, b.local, b.unicast)
        groups.setdefault(key, []).append(b)
    return list(groups.values())


def _raw_rules(group: list[_Bundle], editor: Editor) -> list[tuple[str, str]]:
    first = group[0]
    flows = [b.flow for b in group]
    back = "OUTPUT" if first.flow.kind.name == "in" else "PREROUTING"
    rules: list[tuple[str, str]] = []
    inbound = first.flow.kind.name == "in"
    for text in _matches(flows, reply=False, narrow=first.local, flags="", inbound=inbound):
        rules.append(("PREROUTING", f"! -i lo {text} -j {editor.notrack}"))
    for text in _matches(flows, reply=True, narrow=first.local, flags="", unicast=first.unicast, inbound=inbound):
        side = "! -o lo" if back == "OUTPUT" else "! -i lo"
        rules.append((back, f"{side} {text} -j {editor.notrack}"))
    return rules


def _matches(
    flows: Sequence[Candidate], *, reply: bool, narrow: bool, flags: str, unicast: bool = False, inbound: bool = True
) -> list[str]:
    """The match words for flows that differ in their ports only; several rules when multiport is full."""
    if not flows:
        return []
    first = flows[0]
    words = [*first.source, *first.target]
    sides = [mirrored(w) if reply else " ".join(w) for w in words]
    plain = [w for w in sides if not w.startswith("-m")]
    extra = [w for w in sides if w.startswith("-m")]
    own = f"--{'src' if reply else 'dst'}-type LOCAL" if inbound else "! --dst-type LOCAL"
    kinds = [own] if narrow else []
    kinds += ["--dst-type UNICAST"] if unicast else []
    if kinds:
        extra.append(" ".join(["-m addrtype", *kinds]))
    out: list[str] = []
    for ports in _port_groups(sorted({p for f in flows for p in f.ports})):
        texts = [str(low) if low == high else f"{low}:{high}" for low, high in ports]
        if len(texts) == 1:
            match = f"-m {first.protocol} --{'s' if reply else 'd'}port {texts[0]}"
        else:
            match = f"-m multiport --{'s' if reply else 'd'}ports {','.join(texts)}"
        flag = (
            f"-m tcp {flags}"
            if flags and first.protocol == "tcp" and len(texts) > 1
            else flags
            if first.protocol == "tcp"
            else ""
        )
        out.append(" ".join([*plain, f"-p {first.protocol}", *extra, match, *([flag.strip()] if flag else [])]))
    return out


def _port_groups(ports: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Ports by at most 15 places, a range counting two (iptables-extensions(8), multiport)."""
    groups: list[list[tuple[int, int]]] = [[]]
    room = 15
    for low, high in ports:
        need = 1 if low == high else 2
        if need > room:
            groups.append([])
            room = 15
        groups[-1].append((low, high))
        room -= need
    return groups


def _tests_state(rule: Rule) -> bool:
    return any("state" in m.name or m.name == "conntrack" for m in rule.matches)


def _tests_new(rule: Rule) -> bool:
    words = rule.text.split()
    for index, word in enumerate(words[:-1]):
        if word in ("--ctstate", "--state") and words[index - 1] != "!":
            return "NEW" in words[index + 1].strip('"').upper().split(",")
    return False


def _icmp_type(packet: str) -> tuple[int, int | None]:
    words = packet.split()
    kind, _, code = words[words.index("type") + 1].partition("/")
    return int(kind), int(code) if code else None
