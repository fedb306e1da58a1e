"""Who needs connection tracking: the class of every rule that mentions conntrack, and the connections that need it.

Each rule is judged by what would happen without its test, without the rule, or with a stateless test in its place
(design section 4); the answer is a comparison of packet sets, never a reading of the text.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from ruleaudit.analysis.connection import KINDS, icmp_errors, reply_shape, resets, role_shape
from ruleaudit.analysis.consequence import Consequences, Visit, is_plain
from ruleaudit.analysis.consumers import consumed
from ruleaudit.analysis.differing import ALL, class_words
from ruleaudit.analysis.pair import Pair, make_space
from ruleaudit.analysis.space import Frame
from ruleaudit.analysis.stretch import steps
from ruleaudit.analysis.variant import Changed, same_packets, without
from ruleaudit.analysis.verdicts import ACCEPT
from ruleaudit.analysis.walk import PATHS, Walk, called_chains, chains_from, conntrack_users, early_chains
from ruleaudit.analysis.witness import sample
from ruleaudit.diagnostics import Witness
from ruleaudit.model.condition import ALWAYS, NEVER, Condition, Masked, States, Values, tests
from ruleaudit.model.fields import TCP, Field, State, TcpFlag
from ruleaudit.model.ruleset import Rule, Ruleset, Unknown
from ruleaudit.packets.diagram import PacketSet, is_empty, with_room
from ruleaudit.results import Judgement, RuleClass, Tracking
from ruleaudit.source import Span

#: chains that others are known to call or to fill: without a caller in this file they are not dead
OUTSIDE_CHAINS = (
    "DOCKER",
    "ufw",
    "KUBE-",
    "f2b-",
    "fail2ban-",
    "cali-",
    "LIBVIRT_",
    "FLANNEL",
    "CNI-",
    "CILIUM_",
    "NETAVARK",
    "PVEFW-",
)


def called_from_outside(chain: str) -> bool:
    """A chain that is known to be called by rules which a file need not show."""
    return chain.startswith(OUTSIDE_CHAINS)


def judge(ruleset: Ruleset) -> Tracking:
    """The class of every rule that mentions conntrack, in the order of the lines."""
    found = with_room(lambda room: judge_in(Pair.alone(make_space((ruleset,), room), ruleset)), steps(ruleset))
    return found if found is not None else undecided(ruleset)


def undecided(ruleset: Ruleset) -> Tracking:
    """What is to be taken for true of a ruleset that is too large to be judged."""
    reason = "the packets that reach it do not fit into memory: it counts as required"
    rules = conntrack_users(ruleset)
    return Tracking(ruleset, tuple(Judgement(r, RuleClass.REQUIRED, reason) for r in rules))


def judge_in(whole: Pair) -> Tracking:
    """`judge` of a ruleset that stands beside itself."""
    judgements = list(_Judge(whole).all())
    return Tracking(whole.old.ruleset, tuple(sorted(judgements, key=lambda j: (j.rule.path, j.rule.line))))


#: the class of a rule is the strongest that it has in any family, or in any part
STRENGTH = (RuleClass.REQUIRED, RuleClass.REPLACEABLE, RuleClass.REDUNDANT, RuleClass.DEAD)


def together(found: Sequence[Tracking]) -> Tracking:
    """One judgement for each rule of the text, out of those for every address family and part of a verdict map."""
    strongest: dict[Span, Judgement] = {}
    for judgement in (j for tracking in found for j in tracking.judgements):
        known = strongest.setdefault(judgement.rule.span, judgement)
        if STRENGTH.index(judgement.kind) < STRENGTH.index(known.kind):
            strongest[judgement.rule.span] = judgement
    judgements = sorted(strongest.values(), key=lambda j: (j.rule.path, j.rule.line, j.rule.span))
    return Tracking(found[0].ruleset, tuple(judgements))


#: so many rules in front of limits and lists are looked at one by one
MOST_ALONE = 64


class _Judge:
    def __init__(self, whole: Pair) -> None:
        self.whole, self.space, self.ruleset = whole, whole.space, whole.old.ruleset
        self.mentioning = conntrack_users(self.ruleset)
        #: the ruleset without the dead rules: what one of these would do instead keeps no other from being needed
        self.living = self.whole.old
        self.called = called_chains(self.ruleset)
        self._sent: dict[str, Walk] = {}

    def all(self) -> Iterator[Judgement]:
        if not self.mentioning:
            return
        needed = self._consumed()
        matched = self._matched()
        met = matched | needed.keys()
        dead = [r for r in self.mentioning if (r.table, r.chain) in self.called and r not in met]
        if dead:
            self.living = replace(self.living, ruleset=without(self.ruleset, frozenset(dead)))
        hanging = self._hanging(matched - needed.keys())
        for rule in self.mentioning:
            if rule in needed:
                what, witness = needed[rule]
                yield Judgement(
                    rule, RuleClass.REQUIRED, f"{what} works through the conntrack entry", witness, consumer=what
                )
            elif (rule.table, rule.chain) not in self.called:
                yield self._unreferenced(rule)
            elif rule not in matched:
                yield Judgement(rule, RuleClass.DEAD, self._why_dead(rule))
            elif _is_consumer(rule):
                yield Judgement(rule, RuleClass.DEAD, "no connection reaches it", consumer=_is_consumer(rule))
            else:
                yield self._judge_by(hanging[rule], rule) if rule in hanging else self._judge(rule)

    @cached_property
    def _perhaps_called(self) -> dict[tuple[str, str], Rule]:
        """(table, chain) that a verdict map may lead to, of which nobody knows what it holds: the rule with the map."""
        found: dict[tuple[str, str], Rule] = {}
        unknown = [(r, r.verdict.chains) for r in self.ruleset.rules() if isinstance(r.verdict, Unknown)]
        while leading := [one for one in unknown if (one[0].table, one[0].chain) in self.called | found.keys()]:
            for rule, names in leading:
                unknown.remove((rule, names))
                chains = self.ruleset.tables[rule.table].chains
                led_to = chains_from(self.ruleset, (chains[name] for name in names if name in chains))
                found |= dict.fromkeys(led_to - self.called - found.keys(), rule)
        return found

    def _unreferenced(self, rule: Rule) -> Judgement:
        if called_from_outside(rule.chain):
            reason = f"chain {rule.chain} is called from outside this file"
            return Judgement(rule, RuleClass.REQUIRED, reason)
        if (leading := self._perhaps_called.get((rule.table, rule.chain))) is not None:
            reason = f"{leading.where} may lead into chain {rule.chain}: what its map holds is not known"
            return Judgement(rule, RuleClass.REQUIRED, reason)
        reason = f"nothing in this file calls chain {rule.chain}; the rule still switches tracking on"
        return Judgement(rule, RuleClass.DEAD, reason)

    def _why_dead(self, rule: Rule) -> str:
        wanted = {s for m in rule.matches for t in tests(m.condition) if isinstance(t, States) for s in t.states}
        chain = self.ruleset.tables[rule.table].chains[rule.chain]
        if wanted and chain.before_conntrack:
            return "before conntrack looks at a packet its state is INVALID or UNTRACKED, never what this rule asks for"
        return "no packet reaches this rule with that state: earlier rules decide about all of them"

    def _matched(self) -> set[Rule]:
        """Those rules that mention conntrack and that some packet in some state matches."""
        found: set[Rule] = set()
        for path in PATHS:
            walk = self._free(path)
            found |= {rule for rule in self.mentioning if rule not in found and rule in walk.matched}
        return found

    def _hanging(self, matched: Collection[Rule]) -> dict[Rule, "_Hanging"]:
        """What hangs on each matched state test, for the rules where one pass can tell."""
        early = early_chains(self.ruleset)
        rules = {r for r in self.mentioning if r in matched and not _is_consumer(r) and (r.table, r.chain) not in early}
        if not rules or not is_plain(self.ruleset):
            return {}
        instead = {rule: test for rule in rules if (test := self._stateless(rule)) is not None}
        consequences = Consequences(self.space, self.living, rules, instead)
        found: dict[Rule, _Hanging] = {}
        spoiled: set[Rule] = set()
        touched: set[Rule] = set()
        for path in PATHS:
            real: list[_Real] = []
            for visit in consequences.visits(path, self._free(path)):
                real = real or list(self._real(path))
                others = visit.without_state & ~visit.matched
                more = others & (visit.ways.differs | visit.ways.counted)
                less = visit.matched & (visit.ways.differs | visit.ways.counted)
                if not visit.once or visit.rule.effects or not is_empty(visit.ways.doubtful & visit.without_state):
                    spoiled.add(visit.rule)
                    continue
                if not is_empty(visit.ways.touches & visit.without_state):
                    touched.add(visit.rule)
                hanging = found.setdefault(visit.rule, _Hanging(stateless=visit.rule in instead))
                otherwise = visit.matched ^ visit.others
                hanging.always = hanging.always and is_empty(others)
                hanging.more |= not is_empty(more)
                hanging.less |= not is_empty(less)
                for role in real:
                    if hanging.stateless and not is_empty(self._mattering(visit, otherwise, role)):
                        hanging.stateless = False
                    for gains, into in ((more, hanging.gained), (less, hanging.lost)):
                        here = self._mattering(visit, gains, role) if len(into) < 4 else self.space.none
                        if not is_empty(here):
                            into.append(replace(role, packets=here))
        if len(touched) <= MOST_ALONE:
            spoiled |= touched  # walks of their own tell more of what a limit sees
        return {rule: hanging for rule, hanging in found.items() if rule not in spoiled}

    def _mattering(self, visit: Visit, otherwise: PacketSet, role: "_Real") -> PacketSet:
        """Of packets that a change of the rule would send the other way, some real ones on which a connection hangs:
        those that are accepted on one way only; if there are none, those that a limit or a list would see on one only.
        """
        here = otherwise & role.packets
        refused = here & visit.ways.accept_differs
        if role.works is None or not is_empty(refused):
            return refused
        counted = here & visit.ways.counted
        if is_empty(counted):
            return counted
        part = self.space.connection_part
        now = part(part(counted) & role.packets & visit.reach & visit.ways.lives)
        return counted & (role.works | now)

    def _real(self, path: str) -> Iterator["_Real"]:
        """The packets of real connections on a path."""
        space = self.space
        part = space.connection_part
        anything = False
        for kind in KINDS:
            if path not in (kind.there, kind.back):
                continue
            roles = self.whole.roles(kind, self.whole.old)
            works = part(roles.opening.accepted)
            anything = anything or not is_empty(works)
            new, established = space.in_state(State.NEW), space.in_state(State.ESTABLISHED)
            if path == kind.there:
                opening = new & role_shape(space, "opening")
                yield _Real(_role_words(kind.name, "opening"), opening, path, State.NEW, works)
            if kind.name == "looped":
                continue  # nobody answers, so that there is neither a later packet nor a reply
            if path == kind.there:
                later = established & works & role_shape(space, "later")
                yield _Real(_role_words(kind.name, "later"), later, path, State.ESTABLISHED, works)
            if path == kind.back:
                reply = established & self.whole.answered(kind, self.whole.old) & reply_shape(space)
                yield _Real(_role_words(kind.name, "reply"), reply, path, State.ESTABLISHED, space.all)
        if anything and path not in ("local", "looped"):
            related = space.in_state(State.RELATED)
            yield _Real("ICMP errors about connections (path MTU)", related & icmp_errors(space), path, State.RELATED)
            if self.whole.helpers:
                data = related & ~icmp_errors(space) & ~resets(space)
                yield _Real("data connections of helpers", data, path, State.RELATED)

    def _judge_by(self, hanging: "_Hanging", rule: Rule) -> Judgement:
        """The class of a rule from what hangs on it."""
        if not hanging.more:
            return Judgement(rule, RuleClass.REDUNDANT, _SAME_WITHOUT_TEST, instead=ALWAYS, always=hanging.always)
        if not hanging.less:
            return Judgement(rule, RuleClass.REDUNDANT, _SAME_WITHOUT_RULE, instead=NEVER)
        if not hanging.lost:
            return Judgement(rule, RuleClass.REPLACEABLE, _ALL_WORK_WITHOUT_RULE, instead=NEVER)
        if not hanging.gained:
            return Judgement(rule, RuleClass.REPLACEABLE, _ALL_WORK_WITHOUT_TEST, instead=ALWAYS)
        if hanging.stateless:
            return Judgement(rule, RuleClass.REPLACEABLE, _FLAGS_DO, instead=self._stateless(rule))
        return _required(rule, *([self._shown(e) for e in some] for some in (hanging.lost[:3], hanging.gained[:2])))

    def _shown(self, example: "_Real") -> Witness:
        path, frame = example.path, Frame("any")
        words = class_words(self.space, example.packets, path, frame)
        text = sample(self.space, example.packets, path, frame, example.state).text
        return Witness(text, _with_class(example.words, words))

    def _free(self, path: str) -> Walk:
        """Every packet in every state, sent along a path."""
        return self.whole.free(self.whole.old, path)

    def _consumed(self) -> dict[Rule, tuple[str, tuple[Witness, ...]]]:
        found: dict[Rule, tuple[str, tuple[Witness, ...]]] = {}
        for kind in KINDS:
            roles = self.whole.roles(kind, self.whole.old)
            for rule, what, role, packets in consumed(roles, found):
                if is_empty(packets):
                    continue
                reverse = role == "reply"
                path = kind.back if reverse else kind.there
                frame = Frame(role, reverse)
                words = class_words(self.space, packets, path, frame)
                text = sample(self.space, packets, path, frame).text
                found[rule] = (what, (Witness(text, f"{words}: {what} in {rule.where}"),))
        return found

    def _judge(self, rule: Rule) -> Judgement:
        without_test = self._variant(rule, ALWAYS)
        without_rule = self._variant(rule, None)
        if same_packets(map(without_test.free, PATHS)):
            return Judgement(rule, RuleClass.REDUNDANT, _SAME_WITHOUT_TEST, instead=ALWAYS)
        if same_packets(map(without_rule.free, PATHS)):
            return Judgement(rule, RuleClass.REDUNDANT, _SAME_WITHOUT_RULE, instead=NEVER)
        lost = list(self._connection_changes(without_rule))
        if not lost:
            return Judgement(rule, RuleClass.REPLACEABLE, _ALL_WORK_WITHOUT_RULE, instead=NEVER)
        gained = list(self._connection_changes(without_test))
        if not gained:
            return Judgement(rule, RuleClass.REPLACEABLE, _ALL_WORK_WITHOUT_TEST, instead=ALWAYS)
        stateless = self._stateless(rule)
        if stateless is not None and not list(self._connection_changes(self._variant(rule, stateless))):
            return Judgement(rule, RuleClass.REPLACEABLE, _FLAGS_DO, instead=stateless)
        return _required(rule, lost, gained)

    def _stateless(self, rule: Rule) -> Condition | None:
        wanted = {s for m in rule.matches for t in tests(m.condition) if isinstance(t, States) for s in t.states}
        syn = int(TcpFlag.FIN | TcpFlag.SYN | TcpFlag.RST | TcpFlag.ACK)
        if not any(Values(Field.PROTOCOL, ((TCP, TCP),)) in tuple(tests(m.condition)) for m in rule.matches):
            return None
        if wanted <= {State.NEW}:
            return Masked(Field.TCP_FLAGS, syn, int(TcpFlag.SYN))
        if wanted <= {State.ESTABLISHED, State.RELATED}:
            return Masked(Field.TCP_FLAGS, int(TcpFlag.SYN | TcpFlag.ACK), int(TcpFlag.ACK))
        return None

    def _variant(self, rule: Rule, test: Condition | None) -> Changed:
        """R against R with one rule's state tests replaced, or with the rule taken out (None)."""
        return Changed(self._base, rule, test)

    @cached_property
    def _base(self) -> Pair:
        """The living ruleset beside itself."""
        if self.living is self.whole.old:
            return self.whole
        pair = Pair(self.space, self.living.ruleset, self.living.ruleset, self.whole.alignment)
        pair.old = pair.new = self.living
        return pair

    def _connection_changes(self, changed: Changed) -> Iterator[Witness]:
        """The packets of real connections that fare otherwise, and the ICMP errors about them."""
        space, base = self.space, changed.base
        part = space.connection_part
        alive = dict.fromkeys(PATHS, False)
        for kind in KINDS:
            opening = base.roles(kind, base.old).opening
            if not is_empty(opening.accepted):
                alive[kind.there] = alive[kind.back] = True
            roles = changed.roles(kind)
            works = part(opening.accepted) | part(roles["opening"][0].accepted)
            for role, (_, again) in roles.items():
                if is_empty(again.met):
                    continue
                marked = again.marked_otherwise & again.before.outcomes.get(ACCEPT, space.none)
                otherwise = works & (again.accepted_otherwise | marked | again.affected_otherwise)
                if not is_empty(otherwise):
                    reverse = role == "reply"
                    path, frame = kind.back if reverse else kind.there, Frame(role, reverse)
                    words = _with_class(_role_words(kind.name, role), class_words(space, otherwise, path, frame))
                    yield Witness(sample(space, otherwise, path, frame).text, words)
        for path in PATHS:
            if not alive[path] or path in ("local", "looped"):
                continue
            errors = self._errors(path)
            again = changed.again(errors, path, self._error_packets(path))
            if not is_empty(again.accepted_otherwise):
                text = sample(space, again.accepted_otherwise, path, Frame("error"), State.RELATED).text
                yield Witness(text, "ICMP errors about connections (path MTU)")

    def _error_packets(self, path: str) -> PacketSet:
        """The packets that are RELATED to a connection on a path; what REJECT answers belongs to none that works."""
        packets = self._base.domain(path, False)
        return packets & ~resets(self.space) if self._base.helpers else packets & icmp_errors(self.space)

    def _errors(self, path: str) -> Walk:
        """Their way through the living ruleset."""
        if path not in self._sent:
            packets = self._error_packets(path)
            self._sent[path] = self._base.send(self._base.old, path, packets, State.RELATED, role="error")
        return self._sent[path]


