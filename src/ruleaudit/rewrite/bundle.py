"""What a plan does for its flows: a bundle for each, moved on by each round of mending (design section 6, point 3)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from ruleaudit.model.condition import Interval
from ruleaudit.model.fields import CLIENT_PORTS
from ruleaudit.model.ruleset import Rule
from ruleaudit.results import Difference
from ruleaudit.results.suggestion import Refused
from ruleaudit.rewrite.flows import Candidate, without


@dataclass(eq=False)
class Bundle:
    """What is done for one flow."""

    flow: Candidate
    accept: str = ""  #: how untracked openings are accepted: not at all, own, new, twin
    later_at: Rule | None = None  #: an accept for later TCP packets stands before this rule
    reply_at: list[Rule] = field(default_factory=list)  #: accepts for the replies stand before these rules
    local: bool = False  #: narrowed to this host's own addresses; a forwarded flow: to those of other hosts
    unicast: bool = False  #: the replies narrowed to unicast, so that no looped multicast copy is among them
    resets: set[Rule] = field(default_factory=set)  #: resets are accepted before these rules
    stuck: Difference | None = None
    stuck_at: Rule | None = None  #: the rule of the original that is in the way

    def narrow_clients(self) -> None:
        """Leave only connections from the ports untracked that this host opens its own from."""
        narrowed = replace(self.flow.narrowed, clients=CLIENT_PORTS)
        self.flow = replace(self.flow, narrowed=narrowed)

    @property
    def is_hopeless(self) -> bool:
        """A rule forbids this very flow, whatever happens to the others."""
        return self.stuck is not None and self.stuck.forbidding is not None and self.stuck.path in ("in", "out")

    @property
    def refusal(self) -> Refused:
        """Why the flow may not leave; only the ports that are to blame, where some others may."""
        blamed = self.split[0] if self.split else self.flow
        flow, difference = blamed.flow, self.stuck
        if difference is None:
            return Refused(flow, self.flow.rule, "no rewrite of it could be proved", None)
        return Refused(flow, self.stuck_at or self.flow.rule, difference.description, difference.witness)

    @property
    def split(self) -> tuple[Candidate, Candidate] | None:
        """The flow on the ports that are to blame, and on the others; None where all of them are, or none."""
        blamed = self.flow.only(*chain(*self._ports_of(self.stuck))) if self.stuck is not None else self.flow
        others = self.flow.without(blamed.ports)
        return (blamed, others) if blamed.ports and others.ports else None

    def concerns(self, difference: Difference) -> bool:
        """The packets of a difference have a port of the flow, on the side where the service is."""
        return any(map(self.flow.has_any, self._ports_of(difference)))

    def is_passed_by(self, difference: Difference) -> bool:
        """What passes through opens connections from a port of the flow: the answers would be taken along."""
        if self.flow.kind.name != "in" or difference.path != "forward" or difference.role != "opening":
            return False
        return any(p.protocol == self.flow.protocol and self.flow.has_any(p.source) for p in difference.ports)

    def covers(self, difference: Difference, others: Iterable["Bundle"]) -> bool:
        """All packets of a difference have ports of the flow there, or of others of its direction."""
        alike = [b.flow for b in others if b.flow.kind is self.flow.kind and b.flow.protocol == self.flow.protocol]
        ports = [*chain(*self._ports_of(difference))]
        return bool(ports) and not without(ports, [port for flow in alike for port in flow.ports])

    def _ports_of(self, difference: Difference) -> Iterator[Sequence[Interval]]:
        """The ports of each part of a difference on the side where the service is, in the protocol of the flow."""
        leaving = difference.path in ("out", "local", "looped")
        back = leaving or (difference.path == "forward" and difference.role == "reply")
        if self.flow.kind.name == "out":
            # the servers are elsewhere: what comes in comes from their ports
            back = difference.path != "out"
        for ports in difference.ports:
            side = ports.source if back else ports.target
            if difference.forbidding is not None and difference.role == "reply":
                # a translated reply looks like a packet of the flow on the side where its ports are few
                side = min(ports.source, ports.target, key=lambda i: sum(high - low + 1 for low, high in i))
            if self.flow.protocol == ports.protocol:
                yield side
                if self.flow.kind.name == "in" and difference.path == "forward" and difference.role == "reply":
                    # what passes through is taken along by where it goes, whatever it answers
                    yield ports.target


@dataclass(frozen=True, slots=True)
class Group:
    """Bundles whose notrack rules differ in nothing but the ports."""

    bundles: tuple[Bundle, ...]

    @property
    def flows(self) -> tuple[Candidate, ...]:
        return tuple(b.flow for b in self.bundles)

    @property
    def direction(self) -> str:
        """in: to this host; out: opened by it; forward: through it."""
        return self.bundles[0].flow.kind.name

    @property
    def local(self) -> bool:
        return self.bundles[0].local

    @property
    def unicast(self) -> bool:
        return self.bundles[0].unicast


def grouped(bundles: Iterable[Bundle]) -> list[Group]:
    """Bundles whose notrack rules can be one, together."""
    groups: dict[tuple[object, ...], list[Bundle]] = {}
    for b in bundles:
        key = (b.flow.kind.name, b.flow.protocol, b.flow.narrowed, b.local, b.unicast)
        groups.setdefault(key, []).append(b)
    return [Group(tuple(members)) for members in groups.values()]


def by_place(places: Iterable[tuple[Rule | None, Bundle]]) -> dict[Rule, list[Bundle]]:
    """Bundles by the rule beside which something is done for them."""
    found: dict[Rule, list[Bundle]] = {}
    for place, bundle in places:
        if place is not None:
            found.setdefault(place, []).append(bundle)
    return found
