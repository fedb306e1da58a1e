"""time: the time of day and the date (iptables-extensions(8), time)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

_SIXTY = "[0-5]?[0-9]"
_HOUR = "([01]?[0-9]|2[0-3])"
_TIME = f"{_HOUR}:{_SIXTY}(:{_SIXTY})?"
_CLOCK = f"T({_HOUR}(:{_SIXTY}(:{_SIXTY})?)?)?"
_DATE = f"(19[7-9][0-9]|20[0-2][0-9]|203[0-8])(-(0?[1-9]|1[0-2])(-(0?[1-9]|[12][0-9]|3[01])({_CLOCK})?)?)?"
_DAY_OF_MONTH = "(0?[0-9]|[12][0-9]|3[01])"
_DAY_OF_WEEK = "([1-9]|(Mo|Tu|We|Th|Fr|Sa|Su)[A-Za-z]*)"
OPTIONS = (
    OptionSpec("--datestart", pattern=_DATE),
    OptionSpec("--datestop", pattern=_DATE),
    OptionSpec("--timestart", pattern=_TIME),
    OptionSpec("--timestop", pattern=_TIME),
    OptionSpec("--monthdays", negatable=True, pattern=f"{_DAY_OF_MONTH}(,{_DAY_OF_MONTH})*,?"),
    OptionSpec("--weekdays", negatable=True, pattern=f"{_DAY_OF_WEEK}(,{_DAY_OF_WEEK})*,?"),
    OptionSpec("--contiguous", arguments=0),
    OptionSpec("--kerneltz", arguments=0),
    OptionSpec("--utc", arguments=0),
    OptionSpec("--localtz", arguments=0),
)

EXAMPLES = (
    Example(
        "-m time --timestart 08:00 --timestop 18:00", Opaque("time --timestart 08:00 --timestop 18:00", Scope.MEMORY)
    ),
    Example("-m time --timestart noon", refused='bad value "noon"'),
    Example("-m time --timestart 25:00", refused='bad value "25:00"'),
    Example("-m time --weekdays Mon,Xy", refused='bad value "Mon,Xy"'),
    Example("-m time --datestart 2026-13-01", refused='bad value "2026-13-01"'),
    Example("-m time --days Mon", refused='unknown option "--days"'),
)

EXTENSION = MatchExtension("time", OPTIONS, opaque("time", Scope.MEMORY), EXAMPLES)
