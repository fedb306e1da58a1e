"""limit: how often rules with it may match; a token bucket of its own for each rule (iptables-extensions(8), limit)."""

from ruleaudit.matches.checks import checked, within
from ruleaudit.matches.extension import Context, Example, MatchExtension, Options, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope
from ruleaudit.syntax.refusal import Refused

OPTIONS = (
    OptionSpec("--limit", negatable=True, pattern="[0-9]+(/[a-zA-Z]+)?"),
    OptionSpec("--limit-burst", pattern="[0-9]+|0x[0-9a-fA-F]+"),
)
_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


def _rate(given: Options, context: Context) -> None:
    """At least one, and at most ten thousand in a second; units may be shortened."""
    for word in (o.value for o in given if o.name == "--limit"):
        number, _, unit = word.partition("/")
        seconds = next((s for name, s in _UNITS.items() if name.startswith(unit.lower() or "second")), 0)
        if not seconds:
            raise Refused(f'unknown unit "{unit}": second, minute, hour or day is needed', unit)
        if number.isdigit() and not 1 <= int(number[:12]) <= 10_000 * seconds:
            raise Refused(f'bad rate "{word}": at least 1, at most 10000 in a second', word)


EXAMPLES = (
    Example("-m limit --limit 5/min --limit-burst 10", Opaque("limit --limit 5/min --limit-burst 10", Scope.MEMORY)),
    Example("-m limit --limit fast", refused='bad value "fast"'),
    Example("-m limit --limit 5/week", refused='unknown unit "week"'),
    Example("-m limit --limit 0/s", refused='bad rate "0/s"'),
    Example("-m limit --limit 600001/min", refused="at most 10000 in a second"),
    Example("-m limit --limit-burst 10001", refused="from 0 to 10000"),
)

EXTENSION = MatchExtension(
    "limit",
    OPTIONS,
    checked(opaque("limit", Scope.MEMORY, memory=True), _rate, within("--limit-burst", 0, 10_000)),
    EXAMPLES,
)
