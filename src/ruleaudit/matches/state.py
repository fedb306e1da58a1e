"""state: the older spelling of `conntrack --ctstate` (iptables-extensions(8), state)."""

from ruleaudit.matches.conntrack import state_test
from ruleaudit.matches.extension import Context, Example, MatchExtension, Meaning, Options, OptionSpec
from ruleaudit.model.condition import Not, States, negate
from ruleaudit.model.fields import State

OPTIONS = (OptionSpec("--state", negatable=True),)
STATES = ("INVALID", "NEW", "ESTABLISHED", "RELATED", "UNTRACKED")


def read(given: Options, context: Context) -> Meaning:
    """The packet's state, negated or not."""
    return Meaning(negate(state_test(given[0].value, STATES), given[0].negated))


EXAMPLES = (
    Example("-m state --state RELATED,ESTABLISHED", States(frozenset({State.RELATED, State.ESTABLISHED}))),
    Example("-m state ! --state NEW", Not(States(frozenset({State.NEW})))),
    Example("-m state --state NWE", refused='unknown connection state "NWE"'),
    Example("-m state --state SNAT", refused='unknown connection state "SNAT"'),
    Example("-m state", refused="needs --state"),
)

EXTENSION = MatchExtension("state", OPTIONS, read, EXAMPLES, required=("--state",))
