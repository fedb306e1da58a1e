"""time: the time of day and the date (iptables-extensions(8), time)."""

from ruleaudit.matches.extension import Example, MatchExtension, OptionSpec, opaque
from ruleaudit.model.condition import Opaque, Scope

OPTIONS = (
    OptionSpec("--datestart"),
    OptionSpec("--datestop"),
    OptionSpec("--timestart", pattern="[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?"),
    OptionSpec("--timestop", pattern="[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?"),
    OptionSpec("--monthdays", negatable=True, pattern="[0-9]{1,2}(,[0-9]{1,2})*"),
    OptionSpec("--weekdays", negatable=True, pattern="[0-9A-Za-z]+(,[0-9A-Za-z]+)*"),
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
    Example("-m time --days Mon", refused='unknown option "--days"'),
)

EXTENSION = MatchExtension("time", OPTIONS, opaque("time", Scope.MEMORY), EXAMPLES)
