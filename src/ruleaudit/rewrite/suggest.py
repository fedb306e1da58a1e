"""What to suggest for one ruleset: whether anything needs tracking, which flows leave, and what is kept and why."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from ruleaudit.analysis.compare import in_all
from ruleaudit.analysis.connection import KINDS, PROTOCOL_NAMES
from ruleaudit.analysis.pair import Pair, Seen, make_space
from ruleaudit.analysis.space import Frame, Space
from ruleaudit.analysis.stretch import steps
from ruleaudit.analysis.tracking import judge_in, together
from ruleaudit.analysis.walk import is_tracking
from ruleaudit.analysis.witness import sample
from ruleaudit.diagnostics import FixClass, UsageError, Witness
from ruleaudit.model.fields import TCP, Field
from ruleaudit.model.ruleset import Rule, Ruleset
from ruleaudit.model.service import Service
from ruleaudit.packets.diagram import PacketSet, is_empty, with_room
from ruleaudit.results import RuleClass, Tracking
from ruleaudit.results.flow import Flow
from ruleaudit.results.suggestion import CouldLeave, Kept, Offer, Refused, Suggestion
from ruleaudit.rewrite import listening, services
from ruleaudit.rewrite.flows import SSH, Candidate, Interval, candidates, named, why_left
from ruleaudit.rewrite.plan import Editor, Planner, Reader, Side
from ruleaudit.source import SourceFile, Span
from ruleaudit.syntax.numbers import decimal

_DEFAULT = frozenset({FixClass.EXACT, FixClass.SAME_CONNECTIONS, FixClass.ASSUMING})
#: what makes a flow to a server reversible
_HELD = "--allow reversed frees it, if nothing but the service sends from that port of its host"
#: how many single flows are tried for the menu of options
_OFFERS = 6
#: a service takes as much room as so many steps of a walk
_STEPS_OF_A_SERVICE = 32
#: those beyond are found out by trying: memory is not asked for in advance
_MOST_SERVICES = 64


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
    services: tuple[Service, ...] = ()  #: what somebody besides the rules knows of this host
    listeners: tuple[Service, ...] | None = None  #: every socket that listens here; None: nobody knows


def suggest(
    source: SourceFile, rulesets: tuple[Ruleset, ...], read: Reader, edit: Callable[[], Editor], options: Options
) -> Suggestion:
    """The suggestion for a text that was read without an error: its rules for each address family.

    `read` reads a rewritten text, `edit` makes an editor of the text.
    """

    def answer(room: int) -> Suggestion:
        sides = tuple(Side(ruleset, make_space((ruleset,), room)) for ruleset in rulesets)
        return _Suggester(source, sides, read, edit, options).answer()

    walked = sum(steps(ruleset) for ruleset in rulesets)
    found = with_room(answer, walked + _STEPS_OF_A_SERVICE * min(len(options.services), _MOST_SERVICES))
    if found is not None:
        return found
    note = "the packets of this ruleset do not fit into memory: nothing can be proved, so nothing is suggested"
    ruleset = rulesets[0]
    return Suggestion(source, ruleset, "nothing-to-free", None, Tracking(ruleset, ()), notes=(note,))


def intervals(texts: Iterable[str]) -> tuple[Interval, ...]:
    """Ports as the options name them. Raises UsageError for what is no port."""
    out: list[Interval] = []
    for text in texts:
        low, dash, high = text.replace(":", "-").partition("-")
        first = decimal(low)
        last = decimal(high) if dash else first
        if first is None or last is None:
            raise UsageError(f"{text!r} is not a port; write a number or a range such as 8000-8010")
        if not first <= last <= 65535:
            raise UsageError(f"{text!r} is not a port: ports go from 0 to 65535")
        out.append((first, last))
    return tuple(out)


@dataclass
class _Suggester:
    source: SourceFile
    sides: tuple[Side, ...]
    read: Reader
    edit: Callable[[], Editor]
    options: Options

    def answer(self) -> Suggestion:
        wanted, excluded = intervals(self.options.ports), intervals(self.options.exclude)
        ruleset = self.sides[0].ruleset
        wholes = [Pair.alone(side.space, side.ruleset) for side in self.sides]
        tracking = together([judge_in(whole) for whole in wholes])
        base = Suggestion(self.source, ruleset, "nothing-to-free", None, tracking, notes=ruleset.notes)
        if not any(is_tracking(side.ruleset) for side in self.sides) or not tracking.required:
            return replace(base, outcome="nothing-needs-tracking")
        ssh = services.ssh_ports(self.options.services)
        every = [c.without(excluded) for c in _merged(self._every(wholes, ssh))]
        every = [self._counted(c) for c in every if c.ports]
        chosen = list(self._chosen(wholes, every, wanted))
        if self.options.services:
            chosen = [self._counted(c) for c in _merged(self._with_named(wholes, chosen, wanted, excluded))]
            chosen.sort(key=lambda c: c.kind.name == "out")
        closed = tuple(r for whole in wholes for r in self._closed(whole, chosen, wanted))
        closed = (*closed, *self._unopened(wholes, excluded))
        mine: dict[object, list[Candidate]] = {}
        for flow in chosen:
            mine.setdefault(_origin(flow), []).append(flow)
        left = [c for c in every if not any(_overlap(c, x) for x in mine.get(_origin(c), ()))]
        left.sort(key=lambda c: -(c.flow.entries or 0))
        allowed = _DEFAULT | {FixClass(name) for name in self.options.allow}
        if FixClass.RELAXING in allowed:
            allowed |= {FixClass.REVERSED}
        planner = Planner(self.source, self.sides, self.read, self.edit, frozenset(allowed))
        proved, refused = planner.prove(chosen)
        kept = tuple(
            Kept(j.rule, RuleClass.REQUIRED, j.reason, j.connections[0] if j.connections else None)
            for j in tracking.required
        )
        could = tuple(CouldLeave(c.flow, c.reason or "not asked for") for c in left)
        reversible = list(self._reversible(planner, chosen, refused))
        curable = [flow for offer in reversible for flow in offer.frees]
        refused = [replace(r, cure=_HELD) if r.flow in curable else r for r in refused]
        base = replace(
            base,
            kept=kept,
            could_leave=could,
            refused=(*closed, *refused),
            offers=(*self._offers(planner, left, refused), *reversible),
        )
        if proved is None:
            return base
        comparison = in_all(proved.comparisons)
        found = replace(
            base,
            outcome="rewrite",
            kind=proved.kind,
            flows=tuple(c.flow for c in proved.flows),
            changes=tuple(proved.editor.changes),
            text=proved.text,
            comparison=comparison,
            assumptions=(*comparison.assumptions, *proved.assumptions),
        )
        if self.options.listeners is None:
            return found
        held = listening.held(found, self.options.listeners, [side.ruleset.family for side in self.sides])
        return replace(found, checked=(held,)) if held else found

    def _every(self, wholes: Sequence[Pair], ssh: Sequence[Interval]) -> Iterator[Candidate]:
        """What could leave: the flows that the rules name, and those that this host opens by what services say."""
        families = [side.ruleset.family for side in self.sides]
        for flow in (p for c in _candidates(wholes) for p in listening.apart(c, self.options.listeners, families)):
            guarded = flow.only(*ssh) if ssh and flow.kind.name == "in" and flow.protocol == "tcp" else flow.only()
            yield from (replace(guarded, reason=flow.reason or SSH),) if guarded.ports else ()
            yield flow.without(guarded.ports)
        for whole in wholes:
            yield from services.outbound(whole, self.options.services)

    def _counted(self, flow: Candidate) -> Candidate:
        """The flow with its entries, where somebody counted them."""
        number = services.entries(flow, self.options.services)
        return flow if number is None else replace(flow, flow=replace(flow.flow, entries=number))

    def _with_named(
        self,
        wholes: Sequence[Pair],
        chosen: Sequence[Candidate],
        wanted: Sequence[Interval],
        excluded: Sequence[Interval],
    ) -> Iterator[Candidate]:
        """The choice, with the flows that services name in place of what their rules accept on the same ports."""
        found = _merged(f for whole in wholes for f in self._named(whole, excluded))
        mine = [f for f in (f.only(*wanted) if wanted else f for f in found) if f.ports]
        for flow in chosen:
            same = [m.ports for m in mine if _origin(m) == _origin(flow)]
            left = flow.without([port for ports in same for port in ports])
            yield from (left,) if left.ports else ()
        yield from mine

    def _named(self, whole: Pair, excluded: Sequence[Interval]) -> Iterator[Candidate]:
        known = list(_candidates([whole]))
        for direction in ("in",) if whole.old.ruleset.partial else ("in", "forward"):
            for asked in services.named(self.options.services, direction, excluded):
                asked = services.choosable(asked, self.options.services)
                yield from services.inbound(whole, asked, known) if asked.ports else ()

    def _unopened(self, wholes: Sequence[Pair], excluded: Sequence[Interval]) -> Iterator[Refused]:
        """What services name and no rule accepts, or nothing tracks; a socket behind the rules is no news."""
        mine = [s for s in self.options.services if s not in (self.options.listeners or ())]
        for asked in services.named(mine, "in", excluded):
            yield from self._closed_ports(wholes, services.choosable(asked, self.options.services))
        for asked in services.named(self.options.services, "out", excluded):
            for one in services.by_host(asked):
                yield from self._closed_ports(wholes, one)

    def _closed_ports(self, wholes: Sequence[Pair], asked: services.Named) -> Iterator[Refused]:
        found = [(whole, ports) for whole in wholes if (ports := services.unopened(whole, asked)) is not None]
        if not found:
            return
        whole, closed = found[0]
        for _, ports in found[1:]:
            closed = tuple((max(a, c), min(b, d)) for a, b in closed for c, d in ports if max(a, c) <= min(b, d))
        opening = whole.roles(asked.kind, whole.old).opening
        shut: list[Interval] = []
        for port in closed:
            here = replace(asked, ports=(port,)).packets(whole.space) & opening.packets
            reasons = list(self._reason(whole.space, opening, here, asked.flow([port]), asked.kind.there))
            yield from reasons
            shut += [] if reasons else [port]
        if shut:
            out = asked.kind.name == "out"
            reason = "the rules do not let this host open it" if out else "nothing lets it in"
            yield Refused(asked.flow(shut), None, reason, None)

    def _reversible(self, planner: Planner, chosen: Sequence[Candidate], refused: Sequence[Refused]) -> Iterator[Offer]:
        """Flows to servers that may leave if nobody else speaks from the servers' ports."""
        mine = [c for c in chosen if c.kind.name == "out" and any(r.flow == c.flow for r in refused)]
        if FixClass.REVERSED in planner.allowed or not mine or not self.options.menu:
            return
        looser = replace(planner, allowed=planner.allowed | {FixClass.REVERSED})
        for flow in mine[:_OFFERS]:
            proved, _ = looser.prove([flow])
            if proved is not None and proved.kind is FixClass.REVERSED:
                yield Offer(("--allow", "reversed"), (flow.flow,), proved.kind)

    def _chosen(
        self, wholes: Sequence[Pair], every: Sequence[Candidate], wanted: Sequence[Interval]
    ) -> Iterator[Candidate]:
        if self.options.everything:
            yield from every
            return
        if not wanted:
            yield from (c for c in every if not c.reason)
            return
        for low, high in wanted:
            hits = [c.only((low, high)) for c in every]
            hits = [c for c in hits if c.ports]
            yield from hits
            if not hits and low == high:
                yield from _merged(c for whole in wholes for c in self._by_policy(whole, low))

    def _by_policy(self, whole: Pair, port: int) -> Iterator[Candidate]:
        """A port that no rule names, but that is open: by policy, or by a rule without ports."""
        opening = whole.roles(KINDS[0], whole.old).opening
        space = whole.space
        here = space.connection_part(opening.accepted & ~opening.untracked & space.is_(Field.DPORT, port))
        for protocol in (6, 17):
            found = here & space.is_(Field.PROTOCOL, protocol)
            if not is_empty(found):
                rule = next((by for by, _ in opening.walk.decided.by(Rule, found)), None)
                yield named(whole, KINDS[0], PROTOCOL_NAMES[protocol], port, rule, found)

    def _closed(self, whole: Pair, chosen: Sequence[Candidate], wanted: Sequence[Interval]) -> Iterator[Refused]:
        """Ports that were asked for and are no flow at all: somebody else answers them, or nobody lets them in."""
        opening = whole.roles(KINDS[0], whole.old).opening
        for low, high in wanted:
            if low != high or any(a <= low <= b for c in chosen for a, b in c.ports):
                continue
            for protocol in (6, 17):
                space = whole.space
                here = space.is_(Field.PROTOCOL, protocol) & space.is_(Field.DPORT, low) & opening.packets
                flow = Flow("in", PROTOCOL_NAMES[protocol], (str(low),), (), (), None)
                reasons = list(self._reason(space, opening, here, flow))
                yield from reasons
                if not reasons and protocol == TCP:
                    yield Refused(flow, None, "nothing lets it in", None)

    def _reason(self, space: Space, opening: Seen, here: PacketSet, flow: Flow, path: str = "in") -> Iterator[Refused]:
        """Who answers the connections, or leaves them untracked, if anybody does."""
        frame = Frame("opening")
        for (rule, consumer), packets in opening.walk.consumed.of():
            if not is_empty(packets & here):
                text = sample(space, packets & here, path, frame).text
                reason = f"{rule.where} ({consumer.what}) answers these connections through conntrack"
                yield Refused(flow, rule, reason, Witness(text, f"reaches {rule.where}"))
                return
        left = here & opening.untracked
        if not is_empty(left):
            text = sample(space, left, path, frame).text
            yield Refused(flow, None, "it is untracked already", Witness(text, "untracked before and after"))

    def _offers(self, planner: Planner, left: Sequence[Candidate], refused: Sequence[object]) -> Iterator[Offer]:
        """What the options would free, each tried and proved."""
        for flow in left[:_OFFERS] if self.options.menu else ():
            proved, _ = planner.prove([flow])
            if proved is not None:
                yield Offer(("--port", ",".join(flow.flow.ports)), (flow.flow,), proved.kind)