@dataclass
class _Hanging:
    """What would change if a rule matched whatever the state (more, gained), or nothing at all (less, lost)."""

    stateless: bool  #: TCP flags in the test's place let the same connections work
    always: bool = True  #: no packet in another state gets there and matches the rest of the rule
    more: bool = False
    less: bool = False
    gained: list["_Real"] = field(default_factory=list)
    lost: list["_Real"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Real:
    """Packets of real connections on a path and in a state, all or some; `words` are the role that they have, `works`
    the connections that work, where it matters what else sees these packets.
    """

    words: str
    packets: PacketSet
    path: str
    state: State
    works: PacketSet | None = None


_SAME_WITHOUT_TEST = "without the test every packet has the same verdict"
_SAME_WITHOUT_RULE = "without the rule every packet has the same verdict"
_ALL_WORK_WITHOUT_RULE = "no connection hangs on it: without the rule only packets of no connection fare otherwise"
_ALL_WORK_WITHOUT_TEST = "without the test the same connections work; only packets of no connection fare otherwise"
_FLAGS_DO = "TCP flags say the same: only packets of no connection fare otherwise"


def _required(rule: Rule, lost: Sequence[Witness], gained: Sequence[Witness]) -> Judgement:
    """Some connections work only because of this test: which, and what would open without it."""

    def words(witnesses: Sequence[Witness]) -> str:
        return "; ".join(dict.fromkeys(w.description for w in witnesses))

    reason = f"without the rule these are refused: {words(lost[:3])}"
    reason += f"; without its test these are accepted: {words(gained[:2])}"
    return Judgement(rule, RuleClass.REQUIRED, reason, tuple(lost[:3]))


def _is_consumer(rule: Rule) -> str | None:
    every = [*rule.consumers, *(m.consumer for m in rule.matches if m.consumer is not None)]
    return every[0].what if every else None


def _with_class(who: str, words: str) -> str:
    """A role and its protocols and ports, unless it is all of them."""
    return who if words in ALL.values() else f"{who} ({words})"


def _role_words(kind: str, role: str) -> str:
    start = {
        "in": "that come in",
        "out": "that this host starts",
        "forward": "that are forwarded",
        "local": "on lo",
        "looped": "to multicast",
    }[kind]
    what = {
        "opening": "the opening of connections",
        "later": "later packets of connections",
        "reply": "replies to connections",
    }
    return f"{what[role]} {start}"
