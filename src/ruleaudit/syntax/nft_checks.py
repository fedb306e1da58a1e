"""What nft refuses of a rule or a set that is written well: values that do not fit, protocols that exclude each other.

Only what is certain is said; what depends on the host (names of users, devices, hosts) or on newer versions is not.
"""

from ruleaudit.syntax.nft_action_checks import ActionCheck
from ruleaudit.syntax.nft_tree import (
    Action,
    Assignment,
    Concat,
    Match,
    Nat,
    Reject,
    Rule,
    SetUpdate,
    Statement,
    Verdict,
    VerdictMap,
    Word,
)
from ruleaudit.syntax.nft_value_checks import BITMASKS, Types


class RuleCheck(ActionCheck):
    """The checks of the rules of one table."""

    def rule(self, rule: Rule) -> None:
        """Everything about one rule."""
        self.begin()
        ended = False
        for statement in rule.statements:
            if ended:
                self.say(
                    statement.span, "this comes after the end of the rule and has no effect", "move it to the front"
                )
                return
            ended = self._statement(statement)

    def _statement(self, statement: Statement) -> bool:
        """Check a statement; whether it ends the rule."""
        match statement:
            case Match():
                self._match(statement)
            case VerdictMap(key, target, _):
                self.selectors(key)
                self.map(key, target, verdict=True)
            case Assignment():
                self.assignment(statement)
            case SetUpdate():
                self.set_update(statement)
            case Verdict(name, chain, span):
                self.jump(name, chain, span)
                return name != "continue"
            case Nat():
                self.nat(statement)
                return True
            case Reject():
                self.reject(statement)
                return True
            case Action():
                self.action(statement)
                return statement.name == "queue"
        return False

    def _match(self, match: Match) -> None:
        types = self.types(match.left)
        self.selectors(match.left)
        if match.operator == "!" and all(types) and not _of_bits(types):
            self.say(match.left.span, '"!" asks for bits that are not set, and this has none', "write !=")
        if isinstance(match.left, Concat):
            for part in match.left.parts:
                if isinstance(part, Word) and part.text.endswith("*"):
                    self.say(part.span, f'"{part.text}" is nothing that can be looked at')
        self.value(match.right, types)
        self.depend(match.left, match.operator, match.right)


def _of_bits(types: Types) -> bool:
    """Whether a value is a set of bits."""
    return len(types) == 1 and types[0] is not None and types[0].name in BITMASKS