def _candidates(wholes: Sequence[Pair]) -> Iterator[Candidate]:
    for whole in wholes:
        partial = whole.old.ruleset.partial
        yield from (c for c in candidates(whole) if not (partial and c.kind.name == "forward"))


def _merged(flows: Iterable[Candidate]) -> list[Candidate]:
    """The flows of all address families; what one rule, or one element of its verdict map, accepts of both is one."""
    found: dict[object, Candidate] = {}
    for flow in flows:
        place = (flow.rule.span, *(m.place for m in flow.rule.matches)) if flow.rule else None
        why = flow.reason if flow.reason in (SSH, listening.IDLE) else why_left(flow.protocol, flow.ports)
        key = (place, flow.kind.name, flow.protocol, flow.narrowed, why)
        known = found.get(key)
        if known is None:
            found[key] = flow
        else:
            ports = tuple(sorted({*known.ports, *flow.ports}))
            found[key] = replace(known.with_ports(ports), reason=known.reason or flow.reason)
    return list(found.values())


def _origin(flow: Candidate) -> tuple[Span | None, str, str]:
    """What accepts a flow, a rule or a policy, and of which connections."""
    return flow.rule.span if flow.rule else None, flow.kind.name, flow.protocol


def _overlap(one: Candidate, other: Candidate) -> bool:
    """Two flows of one origin have ports in common."""
    return any(a <= d and c <= b for a, b in one.ports for c, d in other.ports)
