"""Who reaches a rule: the packets that come by, those that it matches, and who takes them where none is left.

The rule is looked at through two probes, rules that match everything and do nothing: one where its chain begins, one
before the rule. Every packet that is shown has been followed there by the reference interpreter.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from ruleaudit.analysis.differing import class_words
from ruleaudit.analysis.follow import action
from ruleaudit.analysis.pair import Pair, make_space, may_match
from ruleaudit.analysis.space import TRACKED_STATES, Frame, Space
from ruleaudit.analysis.stretch import Block, steps
from ruleaudit.analysis.tracking import called_from_outside
from ruleaudit.analysis.walk import PATHS, Walk, called_chains, chains_from
from ruleaudit.analysis.witness import follow, sample
from ruleaudit.diagnostics import Witness
from ruleaudit.model.condition import Opaque, tests
from ruleaudit.model.fields import State
from ruleaudit.model.lines import lines
from ruleaudit.model.ruleset import (
    Chain,
    Continue,
    Drop,
    Effect,
    EffectKind,
    Goto,
    Jump,
    Return,
    Rule,
    Ruleset,
)
from ruleaudit.packets.diagram import PacketSet, is_empty, with_room
from ruleaudit.results import Judgement
from ruleaudit.results.reach import Reach, Visitors


def reach(ruleset: Ruleset, parts: Sequence[Rule], judgement: Judgement | None) -> Reach:
    """Who reaches a rule; a rule of the text is several in the model where it holds a verdict map (`parts`)."""
    found = with_room(lambda room: _Rule(make_space((ruleset,), room), ruleset, parts).reach(), steps(ruleset))
    if found is None:
        barred = "the packets that reach it do not fit into memory"
        found = Reach(ruleset, parts[0], _does(parts), _callers(ruleset, parts[0]), (), barred)
    asked = (test.name for rule in parts for test in tests(rule.condition) if isinstance(test, Opaque))
    return replace(found, open=tuple(dict.fromkeys(asked)), judgement=judgement)


def _does(parts: Iterable[Rule]) -> str:
    return " or ".join(dict.fromkeys(action(rule) for rule in parts))


def _callers(ruleset: Ruleset, rule: Rule) -> tuple[Rule, ...]:
    chains = ruleset.tables[rule.table].chains.values()
    return tuple(
        r
        for chain in chains
        for r in chain.rules
        if isinstance(r.verdict, Jump | Goto) and r.verdict.chain == rule.chain
    )


class _Rule:
    def __init__(self, space: Space, ruleset: Ruleset, parts: Sequence[Rule]) -> None:
        self.space, self.ruleset, self.parts, self.rule = space, ruleset, tuple(parts), parts[0]
        self.chain = ruleset.tables[self.rule.table].chains[self.rule.chain]
        self.place = self.chain.rules.index(self.rule)
        self.into, self.before = self._probe("\0into"), self._probe("\0before")
        # with an effect of its own, no rule is taken together with its neighbours
        shown = Effect(EffectKind.LOG, "\0shown")
        self.seen = {rule: replace(rule, effects=(*rule.effects, shown)) for rule in self.parts}

    def _probe(self, name: str) -> Rule:
        return Rule(self.chain.name, self.chain.table, self.rule.line, self.rule.span, name, (), (), Continue())

    def reach(self) -> Reach:
        """The packets that get to the rule, path by path."""
        rules = [*self.chain.rules[: self.place], self.before]
        rules += [self.seen.get(rule, rule) for rule in self.chain.rules[self.place :]]
        pair = self._with([self.into, *rules])
        walks = {path: self._walk(pair, path) for path in PATHS}
        visitors = [v for path, walk in walks.items() for v in self._visitors(pair, path, walk)]
        callers = () if self.chain.hook is not None else _callers(self.ruleset, self.rule)
        found = Reach(self.ruleset, self.rule, _does(self.parts), callers, tuple(visitors))
        if any(v.matched for v in visitors):
            return found
        barred, takers = self._barred(walks, bool(visitors))
        return replace(found, barred=barred, takers=takers)

    def _with(self, rules: Sequence[Rule]) -> Pair:
        """The ruleset with other rules in the chain."""
        table = self.ruleset.tables[self.chain.table]
        chains: dict[str, Chain] = {**table.chains, self.chain.name: replace(self.chain, rules=tuple(rules))}
        tables = {**self.ruleset.tables, table.name: replace(table, chains=chains)}
        return Pair.alone(self.space, replace(self.ruleset, tables=tables))

    def _walk(self, pair: Pair, path: str) -> Walk:
        walk = pair.free_walk(pair.old)
        walk.run(PATHS[path], pair.possible(path))
        return walk

    # -- who comes -------------------------------------------------------------------------------------

    def _visitors(self, pair: Pair, path: str, walk: Walk) -> Iterator[Visitors]:
        none = self.space.none
        here = walk.matched.get(self.before, none)
        hit = none
        for seen in self.seen.values():
            hit = hit | walk.matched.get(seen, none)
        for matched, packets in ((True, hit), (False, here & ~hit)):
            for state, of in self._states(pair, walk):
                if path == "looped" and state not in (None, State.NEW, State.UNTRACKED):
                    continue  # nobody answers them, so every one is new
                if not is_empty(packets & of):
                    found = self._shown(pair, path, packets & of, state, matched)
                    if found is not None:
                        yield found

    def _states(self, pair: Pair, walk: Walk) -> Iterator[tuple[State | None, PacketSet]]:
        """The packets by what conntrack says of them, where it has looked at them."""
        if self.chain.before_conntrack or not pair.old.active:
            yield None, self.space.all
            return
        for state in TRACKED_STATES:
            yield state, self.space.in_state(state) & ~walk.tag
        yield State.UNTRACKED, walk.tag

    def _shown(self, pair: Pair, path: str, packets: PacketSet, state: State | None, matched: bool) -> Visitors | None:
        """One class of packets, if the interpreter finds its sample here as well."""
        frame = Frame("any")
        in_state = next(s for s in TRACKED_STATES if not is_empty(packets & self.space.in_state(s)))
        chosen = sample(self.space, packets & self.space.in_state(in_state), path, frame, state)
        way = follow(pair, pair.old, chosen, in_state)
        wanted = set(self.seen.values()) if matched else {self.before}
        if not any(step.matched and step.rule in wanted for step in way.steps):
            return None
        words = class_words(self.space, packets, path, frame)
        done = next((rule for rule, seen in self.seen.items() for s in way.steps if s.rule is seen and s.matched), None)
        does = action(done) if done is not None else "goes on"
        return Visitors(path, "" if state is None else state.value, matched, words, Witness(chosen.text, does))

    # -- why nobody does -------------------------------------------------------------------------------

    def _barred(self, walks: dict[str, Walk], visited: bool) -> tuple[str, tuple[Rule, ...]]:
        name = self.chain.name
        if (self.chain.table, name) not in called_chains(self.ruleset):
            if called_from_outside(name):
                return f"chain {name} is called from outside this file, by whom is not known", ()
            return f"nothing in this file calls chain {name}", ()
        if all(is_empty(walk.matched.get(self.into, self.space.none)) for walk in walks.values()):
            return f"no packet gets into chain {name}: none that reaches its callers matches them", ()
        takers = tuple(dict.fromkeys(self._takers()))
        if takers:
            take = "takes" if len({(rule.path, rule.line) for rule in takers}) == 1 else "take"
            return f"{lines(takers, 8)} {take} every packet that it would match", takers
        if visited:
            return "packets come by, and none of them can match it", ()
        return f"no packet that gets into chain {name} can match it", ()

    def _takers(self) -> Iterator[Rule]:
        """The rules before it that decide about packets which it would match."""
        end = replace(self._probe("\0end"), verdict=Drop())
        pair = self._with([self.into, *self.chain.rules[: self.place], end])
        below = chains_from(self.ruleset, (self.chain,))
        for path in PATHS:
            walk = self._walk(pair, path)
            wanted = walk.matched.get(self.into, self.space.none) & self._would_match(walk)
            if is_empty(wanted):
                continue
            for by, _, packets in walk.decided.about(wanted):
                if isinstance(by, Chain):
                    continue
                for rule in by.rules if isinstance(by, Block) else (by,):
                    inside = (rule.table, rule.chain) in below and rule is not end
                    if inside and not is_empty(packets & may_match(self.space, rule, Frame("any"))):
                        yield rule
            for rule in self.chain.rules[: self.place]:
                back = isinstance(rule.verdict, Return | Goto)
                if back and not is_empty(walk.matched.get(rule, self.space.none) & wanted):
                    yield rule

    def _would_match(self, walk: Walk) -> PacketSet:
        """What the rule matches wherever it stands."""
        space, out = self.space, self.space.none
        view, numbers = walk.view(), walk.identities.numbers
        for rule in self.parts:
            out = out | space.condition(rule.condition, walk.frame, view, numbers.get(rule, 0), rule.understood)
        return out
