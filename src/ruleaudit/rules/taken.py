"""Who took the packets of a rule of which none is left: what findings about such rules have in common."""

from dataclasses import replace
from itertools import islice

from ruleaudit.analysis.left import Void
from ruleaudit.analysis.space import TRACKED_STATES, Frame
from ruleaudit.analysis.walk import PATHS, chains_from
from ruleaudit.analysis.witness import follow, sample
from ruleaudit.diagnostics import Fix, FixClass, Label, Witness
from ruleaudit.model.lines import does, done, lines
from ruleaudit.model.ruleset import Accept, Drop, Goto, Jump, Reject, Rule
from ruleaudit.packets.diagram import is_empty
from ruleaudit.rules import edits
from ruleaudit.rules.audit import Audit

#: how many takers are pointed at
SHOWN = 3
#: how many rules of a file without packets get a packet to show it: each is followed through the whole file
WITNESSES = 100


def is_contradicted(void: Void) -> bool:
    """Everything that the rule accepts is refused before, or the reverse."""
    accepted = [isinstance(taker.verdict, Accept) for taker, _ in void.takers]
    refused = [isinstance(taker.verdict, Drop | Reject) for taker, _ in void.takers]
    match void.rule.verdict:
        case Accept():
            return bool(void.takers) and all(refused)
        case Drop() | Reject():
            return bool(void.takers) and all(accepted)
        case _:
            return False


def first(audit: Audit, void: Void) -> Rule:
    """The first rule of its chain that takes packets of the rule, or leads to one that does: to meet any, the rule
    would have to stand before it.
    """
    here = (void.rule.table, void.rule.chain)
    takers = {taker for taker, _ in void.takers}
    elsewhere = {(taker.table, taker.chain) for taker in takers} - {here}
    table = audit.ruleset.tables[void.rule.table]
    rules = table.chains[void.rule.chain].rules
    of_chain = [rule for rule in takers if (rule.table, rule.chain) == here]
    end = min((audit.left.places[rule] for rule in of_chain), default=len(rules))
    for rule in rules[:end] if elsewhere else ():
        match rule.verdict:
            case Jump(name) | Goto(name) if name in table.chains:
                if elsewhere & chains_from(audit.ruleset, (table.chains[name],)):
                    return rule
    return rules[end] if of_chain else void.takers[0][0]


def labels(void: Void) -> tuple[Label, ...]:
    """The takers, pointed at."""
    found = dict.fromkeys(rule.span for rule, _ in void.takers)
    which = "them all" if len(found) == 1 else "some of them"
    words = {rule.span: done(rule, which) for rule, _ in void.takers}
    return tuple(Label(span, words[span]) for span in list(found)[:SHOWN])


def witness(audit: Audit, void: Void) -> Witness | None:
    """A packet that the rule would match, and that the reference interpreter sees taken before; for the first rules of
    a file.
    """
    if all(void is not one for one in islice(audit.left.void, WITNESSES)):
        return None
    pair, space = audit.whole, audit.space
    for taker, packets in void.takers:
        for path in PATHS:
            here = packets & ~void.walk.tag & pair.possible(path)
            state = next((s for s in TRACKED_STATES if not is_empty(here & space.in_state(s))), None)
            if state is None or path in ("local", "looped"):
                continue
            chosen = sample(space, here & space.in_state(state), path, Frame("any"), state)
            way = follow(pair, pair.old, chosen, state)
            if any(step.rule is taker and step.matched for step in way.steps):
                return Witness(chosen.text, does((taker,), "it"))
    return None


def certainty(void: Void) -> str:
    """What is taken for granted: nothing, or that named sets hold what they hold now."""
    by_sets = void.by_sets
    return f"assuming: the sets that {lines(by_sets)} names keep what they hold" if by_sets else "proved"


def deletion(audit: Audit, void: Void) -> Fix:
    """The fix that deletes the rule."""
    fix = edits.deletion(audit, void.parts, "this rule")
    return replace(fix, kind=FixClass.ASSUMING) if fix.edits and void.by_sets else fix
