"""DROP: the packet is gone, silently (iptables(8), TARGETS)."""

from ruleaudit.matches.extension import Context, Options
from ruleaudit.model.ruleset import Drop
from ruleaudit.syntax.refusal import Refused
from ruleaudit.targets.extension import Action, Example, TargetExtension


def read(given: Options, context: Context) -> Action:
    """iptables keeps people from filtering where only the first packet of a connection comes by."""
    if context.table == "nat":
        raise Refused("DROP is not allowed in table nat, which is not for filtering", "DROP")
    return Action(Drop())


EXAMPLES = (
    Example("-j DROP", Action(Drop())),
    Example("-j DROP", refused="DROP is not allowed in table nat", chain="PREROUTING", table="nat"),
    Example("-j DROP --reject-with tcp-reset", refused='unknown option "--reject-with"'),
)

EXTENSION = TargetExtension("DROP", (), read, EXAMPLES)
