"""What to suggest for one ruleset: whether anything needs tracking, which flows leave, and what is kept and why."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ruleaudit.analysis.alignment import Alignment
from ruleaudit.analysis.connection import KINDS, PROTOCOL_NAMES
from ruleaudit.analysis.pair import Pair, Seen, make_space
from ruleaudit.analysis.space import Frame, Space
from ruleaudit.analysis.tracking import judge_in
from ruleaudit.analysis.walk import Identities, conntrack_users
from ruleaudit.analysis.witness import sample
from ruleaudit.diagnostics import FixClass, UsageError, Witness
from ruleaudit.model.fields import Field
from ruleaudit.model.ruleset import Rule, Ruleset
from ruleaudit.packets.diagram import PacketSet, is_empty, with_room
from ruleaudit.results import CouldLeave, Flow, Kept, Offer, Refused, RuleClass, Suggestion, Tracking
from ruleaudit.rewrite.flows import Candidate, Interval, candidates, named
from ruleaudit.rewrite.plan import Planner, Reader
from ruleaudit.syntax.iptables import Document

_DEFAULT = frozenset({FixClass.EXACT, FixClass.SAME_CONNECTIONS, FixClass.ASSUMING})
#: how many single flows are tried for the menu of options
_OFFERS = 6


@dataclass(frozen=True)
class Options:
    """What the user asks for: `ports` and `exclude` are texts such as `80` or `8000-8010`; `allow` names plan
    classes.
    """

    ports: tuple[str, ...] = ()
    everything: bool = False
    exclude: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    menu: bool = True  #: try what each flow that stays could gain, for the offers


def suggest(document: Document, ruleset: Ruleset, read: Reader, options: Options) -> Suggestion:
    """The suggestion for a ruleset that was read without an error; `read` reads a rewritten text."""
    found = with_room(
        lambda room: _Suggester(document, ruleset, read, options, make_space((ruleset,), room)).answer(), ruleset.size
    )
    if found is not None:
        return found
    note = "the packets of this ruleset do not fit into memory: nothing can be proved, so nothing is suggested"
    return Suggestion(document.source, ruleset, "nothing-to-free", None, Tracking(ruleset, ()), notes=(note,))


def intervals(texts: Iterable[str]) -> tuple[Interval, ...]:
    """Ports as the options name them. Raises UsageError for what is no port."""
    out: list[Interval] = []
    for text in texts:
        low, dash, high = text.replace(":", "-").partition("-")
        if not low.isdigit() or (dash and not high.isdigit()):
            raise UsageError(f"{text!r} is not a port; write a number or a range such as 8000-8010")
        pair = (int(low), int(high) if dash else int(low))
        if not 0 <= pair[0] <= pair[1] <= 65535:
            raise UsageError(f"{text!r} is not a port: ports go from 0 to 65535")
        out.append(pair)
    return tuple(out)


@dataclass
class _Suggester:
    document: Document
    ruleset: Ruleset
    read: Reader
    options: Options
    space: Space

    def answer(self) -> Suggestion:
        wanted, excluded = intervals(self.options.ports), intervals(self.options.exclude)
        tracking = judge_in(self.space, self.ruleset)
        base = Suggestion(
            self.document.source, self.ruleset, "nothing-to-free", None, tracking, notes=self.ruleset.notes
        )
        if not conntrack_users(self.ruleset) or not tracking.required:
            return replace(base, outcome="nothing-needs-tracking")
        numbers = Identities.of(self.ruleset)
        whole = Pair(self.space, self.ruleset, self.ruleset, Alignment(numbers, numbers, (), (), True))
        every = [
            _without(c, excluded) for c in candidates(whole) if not (self.ruleset.partial and c.kind.name == "forward")
        ]
        every = [c for c in every if c.ports]
        chosen = list(self._chosen(whole, every, wanted))
        closed = tuple(self._closed(whole, chosen, wanted))
        left = [c for c in every if not any(_overlap(c, x) for x in chosen)]
        allowed = _DEFAULT | {FixClass(name) for name in self.options.allow}
        if FixClass.RELAXING in allowed:
            allowed |= {FixClass.REVERSED}
        planner = Planner(self.document, self.ruleset, self.space, self.read, frozenset(allowed))
        proved, refused = planner.prove(chosen)
        kept = tuple(
            Kept(j.rule, RuleClass.REQUIRED, j.reason, j.connections[0] if j.connections else None)
            for j in tracking.required
        )
        could = tuple(CouldLeave(c.flow, c.reason or "not asked for") for c in left)
        base = replace(
            base,
            kept=kept,
            could_leave=could,
            refused=(*closed, *refused),
            offers=tuple(self._offers(planner, left, refused)),
        )
        if proved is None:
            return base
        return replace(
            base,
            outcome="rewrite",
            kind=proved.kind,
            flows=tuple(c.flow for c in proved.flows),
            changes=tuple(proved.editor.changes),
            text=proved.text,
            comparison=proved.comparison,
            assumptions=proved.comparison.assumptions,
        )

    def _chosen(self, whole: Pair, every: Sequence[Candidate], wanted: Sequence[Interval]) -> Iterator[Candidate]:
        if self.options.everything:
            yield from every
            return
        if not wanted:
            yield from (c for c in every if not c.reason)
            return
        for low, high in wanted:
            hits = [_only(c, (low, high)) for c in every]
            hits = [c for c in hits if c.ports]
            yield from hits
            if not hits and low == high:
                yield from self._by_policy(whole, low)

    def _by_policy(self, whole: Pair, port: int) -> Iterator[Candidate]:
        """A port that no rule names, but that is open: by policy, or by a rule without ports."""
        opening = whole.roles(KINDS[0], whole.old).opening
        here = self.space.connection_part(opening.accepted & ~opening.untracked & self.space.is_(Field.DPORT, port))
        for protocol in (6, 17):
            found = here & self.space.is_(Field.PROTOCOL, protocol)
            if not is_empty(found):
                rule = next(
                    (by for by, _, p in opening.walk.decided if isinstance(by, Rule) and not is_empty(p & found)), None
                )
                yield named(whole, KINDS[0], PROTOCOL_NAMES[protocol], port, rule, found)

    def _closed(self, whole: Pair, chosen: Sequence[Candidate], wanted: Sequence[Interval]) -> Iterator[Refused]:
        """Ports that were asked for and are no flow at all: somebody else answers them, or nobody lets them in."""
        opening = whole.roles(KINDS[0], whole.old).opening
        for low, high in wanted:
            if low != high or any(a <= low <= b for c in chosen for a, b in c.ports):
                continue
            for protocol in (6, 17):
                here = self.space.is_(Field.PROTOCOL, protocol) & self.space.is_(Field.DPORT, low) & opening.packets
                flow = Flow("in", PROTOCOL_NAMES[protocol], (str(low),), (), (), None)
                yield from self._reason(opening, here, flow)

    def _reason(self, opening: Seen, here: PacketSet, flow: Flow) -> Iterator[Refused]:
        frame = Frame("opening")
        for (rule, consumer), packets in opening.walk.consumed.items():
            if not is_empty(packets & here):
                text = sample(self.space, packets & here, "in", frame).text
                reason = f"line {rule.line} ({consumer.what}) answers these connections through conntrack"
                yield Refused(flow, rule, reason, Witness(text, f"reaches line {rule.line}"))
                return
        left = here & opening.untracked
        if not is_empty(left):
            text = sample(self.space, left, "in", frame).text
            yield Refused(flow, None, "it is untracked already", Witness(text, "untracked before and after"))
        elif flow.protocol == "tcp":
            yield Refused(flow, None, "nothing lets it in", None)

    def _offers(self, planner: Planner, left: Sequence[Candidate], refused: Sequence[object]) -> Iterator[Offer]:
        """What the options would free, each tried and proved."""
        for flow in left[:_OFFERS] if self.options.menu else ():
            proved, _ = planner.prove([flow])
            if proved is not None:
                yield Offer(("--port", ",".join(flow.flow.ports)), (flow.flow,), proved.kind)


def _overlap(one: Candidate, other: Candidate) -> bool:
    return one.rule is other.rule and one.protocol == other.protocol and one.kind is other.kind


def _with_ports(candidate: Candidate, ports: tuple[Interval, ...]) -> Candidate:
    if ports == candidate.ports:
        return candidate
    texts = tuple(str(low) if low == high else f"{low}-{high}" for low, high in ports)
    flow: Flow = replace(candidate.flow, ports=texts)
    return replace(candidate, ports=ports, flow=flow)


def _only(candidate: Candidate, wanted: Interval) -> Candidate:
    low, high = wanted
    return _with_ports(
        candidate, tuple((max(a, low), min(b, high)) for a, b in candidate.ports if max(a, low) <= min(b, high))
    )


def _without(candidate: Candidate, excluded: Sequence[Interval]) -> Candidate:
    ports = list(candidate.ports)
    for low, high in excluded:
        ports = [
            piece for a, b in ports for piece in ((a, min(b, low - 1)), (max(a, high + 1), b)) if piece[0] <= piece[1]
        ]
    return _with_ports(candidate, tuple(sorted(set(ports))))
