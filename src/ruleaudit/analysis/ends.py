"""Where chains end: the verdict that every packet meets and none passes, as it can be read in the text."""

from dataclasses import dataclass

from ruleaudit.model.condition import Always
from ruleaudit.model.ruleset import Accept, Drop, Goto, Jump, Queue, Reject, Return, Rule, Ruleset, Table, Verdict

#: how far jumps are followed
_DEEPEST = 16


@dataclass(frozen=True)
class End:
    """A rule that every packet of its chain meets and none passes, and the rules behind it."""

    by: Rule
    behind: tuple[Rule, ...]
    #: the verdict that the packets meet, in the chain that they are sent to where `by` sends them to one
    verdict: Verdict | None


def ends(ruleset: Ruleset) -> tuple[End, ...]:
    """The end of each chain that holds rules behind it."""
    found = []
    for table in ruleset.tables.values():
        for chain in table.chains.values():
            is_end = (n for n, rule in enumerate(chain.rules) if _lets_none_pass(table, rule, ruleset.is_nft))
            place = next(is_end, None)
            if place is not None and place + 1 < len(chain.rules):
                by = chain.rules[place]
                found.append(End(by, chain.rules[place + 1 :], _verdict(table, by, ruleset.is_nft)))
    return tuple(found)


def _verdict(table: Table, rule: Rule, is_nft: bool, depth: int = 0) -> Verdict | None:
    """What is done with those packets for which the chains that they are sent to know nothing better."""
    match rule.verdict:
        case Jump(name) | Goto(name):
            if name not in table.chains or depth >= _DEEPEST:
                return None
            last = (r for r in table.chains[name].rules if _lets_none_pass(table, r, is_nft, depth + 1))
            end = next(last, None)
            return None if end is None else _verdict(table, end, is_nft, depth + 1)
        case verdict:
            return verdict


def _lets_none_pass(table: Table, rule: Rule, is_nft: bool, depth: int = 0) -> bool:
    """A verdict without a condition, or a jump into a chain that has one for every packet."""
    if not _is_unconditional(rule, is_nft):
        return False
    match rule.verdict:
        case Accept() | Drop() | Reject() | Queue() | Return():
            return True
        case Goto(name):
            return name in table.chains
        case Jump(name):
            return name in table.chains and depth < _DEEPEST and _never_returns(table, name, is_nft, depth + 1)
        case _:
            return False


def _never_returns(table: Table, name: str, is_nft: bool, depth: int) -> bool:
    for rule in table.chains[name].rules:
        match rule.verdict:
            case Return():
                return False
            case Goto(to):
                if to not in table.chains or depth >= _DEEPEST or not _never_returns(table, to, is_nft, depth + 1):
                    return False
        if _lets_none_pass(table, rule, is_nft, depth):
            return True
    return False


def _is_unconditional(rule: Rule, is_nft: bool) -> bool:
    """Every packet matches, of whatever family, and that can be read in the text."""
    return rule.understood and (not rule.matches if is_nft else isinstance(rule.condition, Always))
